"""Why a clip is not taken: one exception, with the reason as the user reads it."""

from __future__ import annotations

from enum import Enum

from echo_e3net.errors import InputError


class Reason(Enum):
    """The kinds of reason."""

    UNREADABLE = "does not decode"
    NO_VIDEO = "not a video"
    STILL = "still image"
    SHORT = "too few frames"
    LONG = "too long"
    COLOUR = "colour Doppler"
    NO_SECTOR = "no sector"
    COPY = "same bytes as another source"


class RefusedError(InputError):
    """A source that is no B-mode clip of a sector.

    Args:
        reason: its kind.
        detail: what was found: a sentence without the file's name, which the caller knows.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[RefusedError], tuple[Reason, str]]:
        """Survive the way out of a worker process, which calls the class with ``args``."""
        return RefusedError, (self.reason, self.detail)
