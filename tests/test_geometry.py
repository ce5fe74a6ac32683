import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echo_e3net import geometry
from tests.shapes import bullet, tube, turn


def test_a_tube_has_a_cylinders_volume():
    assert geometry.contour_volume(tube(40, 20)).item() == pytest.approx(math.pi * 10**2 * 40, rel=1e-5)


def test_discs_of_a_cone_by_hand():
    # diameters 1 to 20, whose squares sum to 2870, along an axis of 40
    half, down = torch.arange(1, 21) / 2, torch.arange(1, 40, 2)
    left, right = torch.stack([-half, down], -1), torch.stack([half, down], -1)
    cone = torch.cat([torch.tensor([[0.0, 0], [0, 40]]), left, right])
    assert geometry.contour_volume(cone).item() == pytest.approx(math.pi / 4 * 2 * 2870)


def test_ef_of_tubes_by_hand():
    # length 40 → 30, diameter 20 → 14: 1 - (30 * 196) / (40 * 400)
    assert geometry.ejection_fraction(tube(40, 20), tube(30, 14)).item() == pytest.approx(1 - 5880 / 16000, abs=1e-5)


def test_area_of_a_tube_is_its_rectangle_plus_the_apex_triangle():
    polygon = geometry.border_polygon(tube(40, 20))
    assert polygon.shape == (41, 2)
    assert geometry.polygon_area(polygon).item() == pytest.approx(20 * 38 + 20 * 1 / 2, rel=1e-5)


@given(st.floats(-3.1, 3.1), st.floats(-20, 20), st.floats(0.5, 3))
def test_ef_is_invariant_to_rotation_shift_and_scale(angle, shift, scale):
    ed, es = bullet(50, 30), bullet(45, 20)
    moved = [turn(x, angle) * scale + shift for x in (ed, es)]
    assert geometry.ejection_fraction(*moved).item() == pytest.approx(
        geometry.ejection_fraction(ed, es).item(), abs=2e-4
    )


def test_gradients_agree_with_finite_differences():
    ed, es = (x.double().requires_grad_() for x in (bullet(50, 30), bullet(45, 20)))
    assert torch.autograd.gradcheck(geometry.ejection_fraction, (ed, es))
    assert torch.autograd.gradcheck(lambda x: geometry.polygon_area(geometry.border_polygon(x)), (ed,))


def test_a_collapsed_contour_gives_finite_ef_and_gradients():
    ed, es = torch.zeros(42, 2, requires_grad=True), bullet().requires_grad_()
    for pair in ((ed, es), (es, ed), (ed, ed)):
        ef = geometry.ejection_fraction(*pair)
        gradients = torch.autograd.grad(ef, list(dict.fromkeys(pair)))
        assert ef.isfinite()
        assert all(g.isfinite().all() for g in gradients)


def test_leading_axes_are_kept():
    batch = torch.stack([bullet(), tube()]).expand(3, 2, 42, 2)
    assert geometry.contour_volume(batch).shape == (3, 2)
    assert geometry.disc_diameters(batch).shape == (3, 2, 20)


def test_border_distance_by_hand():
    # apex at (50, 20), sides at x 40 and 60 from y 21 to 59, open at the mitral plane
    border = tube(40, 20)
    points = torch.tensor([[40.0, 30], [37, 30], [50, 20], [50, 17], [60, 62], [50, 59]])
    found = geometry.border_distance(points, border)
    torch.testing.assert_close(found, torch.tensor([0.0, 3, 0, 3, 3, 10]), atol=1e-2, rtol=0)
    assert geometry.border_distance(border, border)[2:].max() < 1e-2
