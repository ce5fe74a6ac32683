"""A synthetic apical-four-chamber cine with known borders, volumes and EF, in the format of EchoNet-Dynamic.

:mod:`.look` and :mod:`.hearts` hold the ranges of all draws. :mod:`.prior` draws a ventricle and a probe,
:mod:`.ejection` the volume over time. :mod:`.anatomy` gives the shape of simple hearts, :mod:`.contour` that of varied
ones, :mod:`.chambers` the sizes of the other chambers, :mod:`.placement` the landmarks in pixels. :mod:`.tissue`,
:mod:`.walls` and :mod:`.details` paint echo strengths by :mod:`.painting`. :mod:`.motion` gives the place of tissue at
rest, :mod:`.valves` the leaflets, :mod:`.speckle` the texture, :mod:`.artefacts` the artefacts, :mod:`.sector` the
conversion to pixels, :mod:`.marks` what lies outside the sector. :mod:`.render` combines them to a video, and
:mod:`.generate` writes the data set.
"""

from echo_e3net.phantom.generate import phantom

__all__ = ["phantom"]
