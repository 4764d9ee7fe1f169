"""Reads the form that :mod:`pyverify.baseline.interchange.own_json` writes, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from pyverify import _native
from pyverify.algorithms import BANKS, PCRS
from pyverify.baseline.acceptable import ACCEPTABLE, POLICY_PCR
from pyverify.baseline.interchange import strict
from pyverify.baseline.interchange.imported import SCOPES, check_identity
from pyverify.baseline.model import (
    Accepted,
    Allowed,
    Baseline,
    EventSequence,
    Origin,
    State,
    SupersededIma,
)
from pyverify.errors import UsageError
from pyverify.evidence.columns import NAME_PATTERN
from pyverify.evidence.ima_set import ImaSet, Member, kind_of
from pyverify.evidence.text import TEXT_LIMIT

FORMAT: Final = "pyverify-baselines"
VERSION: Final = 1
MAX_SIZE: Final = 1 << 30
"""Bytes of a file: 100,000 machines that share their sequences are some 80 MB, each distinct one another 20 KB."""
MAX_ALLOWED: Final = 1024
"""Sequences that a PCR may have, superseded ones too."""
_MAX_ITEMS: Final = 1 << 24
_MAX_REASON: Final = 4_096

_KEY: Final = "a key: 64 lower-case hexadecimal digits"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_NAME: Final = re.compile(NAME_PATTERN)

_FILE: Final[dict[str, type]] = {
    "format": str,
    "version": int,
    "sequences": dict,
    "ima_sets": dict,
    "profiles": dict,
    "baselines": list,
}
_SEQUENCE: Final[dict[str, type]] = {
    "start": int,
    "types": list,
    "texts": list,
    "digests": dict,
    "varies": list,
    "values": dict,
}
_BASELINE: Final[dict[str, type]] = {
    "scope": str,
    "id": str,
    "version": int,
    "state": str,
    "origin": str,
    "profile": str,
    "log_banks": list,
    "quoted_banks": list,
    "boot": str,
    "evidence_id": str,
    "ima_set": object,
    "ima_violations": int,
    "ima_superseded": list,
    "accepted": list,
}


def read(data: bytes) -> list[Baseline]:
    """The baselines of a file, in its order. What baselines share is one object.

    States, versions and origins are as the file says: whoever stores them decides what an import may become.

    Raises:
        UsageError: it is no such file, strictly read: the message has the place in it.
    """
    file = strict.load(data, "a file of baselines", MAX_SIZE)
    if isinstance(file, dict) and file.get("format") != FORMAT:
        raise strict.wrong("$.format", file.get("format"), FORMAT)
    if isinstance(file, dict) and (type(file.get("version")) is not int or file["version"] != VERSION):
        raise strict.wrong("$.version", file.get("version"), str(VERSION))
    strict.members(file, "$", _FILE)
    sequences = _Table("$.sequences", file["sequences"], _sequence)
    sets = _Table("$.ima_sets", file["ima_sets"], _ima_set)
    profiles = _Profiles(file["profiles"], sequences)
    baselines: list[Baseline] = []
    known: set[tuple[str, str, int]] = set()
    for number, value in enumerate(strict.items(file["baselines"], "$.baselines", _MAX_ITEMS)):
        place = f"$.baselines[{number}]"
        baseline = _baseline(value, place, profiles, sets)
        key = (baseline.scope, baseline.id, baseline.version)
        if key in known:
            raise UsageError(f"{place}: {baseline.scope} {baseline.id} version {baseline.version} is there twice")
        known.add(key)
        baselines.append(baseline)
    for table in (profiles, sequences, sets):
        table.check_used()
    return baselines


_Kept: TypeAlias = EventSequence | ImaSet


class _References:
    """The keys of a table, and which of them are referred to: what nothing refers to is no part of any baseline."""

    def __init__(self, place: str, table: dict[str, Any]) -> None:
        self._place = place
        self._used: set[str] = set()
        self._keys = table.keys()

    def check_used(self) -> None:
        """Refuses a table with an entry that nothing refers to."""
        if unused := self._keys - self._used:
            raise UsageError(f"{strict.at(self._place, min(unused))} is not referred to")

    def use(self, key: object, place: str) -> str:
        """A key that a value at this place refers to."""
        if not isinstance(key, str) or key not in self._keys:
            raise strict.wrong(place, key, f"a key of {self._place}")
        self._used.add(key)
        return key


class _Table(_References):
    """Values by their keys."""

    def __init__(self, place: str, table: dict[str, Any], parse: Callable[[Any, str], _Kept]) -> None:
        super().__init__(place, table)
        self._values: dict[str, Any] = {}
        for key, value in table.items():
            where = strict.at(place, key)
            parsed = parse(value, where)
            if strict.hexadecimal(key, f"{where}, as a key,", 32, _KEY) != parsed.key:
                raise UsageError(f"{where} is not what its key says; its own is {parsed.key.hex()}")
            self._values[key] = parsed

    def get(self, key: object, place: str) -> Any:
        """The value of a key that is referred to at this place."""
        return self._values[self.use(key, place)]


class _Profiles(_References):
    """What baselines allow their PCRs, by the SHA-256 of the text of it."""

    def __init__(self, table: dict[str, Any], sequences: _Table) -> None:
        super().__init__("$.profiles", table)
        self._values: dict[str, tuple[tuple[Allowed, ...], ...]] = {}
        for key, value in table.items():
            place = strict.at("$.profiles", key)
            self._values[key] = _profile(value, place, sequences)
            text = json.dumps(value, separators=(",", ":"))
            if key != (own := hashlib.sha256(text.encode()).hexdigest()):
                raise UsageError(f"{place} is not what its key says; its own is {own}")

    def get(self, key: object, place: str) -> tuple[tuple[Allowed, ...], ...]:
        """What a profile that is referred to at this place allows each PCR."""
        return self._values[self.use(key, place)]


def _profile(value: Any, place: str, sequences: _Table) -> tuple[tuple[Allowed, ...], ...]:
    of_pcrs = strict.items(value, place, PCRS)
    if len(of_pcrs) != PCRS:
        raise UsageError(f"{place} has {len(of_pcrs)} PCRs; allowed are {PCRS}")
    allowed = []
    for pcr, members in enumerate(of_pcrs):
        where = f"{place}[{pcr}]"
        entries = enumerate(strict.items(members, where, MAX_ALLOWED))
        allowed.append(tuple(_allowed(entry, f"{where}[{number}]", sequences) for number, entry in entries))
        named = [(one.sequence.key, one.until) for one in allowed[-1]]
        if len(set(named)) < len(named):
            raise UsageError(f"{where} allows one sequence twice")
    if not any(allowed):
        raise UsageError(f"{place} allows nothing in any PCR")
    return tuple(allowed)


def _allowed(value: Any, place: str, sequences: _Table) -> Allowed:
    strict.members(value, place, {"sequence": str}, {"until": str, "keep": bool})
    if ("until" in value) != ("keep" in value):
        raise UsageError(f"{place} has only one of until and keep; allowed are both or none")
    sequence = sequences.get(value["sequence"], f"{place}.sequence")
    if "until" not in value:
        return Allowed(sequence)
    return Allowed(sequence, _time(value["until"], f"{place}.until"), value["keep"])


def _time(text: object, place: str) -> datetime:
    if isinstance(text, str) and _TIME.fullmatch(text):
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        except ValueError:
            pass  # a month 13
    raise strict.wrong(place, text, "a time such as 2026-11-24T12:00:00.000000Z")


def _sequence(value: Any, place: str) -> EventSequence:
    strict.members(value, place, _SEQUENCE)
    start = strict.whole(value["start"], f"{place}.start", 0, 255)
    types = strict.items(value["types"], f"{place}.types", _native.MAX_EVENTS)
    texts = strict.items(value["texts"], f"{place}.texts", _native.MAX_EVENTS)
    for number, event_type in enumerate(types):
        strict.whole(event_type, f"{place}.types[{number}]", 0, 0xFFFFFFFF)
    for number, text in enumerate(texts):
        strict.line(text, f"{place}.texts[{number}]", TEXT_LIMIT)
    if len(texts) != len(types):
        raise UsageError(f"{place} has {len(types)} types and {len(texts)} texts; allowed is one an event")
    digests = {}
    for bank, chain in value["digests"].items():
        where = strict.at(f"{place}.digests", bank)
        strict.bank_name(bank, f"{where}, as a key,")
        listed = strict.items(chain, where, _native.MAX_EVENTS)
        if len(listed) != len(types):
            raise UsageError(f"{where} has {len(listed)} digests for {len(types)} events; allowed is one an event")
        digests[bank] = b"".join(strict.digest(one, f"{where}[{n}]", bank) for n, one in enumerate(listed))
    values = {
        strict.bank_name(bank, f"{place}.values"): strict.digest(one, strict.at(f"{place}.values", bank), bank)
        for bank, one in value["values"].items()
    }
    if bool(digests) == bool(values) or (values and types):
        raise UsageError(f"{place}: allowed are digests of events in some bank, or values without events; not both")
    varies = strict.items(value["varies"], f"{place}.varies", len(types))
    for number, position in enumerate(varies):
        low = varies[number - 1] + 1 if number else 0
        strict.whole(position, f"{place}.varies[{number}]", low, len(types) - 1)
    return EventSequence(start, tuple(types), tuple(texts), digests, tuple(varies), values)


def _ima_set(value: Any, place: str) -> ImaSet:
    members: list[Member] = []
    for name, digests in strict.mapping(value, place).items():
        where = strict.at(place, name)
        try:
            path = name.encode("utf-8", "surrogateescape")
            canonical = path.decode("utf-8", "surrogateescape") == name
        except UnicodeEncodeError:
            canonical = False
        if not canonical:
            raise UsageError(f"{where} has surrogates that stand for no byte; allowed is UTF-8, other bytes escaped")
        listed = strict.items(digests, where, _MAX_ITEMS)
        if not listed:
            raise UsageError(f"{where} has no digest; allowed is at least one")
        of_path = [_member(path, digest, f"{where}[{number}]") for number, digest in enumerate(listed)]
        if len(set(of_path)) < len(of_path):
            raise UsageError(f"{where} has one digest twice")
        members += of_path
    return ImaSet(members)


def _member(path: bytes, text: object, place: str) -> Member:
    allowed = "[verity:][buffer:]algorithm:digest, the digest in lower-case hexadecimal digits"
    if not isinstance(text, str) or text.count(":") > 3:
        raise strict.wrong(place, text, allowed)
    kind_words, _, digits = text.rpartition(":")
    kind = kind_words.removeprefix("verity:")
    algorithm = kind.removeprefix("buffer:")
    try:
        number = kind_of(algorithm, verity=kind != kind_words, buffer=algorithm != kind)
        member = Member(path, number, strict.hexadecimal(digits, place, None, "a digest"))
    except UsageError as error:
        raise strict.wrong(place, text, allowed) from error
    if member.algorithm != algorithm:  # one of the other names of SM3
        raise strict.wrong(place, text, f"{allowed}; this algorithm is called {member.algorithm} here")
    return member


def _baseline(value: Any, place: str, profiles: _Profiles, sets: _Table) -> Baseline:
    strict.members(value, place, _BASELINE)
    if value["scope"] not in SCOPES:
        raise strict.wrong(f"{place}.scope", value["scope"], " or ".join(SCOPES))
    check_identity(value["scope"], value["id"])
    if not _NAME.fullmatch(value["boot"]):
        raise strict.wrong(f"{place}.boot", value["boot"], "the name of a boot: 1 to 128 of A-Z a-z 0-9 . _ -")
    log_banks = _banks(value["log_banks"], f"{place}.log_banks")
    if not log_banks:
        raise UsageError(f"{place}.log_banks is empty; allowed is at least one bank")
    ima = None if value["ima_set"] is None else sets.get(value["ima_set"], f"{place}.ima_set")
    return Baseline(
        scope=value["scope"],
        id=value["id"],
        version=strict.whole(value["version"], f"{place}.version", 1, (1 << 31) - 1),
        state=State(_one_of(value["state"], f"{place}.state", list(State))),
        allowed=profiles.get(value["profile"], f"{place}.profile"),
        log_banks=log_banks,
        quoted_banks=_banks(value["quoted_banks"], f"{place}.quoted_banks"),
        boot=value["boot"],
        evidence_id=strict.hexadecimal(value["evidence_id"], f"{place}.evidence_id", 32, "a SHA-256 digest"),
        ima=ima,
        ima_violations=strict.whole(value["ima_violations"], f"{place}.ima_violations", 0, (1 << 32) - 1),
        origin=Origin(_one_of(value["origin"], f"{place}.origin", list(Origin))),
        accepted=tuple(_accepted(one, f"{place}.accepted[{n}]") for n, one in enumerate(value["accepted"])),
        ima_superseded=_superseded(value["ima_superseded"], f"{place}.ima_superseded", sets),
    )


def _one_of(value: str, place: str, allowed: list[Any]) -> str:
    if value not in allowed:
        raise strict.wrong(place, value, f"one of {', '.join(allowed)}")
    return value


def _banks(value: list[Any], place: str) -> tuple[str, ...]:
    names = [strict.bank_name(name, f"{place}[{number}]") for number, name in enumerate(value)]
    ordered = tuple(bank.name for bank in BANKS if bank.name in names)
    if list(ordered) != names:
        raise UsageError(f"{place} is out of order or names a bank twice; allowed is the order of {', '.join(ordered)}")
    return ordered


def _accepted(value: Any, place: str) -> Accepted:
    strict.members(value, place, {"code": str, "pcr": object, "reason": str})
    if value["code"] not in ACCEPTABLE:
        raise strict.wrong(f"{place}.code", value["code"], f"one of {', '.join(sorted(ACCEPTABLE))}")
    pcr = strict.whole(value["pcr"], f"{place}.pcr", 0, PCRS - 1)
    if pcr == POLICY_PCR:
        raise strict.wrong(f"{place}.pcr", pcr, "any PCR but 7, where Secure Boot is measured")
    return Accepted(value["code"], pcr, strict.line(value["reason"], f"{place}.reason", _MAX_REASON))


def _superseded(value: list[Any], place: str, sets: _Table) -> tuple[SupersededIma, ...]:
    found = []
    for number, one in enumerate(value):
        where = f"{place}[{number}]"
        strict.members(one, where, {"set": str, "until": str})
        found.append(SupersededIma(sets.get(one["set"], f"{where}.set"), _time(one["until"], f"{where}.until")))
    return tuple(found)
