import torch
from hypothesis import given
from hypothesis import strategies as st

from echo_e3net.data import tracings
from tests.shapes import bullet, segments


def canonical_contours(rows):
    return torch.from_numpy(tracings.canonical_contours(rows.numpy()))


@given(st.integers(0, 2**31), st.floats(-3.1, 3.1))
def test_row_order_ends_and_orientation_do_not_matter(seed, angle):
    landmarks = bullet(angle=angle)
    rng = torch.Generator().manual_seed(seed)
    rows = segments(landmarks)[torch.randperm(21, generator=rng)]
    swap = torch.rand(21, generator=rng) < 0.5
    rows[swap] = rows[swap].roll(2, dims=-1)
    torch.testing.assert_close(canonical_contours(rows[None])[0], landmarks)


def test_left_is_the_viewers_left_when_the_apex_is_up():
    landmarks = canonical_contours(segments(bullet())[None])[0]
    assert (landmarks[2:22, 0] < landmarks[22:, 0]).all()
    assert landmarks[0, 1] < landmarks[1, 1]


def test_a_stub_as_last_disc_does_not_turn_the_ventricle_over():
    landmarks = bullet()
    landmarks[21, 0] = landmarks[41, 0] - 0.5
    torch.testing.assert_close(canonical_contours(segments(landmarks).flip(0)[None])[0], landmarks)


def test_a_ventricle_wider_than_long_keeps_its_axis():
    landmarks = bullet(length=25, width=40)
    torch.testing.assert_close(canonical_contours(segments(landmarks).flip(0)[None])[0], landmarks)


def test_a_contour_without_an_axis_is_nan():
    assert canonical_contours(torch.zeros(1, 21, 4)).isnan().all()
