"""What a user can mend: one exception, one sentence.

Every check at the door raises :class:`InputError` with the file, the row and the value in the sentence, and what to do about it. The command line
prints the sentence without a traceback and exits with 2.
"""

from __future__ import annotations


class InputError(ValueError):
    """The user's files, arguments or configuration are not usable; the message says which, where and what to do."""


def require_at_least(minimum: float, **values: float | None) -> None:
    """Check lower bounds of arguments; None is allowed.

    Args:
        minimum: the smallest allowed value.
        values: the arguments by name. ``data__size`` is shown as ``data.size``.

    Raises:
        InputError: a value is smaller.
    """
    for name, value in values.items():
        if value is not None and value < minimum:
            raise InputError(f"{name.replace('__', '.')} is {value}; expected at least {minimum:g}.")
