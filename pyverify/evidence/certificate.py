"""Who an X.509 certificate is for, in words. Nothing is verified here, and nothing is decided by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_COMMON_NAME: Final = bytes.fromhex("0603550403")  # OID 2.5.4.3, as DER has it (RFC 5280 appendix A)
_TEXT_TAGS: Final = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}


def certificate_words(data: bytes) -> str | None:
    """``X.509 certificate of N bytes``, with its subject's common name if it has one; None for other data."""
    # A certificate is one DER SEQUENCE, whose size is two bytes for every certificate in use.
    if data[:2] != b"\x30\x82" or int.from_bytes(data[2:4], "big") != len(data) - 4:
        return None
    name = common_name(data)
    return f"X.509 certificate of {len(data)} bytes{f' ({name})' if name else ''}"


def common_name(certificate: bytes) -> str | None:
    """The common name of a certificate's subject, None where it has none or the certificate does not parse."""
    try:
        _, outer, _ = _element(certificate, 0)
        _, to_be_signed, _ = _element(outer, 0)
        elements = [content for tag, content in _elements(to_be_signed) if tag != 0xA0]  # the version may be absent
        # Serial number, signature algorithm, issuer, validity, subject (RFC 5280 section 4.1).
        for _, relative in _elements(elements[4]):
            for _, attribute in _elements(relative):
                if attribute.startswith(_COMMON_NAME):
                    tag, value, _ = _element(attribute, len(_COMMON_NAME))
                    return value.decode(_TEXT_TAGS[tag])
    except (IndexError, KeyError, ValueError):
        pass
    return None


def to_be_signed(certificate: bytes) -> bytes | None:
    """The part of a certificate that is signed, as it lies there (RFC 5280 section 4.1); None where it is none."""
    try:
        _, outer, _ = _element(certificate, 0)
        _, _, end = _element(outer, 0)
    except (IndexError, ValueError):
        return None
    return outer[:end]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, content, at = _element(data, at)
        yield tag, content


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the DER element at a byte of the data."""
    tag, size, start = data[at], data[at + 1], at + 2
    if size & 0x80:
        width = size & 0x7F
        if not 1 <= width <= 3:
            raise ValueError("no length of a certificate's part")
        size, start = int.from_bytes(data[start : start + width], "big"), start + width
    if size > len(data) - start:
        raise ValueError("an element past the end")
    return tag, data[start : start + size], start + size
