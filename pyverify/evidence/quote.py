"""Signed quotes as columns: what each says, how and by which key it is signed, and what exactly was signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME
from pyverify.errors import UsageError
from pyverify.evidence import signatures, tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import SM2
from pyverify.evidence.gather import rows_at
from pyverify.evidence.keys import Keys, gather
from pyverify.evidence.sm2 import Sm2Mode, za_digests

NO_HASH: Final = -1
"""Bank number of a hash that is not known here."""

_SM3: Final = BANKS[-1].index
_BANK_OF: Final = {bank.id: bank.index for bank in BANKS}


@dataclass(frozen=True, slots=True)
class Quotes:
    """A batch of quotes: n messages, signatures and keys, and the PCR values beside them.

    ``attests`` are ``_native.ATTEST_DTYPE`` and ``signature_rows`` ``_native.SIGNATURE_DTYPE`` of shape [n], with
    offsets into ``messages`` and ``signatures``: look at their ``fault`` first. ``values`` is what was sent beside each
    quote, unread. ``scheme`` (TPM_ALG_ID) and ``hash_id`` (TPM_ALG_ID) are what the signature says of itself, or where
    its form says nothing what the key says, or the caller: uint32 of shape [n].
    """

    messages: Ragged
    attests: npt.NDArray[Any]
    signatures: Ragged
    signature_rows: npt.NDArray[Any]
    keys: Keys
    values: Ragged
    scheme: npt.NDArray[np.uint32]
    hash_id: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.attests)

    @classmethod
    def of(
        cls, messages: Ragged, sigs: Ragged, publics: Ragged, values: Ragged | None = None, *, hash_name: str = "sha256"
    ) -> Self:
        """Reads a batch; whatever is wrong with an item is a fault of its row.

        Args:
            messages: TPMS_ATTEST or TPM2B_ATTEST.
            sigs: TPMT_SIGNATURE, or tpm2-tools' plain form.
            publics: a key for each, in any form that :meth:`Keys.of` reads.
            values: what tpm2_quote wrote beside each.
            hash_name: TCG name of the hash of plain signatures by keys that do not name one.

        Raises:
            UsageError: columns of different lengths, or an unknown hash.
        """
        n = len(messages)
        values = Ragged.of([None] * n) if values is None else values
        if not len(sigs) == len(publics) == len(values) == n:
            raise UsageError("one signature, key and item of values a message is needed")
        known = {bank.name: bank.id for bank in BANKS}
        if hash_name not in known:
            raise UsageError(f"unknown hash {hash_name!r}; there is {', '.join(known)}")
        keys = Keys.of(publics)
        rows = _native.decode_signatures(sigs.blob, sigs.offsets)
        plain = rows["form"] != _native.SIGNATURE_TPMT
        by_type = np.where(
            keys.rows["type"] == tpm_names.RSA,
            tpm_names.RSASSA,
            np.where(keys.rows["curve"] == SM2.id, tpm_names.SM2, tpm_names.ECDSA),
        )
        named = keys.rows["scheme"] != tpm_names.NULL
        scheme = np.where(plain, np.where(named, keys.rows["scheme"], by_type), rows["scheme"]).astype(np.uint32)
        of_key = np.where(keys.rows["scheme_hash"] != 0, keys.rows["scheme_hash"], known[hash_name])
        hash_id = np.where(plain, of_key, rows["hash"]).astype(np.uint32)
        attests = _native.decode_attests(messages.blob, messages.offsets)
        return cls(messages, attests, sigs, rows, keys, values, scheme, hash_id)

    @property
    def hash_bank(self) -> npt.NDArray[np.int64]:
        """The bank of the hash of each signature, NO_HASH where it is not known here: int64 of shape [n]."""
        banks = np.full(len(self), NO_HASH, np.int64)
        for number, bank in _BANK_OF.items():
            banks[self.hash_id == number] = bank
        return banks

    def nonce(self, i: int) -> bytes:
        """The extraData of one quote."""
        row = self.attests[i]
        return self.messages[i][int(row["nonce_at"]) :][: int(row["nonce_size"])]

    def nonces(self) -> Ragged:
        """The extraData of all, empty where the attest has a fault."""
        good = self.attests["fault"] == 0
        blob, offsets = gather(self.messages, self.attests["nonce_at"], np.where(good, self.attests["nonce_size"], 0))
        return Ragged(blob, offsets, good)

    def pcr_digest(self, i: int) -> bytes:
        """The signed pcrDigest of one quote."""
        row = self.attests[i]
        return self.messages[i][int(row["digest_at"]) :][: int(row["digest_size"])]

    def pcr_digests(self) -> npt.NDArray[np.uint8]:
        """The signed pcrDigests, each at the start of a row of zeros: uint8 of shape [n, 64]."""
        good = self.attests["fault"] == 0
        sizes = np.where(good, self.attests["digest_size"], 0)
        at = self.messages.offsets[:-1] + self.attests["digest_at"]
        digests = np.zeros((len(self), _native.DIGEST_ROOM), np.uint8)
        for size in np.unique(sizes[sizes != 0]).tolist():
            chosen = np.flatnonzero(sizes == size)
            digests[chosen, :size] = rows_at(self.messages.blob, at[chosen], size)
        return digests


def attest_digests(quotes: Quotes) -> list[bytes]:
    """SHA-256 of the TPMS_ATTEST of each quote, without the size that may stand before it."""
    at = quotes.attests["at"]
    blob, offsets = gather(quotes.messages, at, np.maximum(np.diff(quotes.messages.offsets) - at, 0))
    return [digest.tobytes() for digest in _native.hash_messages(BY_NAME["sha256"].index, blob, offsets)]


def signed_digests(quotes: Quotes, sm2_mode: str = Sm2Mode.DIGEST) -> npt.NDArray[np.uint8]:
    """The digest that each signature is over: uint8 of shape [n, 64], zeros where the hash is not known.

    It is the hash of the TPMS_ATTEST exactly as received; for SM2 keys in ``za`` mode SM3(ZA || attest).

    Raises:
        UsageError: an unknown mode.
    """
    if sm2_mode not in list(Sm2Mode):
        raise UsageError(f"unknown SM2 mode {sm2_mode!r}; there is {' and '.join(Sm2Mode)}")
    n = len(quotes)
    digests = np.zeros((n, _native.DIGEST_ROOM), np.uint8)
    usable = (quotes.attests["fault"] == 0) & (quotes.keys.rows["fault"] == 0) & (quotes.signature_rows["fault"] == 0)
    in_za = usable & (quotes.scheme == tpm_names.SM2) & (quotes.keys.rows["curve"] == SM2.id) & (sm2_mode == Sm2Mode.ZA)
    body = np.diff(quotes.messages.offsets) - quotes.attests["at"]
    banks = quotes.hash_bank
    for bank in BANKS:
        chosen = np.flatnonzero(usable & ~in_za & (banks == bank.index))
        if len(chosen):
            sizes = np.zeros(n, np.int64)
            sizes[chosen] = body[chosen]
            blob, offsets = gather(quotes.messages, quotes.attests["at"], sizes)
            starts = np.append(offsets[:-1][chosen], offsets[-1])
            digests[chosen, : bank.size] = _native.hash_messages(bank.index, blob, starts)
    chosen = np.flatnonzero(in_za & (banks == _SM3))
    if len(chosen):
        points = [quotes.keys.point(i) for i in chosen.tolist()]
        bodies = [quotes.messages[i][int(quotes.attests["at"][i]) :] for i in chosen.tolist()]
        digests[chosen, : BANKS[_SM3].size] = za_digests(points, bodies)
    return digests


def verify_signatures(
    quotes: Quotes, which: npt.NDArray[np.bool_], sm2_mode: str = Sm2Mode.DIGEST, by: str | None = None
) -> npt.NDArray[np.uint8]:
    """Verifies the signatures of the quotes of a mask, each over its own message and by its own key.

    Returns:
        ``_native.GOOD``, ``BAD``, ``RANGE`` or ``UNUSABLE``, the last for those not of the mask: uint8 of shape [n].
    """
    results = np.full(len(quotes), _native.UNUSABLE, np.uint8)
    banks = quotes.hash_bank
    rows = quotes.signature_rows.copy()
    # In za mode the hash is SM3 by definition, and a signature that says otherwise is of another scheme.
    refused = ~which | (banks == NO_HASH)
    if sm2_mode == Sm2Mode.ZA:
        refused |= (quotes.scheme == tpm_names.SM2) & (banks != _SM3)
    rows["fault"][refused] = _native.QUOTE_FAULTS["scheme"]
    if not np.all(refused):
        results = signatures.verify(
            quotes.signatures,
            rows,
            quotes.keys,
            quotes.keys.same_as,
            quotes.scheme,
            np.where(refused, 0, banks).astype(np.uint32),
            signed_digests(quotes, sm2_mode),
            by=by,
        )
    results[refused | (quotes.attests["fault"] != 0)] = _native.UNUSABLE
    return results
