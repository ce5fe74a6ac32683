"""A synthetic apical-four-chamber cine with known borders, volumes and EF, in the format of EchoNet-Dynamic.

:mod:`.prior` draws a ventricle and a probe, :mod:`.ejection` the volume over time, :mod:`.anatomy` gives the shape,
:mod:`.tissue` the echo strengths, :mod:`.motion` the place of tissue at rest, :mod:`.valves` the leaflets,
:mod:`.speckle` the texture, :mod:`.artefacts` the artefacts, :mod:`.sector` the conversion to pixels. :mod:`.render`
combines them to a video, and :mod:`.generate` writes the data set.
"""

from echo_e3net.phantom.generate import phantom

__all__ = ["phantom"]
