"""What a user can mend: one exception, one sentence.

Every check at the door raises :class:`InputError` with the file, the row and the value in the sentence, and what to do about it. The command line
prints the sentence without a traceback and exits with 2.
"""

from __future__ import annotations


class InputError(ValueError):
    """The user's files, arguments or configuration are not usable; the message says which, where and what to do."""
