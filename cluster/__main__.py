"""``python -m cluster``: what `fraud` runs, for places where only the packages are."""

from __future__ import annotations

import sys

from cluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
