"""Signed quotes in an appraisal: what each row of evidence has proven, by whose key, and how fresh that is."""

from __future__ import annotations

import datetime
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.algorithms import BANKS
from pyverify.appraise.coverage import Coverage, cover
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.policy import KEY_LEVELS, Policy
from pyverify.appraise.proof import ProofPolicy, Proofs, prove
from pyverify.appraise.rows import has_values
from pyverify.baseline.freshness import FINDINGS as FRESHNESS_FINDINGS
from pyverify.baseline.freshness import Freshness, judge_all
from pyverify.baseline.identity import KeyLevel
from pyverify.baseline.identity_columns import Asked
from pyverify.baseline.references import References
from pyverify.evidence.columns import Ragged, evidence_schema
from pyverify.evidence.quote import Quotes, attest_digests
from pyverify.findings import Finding, Severity
from pyverify.replay import Replayed

MAX_QUOTES: Final = 16
"""Quotes of one boot that are looked at: one a bank and key is what collectors send."""

_QUOTES: Final = evidence_schema().field("quotes").type
_PARTS: Final = ("msg", "sig", "ak_pub", "pcrs")
_NO_KEY: Final = KEY_LEVELS.index("none")
_LEVELS: Final = np.array([KEY_LEVELS.index(level) for level in KeyLevel])


@dataclass(frozen=True, slots=True)
class SentQuotes:
    """The quotes of a batch, flat: ``row_of`` is the row of each, int64 of shape [quotes]; ``banks`` are the banks that
    the quotes of each row select, uint32 of shape [rows]."""

    quotes: Quotes
    row_of: npt.NDArray[np.int64]
    banks: npt.NDArray[np.uint32]


def sent_quotes(batch: pa.RecordBatch, ignored: npt.NDArray[np.bool_], findings: FindingColumns) -> SentQuotes:
    """Reads the quotes of the rows that are not ignored."""
    n = len(batch)
    column = batch.column("quotes") if has_values(batch, "quotes") else pa.nulls(n, _QUOTES)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    row_of = np.repeat(np.arange(n), lengths)
    place = np.arange(len(row_of)) - np.searchsorted(row_of, row_of)
    kept = ~ignored[row_of] & (place < MAX_QUOTES)
    many = np.unique(row_of[(place >= MAX_QUOTES) & ~ignored[row_of]])
    hint = f"more than {MAX_QUOTES} quotes of one boot; the others are not looked at"
    findings.add_to_all(many, Finding("quote.format", Severity.HIGH, hint))
    row_of = row_of[kept]
    parts = column.flatten()
    if not kept.all():
        parts = parts.filter(pa.array(kept))
    quotes = Quotes.of(*(Ragged.from_arrow(pc.struct_field(parts, name)) for name in _PARTS))
    banks = np.zeros(n, np.uint32)
    good = quotes.attests["fault"] == 0
    for bank in BANKS:
        selects = good & (quotes.attests["selected"][:, bank.index] != 0)
        banks[row_of[selects]] |= np.uint32(1 << bank.index)
    return SentQuotes(quotes, row_of, banks)


@dataclass(slots=True)
class Attestation:
    """What the quotes of each row of a batch come to.

    ``proven`` are by bank the PCRs, a bit each, whose values in ``values`` are authentic: uint32 of shape [n] and uint8
    of shape [n, 24, size]. ``attested``, ``key`` and ``ak_names`` are one a row, the weakest of the quotes that count;
    ``nonces`` are what those answer, None where they answer different ones.
    ``facts`` are those of each quote whose signature verified by a key of its machine and that is no known replay, for
    rules that need other rows: a dictionary of columns with ``row``, ``ak_name``, ``nonce``, ``attest``, ``issued_at``,
    ``clock``, ``reset_count``, ``restart_count``, ``safe``, ``firmware_version``, and
    ``last``: whether it is the last, by its clock, of those of its row that count.
    """

    proven: dict[str, npt.NDArray[np.uint32]]
    values: dict[str, npt.NDArray[np.uint8]]
    attested: list[str]
    key: list[str]
    ak_names: list[bytes | None]
    nonces: list[bytes | None]
    facts: dict[str, Any]


def attest(
    sent: SentQuotes,
    replayed: Replayed,
    *,
    machines: list[str],
    references: References,
    policy: Policy,
    as_of: datetime.datetime,
    required_pcrs: npt.NDArray[np.uint32],
    required_banks: npt.NDArray[np.uint32],
    findings: FindingColumns,
) -> Attestation:
    """Judges the quotes of a batch and puts those of each row together.

    Args:
        sent: the quotes.
        replayed: what the event logs of the rows lead to, in all banks that are quoted.
        machines: the operator's name of each row's machine.
        references: enrolled keys and challenges.
        policy: what is required; its ``quote`` is not ``no``.
        as_of: the time of the verdicts.
        required_pcrs: PCRs, a bit each, that must be proven of each row: uint32 of shape [n].
        required_banks: banks, a bit each, in which they must: uint32 of shape [n].
        findings: where the reasons go.
    """
    quotes, row_of = sent.quotes, sent.row_of
    names = [name or None for name in quotes.keys.names.to_list()]
    enrolled = references.identity.find([machines[row] for row in row_of.tolist()], names, as_of=as_of)
    known = enrolled >= 0
    proofs = prove(
        quotes,
        policy=ProofPolicy(hashes=policy.banks_allowed),
        replayed=replayed,
        row_of=row_of,
        in_za=_of_keys(references.identity.signs_in_za, enrolled, False),
    )
    for numbers, finding in proofs.findings:
        findings.add_to_all(row_of[numbers], finding)
    levels = np.where(known, _LEVELS[_of_keys(references.identity.levels, enrolled, 0)], _NO_KEY)
    _judge_keys(levels, proofs.signature_ok, row_of, policy, findings)
    nonces = proofs.nonces.to_list()
    attests = _what_spends(proofs, sent, names, nonces)
    asked = references.identity.asked(names, nonces, as_of=as_of)
    fresh = judge_all(asked, attests, as_of=as_of, max_age=policy.age_limit)
    _tell_freshness(fresh, known & proofs.signature_ok, row_of, policy, findings)
    eligible = known & ~np.isin(fresh, (Freshness.WRONG_NONCE, Freshness.REPLAYED))
    n = len(machines)
    coverage = cover(
        proofs,
        row_of,
        n,
        eligible=eligible,
        required_pcrs=required_pcrs,
        required_banks=required_banks,
    )
    for rows, finding in coverage.findings:
        findings.add_to_all(rows, finding)
    words = f"policy {policy.name} wants a signed quote of the log's PCRs, and there is none"
    findings.add_to_all(np.setdiff1d(np.arange(n), row_of), Finding("quote.missing", Severity.HIGH, words))
    # A quote by a key of another machine says nothing to that machine's rows (DESIGN section 5.8): it may be a copy.
    # One whose nonce the ledger has as spent by another must not pass for the first of them.
    heard = proofs.signature_ok & known & (fresh != Freshness.REPLAYED)
    last = _last_relied(proofs, row_of, coverage.relied)
    facts = _facts(proofs, sent, names, nonces, attests, asked, last, heard)
    answered = _answered(coverage.relied, row_of, nonces, n)
    return _in_rows(coverage, proofs, sent, names, levels, fresh, answered, facts)


def _of_keys(facts: npt.NDArray[Any], enrolled: npt.NDArray[np.int32], unknown: int) -> npt.NDArray[Any]:
    """A fact of the key of each quote; ``enrolled`` is the number of the key, below 0 where it is unknown."""
    found: npt.NDArray[Any] = np.full(len(enrolled), unknown, facts.dtype)
    found[enrolled >= 0] = facts[enrolled[enrolled >= 0]]
    return found


def _judge_keys(
    levels: npt.NDArray[np.int64],
    signed: npt.NDArray[np.bool_],
    row_of: npt.NDArray[np.int64],
    policy: Policy,
    findings: FindingColumns,
) -> None:
    hint = "the key that signed is not enrolled for this machine"
    findings.add_to_all(row_of[signed & (levels == _NO_KEY)], Finding("key.unknown", Severity.HIGH, hint))
    wanted = KEY_LEVELS.index(policy.key)
    first_use = KEY_LEVELS.index("first-use")
    trusted_once = signed & (levels == first_use)
    severity = Severity.HIGH if wanted > first_use else Severity.INFO
    hint = "nobody vouches for this key: it was trusted because it came first (`pyverify enroll` vouches for it)"
    findings.add_to_all(row_of[trusted_once], Finding("key.first-use", severity, hint))
    for level in range(first_use + 1, wanted):
        hint = f"[evidence] key = {policy.key!r}: this key is only {KEY_LEVELS[level]}"
        findings.add_to_all(row_of[signed & (levels == level)], Finding("policy.rule", Severity.HIGH, hint))


def _what_spends(proofs: Proofs, sent: SentQuotes, names: list[bytes | None], nonces: list[bytes]) -> list[bytes]:
    """What each quote spends its nonce with: the SHA-256 of its TPMS_ATTEST.

    A machine may answer one challenge with several quotes by one key, a bank each. They are one answer: it is over the
    SHA-256 of each, in the order of their bytes.
    """
    own = attest_digests(sent.quotes)
    answers: defaultdict[tuple[int, bytes, bytes], list[int]] = defaultdict(list)
    good = np.flatnonzero(proofs.signature_ok)
    several = good[np.bincount(sent.row_of[good])[sent.row_of[good]] > 1]
    for i in several.tolist():
        answers[int(sent.row_of[i]), names[i] or b"", nonces[i]].append(i)
    for together in answers.values():
        distinct = sorted({own[i] for i in together})
        if len(distinct) > 1:
            answer = hashlib.sha256(b"".join(distinct)).digest()
            for i in together:
                own[i] = answer
    return own


def _tell_freshness(
    fresh: npt.NDArray[np.uint8],
    which: npt.NDArray[np.bool_],
    row_of: npt.NDArray[np.int64],
    policy: Policy,
    findings: FindingColumns,
) -> None:
    for freshness_code, (code, words) in FRESHNESS_FINDINGS.items():
        lenient = code == "quote.unfresh" and policy.quote == "any"
        severity = Severity.INFO if lenient else Severity.HIGH
        findings.add_to_all(row_of[which & (fresh == freshness_code)], Finding(code, severity, words))


def _facts(
    proofs: Proofs,
    sent: SentQuotes,
    names: list[bytes | None],
    nonces: list[bytes],
    attests: list[bytes],
    asked: Asked,
    last: npt.NDArray[np.bool_],
    heard: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """Those of :class:`Attestation`, of the quotes of a mask."""
    good = np.flatnonzero(heard)
    numbers = good.tolist()
    counters = ("clock", "reset_count", "restart_count", "safe", "firmware_version")
    entries = [asked.entries[i] for i in numbers]
    return {
        "row": sent.row_of[good],
        "ak_name": [names[i] for i in numbers],
        "nonce": [nonces[i] for i in numbers],
        "attest": [attests[i] for i in numbers],
        "issued_at": [None if entry is None else entry[0] for entry in entries],
        **{name: getattr(proofs, name)[good] for name in counters},
        "last": last[good],
    }


def _last_relied(proofs: Proofs, row_of: npt.NDArray[np.int64], relied: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Of the quotes that count the last of each row: authentic values are of its time (see ``coverage.cover``)."""
    numbers = np.flatnonzero(relied)
    numbers = numbers[np.lexsort((proofs.clock[numbers], row_of[numbers]))]
    last = np.zeros(len(row_of), np.bool_)
    last[numbers[np.flatnonzero(np.diff(row_of[numbers], append=-1))]] = True
    return last


def _answered(
    relied: npt.NDArray[np.bool_], row_of: npt.NDArray[np.int64], nonces: list[bytes], n: int
) -> list[bytes | None]:
    """For each row the nonce that all quotes that count answer; None without any, and where they answer several."""
    answered: list[bytes | None] = [None] * n
    several = []
    for quote, row in zip(np.flatnonzero(relied).tolist(), row_of[relied].tolist(), strict=True):
        if answered[row] not in (None, nonces[quote]):
            several.append(row)
        answered[row] = nonces[quote]
    for row in several:
        answered[row] = None
    return answered


def _in_rows(
    coverage: Coverage,
    proofs: Proofs,
    sent: SentQuotes,
    names: list[bytes | None],
    levels: npt.NDArray[np.int64],
    fresh: npt.NDArray[np.uint8],
    answered: list[bytes | None],
    facts: dict[str, Any],
) -> Attestation:
    n = len(coverage.proven)
    relied, row_of = coverage.relied, sent.row_of
    weakest = np.full(n, len(KEY_LEVELS))
    np.minimum.at(weakest, row_of[relied], levels[relied])
    has = weakest < len(KEY_LEVELS)
    stale = np.zeros(n, np.bool_)
    stale[row_of[relied & (fresh != Freshness.FRESH)]] = True
    ak_names: list[bytes | None] = [None] * n
    for some in (proofs.signature_ok & ~relied, relied):
        for i, row in zip(np.flatnonzero(some).tolist(), row_of[some].tolist(), strict=True):
            ak_names[row] = names[i]
    return Attestation(
        proven={bank.name: coverage.proven[:, bank.index] for bank in BANKS},
        values=coverage.values,
        attested=np.where(has, np.where(stale, "quote-unfresh", "quote"), "log").tolist(),
        key=np.array(KEY_LEVELS)[np.where(has, weakest, _NO_KEY)].tolist(),
        ak_names=ak_names,
        nonces=answered,
        facts=facts,
    )
