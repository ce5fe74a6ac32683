"""Numbers of the phantom: volume, ejection, tracings, draws, texture."""

import numpy as np
import phantom_realism as realism
import pytest
import torch

from echo_e3net.data.raster import blur
from echo_e3net.geometry import contour_volume, ejection_fraction
from echo_e3net.phantom.anatomy import bullet, bullet_moment, to_pixels, to_probe, ventricle
from echo_e3net.phantom.artefacts import draw_artefacts
from echo_e3net.phantom.look import ADULT_CART
from echo_e3net.phantom.motion import at_rest
from echo_e3net.phantom.placement import landmarks
from echo_e3net.phantom.prior import STREAMS, Heart, draw_heart, split_of, stream
from echo_e3net.phantom.render import plan_video, render
from echo_e3net.phantom.sector import sector_of
from echo_e3net.phantom.speckle import draw_scanner, point_spread, point_spread_gain, scatterers

HEART = Heart(
    ef_percent=55,
    edv_ml=100,
    elongation=1.8,
    shortening=0.24,
    wall_cm=0.9,
    bend_cm=0.3,
    base_width=0.86,
    right_scale=1.0,
    apparent_length=1.0,
)


@pytest.fixture(scope="module")
def plans():
    return [plan_video(0, index) for index in range(60)]


class TestShape:
    def test_half_an_ellipsoid_by_hand(self):
        # q = 1: f² = 2t - t², whose integral is 2/3, so V = 2/3 π R² L, half an ellipsoid
        assert bullet_moment(1.0) == pytest.approx(2 / 3)
        assert bullet(np.array([0.0, 0.5, 1.0]), 1.0) == pytest.approx([0, 0.75**0.5, 1])

    def test_moment_is_the_integral(self):
        t = (np.arange(100_000) + 0.5) / 100_000
        assert bullet_moment(0.86) == pytest.approx(np.square(bullet(t, 0.86)).mean(), abs=1e-9)

    def test_twenty_discs_hold_the_volume(self):
        plan = plan_video(0, 0)
        shape = ventricle(HEART, np.array([100.0, 45.0]))
        borders = landmarks(shape, plan.scan, np.zeros((2, 2)))
        volume_ml = contour_volume(torch.from_numpy(borders)).numpy() * plan.scan.pixel_cm**3
        assert volume_ml == pytest.approx([100, 45], rel=2e-3)

    def test_the_wall_keeps_its_volume_and_thickens(self):
        ed, es = (ventricle(HEART, np.array([volume])) for volume in (100.0, 45.0))
        outside = [(v.radius + v.wall) ** 2 * (v.base - v.outer_apex) - v.radius**2 * v.length for v in (ed, es)]
        assert outside[0] == pytest.approx(outside[1], rel=1e-6)
        assert 1.3 < es.wall[0] / ed.wall[0] < 1.55
        assert 0.91 < (es.radius + es.wall)[0] / (ed.radius + ed.wall)[0] < 0.98
        assert es.outer_apex[0] - ed.outer_apex[0] < 0.25 < ed.base[0] - es.base[0]

    def test_borders_go_back_to_borders(self):
        """Tissue at the border now was at the border at rest, so picture and label agree."""
        now, rest = ventricle(HEART, np.array([45.0])), ventricle(HEART, np.array([100.0]))
        t = np.linspace(0.05, 0.99, 30)
        for side in (-1, 1):
            z = now.apex + t * now.length
            u, z_rest = at_rest(now.midline(z) + side * now.inner_half_width(z), z, now, rest)
            np.testing.assert_allclose(u, rest.midline(z_rest) + side * rest.inner_half_width(z_rest), atol=1e-6)
            np.testing.assert_allclose(z_rest, t * rest.length, atol=1e-6)

    def test_tissue_far_away_hardly_moves(self):
        now, rest = ventricle(HEART, np.array([45.0])), ventricle(HEART, np.array([100.0]))
        u, z = np.array([14.0, 0.0]), np.array([6.0, 20.0])
        np.testing.assert_allclose(at_rest(u, z, now, rest)[0], u, atol=0.06)
        np.testing.assert_allclose(at_rest(u, z, now, rest)[1][1], 20.0)

    def test_heart_to_pixels_by_hand(self):
        scan = plan_video(0, 0).scan
        apex = to_pixels(np.stack(to_probe(np.zeros(1), np.zeros(1), scan), axis=-1), scan)[0]
        np.testing.assert_allclose((apex - scan.origin_px) * scan.pixel_cm, scan.apex_cm)


class TestEjection:
    def test_the_label_is_the_traced_beat(self, plans):
        for plan in plans:
            beat = plan.ejection
            assert beat.ed < beat.es < len(beat.time_s)
            assert beat.volume_ml[beat.ed] == beat.volume_ml[max(beat.ed - 2, 0) : beat.ed + 3].max()
            assert beat.volume_ml[beat.es] == beat.volume_ml[beat.es - 2 : beat.es + 3].min()
            falling = beat.volume_ml[beat.ed : beat.es + 1]
            assert (np.diff(falling) <= 0).all()

    def test_interval_rate_and_length_are_realistic(self, plans):
        gap = [plan.ejection.es - plan.ejection.ed for plan in plans]
        assert 13 <= np.median(gap) <= 19
        assert 45 <= np.median([plan.scan.fps for plan in plans]) <= 55
        assert all(28 <= len(plan.ejection.time_s) <= 300 for plan in plans)

    def test_the_shortest_videos_hold_a_whole_systole(self):
        for index in range(40):
            beat = plan_video(3, index, max_frames=28).ejection
            assert beat.ef_percent > 0
            assert len(beat.time_s) <= 60

    def test_valve_is_closed_at_both_traced_frames(self, plans):
        for plan in plans:
            assert plan.ejection.opening[plan.ejection.ed + 1] == 0
            assert plan.ejection.opening.max() > 0.5

    def test_tracings_give_the_ef(self, plans):
        for plan in plans:
            for outer in (False, True):
                borders = torch.from_numpy(plan.borders(outer)[[plan.ejection.ed, plan.ejection.es]])
                ef_percent = 100 * float(ejection_fraction(borders[0], borders[1]))
                if outer:
                    assert ef_percent < plan.ejection.ef_percent
                else:
                    assert ef_percent == pytest.approx(plan.ejection.ef_percent, abs=0.02)


class TestPrior:
    def test_moments_are_those_of_the_released_data(self):
        hearts = [draw_heart(5, index, ADULT_CART) for index in range(1500)]
        ef, edv = np.array([heart.ef_percent for heart in hearts]), np.array([heart.edv_ml for heart in hearts])
        assert ef.mean() == pytest.approx(55.7, abs=1.2)
        assert ef.std() == pytest.approx(12.7, abs=1.2)
        assert edv.mean() == pytest.approx(91, abs=4)
        assert edv.std() == pytest.approx(46, abs=5)
        assert np.corrcoef(ef, np.log(edv))[0, 1] == pytest.approx(-0.57, abs=0.08)

    def test_streams_do_not_repeat(self):
        values = [stream(seed, index, group).random() for seed in (0, 1) for index in (0, 1) for group in STREAMS]
        assert len(set(values)) == len(values)

    def test_the_first_four_videos_hold_every_split(self):
        for seed in range(50):
            assert {split_of(seed, index, 0.15, 0.2) for index in range(4)} == {"TRAIN", "VAL", "TEST"}

    def test_splits_have_their_shares(self):
        splits = [split_of(7, index, 0.15, 0.2) for index in range(1000)]
        assert splits.count("VAL") == pytest.approx(150, abs=5)
        assert splits.count("TEST") == pytest.approx(200, abs=5)

    def test_cavity_lies_in_frame_and_sector(self, plans):
        for plan in plans:
            ed = plan.borders()[plan.ejection.ed]
            assert ed.min() > 0
            assert ed.max() < 111
            x, depth = (ed - plan.scan.origin_px).T
            assert np.degrees(np.abs(np.arctan2(x, depth))).max() < plan.scan.opening_deg / 2 + 3


class TestNoLeak:
    @pytest.mark.parametrize("index", range(4))
    def test_another_ef_changes_nothing_else(self, index):
        weak, strong = (plan_video(0, index, ef_percent=ef) for ef in (20.0, 75.0))
        assert weak.scan == strong.scan
        assert weak.heart._replace(ef_percent=0) == strong.heart._replace(ef_percent=0)
        np.testing.assert_array_equal(weak.ejection.time_s, strong.ejection.time_s)
        np.testing.assert_array_equal(weak.ejection.opening, strong.ejection.opening)
        np.testing.assert_array_equal(weak.drift_cm, strong.drift_cm)
        assert (weak.ejection.ed, weak.ejection.es) == (strong.ejection.ed, strong.ejection.es)
        one, other = (draw_artefacts(plan.seed, plan.index, plan.look, sector_of(plan.scan)) for plan in (weak, strong))
        np.testing.assert_array_equal(one.gain_db, other.gain_db)
        np.testing.assert_array_equal(one.haze_db, other.haze_db)
        assert one.quality == other.quality

    def test_another_ef_changes_only_the_motion(self):
        weak, strong = (plan_video(0, 1, max_frames=40, ef_percent=ef) for ef in (25.0, 70.0))
        ed, es = weak.ejection.ed, weak.ejection.es
        frames = [render(plan, ed, es + 1).astype(float) for plan in (weak, strong)]
        change = [np.abs(video[-1] - video[0]).mean() for video in frames]
        assert change[1] > 1.15 * change[0]
        assert np.corrcoef(*(video[0].ravel() for video in frames))[0, 1] > 0.9

    @pytest.mark.slow
    def test_one_frame_reveals_no_more_than_the_volume(self):
        errors = realism.leak(seed=0, n=300)
        assert errors["first frame"] > 0.97 * errors["EDV"]
        assert errors["EDV"] < errors["mean"]


class TestPicture:
    def test_the_same_seed_gives_the_same_frames(self):
        plan = plan_video(2, 3, max_frames=28)
        np.testing.assert_array_equal(render(plan, 0, 4), render(plan, 0, 4))

    def test_a_duplicated_frame_is_a_copy(self):
        plan = next(
            plan
            for plan in (plan_video(0, index, 60) for index in range(100))
            if (np.diff(plan.ejection.time_s) == 0).any()
        )
        again = int(np.flatnonzero(np.diff(plan.ejection.time_s) == 0)[0]) + 1
        frames = render(plan, again - 1, again + 2)
        assert (frames[0] == frames[1]).all()
        assert (frames[1] != frames[2]).any()

    def test_scatterers_have_unit_power(self):
        plan = plan_video(0, 0)
        scanner = draw_scanner(0, 0, ADULT_CART, sector_of(plan.scan))
        field = scatterers(np.random.default_rng(1))
        assert np.square(field).sum(-1).mean() == pytest.approx(1, abs=0.02)
        assert np.square(point_spread_gain(scanner) * point_spread(field, scanner)).sum(-1).mean() == pytest.approx(
            1, abs=0.06
        )

    @pytest.mark.slow
    def test_texture_moves_with_the_wall(self):
        moving, still = [], []
        for index in (1, 2, 4):
            plan = plan_video(0, index, max_frames=60, ef_percent=65)
            first = plan.ejection.ed
            frames = render(plan, first, plan.ejection.es + 1)
            wall = (plan.borders()[first] + plan.borders(outer=True)[first]) / 2
            points, lags = wall[[10, 13, 16, 30, 33, 36]], (len(frames) - 2,)
            moving.append(realism.lag_correlations(frames, points, lags)[0])
            still.append(realism.lag_correlations(frames, points, lags, compensated=False)[0])
        assert np.mean(moving) > np.mean(still) + 0.1

    def test_the_visible_border_is_the_labelled_border(self):
        """The mean grey profile across the endocardium reaches half its rise within a pixel of the label."""
        steps, profiles = np.arange(-4, 3), []
        for index in range(6):
            plan = plan_video(0, index)
            for t in (plan.ejection.ed, plan.ejection.es):
                frame, border = render(plan, t, t + 1)[0].astype(float), plan.borders()[t]
                for disc in range(6, 20):
                    left, right = border[2 + disc], border[22 + disc]
                    for end, outwards in ((left, left - right), (right, right - left)):
                        column, row = np.rint(end + steps[:, None] * outwards / np.linalg.norm(outwards)).astype(int).T
                        profiles.append(frame[row, column])
        profile = np.mean(profiles, axis=0)
        assert profile[-1] > 2 * profile[0]
        assert abs(np.interp(profile[[0, -1]].mean(), profile[1:], steps[1:])) < 0.7

    def test_outside_the_sector_is_black(self):
        frame = render(plan_video(0, 0), 0, 1)[0]
        assert (frame[:20, :15] == 0).all()
        assert (frame[:20, -15:] == 0).all()

    @pytest.mark.slow
    def test_figures_are_within_the_targets(self):
        for name, value in realism.figures(seed=0, n=20).items():
            low, high = realism.TARGETS[name]
            assert low <= value <= high, name


class TestMeasure:
    def test_correlation_length_of_a_known_texture(self):
        """White noise after a blur with σ has the autocorrelation exp(-x² / 4σ²): 1/e at 2σ."""
        noise = np.random.default_rng(0).standard_normal((112, 112)).astype(np.float32)
        texture = blur(noise, 0.9, 0.9)
        frame = (128 + 25 * texture / texture.std()).clip(0, 255).astype(np.uint8)
        assert realism.correlation_length(frame, np.ones_like(frame, bool)) == pytest.approx(1.8, abs=0.25)

    def test_compensation_finds_a_shift(self):
        texture = blur(np.random.default_rng(0).standard_normal((140, 140)).astype(np.float32), 1.0, 1.0)
        still = (128 + 100 * texture).clip(0, 255).astype(np.uint8)
        frames = np.stack([still[2 * t : 2 * t + 112, :112] for t in range(8)])
        points = np.array([[50.0, 50.0], [60.0, 40.0]])
        assert realism.lag_correlations(frames, points, (1, 2))[0] > 0.99
        assert realism.lag_correlations(frames, points, (1, 2), compensated=False)[0] < 0.8

    def test_ridge_predicts_a_line_and_not_noise(self):
        rng = np.random.default_rng(0)
        x, noise = rng.standard_normal((200, 3)), rng.standard_normal(200)
        assert realism.ridge_error(x, x[:, 0] * 5, 1e-3) < 0.01
        assert realism.ridge_error(x, noise, 1.0) == pytest.approx(noise.std(), rel=0.1)
