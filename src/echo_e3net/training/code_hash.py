"""Name the code that trains and tests, wherever the package is installed, with or without git."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Packages that decide results, beside the modules at the root.
DECIDES = ("checks", "data", "nn", "training")


@cache
def code_hash(package: Path = PACKAGE) -> str:
    """Return a short hash of the code that trains and tests: file names and bytes of whole packages."""
    digest = hashlib.sha256()
    paths = [*package.glob("*.py"), *(path for name in DECIDES for path in (package / name).rglob("*.py"))]
    for path in sorted(path.relative_to(package) for path in paths):
        digest.update(path.as_posix().encode() + b"\0" + (package / path).read_bytes() + b"\0")
    return digest.hexdigest()[:16]
