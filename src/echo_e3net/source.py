"""Which code this is: a hash of the package's source files, the same wherever they are installed, with or without git."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
BESIDE = ("__main__.py", "doctor", "draw.py", "figures", "main.py", "processes.py", "report.py", "study", "sweep")
"""What neither trains nor tests a network: a change there leaves results as they are."""


@cache
def code_hash(package: Path = PACKAGE) -> str:
    """A short name for the code that trains and tests: names and bytes of its files, but for those of ``BESIDE``."""
    digest = hashlib.sha256()
    paths = [path.relative_to(package) for path in package.rglob("*.py")]
    for path in sorted(paths, key=Path.as_posix):
        if path.parts[0] not in BESIDE:
            digest.update(path.as_posix().encode() + b"\0" + (package / path).read_bytes() + b"\0")
    return digest.hexdigest()[:16]
