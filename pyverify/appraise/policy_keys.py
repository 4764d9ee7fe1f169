"""The keys of a policy's text: what each means, and how a policy's value of it is written.

A policy is here whatever has an attribute for the field of each key.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from pyverify.algorithms import BY_NAME
from pyverify.appraise.ima_rules import NamedRuntimePolicy
from pyverify.appraise.secure_boot_rules import MinimumDbx
from pyverify.evidence.sbat import SbatRow

UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Seconds of the units that a duration may be given in."""

_TWO_DAYS: Final = 2 * UNITS["d"]  # "24h" says better than "1d" that hours count


@dataclass(frozen=True, slots=True)
class Key:
    """One key: ``field`` is where a policy has it, ``allowed`` and ``means`` are for people."""

    section: str
    name: str
    field: str
    allowed: str
    means: str
    write: Callable[[Any], Any] = lambda value: value
    counts_with: tuple[str, tuple[str, ...]] | None = None
    """The key that this one hangs on, and the values of it with which this one has an effect."""

    def __str__(self) -> str:
        return f"[{self.section}] {self.name}"

    def value(self, policy: object) -> Any:
        """What a policy has here."""
        return attrgetter(self.field)(policy)

    def counts(self, policy: object) -> bool:
        """Whether it has an effect in a policy."""
        return self.counts_with is None or getattr(policy, self.counts_with[0]) in self.counts_with[1]


def duration(age: datetime.timedelta) -> str:
    """A duration as it is written: ``24h``."""
    seconds = int(age.total_seconds())
    fits = (unit for unit, size in UNITS.items() if seconds % size == 0 and (unit != "d" or seconds >= _TWO_DAYS))
    unit = next(fits)
    return f"{seconds // UNITS[unit]}{unit}"


def _banks(banks: tuple[str, ...]) -> list[str]:
    return [bank for bank in BY_NAME if bank in banks]


def _sbat(rows: tuple[SbatRow, ...]) -> str | list[str] | None:
    written = sorted(f"{row.component},{row.generation}" for row in rows)
    return written[0] if len(written) == 1 else written or None


def _list_of(items: str) -> str:
    return f"a list of {items}, none of them twice"


_QUOTED: Final = ("quote", ("fresh", "any"))
_IMA_JUDGED: Final = ("ima", ("baseline", "runtime-policy"))
_BANK_NAMES: Final = _list_of(f"banks ({', '.join(BY_NAME)})")
_PCR_NUMBERS: Final = _list_of("PCR numbers (0-9, 11-14)")
_SWITCH: Final = "true or false"

KEYS: Final = (
    Key(
        "policy",
        "name",
        "name",
        "1 to 64 of A-Z a-z 0-9 . _ -",
        "what verdicts and messages call it",
    ),
    Key(
        "evidence",
        "quote",
        "quote",
        '"fresh", "any" or "no"',
        "fresh: a signed quote over the newest challenge; any: a signed quote; no: bare logs, quotes are not looked at",
    ),
    Key(
        "evidence",
        "key",
        "key",
        '"certified", "activated", "enrolled" or "first-use"',
        "how well the quote's key must be founded, at least: certified > activated > enrolled > first-use",
        counts_with=_QUOTED,
    ),
    Key(
        "evidence",
        "max_age",
        "max_age",
        'a whole number and s, m, h or d, such as "30m", "24h" or "7d"',
        "from a challenge's issue to the time of the verdict",
        lambda age: None if age is None else duration(age),
        counts_with=("quote", ("fresh",)),
    ),
    Key("banks", "allowed", "banks_allowed", _BANK_NAMES, "the banks whose digests count", _banks),
    Key(
        "banks",
        "required",
        "banks_required",
        f'"baseline", or {_BANK_NAMES}',
        "the banks that must be there: those that the baseline was learned in, or a list",
        lambda banks: "baseline" if banks is None else _banks(banks),
    ),
    Key("pcrs", "compare", "pcrs_compare", _PCR_NUMBERS, "PCRs that must equal the baseline", sorted),
    Key("pcrs", "report", "pcrs_report", _PCR_NUMBERS, "PCRs that are told of when they differ", sorted),
    Key(
        "secure_boot",
        "required",
        "secure_boot.required",
        _SWITCH,
        "Secure Boot must be proven to be on (a change of it shows in PCR 7 anyway)",
    ),
    Key(
        "secure_boot",
        "minimum_dbx",
        "secure_boot.minimum_dbx",
        "the name of a file of EFI signature lists, relative to the policy's own folder",
        "entries that every dbx must have",
        lambda dbx: None if dbx is None else dbx.file,
    ),
    Key(
        "secure_boot",
        "minimum_sbat",
        "secure_boot.minimum_sbat",
        'a component and its generation, such as "shim,4", or a list of such',
        "what shim's SbatLevel must refuse, at least",
        _sbat,
    ),
    Key(
        "secure_boot",
        "allow_empty_dbx",
        "secure_boot.allow.empty_dbx",
        _SWITCH,
        "Secure Boot may be on with a dbx that revokes nothing",
    ),
    Key(
        "secure_boot",
        "allow_dma_protection_off",
        "secure_boot.allow.dma_protection_off",
        _SWITCH,
        "devices may have had access to memory during the boot",
    ),
    Key(
        "ima",
        "judge",
        "ima",
        '"baseline", "runtime-policy" or "no"',
        "IMA lists: baseline: by the set that was learned; runtime-policy: by a list that is given; no: not at all",
    ),
    Key(
        "ima",
        "runtime_policy",
        "ima_runtime_policy",
        "the name of a file of a Keylime runtime policy, or of lines HASH  PATH, relative to the policy's own folder",
        "digests of what may run, whatever was learned",
        lambda given: None if given is None else given.file,
        counts_with=("ima", ("runtime-policy",)),
    ),
    Key(
        "ima",
        "added",
        "ima_added",
        '"high", "warning" or "info"',
        "severity of a path that was not learned, or that the runtime policy does not have",
        counts_with=_IMA_JUDGED,
    ),
    Key(
        "ima",
        "violations",
        "ima_violations",
        '"as-learned", "high" or "warning"',
        "severity of violations; as-learned: no more than the learning boots had are a warning, others high",
        counts_with=_IMA_JUDGED,
    ),
    Key(
        "ima",
        "kexec",
        "kexec",
        _SWITCH,
        "a machine may start another kernel from the running one",
        counts_with=_IMA_JUDGED,
    ),
)


def document(policy: object) -> dict[str, dict[str, Any]]:
    """A policy by section and key, in the values of its text; keys without an effect are left out."""
    sections: dict[str, dict[str, Any]] = {}
    for key in KEYS:
        written = key.write(key.value(policy)) if key.counts(policy) else None
        if written is not None:
            sections.setdefault(key.section, {})[key.name] = written
    return sections


def canonical_id(policy: object, rules: Iterable[str]) -> bytes:
    """SHA-256 of the canonical form of a policy: its document with the contents of files in place of their names, and
    the names of its rules in Python."""
    facts: dict[str, Any] = document(policy)
    for key in KEYS:
        contents = _digest(key.value(policy))
        if contents is not None:
            facts[key.section][key.name] = contents.hex()
    if names := sorted(rules):
        facts["rules"] = names
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).digest()


def _digest(value: Any) -> bytes | None:
    """What stands for the contents of a file that a policy names; None for any other value."""
    if isinstance(value, MinimumDbx):
        return entries_digest(value)
    return value.sha256 if isinstance(value, NamedRuntimePolicy) else None


def entries_digest(dbx: MinimumDbx) -> bytes:
    """SHA-256 of what the entries revoke, in an order of its own; who owns them does not matter."""
    revoked = sorted({(entry.type, entry.data.hex()) for entry in dbx.entries})
    return hashlib.sha256(json.dumps(revoked, separators=(",", ":")).encode()).digest()


def as_toml(policy: object) -> str:
    """The text of a policy with a comment a key; keys that are not set, or have no effect, are comments."""
    lines: list[str] = []
    written = document(policy)
    for key in KEYS:
        if f"[{key.section}]" not in lines:
            lines += ["", f"[{key.section}]"] if lines else [f"[{key.section}]"]
        if not key.counts(policy) and key.counts_with is not None:
            values = " or ".join(json.dumps(value) for value in key.counts_with[1])
            depends = next(of for of in KEYS if of.field == key.counts_with[0])
            lines.append(f"# {key.name}: has an effect with {depends.name} = {values} only")
            continue
        value = written[key.section].get(key.name)
        lines.append(f"# {key.means}{_contents(key, policy)}")
        lines.append(f"# {key.name} is not set" if value is None else f"{key.name} = {_literal(value)}")
    return "\n".join(lines) + "\n"


def _contents(key: Key, policy: object) -> str:
    """How much a file has that a policy names, and what hash stands for it in the policy's id."""
    value = key.value(policy)
    digest = _digest(value)
    if digest is None:
        return ""
    entries = value.entries if isinstance(value, MinimumDbx) else value.rules.allowed
    return f" (now {len(entries):,}, SHA-256 {digest.hex()})"


def _literal(value: Any) -> str:
    """A value as TOML has it, which for those that occur is as JSON has it."""
    return json.dumps(value, ensure_ascii=False)
