"""Why an attest, signature or public area cannot be read, in words."""

from __future__ import annotations

from typing import Final

from pyverify import _native

_WORDS: Final = {
    "type": "it is no quote",
    "truncated": "it ends too early",
    "trailing": "bytes follow its end, or it has another size than it states",
    "bound": "a size or count is out of bounds",
    "value": "a field holds what it cannot hold",
    "scheme": "an algorithm that signs no quotes",
}
_NAMES: Final = {number: name for name, number in _native.QUOTE_FAULTS.items()}


def fault_words(fault: int) -> str:
    """A value of a ``fault`` column (``_native.QUOTE_FAULTS``) in words."""
    return _WORDS.get(_NAMES.get(fault, ""), "it cannot be read")
