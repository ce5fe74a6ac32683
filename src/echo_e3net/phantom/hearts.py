"""Ranges of the hearts of a look in which every heart is different."""

from __future__ import annotations

from typing import NamedTuple

Range = tuple[float, float]
"""Lowest and highest value."""


class Anatomy(NamedTuple):
    """Ranges of hearts, from which one number per video is drawn. No draw depends on EF, except for EDV.

    Attributes:
        edv_ml: end-diastolic volume; its distribution is that of the released data set within these limits.
        even_ef: share of hearts whose EF is drawn evenly from 10 to 80 %.
        elongation: long axis over short axis at ED.
        shortening: exponent of the long axis, L(t) = L_ED (V / V_ED)^α.
        wall_cm: wall at ED; the highest values are hypertrophy.
        bend_cm: deflection of the mid-line.
        tip: exponent of the profile near the apex; 0.5 is an ellipse, more is pointed, less is blunt.
        roughness: standard deviation of the logarithm of the profile.
        cone_ed: narrowing of the apical part at ED; negative: widening.
        bulge: widening of the basal part at ED.
        cone_es: narrowing of the apical part per ejected share of the volume.
        cone_end: (start, end) of the fall of that narrowing towards the base, of the long axis.
        oblique: height of the hinge of the mitral valve that is nearer to the apex, of the long axis.
        narrow: half chord at the mitral plane on the side of that hinge, over that without an oblique end.
        rounded: the same on the other side.
        regional: standard deviation of the motion of parts of the walls, per ejected share of the volume.
        scar: probability of a part of the wall that does not move (akinesia) or moves outwards (aneurysm).
        scar_loss: loss of inward motion at the centre of a scar, per ejected share of the volume.
        dyssynchrony: probability of a wall that lags.
        lag_s: longest delay of the left and of the right wall.
        creep: share of the shortening of the long axis that moves the apex.
        swing_cm: shift of the whole heart in systole, along x and along the depth.
        other_scale: size of the right ventricle and of each atrium, drawn one by one.
        septum_db: echo of the septum at the endocardium, and the brightest one beyond it.
        lateral_db: the same of the lateral wall.
        apex_db: the same of the apex.
        septum_peak: place of the brightest echo of the septum, in wall thicknesses from the endocardium, and its width.
        lateral_peak: the same of the lateral wall and of the apex.
        septum_fall_db_cm: fall of the echo from the endocardium of the septum into the cavity.
        other_fall_db_cm: the same of the lateral wall and of the apex.
        papillary: probability of the lateral papillary muscle, twice that of the septal one.
        tendon: probability of a false tendon.
        outflow: probability of a dark outflow tract beside the septum.
        moderator: probability of the moderator band in the right ventricle.
        liver: probability of the liver beside the right heart.
    """

    edv_ml: Range = (25.0, 170.0)
    even_ef: float = 0.5
    elongation: Range = (1.25, 2.4)
    shortening: Range = (0.12, 0.36)
    wall_cm: Range = (0.6, 1.7)
    bend_cm: Range = (-0.5, 0.7)
    tip: Range = (0.33, 0.64)
    roughness: float = 0.06
    cone_ed: Range = (-0.19, 0.05)
    bulge: Range = (0.0, 0.09)
    cone_es: Range = (0.2, 1.7)
    cone_end: tuple[Range, Range] = ((0.35, 0.8), (1.0, 1.3))
    oblique: Range = (0.72, 0.97)
    narrow: Range = (0.0, 0.6)
    rounded: Range = (0.4, 1.0)
    regional: float = 0.1
    scar: float = 0.2
    scar_loss: Range = (0.5, 1.2)
    dyssynchrony: float = 0.2
    lag_s: Range = (0.1, 0.1)
    creep: Range = (0.0, 0.4)
    swing_cm: Range = (-1.25, 1.25)
    other_scale: Range = (0.6, 1.5)
    septum_db: tuple[Range, Range] = ((-30.0, -6.0), (-4.0, 10.0))
    lateral_db: tuple[Range, Range] = ((-36.0, -10.0), (-18.0, 3.0))
    apex_db: tuple[Range, Range] = ((-40.0, -12.0), (-29.0, -4.0))
    septum_peak: tuple[Range, Range] = ((0.3, 0.8), (0.15, 0.45))
    lateral_peak: tuple[Range, Range] = ((0.6, 1.7), (0.4, 1.0))
    septum_fall_db_cm: Range = (20.0, 90.0)
    other_fall_db_cm: Range = (6.0, 50.0)
    papillary: float = 0.45
    tendon: float = 0.15
    outflow: float = 0.35
    moderator: float = 0.35
    liver: float = 0.25
