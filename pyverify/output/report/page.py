"""One HTML page without anything from outside: its text is data to it, and its policy lets it ask for nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

SCRIPTS: Final = ("data.js", "dom.js", "view.js", "overview.js", "causes.js", "table.js", "panel.js", "main.js")
"""Parts of the page's one script, in order."""


def page(fleet: dict[str, Any]) -> Iterator[bytes]:
    """The page of a packed fleet (:meth:`pyverify.output.report.fleet.Fleet.packed`), in pieces.

    Data is JSON, gzip, base64: it has no character that means anything in HTML, so no text of evidence can end it.
    """
    script = "".join(['"use strict";\n(() => {\n', *map(_part, SCRIPTS), "})();\n"])
    style = _part("page.css")
    rules = [
        "default-src 'none'",
        f"script-src '{_hash(script)}'",
        f"style-src '{_hash(style)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    head, tail = _part("page.html").split("<!-- data -->")
    yield head.replace("{rules}", "; ".join(rules)).replace("{style}", style).encode()
    yield b'<script type="application/octet-stream" id="data">'
    yield base64.b64encode(gzip.compress(json.dumps(fleet, separators=(",", ":")).encode(), 6, mtime=0))
    yield b"</script>"
    yield tail.replace("{script}", script).encode()


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
