"""What a quote proves: which PCR values are authentic, by which key, and every reason why not.

Quotes are judged one by one here, by column; :mod:`pyverify.appraise.coverage` puts those of one boot together. Whether
a key is enrolled and a nonce fresh is not asked here: the AK's Name and the nonce are handed on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS
from pyverify.errors import UsageError
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import CURVES, SM2
from pyverify.evidence.key_rules import ATTESTATION, LEAST_EXPONENT, RSA_BITS
from pyverify.evidence.pcr_values import BankColumns, digest_matches, laid_out, selection_digests
from pyverify.evidence.quote import Quotes, verify_signatures
from pyverify.evidence.quote_faults import fault_words
from pyverify.evidence.sm2 import Sm2Mode
from pyverify.findings import Finding, Severity
from pyverify.replay import Replayed

Mask = npt.NDArray[np.bool_]

NOT_PROVEN, BESIDE, REPLAYED = range(3)
"""Where authentic values came from: nowhere, from beside the quote, from the replay."""


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """How strong a quote must be. ``sm2_mode`` is what SM2 keys sign: ``digest`` or ``za``."""

    hashes: tuple[str, ...] = ("sha256", "sha384", "sha512", "sm3_256")
    rsa_bits: tuple[int, ...] = RSA_BITS
    least_exponent: int = LEAST_EXPONENT
    curves: tuple[str, ...] = ("p256", "p384", "p521", "sm2_p256")
    sm2_mode: str = Sm2Mode.DIGEST
    bare_keys: bool = False
    """Whether a key without its public area will do: then nothing says that a TPM holds it, and it has no Name."""


@dataclass(slots=True)
class Proofs:
    """What the quotes of a batch prove; every column has one row a quote.

    ``sound`` quotes have no finding. ``proven`` are the PCRs, a bit each, by bank (uint32 of shape [n, 5]) whose
    values in ``values`` (by bank uint8 of shape [n, 24, size], zeros elsewhere) are authentic; none where it is
    not sound. ``origin`` is where they came from: NOT_PROVEN, BESIDE or REPLAYED. ``selected`` is what was signed,
    proven or not.
    ``findings`` are (numbers of quotes, finding) pairs.
    """

    signature_ok: Mask
    sound: Mask
    selected: npt.NDArray[np.uint32]
    proven: npt.NDArray[np.uint32]
    origin: npt.NDArray[np.uint8]
    values: dict[str, npt.NDArray[np.uint8]]
    ak_names: Ragged
    nonces: Ragged
    clock: npt.NDArray[np.uint64]
    reset_count: npt.NDArray[np.uint32]
    restart_count: npt.NDArray[np.uint32]
    safe: Mask
    firmware_version: npt.NDArray[np.uint64]
    findings: list[tuple[npt.NDArray[np.int64], Finding]]


@dataclass
class _Judge:
    """Gathers findings, and which quotes have none yet."""

    quotes: Quotes
    policy: ProofPolicy
    sound: Mask
    findings: list[tuple[npt.NDArray[np.int64], Finding]] = field(default_factory=list)

    def refuse(self, rows: Mask, code: str, hint: str) -> None:
        """The same finding for all quotes of a mask."""
        if np.any(rows):
            self.findings.append((np.flatnonzero(rows), Finding(code, Severity.HIGH, hint)))
            self.sound &= ~rows

    def faults(self) -> None:
        """Items that are not exactly what they should be."""
        parts = (
            ("attest", self.quotes.attests, self.quotes.messages.present),
            ("signature", self.quotes.signature_rows, self.quotes.signatures.present),
            ("public area", self.quotes.keys.rows, self.quotes.keys.present),
        )
        for what, rows, present in parts:
            for i in np.flatnonzero((rows["fault"] != 0) & present).tolist():
                code = _native.quote_fault_code(int(rows["fault"][i])) or "quote.format"
                hint = f"{what}: {fault_words(int(rows['fault'][i]))}, at byte {int(rows['fault_at'][i])}"
                self.findings.append((np.array([i]), Finding(code, Severity.HIGH, hint)))
                self.sound[i] = False
        self.refuse(~self.quotes.messages.present, "quote.format", "no attest was sent")
        self.refuse(~self.quotes.signatures.present, "quote.format", "no signature was sent")
        self.refuse(~self.quotes.keys.present, "quote.signature", "no public key was sent to verify it with")

    def schemes(self) -> None:
        """The signature must be of the key's scheme and hash, and of an allowed one (SPEC 8.2)."""
        q, keys = self.quotes, self.quotes.keys.rows
        decoded = (keys["fault"] == 0) & (q.signature_rows["fault"] == 0) & q.keys.present
        is_rsa = keys["type"] == tpm_names.RSA
        form = q.signature_rows["form"]
        of_rsa = np.isin(q.scheme, (tpm_names.RSASSA, tpm_names.RSAPSS))
        fits = np.where(is_rsa, of_rsa & (form != _native.SIGNATURE_DER), ~of_rsa & (form != _native.SIGNATURE_RSA))
        fits &= np.isin(q.scheme, list(tpm_names.SCHEMES))
        fits &= is_rsa | ((q.scheme == tpm_names.SM2) == (keys["curve"] == SM2.id))
        named = (keys["scheme"] != tpm_names.NULL) & decoded
        other = named & fits & (keys["scheme"] != q.scheme)
        self.refuse(decoded & ~fits, "quote.scheme", "the signature is of a scheme that is not of the key's type")
        self.refuse(other, "quote.scheme", "the signature's scheme is not the one that the key is bound to")
        hint = "the signature's hash is not the one that the key is bound to"
        self.refuse(named & fits & ~other & (keys["scheme_hash"] != q.hash_id), "quote.scheme", hint)
        allowed = np.isin(q.hash_id, [BY_NAME[name].id for name in self.policy.hashes])
        words = f"the signature's hash is not allowed; {', '.join(self.policy.hashes)} are"
        self.refuse(decoded & ~allowed, "quote.scheme", words)

    def keys(self) -> None:
        """Strength of the keys, and what binds them to a TPM (SPEC 8.2, 8.4)."""
        keys, policy = self.quotes.keys.rows, self.policy
        decoded = (keys["fault"] == 0) & self.quotes.keys.present
        is_rsa = decoded & (keys["type"] == tpm_names.RSA)
        bits = ", ".join(map(str, policy.rsa_bits))
        hint = f"an RSA modulus of another size than {bits} bits"
        self.refuse(is_rsa & ~np.isin(keys["bits"], policy.rsa_bits), "key.weak", hint)
        low = (keys["exponent"] < policy.least_exponent) | (keys["exponent"] % 2 == 0)
        self.refuse(is_rsa & low, "key.weak", f"an RSA exponent that is even or below {policy.least_exponent}")
        hint = "an RSA key of a generator whose keys can be broken (CVE-2017-15361): its TPM needs other firmware"
        self.refuse(self.quotes.keys.weakly_generated() & is_rsa, "key.denied", hint)
        good = [curve.id for curve in CURVES.values() if curve.name in policy.curves]
        hint = f"a curve that is not allowed; {', '.join(policy.curves)} are"
        self.refuse(decoded & ~is_rsa & ~np.isin(keys["curve"], good), "key.weak", hint)
        bare = self.quotes.keys.bare & decoded
        if not policy.bare_keys:
            hint = "a bare public key: nothing says that a TPM holds it; send its TPM2B_PUBLIC"
            self.refuse(bare, "key.attributes", hint)
        faults = np.where(decoded & ~bare, ATTESTATION.faults(keys), np.uint64(0))
        for fault in np.unique(faults[faults != 0]).tolist():
            hint = f"this key may not attest: {', '.join(ATTESTATION.words(fault))}"
            self.refuse(faults == fault, "key.attributes", hint)

    def selections(self) -> None:
        """What was signed must select something, and only what is known here (SPEC 8.1)."""
        a = self.quotes.attests
        good = a["fault"] == 0
        self.refuse(good & (a["empty"] != 0), "quote.selection", "no PCR is selected: the quote says nothing")
        unknown = np.any((a["mask"] != 0) & (a["bank"] == _native.NO_BANK), axis=1)
        self.refuse(good & unknown, "quote.selection", "PCRs of a bank are selected whose hash is not known here")
        above = np.any(a["mask"] >> PCRS != 0, axis=1)
        self.refuse(good & above, "quote.selection", f"PCRs above {PCRS - 1} are selected")
        sizes = np.array([bank.size for bank in BANKS])[np.maximum(self.quotes.hash_bank, 0)]
        wrong = good & (self.quotes.hash_bank >= 0) & (a["digest_size"] != sizes)
        wrong &= self.quotes.signature_rows["fault"] == 0
        self.refuse(wrong, "quote.format", "pcrDigest is not as long as a digest of the signature's hash")

    def signatures(self, by: str | None, in_za: Mask | None) -> Mask:
        """Verifies those that nothing is wrong with otherwise, and those whose selection or attributes alone are."""
        q = self.quotes
        decoded = (q.attests["fault"] == 0) & (q.signature_rows["fault"] == 0) & (q.keys.rows["fault"] == 0)
        asked = decoded & q.keys.present & ~self._has("quote.scheme", "key.weak")
        apart = np.zeros(len(q), np.bool_) if in_za is None else in_za
        results = verify_signatures(q, asked & ~apart, self.policy.sm2_mode, by)
        if np.any(apart):
            results = np.where(apart, verify_signatures(q, asked & apart, Sm2Mode.ZA, by), results)
        self.refuse(asked & (results == _native.BAD), "quote.signature", "the signature does not verify")
        hint = "r or s is out of range, or the signature is not as long as the key"
        self.refuse(asked & (results == _native.RANGE), "quote.format", hint)
        hint = "no engine here can verify this scheme with this key"
        self.refuse(asked & (results == _native.UNUSABLE), "quote.signature", hint)
        ok: Mask = asked & (results == _native.GOOD)
        return ok

    def _has(self, *codes: str) -> Mask:
        marked = np.zeros(len(self.quotes), np.bool_)
        for rows, finding in self.findings:
            if finding.code in codes:
                marked[rows] = True
        return marked


def prove(
    quotes: Quotes,
    *,
    policy: ProofPolicy | None = None,
    replayed: Replayed | None = None,
    row_of: npt.NDArray[np.int64] | None = None,
    in_za: Mask | None = None,
    by: str | None = None,
) -> Proofs:
    """Judges each quote of a batch.

    Args:
        quotes: the quotes.
        policy: how strong they must be; the default is the presets'.
        replayed: PCR values that logs lead to, tried where the values beside a quote do not match or were not sent.
        row_of: for each quote the row of ``replayed``: int64 of shape [n]; by default quote i has row i.
        in_za: quotes by SM2 keys that are known to sign in ``za`` mode, whatever the policy says: bool of shape [n].
        by: the engine that verifies signatures, see :func:`pyverify.evidence.signatures.engine`.

    Raises:
        UsageError: ``row_of`` does not fit, an unknown SM2 mode or engine.
    """
    n = len(quotes)
    rows = np.arange(n) if row_of is None else row_of
    if replayed is not None and (rows.shape != (n,) or np.any((rows < 0) | (rows >= len(replayed.logs)))):
        raise UsageError("row_of must give each quote a row of the replayed values")
    judge = _Judge(quotes, policy or ProofPolicy(), np.ones(n, np.bool_))
    judge.faults()
    judge.schemes()
    judge.keys()
    judge.selections()
    signature_ok = judge.signatures(by, in_za)
    origin, values = _match(judge, replayed, rows)
    good = quotes.attests["fault"] == 0
    selected = np.where(good[:, None], quotes.attests["selected"], np.uint32(0)).astype(np.uint32)
    proven = np.where((judge.sound & (origin != NOT_PROVEN))[:, None], selected, np.uint32(0))
    # Values that lay beside a quote are laid out for its selection only; all others may be more than is proven.
    rest = np.flatnonzero(~judge.sound | (origin != BESIDE))
    for name, column in values.items():
        bits = proven[rest, BY_NAME[name].index, None] >> np.arange(PCRS, dtype=np.uint32) & 1
        row, pcr = np.nonzero(bits == 0)
        column[rest[row], pcr] = 0
    return Proofs(
        signature_ok=signature_ok,
        sound=judge.sound,
        selected=selected,
        proven=proven,
        origin=np.where(judge.sound, origin, NOT_PROVEN).astype(np.uint8),
        values=values,
        ak_names=quotes.keys.names,
        nonces=quotes.nonces(),
        clock=quotes.attests["clock"],
        reset_count=quotes.attests["reset_count"],
        restart_count=quotes.attests["restart_count"],
        safe=quotes.attests["safe"] == 1,
        firmware_version=quotes.attests["firmware_version"],
        findings=judge.findings,
    )


def _match(
    judge: _Judge, replayed: Replayed | None, row_of: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.uint8]]]:
    """Which values the signed pcrDigest is of: those beside the quote, else the replayed ones (DESIGN section 5.2)."""
    quotes = judge.quotes
    asked = judge.sound.copy()
    complete, values = laid_out(quotes)
    beside = digest_matches(quotes, values, asked & complete)
    origin = np.where(beside, BESIDE, NOT_PROVEN).astype(np.uint8)
    left = asked & ~beside
    if replayed is not None and np.any(left):
        columns = {name: column[row_of] for name, column in replayed.values.items()}
        usable = left.copy()
        for bank in BANKS:
            wanted = quotes.attests["selected"][:, bank.index] != 0
            if bank.name in columns:
                usable &= ~wanted | replayed.has_bank(bank.name)[row_of]
            else:
                usable &= ~wanted
        matched = digest_matches(quotes, columns, usable)
        origin[matched] = REPLAYED
        for name, column in columns.items():
            values[name][matched] = column[matched]
        left &= ~matched
    _refuse_digests(judge, left, complete, values)
    return origin, values


def _refuse_digests(judge: _Judge, left: Mask, complete: Mask, values: BankColumns) -> None:
    if not np.any(left):
        return
    quotes = judge.quotes
    can, digests = selection_digests(quotes, values, left & complete)
    for i in np.flatnonzero(left).tolist():
        sent = "the PCR values beside the quote are not those that were signed"
        absent = "PCR values that fit the selection must be sent beside the quote (tpm2_quote -o)"
        expected = quotes.pcr_digest(i)
        actual = digests[i, : len(expected)].tobytes() if can[i] else None
        hint = sent if can[i] else absent
        finding = Finding("quote.digest", Severity.HIGH, hint, expected=expected, actual=actual)
        judge.findings.append((np.array([i]), finding))
    judge.sound &= ~left
