"""Files that hold entries of a signature database, in the forms in which people have them; and what they revoke.

UEFI 2.10 section 8.2.2 has the header of an update, section 32.4.1 the entries; SPEC section 5.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from pyverify.errors import UsageError
from pyverify.evidence import uefi
from pyverify.evidence.certificate import certificate_words, to_be_signed
from pyverify.evidence.signature_databases import Signature, signatures
from pyverify.evidence.text import escape
from pyverify.evidence.uefi import Undecodable

IMAGE_HASHES: Final[dict[str, str]] = {
    "826ca512-cf10-4ac9-b187-be01496631bd": "sha1",
    "c1c41626-504c-4092-aca9-41f936934328": "sha256",
    "ff3e5307-9fd0-48c9-85f1-8ad56c701e01": "sha384",
    "093e0fae-a6c4-4f50-9f1b-d41e2b89c19a": "sha512",
}
"""Banks by the signature types that hold the Authenticode hash of an image, which is what firmware extends."""

CERTIFICATE_HASHES: Final[dict[str, tuple[str, int]]] = {
    "3bd2a492-96c0-4079-b420-fcf98ef103ed": ("sha256", 32),
    "7076876e-80c2-4ee6-aad2-28b349a6865b": ("sha384", 48),
    "446dbf63-2502-4cda-bcfa-2465d2b0fe9d": ("sha512", 64),
}
"""Hash and its bytes by the types that hold the hash of the signed part of a certificate, and a time after it."""

_TIME: Final = 16  # EFI_TIME
_REVISION, _PKCS_GUID = b"\x00\x02", b"\xf1\x0e"  # WIN_CERTIFICATE: revision 2.0, WIN_CERT_TYPE_EFI_GUID
_PKCS7: Final = bytes.fromhex("9dd2af4adf68ee498aa9347d375665a7")  # EFI_CERT_TYPE_PKCS7_GUID
_ATTRIBUTES: Final = 4  # before the content of a file of efivarfs


def read_update(data: bytes, name: str) -> tuple[Signature, ...]:
    """The entries of a file of signature lists, bare, with the header of an update, or as efivarfs has it.

    The signature of an update is not verified: who publishes it is for the reader to know.

    Raises:
        UsageError: it is none of these, or holds no entry; ``name`` goes before the words.
    """
    shown = escape(name)
    for content in _contents(data):
        try:
            entries = signatures(content)
        except Undecodable:
            continue
        if not entries:
            raise UsageError(f"{shown}: holds no entry of a signature database")
        return entries
    words = "EFI signature lists, an authenticated update of them (EFI_VARIABLE_AUTHENTICATION_2) or a file of efivarfs"
    raise UsageError(f"{shown}: is none of these: {words}")


def _contents(data: bytes) -> Iterator[bytes]:
    """What of a file may be signature lists; only one can fit exactly."""
    header = data[_TIME : _TIME + 24]
    if header[4:6] == _REVISION and header[6:8] == _PKCS_GUID and header[8:] == _PKCS7:
        size = int.from_bytes(header[:4], "little")  # of the WIN_CERTIFICATE, from its own first byte on
        if 24 <= size <= len(data) - _TIME:
            yield data[_TIME + size :]
        return
    yield data
    if len(data) >= _ATTRIBUTES:
        yield data[_ATTRIBUTES:]


def authority_certificate(data: bytes) -> bytes | None:
    """The certificate (DER) that an EV_EFI_VARIABLE_AUTHORITY names, None where it names another thing.

    Firmware logs it behind its owner's GUID, old shims bare (SPEC section 3.6).

    Raises:
        Undecodable: the data is no variable.
    """
    content = uefi.variable(data).data
    return next((one for one in (content, content[16:]) if certificate_words(one)), None)


def signed_part_hash(certificate: bytes, name: str) -> bytes | None:
    """The hash of the part of a certificate that is signed, as revocations have it; None where it is none."""
    part = to_be_signed(certificate)
    return None if part is None else hashlib.new(name, part).digest()
