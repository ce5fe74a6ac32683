"""Contours with known measures, for tests."""

import torch

from echo_e3net.geometry import DISCS


def tube(length=40.0, diameter=20.0, apex=(50.0, 20.0), angle=0.0):
    """A cylinder of 20 equal discs whose axis points down the picture, turned by ``angle`` radians about the apex."""
    t = (torch.arange(DISCS) + 0.5) / DISCS * length
    axis = torch.tensor([[0.0, 0.0], [0.0, length]])
    left = torch.stack([torch.full_like(t, -diameter / 2), t], -1)
    right = torch.stack([torch.full_like(t, diameter / 2), t], -1)
    return turn(torch.cat([axis, left, right]), angle) + torch.tensor(apex)


def bullet(length=50.0, width=30.0, apex=(50.0, 20.0), angle=0.0):
    """A half-ellipsoid-like ventricle: discs grow from the apex to the base."""
    t = (torch.arange(DISCS) + 0.5) / DISCS
    half = width / 2 * (1 - (1 - t) ** 2).sqrt() * (1 - 0.14 * t**6)
    axis = torch.tensor([[0.0, 0.0], [0.0, length]])
    left = torch.stack([-half, t * length], -1)
    right = torch.stack([half, t * length], -1)
    return turn(torch.cat([axis, left, right]), angle) + torch.tensor(apex)


def turn(points, angle):
    """Rotate points about the origin."""
    c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
    return points @ torch.stack([torch.stack([c, s]), torch.stack([-s, c])])


def segments(landmarks):
    """Landmarks (42, 2) as the 21 rows (X1, Y1, X2, Y2) of a tracing."""
    axis = landmarks[:2].flatten()[None]
    return torch.cat([axis, torch.cat([landmarks[2:22], landmarks[22:]], -1)])
