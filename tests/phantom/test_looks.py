"""The looks of the phantom: pixels that stay, draws of mixed, its test families, marks and blocks."""

import csv
import json

import numpy as np
import pytest
import torch

from echo_e3net.data.codec import through_h264
from echo_e3net.data.frames import read_frames
from echo_e3net.data.tracings import canonical_contours
from echo_e3net.geometry import contour_volume, ejection_fraction
from echo_e3net.phantom.artefacts import draw_artefacts
from echo_e3net.phantom.contour import KNOTS, contour, draw_form
from echo_e3net.phantom.ejection import cycle, draw_rhythm
from echo_e3net.phantom.hearts import Anatomy
from echo_e3net.phantom.look import COARSE_SPECKLE, DILATED, FILLING, IRREGULAR, LOOKS, MIXED
from echo_e3net.phantom.marks import compress_video, draw_marks, inside
from echo_e3net.phantom.motion import at_rest
from echo_e3net.phantom.painting import Canvas
from echo_e3net.phantom.prior import draw_heart
from echo_e3net.phantom.render import exposure_db, make_scene, plan_video, render
from echo_e3net.phantom.sector import DEPTHS, sector_of
from echo_e3net.phantom.speckle import draw_scanner, point_spread, point_spread_gain, scatterers
from echo_e3net.phantom.walls import draw_walls

GOLDEN = {
    "adult_cart": (
        [[0.0, 40.37, 29.49, 0.0], [3.51, 51.65, 60.84, 3.14], [18.29, 39.09, 43.32, 3.76], [3.66, 13.52, 6.15, 0.44]],
        [[55.068, 23.363], [59.733, 69.129], [48.132, 43.723], [65.49, 41.953]],
    ),
    "handheld": (
        [[0.01, 61.18, 47.73, 0.0], [7.45, 63.03, 74.32, 2.87], [13.5, 40.93, 57.6, 0.23], [0.44, 2.53, 3.0, 0.0]],
        [[58.129, 28.359], [51.264, 73.628], [46.39, 46.261], [63.559, 48.864]],
    ),
}
"""Of video 5/0: mean grey of blocks of 28×28 pixels in the fourth frame, and four landmarks at end-systole."""


@pytest.fixture(scope="module")
def plans():
    return [plan_video(1, index, 60, MIXED) for index in range(80)]


class TestOldLooks:
    @pytest.mark.parametrize("look", GOLDEN)
    def test_published_looks_keep_their_pixels(self, look):
        blocks, landmarks = GOLDEN[look]
        plan = plan_video(5, 0, 60, LOOKS[look])
        frame = render(plan, 0, 4)[-1].reshape(4, 28, 4, 28).mean((1, 3))
        # Another draw changes the means by several grey values; another processor by less than this.
        np.testing.assert_allclose(frame, blocks, atol=0.1)
        np.testing.assert_allclose(plan.borders()[plan.ejection.es][[0, 1, 10, 30]], landmarks, atol=1e-3)


class TestShape:
    def test_tracings_hold_the_volumes(self, plans):
        for plan in plans:
            discs_ml = contour_volume(torch.from_numpy(plan.borders())).numpy() * plan.scan.pixel_cm**3
            seen_ml = plan.ejection.volume_ml * plan.heart.apparent_length
            np.testing.assert_allclose(discs_ml, seen_ml, rtol=1e-6)

    def test_tracings_give_the_ef(self, plans):
        for plan in plans:
            ed, es = torch.from_numpy(plan.borders()[[plan.ejection.ed, plan.ejection.es]])
            assert 100 * float(ejection_fraction(ed, es)) == pytest.approx(plan.ejection.ef_percent, abs=1e-3)

    def test_traced_frames_are_extrema(self, plans):
        for plan in plans:
            beat = plan.ejection
            assert beat.volume_ml[beat.ed] == beat.volume_ml[max(beat.ed - 2, 0) : beat.ed + 3].max()
            assert beat.volume_ml[beat.es] == beat.volume_ml[beat.es - 2 : beat.es + 3].min()

    def test_shapes_are_valid(self, plans):
        for plan in plans:
            shape = plan.shape
            for outer in (False, True):
                assert np.isfinite(plan.borders(outer)).all()
                assert (shape.discs(outer) > 0).all()
            z = shape.outer_apex + KNOTS[:, None] * (shape.base - shape.outer_apex)
            cavity = [np.interp(z[:, 0], shape.apex[0] + KNOTS * shape.length[0], side) for side in shape.inner[0]]
            assert (shape.outer[0][:, 4:] > np.stack(cavity)[:, 4:]).all()

    def test_landmarks_lie_in_or_near_the_frame(self, plans):
        for plan in plans:
            traced = plan.borders()[[plan.ejection.ed, plan.ejection.es]]
            assert traced.min() > -12
            assert traced.max() < 124

    def test_borders_go_back_to_borders(self, plans):
        """Tissue at the border now was at the border at rest, so picture and label agree."""
        t = np.linspace(0.1, 0.97, 30)
        for plan in plans[:10]:
            now, rest = plan.shape.at(plan.ejection.es), plan.rest
            for side in (-1, 1):
                z = now.apex + t * now.length
                across = np.full_like(z, side)
                u, z_rest = at_rest(now.midline(z) + side * now.inner_half_width(z, across), z, now, rest)
                expected = rest.midline(z_rest) + side * rest.inner_half_width(z_rest, across)
                np.testing.assert_allclose(u, expected, atol=1e-3)
                np.testing.assert_allclose(z_rest, t * rest.length, atol=1e-4)

    def test_the_cavity_at_end_systole_is_a_cone(self, plans):
        """The apical third loses more of its width than the basal third."""
        shapes = [(plan.shape, plan.ejection) for plan in plans if plan.ejection.ef_percent > 40]
        half = np.array([shape.inner[[beat.ed, beat.es]].mean(1)[:, [8, 36]] for shape, beat in shapes])
        apical, basal = np.median(half[:, 1] / half[:, 0], axis=0)
        assert apical < basal - 0.1

    def test_a_scar_can_move_outwards(self):
        anatomy = Anatomy(scar=1.0, scar_loss=(1.2, 1.2), regional=0.0, cone_es=(0.1, 0.1), dyssynchrony=0.0)
        outwards = 0
        for index in range(20):
            heart = draw_heart(0, index, MIXED)
            form = draw_form(0, index, anatomy)
            shape = contour(heart, form, heart.edv_ml * np.array([1.0, 0.6]), np.array([0.0, 0.4]))
            outwards += bool((shape.inner[1] > shape.inner[0] + 0.02).any())
        assert outwards > 10

    def test_no_part_of_the_cavity_grows_much(self, plans):
        """Where the apical half is narrow, the base must not widen."""
        for plan in plans:
            shape = plan.shape
            at_rest = plan.rest.inner[0]
            assert (shape.inner <= 1.25 * at_rest + 1e-6).all()

    def test_a_wall_can_lag(self):
        form = draw_form(0, 0, Anatomy(dyssynchrony=1.0, lag_s=(0.1, 0.1)))
        assert max(form.lag_s) > 0
        assert min(form.lag_s) == 0


class TestNoLeak:
    @pytest.mark.parametrize("index", range(4))
    def test_another_ef_changes_only_the_motion(self, index):
        weak, strong = (plan_video(0, index, 60, MIXED, ef_percent=ef) for ef in (20.0, 75.0))
        assert weak.scan == strong.scan
        assert weak.heart._replace(ef_percent=0) == strong.heart._replace(ef_percent=0)
        np.testing.assert_array_equal(weak.ejection.time_s, strong.ejection.time_s)
        np.testing.assert_array_equal(weak.ejection.opening, strong.ejection.opening)
        assert (weak.ejection.ed, weak.ejection.es) == (strong.ejection.ed, strong.ejection.es)
        for one, other in zip(weak.form, strong.form, strict=True):
            np.testing.assert_array_equal(one, other)
        appearances = [appearance(plan) for plan in (weak, strong)]
        for one, other in zip(*appearances, strict=True):
            np.testing.assert_array_equal(one, other)


def appearance(plan):
    """Return everything that is drawn for the picture, without the motion."""
    sector = sector_of(plan.scan)
    artefacts, scanner = (draw(plan.seed, plan.index, plan.look, sector) for draw in (draw_artefacts, draw_scanner))
    scene, marks = make_scene(plan, sector), draw_marks(plan.seed, plan.index, plan.look, sector)
    return *artefacts, *scanner, scene.strength_db, scene.blood, exposure_db(plan, scene, artefacts, scanner), marks


class TestPicture:
    def test_a_video_is_a_function_of_seed_and_index(self):
        one, other = (render(plan_video(2, 3, 28, MIXED), 0, 3) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert (render(plan_video(2, 4, 28, MIXED), 0, 3) != one).any()

    def test_the_septum_is_brighter_than_the_other_walls(self):
        walls = np.array(
            [[wall.peak_db for wall in draw_walls(np.random.default_rng(k), Anatomy())] for k in range(99)]
        )
        septum, lateral, apex = np.median(walls, axis=0)
        assert septum > lateral + 4
        assert septum > apex + 4

    def test_the_gain_gives_the_drawn_grey(self):
        look = MIXED._replace(exposure=(0.7, 0.7))
        plan = plan_video(0, 1, 28, look)
        sector = sector_of(plan.scan)
        artefacts, scanner = (draw(0, 1, look, sector) for draw in (draw_artefacts, draw_scanner))
        scene = make_scene(plan, sector)
        level = scene.strength_db + artefacts.gain_db + exposure_db(plan, scene, artefacts, scanner)
        grey = ((level - scanner.black_db) / scanner.dynamic_range_db).clip(0, 1) ** scanner.gamma
        assert np.percentile(grey[~scene.blood], 93) == pytest.approx(0.7, abs=0.01)

    def test_the_focus_is_sharper(self):
        """Texture is narrower across the beams at the focus, with the same power."""
        sector = sector_of(plan_video(0, 0, 28, MIXED).scan)
        scanner = draw_scanner(0, 0, MIXED, sector)._replace(lateral=3.0, narrowing=0.5, focus=0.5)
        field = point_spread_gain(scanner) * point_spread(scatterers(np.random.default_rng(1)), scanner)
        at_focus, far = field[DEPTHS // 2 - 24 : DEPTHS // 2 + 24], field[:48]
        assert neighbours(at_focus) < neighbours(far) - 0.03
        assert np.square(at_focus).mean() == pytest.approx(np.square(far).mean(), rel=0.25)

    def test_marks_lie_outside_the_sector(self, plans):
        marked = 0
        for plan in plans[:40]:
            sector = sector_of(plan.scan)
            picture = draw_marks(plan.seed, plan.index, MIXED._replace(marks=1.0), sector)
            assert not picture[inside(sector)].any()
            marked += bool(picture.any())
        assert marked > 30

    def test_h264_keeps_number_and_greys_of_the_frames(self):
        frames = np.zeros((9, 112, 112), np.uint8)
        frames[:, 30:60, 30:60], frames[:, 60:90, 60:90] = 255, 90
        again = through_h264(frames, 50, 20)
        assert again.shape == frames.shape
        assert np.abs(again.astype(int) - frames)[:, ::10, ::10].max() < 12
        blocks = compress_video(0, 0, MIXED._replace(blocks=1.0), frames, 50)
        assert blocks.shape == frames.shape
        assert compress_video(0, 0, MIXED._replace(blocks=0.0), frames, 50) is frames

    def test_a_bright_part_covers_only_what_is_darker(self):
        canvas = Canvas(np.zeros((1, 2)), np.zeros((1, 2)), np.array([[-20.0, 5.0]]), np.zeros((1, 2)))
        canvas.cover_brighter(np.ones((1, 2), bool), np.zeros((1, 2)))
        np.testing.assert_array_equal(canvas.strength_db, [[0.0, 5.0]])


def neighbours(field):
    """Return the correlation of the field with itself, one beam further."""
    return np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]


@pytest.mark.parametrize("trained", [MIXED, FILLING])
class TestFamilies:
    """No value of a family's range occurs in the looks of the training."""

    def test_speckle(self, trained):
        for index in range(60):
            sector = sector_of(plan_video(3, index, 28, trained).scan)
            usual, coarse = (draw_scanner(3, index, look, sector) for look in (trained, COARSE_SPECKLE))
            millimetres = 10 * sector.step_cm * 2.3548
            assert usual.axial * millimetres <= 1.1 < 1.4 <= coarse.axial * millimetres
            degrees = np.rad2deg(sector.step_rad) * 2.3548
            assert usual.lateral * degrees <= 2.8 + 1e-9 < 3.4 <= coarse.lateral * degrees
            assert coarse.narrowing == 0

    def test_speckle_is_about_twice_as_long(self, trained):
        for usual, coarse in zip(
            (trained.axial_mm, trained.lateral_deg), (COARSE_SPECKLE.axial_mm, COARSE_SPECKLE.lateral_deg), strict=True
        ):
            assert sum(coarse) / sum(usual) == pytest.approx(2.4, abs=0.5)

    def test_volume(self, trained):
        usual, dilated = (
            np.array([draw_heart(3, index, look).edv_ml for index in range(300)]) for look in (trained, DILATED)
        )
        assert usual.max() <= 170 < 190 <= dilated.min()
        assert usual.max() > 150
        assert usual.min() < 50

    def test_traced_volumes(self, trained):
        usual = [plan_video(1, index, 60, trained).ejection.edv_ml for index in range(40)]
        dilated = [plan_video(1, index, 60, DILATED).ejection.edv_ml for index in range(40)]
        assert max(usual) < min(dilated)

    def test_rhythm(self, trained):
        for index in range(60):
            usual, irregular = (draw_rhythm(3, index, look, 30.0) for look in (trained, IRREGULAR))
            assert usual.kick > 0.05 > 0 == irregular.kick
            assert usual.early < 0.95 < irregular.early
            spread = [np.diff(rhythm.start_s).std() / np.diff(rhythm.start_s).mean() for rhythm in (usual, irregular)]
            assert spread[0] < spread[1]

    @pytest.mark.parametrize(
        ("name", "family"),
        [
            ("irregular_sd", IRREGULAR),
            ("irregular_stroke_sd", IRREGULAR),
            ("axial_mm", COARSE_SPECKLE),
            ("lateral_deg", COARSE_SPECKLE),
        ],
    )
    def test_ranges(self, trained, name, family):
        regular = {"irregular_sd": "beat_sd", "irregular_stroke_sd": "stroke_sd"}.get(name, name)
        assert trained.irregular == 0
        assert getattr(trained, regular)[1] < getattr(family, name)[0]


class TestFilling:
    def test_it_changes_only_how_the_ventricle_fills(self):
        kicks, spreads = [], []
        for index in range(200):
            usual, other = draw_rhythm(4, index, MIXED, 2.0), draw_rhythm(4, index, FILLING, 2.0)
            np.testing.assert_array_equal(usual.start_s, other.start_s)
            np.testing.assert_array_equal(usual.systole_s, other.systole_s)
            assert 0.2 <= usual.kick <= 0.25
            assert other.early + other.kick == pytest.approx(0.95)
            kicks.append(other.kick)
            spreads.append(float(np.median(other.edv_excess / usual.edv_excess)) * 0.02)
        low, high = FILLING.kick
        assert low <= min(kicks) < low + 0.02
        assert high - 0.02 < max(kicks) <= high
        low, high = FILLING.stroke_sd
        assert low <= min(spreads) < low + 0.002
        assert high - 0.002 < max(spreads) <= high

    def test_the_valve_opens_less_at_a_small_atrial_contraction(self):
        openings = []
        for index in range(60):
            heart, rhythm = draw_heart(4, index, FILLING), draw_rhythm(4, index, FILLING, 2.0)
            # the middle of the atrial contraction of the first beat
            diastole = rhythm.start_s[1] - rhythm.start_s[0] - rhythm.systole_s[0]
            time_s = np.array([rhythm.start_s[1] - min(0.45 * diastole, 0.16) / 2])
            single, quiet = rhythm._replace(fuses=False), rhythm._replace(fuses=False, late_opening=0.0)
            opening, rest = (float(cycle(heart, each, time_s)[1][0]) for each in (single, quiet))
            assert opening == pytest.approx(max(rest, 0.75 * min(1, rhythm.kick / 0.225)))
            openings.append(opening)
        assert min(openings) < 0.4 < 0.74 < max(openings)

    def test_ef_of_the_average_beat_is_that_of_mixed(self):
        for index in range(40):
            usual, other = (draw_heart(4, index, look) for look in (MIXED, FILLING))
            assert (usual.edv_ml, usual.ef_percent) == (other.edv_ml, other.ef_percent)


class TestCommand:
    @pytest.mark.parametrize("look", sorted(LOOKS))
    def test_every_look(self, command, tmp_path, look):
        words = ("--out", "set", "--n", "1", "--jobs", "1", "--max_frames", "28")
        code, error = command("data", "phantom", "--look", look, *words)
        assert code == 0, error
        assert json.loads((tmp_path / "set/phantom.json").read_text())["look"] == look
        with (tmp_path / "set/FileList.csv").open(newline="") as file:
            row = next(csv.DictReader(file))
        frames = read_frames(tmp_path / "set/Videos" / f"{row['FileName']}.avi")
        assert frames.shape == (int(row["NumberOfFrames"]), 112, 112)
        with (tmp_path / "set/VolumeTracings.csv").open(newline="") as file:
            rows = np.array([[float(r[key]) for key in ("X1", "Y1", "X2", "Y2")] for r in csv.DictReader(file)])
        one, other = (
            torch.from_numpy(canonical_contours(part.astype(np.float32)[None])[0]) for part in (rows[:21], rows[21:])
        )
        larger = max(float(ejection_fraction(one, other)), float(ejection_fraction(other, one)))
        assert 100 * larger == pytest.approx(float(row["EF"]), abs=0.1)

    @pytest.mark.slow
    def test_a_mixed_data_set_has_no_defects(self, command):
        words = ("--out", "set", "--n", "12", "--look", "mixed", "--max_frames", "40")
        assert command("data", "phantom", *words)[0] == 0
        assert command("data", "check", "set", "--decode")[0] == 0
