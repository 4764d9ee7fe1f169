"""``baseline export`` and ``import``: baselines to and from the files of others, and ``export-references``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyverify.appraise.policy import Policy
from pyverify.baseline.history import load_counting
from pyverify.baseline.interchange import formats
from pyverify.baseline.interchange.formats import Format
from pyverify.baseline.model import Baseline, Origin, State
from pyverify.baseline.store import insert_baselines
from pyverify.cli.approve import reason, who
from pyverify.cli.archive import as_of, policy_of
from pyverify.cli.baseline import scope_of
from pyverify.cli.lines import number_of
from pyverify.cli.stores import open_store
from pyverify.errors import UsageError
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.text import escape
from pyverify.fleet.learn_refstate import learn_satisfying
from pyverify.fleet.sources import open_source
from pyverify.output.tables import whole_file

_MAX_FILE = 1 << 30
"""Bytes of a file that is imported: a fleet's baselines in JSON."""


def export(args: argparse.Namespace) -> int:
    """Writes baselines in another form, or what one boot's log says as a reference state."""
    form = _format(args.format)
    if not form.exports:
        raise UsageError(f"{form.name} can only be imported")
    module = importlib.import_module(f"pyverify.baseline.interchange.{form.module}")
    if form.source == "log":
        if args.log is None or args.names:
            raise UsageError(f"{form.name} is made of one boot's event log: name it by --log FILE")
        found = module.export(EventLog.parse(_read(args.log)))
        _write(args.output, json.dumps(found, indent=1).encode() + b"\n")
        return 0
    with open_store(args) as store:
        baselines = load_counting(store, scope_of(args), args.names)
    if form.files:
        _write_folder(args.output, module.export(_only(baselines, form), pcrs=_pcrs(args)))
    else:
        _write(args.output, _exported(module, form, baselines, args))
    print(f"{number_of(len(baselines), 'baseline')} exported as {form.name}", file=sys.stderr)
    return 0


def _exported(module: Any, form: Format, baselines: Sequence[Baseline], args: argparse.Namespace) -> bytes:
    if form.name == "json":
        return "".join(module.export(baselines)).encode()
    if form.name == "corim":
        data: bytes = module.export(baselines, pcrs=_pcrs(args), banks=None if args.bank is None else [args.bank])
        return data
    policy: bytes = module.export(_only(baselines, form), pcrs=_pcrs(args), bank=args.bank or "sha256")
    return policy


def import_(args: argparse.Namespace) -> int:
    """Adds baselines of a file to the store, pending unless ``--activate``; none is overwritten."""
    form = _format(args.format)
    if form.name == "keylime-refstate":
        return _learn_satisfying(args)
    if not form.imports:
        raise UsageError(f"{form.name} can only be exported")
    module = importlib.import_module(f"pyverify.baseline.interchange.{form.module}")
    baselines, without = _imported(module, form, args)
    state = State.ACTIVE if args.activate else State.PENDING
    new = [_as_new(baseline, state) for baseline in baselines]
    why = reason(args)
    with open_store(args, create=True) as store, store.changing("import", why, who(args)) as (connection, number):
        insert_baselines(connection, number, new)
    print(f"{number_of(len(new), 'baseline')} imported, {state}", file=sys.stderr)
    if lacking := sorted(set(without) & set(Policy.preset("default").pcrs_compare)):
        words = "nothing is allowed for them, so they differ wherever a policy compares them"
        print(f"the file says nothing of PCRs {', '.join(map(str, lacking))}: {words}", file=sys.stderr)
    return 0


def _imported(module: Any, form: Format, args: argparse.Namespace) -> tuple[list[Baseline], Sequence[int]]:
    if form.name == "json":
        found: list[Baseline] = module.read(_read(args.file))
        return found, ()
    if args.name is None:
        raise UsageError("say whose baseline it is to be: --name NAME, a machine or with --of-cohort a cohort")
    identity = {"scope": scope_of(args), "name": args.name}
    if form.files:
        one = module.read(_folder(Path(args.file)), **identity)
    elif form.needs_bank:
        if args.bank is None:
            raise UsageError(f"{form.name} does not name its hash: say it by --bank")
        one = module.read(_read(args.file), bank=args.bank, **identity)
    else:
        one = module.read(_read(args.file), **identity)
    return [one.baseline], one.without


def _learn_satisfying(args: argparse.Namespace) -> int:
    """Learns the first boots of an archive that a reference state allows."""
    from pyverify.baseline.interchange import keylime_refstate

    if args.archive is None:
        raise UsageError("a reference state is no baseline: name the archive whose first boots it is to vouch for")
    refstate = keylime_refstate.read(_read(args.file))
    state = State.ACTIVE if args.activate else State.PENDING
    learned = refused = 0
    with open_store(args, create=True) as store:
        found = learn_satisfying(
            open_source(args.archive),
            store,
            refstate,
            policy=policy_of(args),
            state=state,
            as_of=as_of(args),
            who=who(args),
            reason=reason(args),
        )
        for one in found:
            learned, refused = learned + (one.refused is None), refused + (one.refused is not None)
            if one.refused is not None:
                print(f"{escape(one.machine)}  refused: {one.refused}")
            elif one.unproven:
                words = f"{number_of(len(one.unproven), 'event')} that the reference state lets pass by name alone"
                print(f"{escape(one.machine)}  learned, with {words}, such as: {one.unproven[0]}")
    print(
        f"{number_of(learned, 'baseline')} imported, {state}; {number_of(refused, 'first boot')} refused",
        file=sys.stderr,
    )
    return 0


def export_references(args: argparse.Namespace) -> int:
    """Writes the snapshot that verifications run against, for workers and for the record."""
    with open_store(args) as store:
        references = store.references()
    references.save(Path(args.output))
    print(f"{number_of(len(references), 'baseline')}, references {references.id.hex()}", file=sys.stderr)
    return 0


def _format(name: str) -> Format:
    return next(form for form in formats.FORMATS if form.name == name)


def _only(baselines: Sequence[Baseline], form: Format) -> Baseline:
    if len(baselines) != 1:
        raise UsageError(f"{form.name} holds one baseline: name it")
    return baselines[0]


def _pcrs(args: argparse.Namespace) -> tuple[int, ...]:
    return policy_of(args).pcrs_compare


def _as_new(baseline: Baseline, state: State) -> Baseline:
    return replace(baseline, version=1, state=state, origin=Origin.IMPORTED)


def _read(name: str) -> bytes:
    data = sys.stdin.buffer.read(_MAX_FILE + 1) if name == "-" else _bounded(Path(name))
    if len(data) > _MAX_FILE:
        raise UsageError(f"{name}: more than {_MAX_FILE} bytes")
    return data


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_FILE + 1)


def _folder(folder: Path) -> list[tuple[str, bytes]]:
    """The ``.pcrlock`` files of a folder with their paths below it."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder of .pcrlock files")
    paths = sorted(path for path in folder.rglob("*.pcrlock") if path.is_file())
    return [(path.relative_to(folder).as_posix(), _bounded(path)) for path in paths]


def _write(output: str | None, data: bytes) -> None:
    with whole_file(output) as file:
        file.write(data)


def _write_folder(output: str | None, files: dict[str, bytes]) -> None:
    if output is None:
        raise UsageError("this form is a folder of files: name it by -o DIR")
    folder = Path(output)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{output} is not empty: files of another export would be taken for parts of this one")
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
