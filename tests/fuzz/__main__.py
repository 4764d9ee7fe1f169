"""Runs fuzz targets for a time, keeps what they learned, says what they did: ``python tests/fuzz --help``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)

from fuzz.run import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
