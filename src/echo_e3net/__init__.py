"""Echo-E³Net: left-ventricular ejection fraction from an echocardiography video.

``load`` opens a trained network to read videos with: ``echo_e3net.load("runs/first").read("clip.dcm")``.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import the public names on first use, so that the command line starts fast."""
    if name in ("load", "Reader", "Reading"):
        from echo_e3net.reading import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
