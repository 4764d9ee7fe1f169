"""Signature databases (PK, KEK, db, dbx and their like) as values that can be compared (SPEC section 5.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from pyverify.evidence import uefi


class Signature(NamedTuple):
    """One entry of a database: a certificate, or the hash of an image or of a certificate."""

    type: str
    """GUID of the list that holds it: what kind of entry it is."""
    owner: str
    """GUID of whoever put it there. Anyone may write any: it says nothing about the entry's worth."""
    data: bytes
    """The certificate (DER) or the hash."""

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the data: of a certificate, what people know as its fingerprint."""
        return hashlib.sha256(self.data).digest()


def signatures(data: bytes, base: int = 0) -> tuple[Signature, ...]:
    """All entries of the lists that a database holds, in order; an empty database has none.

    ``base`` is where ``data`` begins within the event's data, for the offset of a fault.

    Raises:
        Undecodable: the lists do not fit exactly, or one has a header of the vendor's (no known type has one, and
            what it hides was once read as entries: SPEC section 10.1, attack 18).
    """
    entries: list[Signature] = []
    for item in uefi.signature_lists(data, base):
        if item.header_size:
            raise uefi.Undecodable("signature list with a header of its own", base)
        for at in range(0, len(item.signatures), item.signature_size):
            entry = item.signatures[at : at + item.signature_size]
            entries.append(Signature(item.type, uefi.guid(entry[:16]), entry[16:]))
    return tuple(entries)


def dbx_covers(dbx: Iterable[Signature], minimum: Iterable[Signature]) -> bool:
    """Whether everything that ``minimum`` revokes is revoked by ``dbx`` too, whoever owns the entries."""
    return {(entry.type, entry.data) for entry in minimum} <= {(entry.type, entry.data) for entry in dbx}
