"""A synthetic apical-four-chamber cine with known borders, volumes and EF, in the released data set's form.

One video's way: :mod:`.prior` draws a ventricle and a probe, :mod:`.ejection` its volume over time, :mod:`.anatomy` its shape, :mod:`.tissue` what
echoes how strongly, :mod:`.motion` where the tissue of each moment was at rest, :mod:`.valves` the leaflets, :mod:`.speckle` the texture,
:mod:`.artefacts` what goes wrong, :mod:`.sector` the conversion to pixels, :mod:`.render` all of it, :mod:`.write` the data set.
"""

from echo_e3net.phantom.generate import phantom

__all__ = ["phantom"]
