"""Landmarks of outlines: known measures, invariance to start, direction and pose, and the phantom's own chords."""

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_e3net import geometry
from echo_e3net.data.outline import STEPS, clean, mask_outline, polygon_landmarks, rate_plane, touching_ends
from echo_e3net.phantom.look import ADULT_CART, HANDHELD
from echo_e3net.phantom.render import plan_video
from tests.outlines import atrium_mask, border_polygon, filled

LENGTH, RADIUS = 60.0, 17.0
APEX = np.array([60.0, 20.0])


def half_ellipse(length=LENGTH, radius=RADIUS, points=81, base=30):
    """Half an ellipse, apex up at the origin, closed by its flat base; ``base`` points along it."""
    angle = np.linspace(0, math.pi, points)
    curve = np.stack([radius * np.cos(angle), length * (1 - np.sin(angle))], 1)
    plane = np.stack([np.linspace(-radius, radius, base + 2)[1:-1], np.full(base, length)], 1)
    return np.concatenate([curve, plane])


def bent(base=30):
    """The same, bowed to one side, so that it is not its own mirror image."""
    polygon = half_ellipse(base=base)
    return polygon + np.stack([6 * np.sin(math.pi * polygon[:, 1] / LENGTH), np.zeros(len(polygon))], 1)


def turn(points, angle):
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def distance(landmarks, exact):
    """Of the apex and the disc ends from the exact border, pixels."""
    return geometry.border_distance(
        torch.from_numpy(np.delete(landmarks, geometry.BASE, 0)), torch.from_numpy(exact)
    ).numpy()


def volume(landmarks):
    return geometry.contour_volume(torch.from_numpy(landmarks)).item()


@pytest.mark.parametrize("base", [0, 30], ids=["open", "closed"])
@pytest.mark.parametrize(("length", "radius"), [(60, 17), (60, 30), (50, 11), (40, 18)])
def test_half_an_ellipse_has_its_volume_apex_and_mitral_plane(length, radius, base):
    landmarks = polygon_landmarks(half_ellipse(length, radius, base=base))
    assert volume(landmarks) == pytest.approx(2 / 3 * math.pi * radius**2 * length, rel=0.01)
    np.testing.assert_allclose(landmarks[:2], [[0, 0], [0, length]], atol=0.03 * length)
    heights = (np.arange(20) + 0.5) / 20 * length
    half = radius * np.sqrt(1 - (1 - heights / length) ** 2)
    np.testing.assert_allclose(landmarks[2:22], np.stack([-half, heights], 1), atol=0.5)
    np.testing.assert_allclose(landmarks[22:], np.stack([half, heights], 1), atol=0.5)


@settings(max_examples=30)
@given(
    st.integers(0, 80), st.booleans(), st.booleans(), st.floats(-3.1, 3.1), st.floats(-50, 50), st.sampled_from([0, 30])
)
def test_start_direction_and_pose_do_not_matter(start, backwards, repeat, angle, shift, base):
    polygon = bent(base)
    expected = turn(polygon_landmarks(polygon), angle) + shift
    moved = np.roll(turn(polygon, angle) + shift, start, 0)
    moved = np.concatenate([moved, moved[:1]]) if repeat else moved
    np.testing.assert_allclose(polygon_landmarks(moved[::-1] if backwards else moved), expected, atol=1e-6)


def test_a_mirror_only_swaps_left_and_right():
    landmarks, mirrored = polygon_landmarks(bent()), polygon_landmarks(bent() * [-1, 1]) * [-1, 1]
    np.testing.assert_allclose(mirrored[:2], landmarks[:2], atol=0.3)
    np.testing.assert_allclose(mirrored[2:22], landmarks[22:], atol=0.3)
    np.testing.assert_allclose(mirrored[22:], landmarks[2:22], atol=0.3)


@settings(max_examples=20)
@given(st.floats(-3.1, 3.1), st.floats(0, 1), st.floats(0, 1))
def test_a_mask_gives_the_landmarks_of_its_polygon_to_a_pixel(angle, dx, dy):
    polygon = turn(bent() - [0, LENGTH / 2], angle) + np.array([60 + dx, 60 + dy])
    landmarks = polygon_landmarks(mask_outline(filled(polygon, (120, 120))))
    exact = polygon_landmarks(polygon)
    assert distance(landmarks, exact).max() < 1
    assert np.hypot(*(landmarks - exact).T).mean() < 0.7
    assert volume(landmarks) == pytest.approx(volume(exact), rel=0.04)


def test_the_left_atrium_locates_the_mitral_plane():
    """The base of a ventricle that is wider than long is found from the atrium, not from the shape."""
    polygon = half_ellipse(30, 26) + np.array([60, 30])
    cavity = filled(polygon, (120, 120))
    atrium = filled(np.array([[36.0, 61], [84, 61], [75, 88], [45, 88]]), (120, 120)) & ~cavity
    outline = mask_outline(cavity)
    ends = touching_ends(outline, atrium)
    np.testing.assert_allclose(ends[ends[:, 0].argsort()], [[36, 60], [84, 60]], atol=2)
    landmarks = polygon_landmarks(outline, ends.mean(0))
    assert distance(landmarks, polygon_landmarks(polygon, np.array([60.0, 60]))).max() < 1
    assert touching_ends(outline, np.zeros_like(cavity)) is None


def test_only_the_largest_part_of_a_mask_counts_and_the_frame_may_cut_it():
    polygon = half_ellipse() + APEX
    mask = filled(polygon, (100, 100))
    expected = mask_outline(mask)
    mask[2:5, 2:5] = True
    np.testing.assert_array_equal(mask_outline(mask), expected)
    assert mask_outline(mask[:70])[:, 1].max() < 70


@pytest.mark.parametrize(
    "outline", [np.zeros((0, 2)), np.zeros((5, 2)), np.array([[0.0, 0], [1, 1], [2, 2]]), np.full((9, 2), np.nan)]
)
def test_outlines_without_area_are_refused(outline):
    with pytest.raises(ValueError, match="encloses nothing"):
        polygon_landmarks(outline)


def test_outlines_without_a_mitral_plane_are_refused():
    angle = np.linspace(0, 2 * math.pi, 100, endpoint=False)
    with pytest.raises(ValueError, match="no two corners"):
        polygon_landmarks(np.stack([np.cos(angle), np.sin(angle)], 1) * 30)
    with pytest.raises(ValueError, match="mask is empty"):
        mask_outline(np.zeros((9, 9), bool))


def test_a_place_where_the_outline_touches_itself_is_no_mitral_plane():
    circle = 1 - np.exp(2j * math.pi * np.arange(STEPS // 2) / (STEPS // 2))
    assert rate_plane(np.concatenate([circle, -circle]), np.zeros(STEPS), 0, STEPS // 2) == -np.inf


def test_clean_polygons_are_clockwise_without_repeats():
    square = np.array([[0.0, 0], [0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    for polygon in (square, square[::-1]):
        assert len(clean(polygon)) == 4


@functools.cache
def plans():
    # Other looks cut the mitral end obliquely, so that an outline alone does not give their long axis.
    return [plan_video(5, index, 40, look) for look in (ADULT_CART, HANDHELD) for index in range(20)]


SLOW_WAYS = [pytest.param(way, marks=pytest.mark.slow) for way in ("closed polygon", "mask", "mask and atrium")]


@pytest.mark.parametrize("way", ["open polygon", *SLOW_WAYS])
def test_the_phantoms_own_chords_come_back(way):
    """Borders of either kind, drawn as polygons or masks, give the phantom's landmarks and EF."""
    off, wrong = [], []
    for plan in plans():
        phases = []
        for frame in (plan.ejection.ed, plan.ejection.es):
            for outer in (False, True):
                border = plan.borders(outer)[frame]
                found = found_landmarks(border, plan.borders()[frame], way, outer)
                off.append(np.hypot(*(found - border).T).mean())
                if not outer:
                    phases.append(torch.from_numpy(found))
        ed, es = phases
        wrong.append(abs(100 * geometry.ejection_fraction(ed, es).item() - plan.ejection.ef_percent))
    limit = 0.3 if "polygon" in way else 0.6
    assert np.max(off) < (0.5 if "polygon" in way else 1.5)
    assert np.mean(off) < limit
    assert np.max(wrong) < (0.5 if "polygon" in way else 4.0)
    assert np.mean(wrong) < (0.2 if "polygon" in way else 1.0)


def found_landmarks(border, inner, way, outer):
    if "polygon" in way:
        return polygon_landmarks(border_polygon(border, 0 if way == "open polygon" else 20))
    outline = mask_outline(filled(border_polygon(border), (112, 112)))
    if way == "mask":
        return polygon_landmarks(outline)
    cavity = mask_outline(filled(border_polygon(inner), (112, 112)))
    ends = touching_ends(cavity, atrium_mask(inner, (112, 112)))
    return polygon_landmarks(outline, ends.mean(0))
