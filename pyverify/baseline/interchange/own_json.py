"""Our own form: whole baselines in JSON without loss, what many share once, the same bytes for the same baselines.

    {"format": "pyverify-baselines", "version": 1,
     "sequences": {KEY: {"start", "types", "texts", "digests": {bank: [hex]}, "varies", "values": {bank: hex}}},
     "ima_sets": {KEY: {path: ["algorithm:hex"]}},
     "profiles": {KEY: [for each PCR [{"sequence": KEY, "until"?, "keep"?}]]},
     "baselines": [{"scope", "id", "version", "state", "origin", "profile": KEY, …}]}

Keys are those of the values (SHA-256 in hexadecimal digits), so that a file that contradicts itself shows. The version
is of the form; a file of another one is refused. A digest of an IMA set is ``[verity:][buffer:]algorithm:hex``; a path
is UTF-8 with other bytes as the lone surrogates of Python's ``surrogateescape``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pyverify import _native
from pyverify.baseline.interchange import own_json_reader
from pyverify.baseline.interchange.imported import check_identity
from pyverify.baseline.interchange.own_json_reader import FORMAT, VERSION
from pyverify.baseline.model import Accepted, Allowed, Baseline, EventSequence
from pyverify.errors import UsageError
from pyverify.evidence.ima_set import ImaSet, Member

read = own_json_reader.read


def export(baselines: Iterable[Baseline]) -> Iterator[str]:
    """The file of these baselines, piece by piece; the pieces are ASCII.

    Raises:
        UsageError: two baselines of one scope, id and version, or a name that cannot be.
    """
    ordered = sorted(baselines, key=lambda b: (b.scope, b.id, b.version))
    sequences: dict[str, EventSequence] = {}
    sets: dict[str, ImaSet] = {}
    profiles: dict[str, str] = {}
    known: dict[int, str] = {}
    rows: list[str] = []
    previous: tuple[str, str, int] | None = None
    for baseline in ordered:
        check_identity(baseline.scope, baseline.id)
        key = (baseline.scope, baseline.id, baseline.version)
        if key == previous:
            raise UsageError(f"baseline {' '.join(map(str, key))} is there twice")
        previous = key
        sets.update((ima.key.hex(), ima) for ima in baseline.ima_sets)
        if id(baseline.allowed) not in known:  # of equal objects the text is made once; ``ordered`` keeps them alive
            body = _text([[_allowed(one) for one in of_pcr] for of_pcr in baseline.allowed])
            known[id(baseline.allowed)] = hashlib.sha256(body.encode()).hexdigest()
            profiles[known[id(baseline.allowed)]] = body
            sequences.update((one.sequence.key.hex(), one.sequence) for of_pcr in baseline.allowed for one in of_pcr)
        rows.append(_text(_baseline(baseline, known[id(baseline.allowed)])))
    yield f'{{"format":{_text(FORMAT)},"version":{VERSION}'
    yield from _table("sequences", ((key, _text(_sequence(sequences[key]))) for key in sorted(sequences)))
    yield from _table("ima_sets", ((key, _text(_ima_set(sets[key]))) for key in sorted(sets)))
    yield from _table("profiles", sorted(profiles.items()))
    yield ',\n"baselines":['
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n{row}"
    yield "\n]}\n"


def _table(name: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f",\n{_text(name)}:{{"
    for number, (key, body) in enumerate(entries):
        yield f"{',' if number else ''}\n{_text(key)}:{body}"
    yield "\n}"


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def time_text(time: datetime) -> str:
    """A time as the file has it: UTC, six digits of a second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _sequence(sequence: EventSequence) -> dict[str, Any]:
    banks: Mapping[str, bytes] = sequence.digests
    return {
        "start": sequence.start,
        "types": sequence.types,
        "texts": sequence.texts,
        "digests": {bank: [digest.hex() for digest in sequence.split(bank)] for bank in sorted(banks)},
        "varies": sequence.varies,
        "values": {bank: sequence.values[bank].hex() for bank in sorted(sequence.values)},
    }


def _ima_set(ima: ImaSet) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for member in ima:  # in the order of path, kind, digest
        paths.setdefault(member.path.decode("utf-8", "surrogateescape"), []).append(_tagged(member))
    return paths


def _tagged(member: Member) -> str:
    verity = "verity:" if member.kind & _native.IMA_KIND_VERITY else ""
    buffer = "buffer:" if member.kind & _native.IMA_KIND_BUFFER else ""
    return f"{verity}{buffer}{member.algorithm}:{member.digest.hex()}"


def _allowed(one: Allowed) -> dict[str, Any]:
    sequence = {"sequence": one.sequence.key.hex()}
    return sequence if one.until is None else {**sequence, "until": time_text(one.until), "keep": one.keep}


def _baseline(baseline: Baseline, profile: str) -> dict[str, Any]:
    return {
        "scope": baseline.scope,
        "id": baseline.id,
        "version": baseline.version,
        "state": str(baseline.state),
        "origin": str(baseline.origin),
        "profile": profile,
        "log_banks": baseline.log_banks,
        "quoted_banks": baseline.quoted_banks,
        "boot": baseline.boot,
        "evidence_id": baseline.evidence_id.hex(),
        "ima_set": None if baseline.ima is None else baseline.ima.key.hex(),
        "ima_violations": baseline.ima_violations,
        "ima_superseded": [
            {"set": old.ima.key.hex(), "until": time_text(old.until)} for old in baseline.ima_superseded
        ],
        "accepted": [_accepted(one) for one in baseline.accepted],
    }


def _accepted(one: Accepted) -> dict[str, Any]:
    return {"code": one.code, "pcr": one.pcr, "reason": one.reason}
