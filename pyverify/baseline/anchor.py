"""The head of a store kept apart from it: what shows that an older copy was put in its place.

A JSON object in a file: ``{"store": id, "change": number, "head": digest}``, bytes as hex.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Final

from pyverify.baseline.heads import STORE_ID_SIZE, Head
from pyverify.errors import StoreError

_MAX_FILE: Final = 4096
_DIGEST_SIZE: Final = 32


def load(path: Path) -> Head | None:
    """The head that an anchor keeps; None where there is no such file yet.

    Raises:
        StoreError: the file cannot be read or is no anchor: then nothing may be taken for new.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"the anchor {path} cannot be read: {error.strerror or error}") from error
    try:
        facts = json.loads(text)
        if facts.keys() != {"store", "change", "head"} or type(facts["change"]) is not int or facts["change"] < 0:
            raise ValueError
        store_id, digest = (bytes.fromhex(facts[name]) for name in ("store", "head"))
        if len(store_id) != STORE_ID_SIZE or len(digest) != _DIGEST_SIZE:
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is no anchor of a store") from error
    return Head(store_id, facts["change"], digest)


def save(path: Path, head: Head) -> None:
    """Replaces an anchor as a whole; one that is newer already, as another run left it, stays.

    Raises:
        StoreError: the file cannot be written.
    """
    known = load(path)
    if known is not None and known.store_id == head.store_id and known.number >= head.number:
        return
    facts = {"store": head.store_id.hex(), "change": head.number, "head": head.digest.hex()}
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(json.dumps(facts) + "\n")
                file.flush()
                os.fsync(handle)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise StoreError(f"the anchor {path} cannot be written: {error.strerror or error}") from error
