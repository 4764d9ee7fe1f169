"""``baseline approve``: what could be approved, the approval, and what it makes of the same evidence."""

from __future__ import annotations

import argparse
import datetime
import getpass
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pyverify.baseline.edits import Edit, Event
from pyverify.baseline.lifecycle import Done, Lifecycle
from pyverify.baseline.selection import Selection
from pyverify.baseline.store import Store
from pyverify.baseline.supersede import GRACE, ImaEdit, Old
from pyverify.cli.archive import as_of, policy_of
from pyverify.cli.lines import number_of
from pyverify.cli.stores import open_store
from pyverify.errors import UsageError
from pyverify.evidence import event_types
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import escape
from pyverify.fleet.changes import BootChange, Offer, offers
from pyverify.fleet.reappraisal import Before, Turned, appraise_after, appraise_before
from pyverify.fleet.sources import open_source

_SHOWN: Final = 20
"""Lines of one kind that are printed for a person; JSON has all."""


def approve(args: argparse.Namespace) -> int:
    """Prints what an archive offers to be approved, or approves some of it and appraises the archive again."""
    if args.pending:
        return _activate(args)
    if args.archive is None:
        raise UsageError("name the archive that shows the change, or --pending to activate baselines that wait")
    policy, now = policy_of(args), as_of(args)
    with open_store(args) as store:
        references = store.references()
        before = appraise_before(open_source(args.archive), references=references, policy=policy, as_of=now)
        found = offers(before.changes)
        if not args.changes and args.boot is None:
            return _print_offers(found, before, args.format)
        done = _approve(args, store, found, before, now)
        print(
            f"approved as change {done.number:,}: a new version of {number_of(done.concerned, 'baseline')}",
            file=sys.stderr,
        )
        after = appraise_after(
            open_source(args.archive), before, references=store.references(), policy=policy, as_of=now
        )
        return _print_turned(after, args.format)


def _approve(
    args: argparse.Namespace, store: Store, found: list[Offer], before: Before, now: datetime.datetime
) -> Done:
    life, facts = Lifecycle(store), {"who": who(args), "reason": reason(args)}
    old = _old(args, now)
    if args.boot is None:
        chosen = [_chosen(found, name) for name in args.changes]
        edits, files = [e for one in chosen for e in one.edits], [f for one in chosen for f in one.files]
        if args.path:
            edits, files = [], _of_paths(files, args.path)
        return life.approve(selection(args), edits, files, at=now, old=old, **facts)
    boot = _boot(before.changes, args.boot)
    if args.vary is not None:
        pcr, position, event = _event_to_vary(boot, args.vary)
        return life.vary(selection(args), pcr, position, event, **facts)
    if args.path:
        which = selection(args) if args.machine or args.cohort or args.all else Selection(machines=(boot.machine,))
        return life.approve(which, [], _of_paths(boot.files, args.path), at=now, old=old, **facts)
    if args.machine or args.cohort or args.all:
        if boot.whole:
            pcrs = ", ".join(map(str, boot.whole))
            raise UsageError(
                f"PCR {pcrs} of this boot cannot be approved for others: approve it for this machine alone"
            )
        return life.approve(selection(args), boot.edits, boot.files, at=now, old=old, **facts)
    if boot.scope != "machine":
        raise UsageError(f"{boot.machine} has no baseline of its own: approve the change for its cohort (--cohort)")
    sequences = {pcr: boot.sequences[pcr] for pcr in boot.differing}
    return life.approve_boot(boot.machine, sequences, boot.files, at=now, old=old, **facts)


def _of_paths(files: Sequence[ImaEdit], paths: Sequence[str]) -> list[ImaEdit]:
    """The files of these names, each of which must be among them."""
    wanted = {path.encode("utf-8", "surrogateescape") for path in paths}
    if missing := wanted - {one.member.path for one in files}:
        names = ", ".join(escape(path.decode("utf-8", "surrogateescape")) for path in sorted(missing))
        raise UsageError(f"not among the files that have changed: {names}")
    return [one for one in files if one.member.path in wanted]


def _activate(args: argparse.Namespace) -> int:
    with open_store(args) as store:
        done = Lifecycle(store).activate(selection(args), who=who(args), reason=args.reason)
    print(f"active now: {number_of(done.concerned, 'baseline')}", file=sys.stderr)
    return 0


def selection(args: argparse.Namespace) -> Selection:
    """Which baselines ``--machine``, ``--cohort`` and ``--all`` choose."""
    return Selection(machines=tuple(args.machine), cohort=args.cohort, everyone=args.all)


def who(args: argparse.Namespace) -> str | None:
    """Who makes a change: as said, or as the system knows the caller."""
    if args.who is not None:
        name: str = args.who
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def reason(args: argparse.Namespace) -> str:
    """Why; a change without a reason is none that anybody can look at later."""
    if not args.reason:
        raise UsageError("say why with --reason: it is kept with the change")
    text: str = args.reason
    return text


def _old(args: argparse.Namespace, now: datetime.datetime) -> Old:
    if args.keep_old:
        if args.until is None or args.until <= now:
            raise UsageError("--keep-old needs --until TIME, and a time that is to come")
        return Old(args.until, keep=True)
    if args.now:
        return Old(now)
    return Old(now + GRACE if args.until is None else args.until)


def _chosen(found: list[Offer], name: str) -> Offer:
    """The change of that id, which is given whole: the start of one may be that of another that a machine made up."""
    for offer in found:
        if offer.id == name.lower():
            return offer
    known = ", ".join(offer.id for offer in found) or "none"
    raise UsageError(f"{escape(name)} is no change of this archive; it offers {known}")


def _boot(changes: Sequence[BootChange], name: str) -> BootChange:
    samples = [change for change in changes if f"{change.machine}/{change.boot}" == name]
    if not samples:
        raise UsageError(f"this archive has no boot {escape(name)} that differs from its baseline")
    if against := sorted({code for change in samples for code in change.against}):
        codes = ", ".join(against)
        raise UsageError(f"{escape(name)} cannot be approved: {codes} speak against it (`pyverify explain`)")
    if any(change != samples[0] for change in samples):
        raise UsageError(f"{escape(name)} was sampled {len(samples)} times, and the samples differ: approve by change")
    return samples[0]


def _event_to_vary(boot: BootChange, number: int) -> tuple[int, int, tuple[int, str]]:
    """PCR, position among its events, and type and text of an event by its number in the log."""
    if number not in boot.places:
        raise UsageError(f"the log of {boot.machine}/{boot.boot} has no event {number} that extends a PCR")
    pcr, position = boot.places[number]
    sequence = boot.sequences[pcr]
    return pcr, position, (sequence.types[position], sequence.texts[position])


def _print_offers(found: list[Offer], before: Before, form: str) -> int:
    if form == "json":
        json.dump([_offer(offer) for offer in found], sys.stdout, indent=1)
        print()
        return 0
    for offer in found:
        names = ", ".join(escape(name) for name in offer.machines[:5])
        more = f", and {len(offer.machines) - 5:,} more" if len(offer.machines) > 5 else ""
        machines = "machine" if len(offer.machines) == 1 else "machines"
        print(f"change {offer.id}  {len(offer.machines):,} {machines}: {names}{more}")
        lines = [*map(edit_words, offer.edits), *map(_file_words, offer.files)]
        for line in lines[:_SHOWN]:
            print(f"  {line}")
        if len(lines) > _SHOWN:
            print(f"  and {len(lines) - _SHOWN:,} more")
    for line in _not_offered(before.changes):
        print(line)
    counts = ", ".join(f"{n:,} {name}" for name, n in sorted(before.counts.items()))
    print(f"{number_of(len(found), 'change')} may be approved · {counts or 'no boots'}", file=sys.stderr)
    return 0


def _not_offered(changes: Sequence[BootChange]) -> Iterator[str]:
    """Boots of which nothing is offered, by what speaks against them."""
    boots: dict[tuple[str, ...], list[str]] = {}
    for change in changes:
        if change.against:
            boots.setdefault(change.against, []).append(f"{change.machine}/{change.boot}")
    for codes, names in sorted(boots.items()):
        more = f", and {len(names) - 5:,} more" if len(names) > 5 else ""
        print_names = ", ".join(escape(name) for name in names[:5])
        yield f"nothing of {print_names}{more}: {', '.join(codes)}"


def edit_words(edit: Edit) -> str:
    """An edit in a line. What the log says of events is its own word."""
    old, new = (", ".join(map(_event_words, events)) for events in (edit.removed, edit.added))
    if old == new:
        return f"{pcr_name(edit.pcr)}: {new} has other contents: {_digests(edit.removed)} became {_digests(edit.added)}"
    if not edit.removed:
        return f"{pcr_name(edit.pcr)}: {new} is new: {_digests(edit.added)}"
    if not edit.added:
        return f"{pcr_name(edit.pcr)}: {old} is gone"
    return f"{pcr_name(edit.pcr)}: {old} became {new}: {_digests(edit.removed)} became {_digests(edit.added)}"


def _event_words(event: Event) -> str:
    return f"{event_types.name(event.type)} “{escape(event.text, 120)}”"


def _digests(events: Sequence[Event]) -> str:
    return ", ".join(event.digests[-1][1].hex()[:16] + "…" for event in events[:3] if event.digests)


def _file_words(one: ImaEdit) -> str:
    path = escape(one.member.path.decode("utf-8", "surrogateescape"))
    return f"{path}: {'new' if one.is_new else 'changed'}, {one.member.algorithm} {one.member.digest.hex()[:16]}…"


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.id,
        "machines": offer.machines,
        "edits": [
            {
                "pcr": edit.pcr,
                "removed": [_event(event) for event in edit.removed],
                "added": [_event(event) for event in edit.added],
            }
            for edit in offer.edits
        ],
        "files": [
            {
                "path": one.member.path.decode("utf-8", "backslashreplace"),
                "algorithm": one.member.algorithm,
                "digest": one.member.digest.hex(),
                "is_new": one.is_new,
            }
            for one in offer.files
        ],
    }


def _event(event: Event) -> dict[str, Any]:
    digests = {bank: digest.hex() for bank, digest in event.digests}
    return {"type": event_types.name(event.type), "text": event.text, "digests": digests}


def _print_turned(turned: Iterator[Turned], form: str) -> int:
    """Prints what an approval made of the same evidence; 0 when nothing is untrusted any more."""
    rows = list(turned)
    if form == "json":
        names = ("machine", "boot", "before", "after", "finding")
        json.dump([{n: getattr(row, n) for n in names} for row in rows], sys.stdout, indent=1, default=bytes.hex)
        print()
    else:
        counts = Counter((row.before, row.after) for row in rows)
        for (before, after), count in sorted(counts.items()):
            some = [row for row in rows if (row.before, row.after) == (before, after)]
            became = ("stays", "stay") if before == after else (f"was {before} and is", f"were {before} and are")
            print(f"{count:,} {'boot' if count == 1 else 'boots'} {became[count != 1]} {after}")
            for row in some[:_SHOWN]:
                why = "" if row.finding is None or after == "trusted" else f"  {row.finding['code']}  "
                hint = "" if not why or row.finding is None else escape(row.finding["hint"])
                print(f"  {escape(row.machine or '?')}  {escape(row.boot or '?')}{why}{hint}")
            if count > _SHOWN:
                print(f"  and {count - _SHOWN:,} more")
    return 0
