"""The machine-readable forms of a view."""

from __future__ import annotations

import json
import sys
from typing import Any


def print_document(document: dict[str, Any], form: str) -> None:
    """Prints a document as ``json`` or ``yaml``: both in ASCII, so that no text of the evidence steers a terminal."""
    if form == "json":
        # Of ASCII's characters that do not print, JSON leaves one as it is.
        print(json.dumps(document, indent=1).replace("\x7f", "\\u007f"))
    else:
        import yaml

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        yaml.dump(document, sys.stdout, Dumper=dumper, sort_keys=False, width=160)
