"""Run ``echo-e3net`` as ``python -m echo_e3net``."""

from __future__ import annotations

import sys

from echo_e3net.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
