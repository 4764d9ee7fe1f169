"""``baseline list``, ``show`` and ``history``: what the machines should measure, and how that came to be."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from pyverify.algorithms import TO_SHOW
from pyverify.baseline.history import Change, Version, history, load, versions
from pyverify.baseline.model import Allowed, Baseline
from pyverify.cli.stores import open_store
from pyverify.cli.views import Table, Words
from pyverify.cli.views.table import print_tables
from pyverify.evidence import event_types
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import escape


def scope_of(args: argparse.Namespace) -> str:
    """Whether a name is a machine's or a cohort's."""
    return "cohort" if args.of_cohort else "machine"


def list_(args: argparse.Namespace) -> int:
    """Prints a line for each baseline: the version that counts, or all with ``--all``."""
    with open_store(args) as store:
        found = versions(store)
        counted = found if args.all else list(_newest(found))
        if args.format == "json":
            _print_json([_version(one) for one in counted])
            return 0
        cohort_of = store.references().machines.cohort_of
    rows = [
        (
            (one.scope, one.id, str(one.version), one.state, one.origin, cohort_of.get(one.id, "-"), escape(one.boot)),
            Words(_change_words(one.change)),
        )
        for one in counted
    ]
    headers = ("scope", "name", "version", "state", "origin", "cohort", "learned from", "by")
    title = f"{len(counted):,} {'versions of baselines' if args.all else 'baselines'}"
    print_tables(title, [Table(headers, frozenset((2,)), rows)])
    return 0


def _newest(found: list[Version]) -> Iterator[Version]:
    """Of each baseline the newest version that is active, or else the newest."""
    of: dict[tuple[str, str], Version] = {}
    for one in found:
        known = of.get((one.scope, one.id))
        if known is None or known.state != "active" or one.state == "active":
            of[one.scope, one.id] = one
    return iter(of.values())


def show(args: argparse.Namespace) -> int:
    """Prints what a baseline allows, PCR by PCR."""
    with open_store(args) as store:
        found = load(store, scope_of(args), args.name, args.version)
    if args.format == "json":
        _print_json(_document(found))
        return 0
    print_tables(_title(found), [Table(("PCR", "until", "value"), frozenset(), list(_pcr_rows(found)))])
    files = "no IMA list was learned" if found.ima is None else f"{len(found.ima):,} digests of files may run"
    print(f"\n{files}, {found.ima_violations:,} violations when learned")
    for old in found.ima_superseded:
        print(f"{len(old.ima):,} more until {old.until:%Y-%m-%d %H:%M} UTC, which were replaced")
    for one in found.accepted:
        place = "" if one.pcr is None else f" in PCR {one.pcr}"
        print(f"lives with {one.code}{place}: {escape(one.reason)}")
    return 0


def _title(one: Baseline) -> str:
    banks = ", ".join(one.log_banks)
    quoted = f", quoted in {', '.join(one.quoted_banks)}" if one.quoted_banks else ", not quoted"
    return (
        f"{one.scope} {one.id}, version {one.version}: {one.state}, {one.origin}; of boot {one.boot}\n"
        f"banks {banks}{quoted}; evidence {one.evidence_id.hex()}"
    )


def _pcr_rows(one: Baseline) -> Iterator[tuple[tuple[str, ...], Words]]:
    for pcr, members in enumerate(one.allowed):
        for member in members:
            if not len(member.sequence) and member.until is None and not member.sequence.values:
                continue
            yield (pcr_name(pcr), _until(member)), Words(_sequence_words(member))


def _until(member: Allowed) -> str:
    if member.until is None:
        return "current"
    return f"{member.until:%Y-%m-%d %H:%M}{', kept' if member.keep else ''}"


def _sequence_words(member: Allowed) -> str:
    sequence = member.sequence
    if sequence.values:
        return ", ".join(f"{bank} {value.hex()}" for bank, value in sequence.values.items())
    events = [
        f"{event_types.name(kind)} “{escape(text, 80)}”{' (any digest)' if at in sequence.varies else ''}"
        for at, (kind, text) in enumerate(zip(sequence.types, sequence.texts, strict=True))
    ]
    more = f", and {len(events) - 4} more" if len(events) > 4 else ""
    return f"{len(events)} events: {', '.join(events[:4])}{more}"


def _document(one: Baseline) -> dict[str, Any]:
    return {
        "scope": one.scope,
        "id": one.id,
        "version": one.version,
        "state": one.state,
        "origin": one.origin,
        "boot": one.boot,
        "evidence_id": one.evidence_id.hex(),
        "log_banks": one.log_banks,
        "quoted_banks": one.quoted_banks,
        "pcrs": {str(pcr): [_member(member) for member in members] for pcr, members in enumerate(one.allowed)},
        "ima": None if one.ima is None else len(one.ima),
        "ima_violations": one.ima_violations,
        "accepted": [{"code": a.code, "pcr": a.pcr, "reason": a.reason} for a in one.accepted],
    }


def _member(member: Allowed) -> dict[str, Any]:
    sequence = member.sequence
    banks = [bank for bank in TO_SHOW if bank in sequence.digests]
    digests = {bank: sequence.split(bank) for bank in banks}
    events = [
        {
            "type": event_types.name(kind),
            "text": text,
            "digests": {bank: digests[bank][at].hex() for bank in banks},
            "varies": at in sequence.varies,
        }
        for at, (kind, text) in enumerate(zip(sequence.types, sequence.texts, strict=True))
    ]
    return {
        "until": None if member.until is None else member.until.isoformat(),
        "keep": member.keep,
        "values": {bank: value.hex() for bank, value in sequence.values.items()},
        "events": events,
    }


def show_history(args: argparse.Namespace) -> int:
    """Prints every change that concerned a baseline, the oldest first."""
    with open_store(args) as store:
        steps = history(store, scope_of(args), args.name)
    if args.format == "json":
        _print_json([{**_change(step.change), "what": step.words} for step in steps])
        return 0
    rows = [
        (
            (
                f"{step.change.at:%Y-%m-%d %H:%M}",
                str(step.change.number),
                escape(step.change.action),
                escape(step.change.who or "-"),
            ),
            Words(escape(step.words) + (f" — {escape(step.change.reason)}" if step.change.reason else "")),
        )
        for step in steps
    ]
    print_tables(
        f"{scope_of(args)} {args.name}", [Table(("at (UTC)", "change", "action", "who", "what"), frozenset((1,)), rows)]
    )
    return 0


def _version(one: Version) -> dict[str, Any]:
    names = ("scope", "id", "version", "state", "origin", "boot", "has_ima")
    facts = {name: getattr(one, name) for name in names}
    return {**facts, "evidence_id": one.evidence_id.hex(), "change": _change(one.change)}


def _change(change: Change) -> dict[str, Any]:
    names = ("number", "action", "who", "reason")
    return {"at": change.at.isoformat(), **{name: getattr(change, name) for name in names}}


def _change_words(change: Change) -> str:
    who, why = f" by {escape(change.who)}" if change.who else "", f": {escape(change.reason)}" if change.reason else ""
    return f"{change.action} {change.at:%Y-%m-%d}{who}{why}"


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=1)
    print()
