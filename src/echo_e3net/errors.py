"""The exception for errors in the input of a user.

The message is one line: file, row and value, what was expected, and what to do. The command line prints it without a
traceback and exits with 2.
"""

from __future__ import annotations


class InputError(ValueError):
    """A file, an argument or a configuration of the user is not usable."""


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
