"""EV_IPL: what boot loaders measure, by who wrote it (SPEC section 3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pyverify.evidence.decoded import Decoded, Field, bytes_field
from pyverify.evidence.words import text_fields, text_of, words_or_size

_GRUB_PREFIXES: Final = (
    b"grub_cmd: ",
    b"kernel_cmdline: ",
    b"module_cmdline: ",
    b"grub_kernel_cmdline ",  # Fedora and RHEL once
    b"grub_cmd ",
)
"""What GRUB puts before a text and does not hash, so that one label may be put for another (SPEC section 10.2, 37)."""

_GRUB_FILES, _STUB, _STUB_CONFIGURATION, _STUB_EXTENSIONS, _SHIM = 9, 11, 12, 13, 14
_SHIM_VARIABLES: Final = frozenset(["MokList", "MokListX", "MokSBState", "MokListTrusted", "MokPolicy"])
_STUB_ARCHIVES: Final = frozenset(["Credentials initrd", "Global credentials initrd", "System extension initrd"])


def ipl(pcr: int, data: bytes) -> Decoded:
    """EV_IPL: a text, whose meaning the PCR and the text's own form give away."""
    words = words_or_size(data)
    if prefix := next((prefix for prefix in _GRUB_PREFIXES if data.startswith(prefix)), None):
        return Decoded("grub", words, _grub_fields(data, len(prefix)))
    found = text_of(data)
    if found is None:
        return Decoded("bytes", words, [bytes_field("data", data, 0)])
    kind, name = _meaning(pcr, found.text)
    return Decoded(kind, words, text_fields(data, name))


def _meaning(pcr: int, text: str) -> tuple[str, str]:
    """What such a text is in this PCR, and what to call it."""
    if pcr == _SHIM and text in _SHIM_VARIABLES:
        return "shim-variable", "name"
    if pcr == _STUB and text.startswith("."):
        return "section", "name"
    if pcr in (_STUB_CONFIGURATION, _STUB_EXTENSIONS) and text in _STUB_ARCHIVES:
        return "archive", "name"
    if pcr == _STUB_CONFIGURATION:
        return "command-line", "text"
    return ("file", "name") if pcr == _GRUB_FILES else ("text", "text")


def _grub_fields(data: bytes, prefix_size: int) -> Iterator[Field]:
    yield Field("label", data[:prefix_size].decode().rstrip(": "), 0, prefix_size)
    text = data[prefix_size:]
    if text.strip(b"\0"):
        yield from text_fields(text, "text", prefix_size, narrow=True)
    else:
        yield Field("text", "", prefix_size, prefix_size)
