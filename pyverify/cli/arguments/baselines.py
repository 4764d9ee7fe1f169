"""The arguments of ``baseline …``."""

from __future__ import annotations

import argparse
from typing import Any, Final

from pyverify.baseline.interchange.formats import FORMATS
from pyverify.cli.arguments.shared import add_form, add_store_option, command, group, positive, time

EXPORTS: Final = tuple(form.name for form in FORMATS if form.exports)
IMPORTS: Final = (*(form.name for form in FORMATS if form.imports), "keylime-refstate")


def add_baseline(commands: Any) -> None:
    """Adds ``baseline`` and its actions."""
    words = "what the machines should measure, and whether the store of it is whole"
    actions = group(commands, "baseline", words)
    _add_views(actions)
    _add_approve(_action(actions, "approve", "approve:approve", "what may be approved, or approve it"))
    _add_interchange(actions)
    _add_changes(actions)
    words = "check every row, head and signature of the store"
    check = _action(actions, "verify-store", "verify_store:verify_store", words)
    check.add_argument("--head", metavar="HEX", help="it must contain this head, which an earlier run printed")
    add_form(check)


def _action(actions: Any, name: str, run: str, words: str) -> argparse.ArgumentParser:
    parser = command(actions, name, run, words)
    add_store_option(parser)
    return parser


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a machine, or a cohort with --of-cohort")
    parser.add_argument("--of-cohort", action="store_true", help="NAME is that of a cohort")


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--who", metavar="NAME", help="who makes the change (default: the user's name)")
    parser.add_argument("--reason", metavar="TEXT", help="why, for the record")
    parser.add_argument("--as-of", metavar="TIME", type=time, help="the time now (default: the clock's)")


def _add_views(actions: Any) -> None:
    everything = _action(actions, "list", "baseline:list_", "a line for each baseline")
    everything.add_argument("--all", action="store_true", help="every version, not only the one that counts")
    add_form(everything)
    one = _action(actions, "show", "baseline:show", "what a baseline allows, PCR by PCR")
    _add_name(one)
    one.add_argument("--version", metavar="N", type=positive, help="(default: the one that counts)")
    add_form(one)
    past = _action(actions, "history", "baseline:show_history", "every change that concerned a baseline")
    _add_name(past)
    add_form(past)


def _add_changes(actions: Any) -> None:
    ignore = _action(actions, "ignore", "baseline_changes:ignore", "silence machines for a while; they stay untrusted")
    ignore.add_argument("machines", metavar="MACHINE", nargs="+")
    ignore.add_argument("--until", metavar="TIME", type=time, required=True)
    _add_record(ignore)
    assign = _action(actions, "assign", "baseline_changes:assign", "put machines into a cohort, or take them out")
    assign.add_argument("machines", metavar="MACHINE", nargs="*")
    assign.set_defaults(any_number="machines")
    assign.add_argument("--file", metavar="FILE", help="names of machines, one a line")
    assign.add_argument("--cohort", metavar="NAME")
    assign.add_argument("--none", action="store_true", help="out of any cohort")
    _add_record(assign)
    back = _action(actions, "rollback", "baseline_changes:rollback", "return to an earlier version")
    _add_name(back)
    back.add_argument("--to", metavar="N", type=positive, required=True, help="the version to return to")
    _add_record(back)


def _add_interchange(actions: Any) -> None:
    out = _action(actions, "export", "interchange:export", "write baselines for other tools, or to keep")
    out.add_argument("names", metavar="NAME", nargs="*", help="machines (default: all), or cohorts with --of-cohort")
    out.set_defaults(any_number="names")
    out.add_argument("--log", metavar="FILE", help="keylime-refstate: the event log that it is made of")
    out.add_argument("-o", "--output", metavar="FILE", help="a file, or a new folder (default: standard output)")
    take = _action(actions, "import", "interchange:import_", "add baselines of other tools, pending unless --activate")
    take.add_argument("file", metavar="FILE", help="a file, or for pcrlock a folder")
    take.add_argument("--name", metavar="NAME", help="whose baseline it is to be, where the file does not say")
    take.add_argument("--archive", metavar="ARCHIVE", help="keylime-refstate: learn the first boots that it allows")
    take.add_argument("--activate", action="store_true", help="make them active at once")
    _add_record(take)
    for parser, names in ((out, EXPORTS), (take, IMPORTS)):
        parser.add_argument("--of-cohort", action="store_true", help="names are those of cohorts")
        parser.add_argument("--format", choices=names, default="json")
        parser.add_argument("--bank", metavar="NAME", help="keylime-policy, corim: the bank of its values")
        words = "whose compared PCRs are meant, and what first boots must hold"
        parser.add_argument("--policy", metavar="NAME|FILE", default="default", help=words)
    frozen = _action(
        actions, "export-references", "interchange:export_references", "write the snapshot that workers verify by"
    )
    frozen.add_argument("-o", "--output", metavar="FILE", required=True)


def _add_approve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="ARCHIVE", nargs="?", help="evidence that shows the change")
    parser.add_argument("changes", metavar="CHANGE", nargs="*", help="ids of changes; without any they are listed")
    parser.set_defaults(any_number="changes")
    parser.add_argument("--boot", metavar="MACHINE/BOOT", help="all that this boot differs in")
    words = "let this event of --boot, by its number in the log, have any digest from now on"
    parser.add_argument("--vary", metavar="EVENT", type=int, help=words)
    words = "only this file of what has changed, and no event; may be repeated"
    parser.add_argument("--path", metavar="PATH", action="append", default=[], help=words)
    parser.add_argument("--pending", action="store_true", help="activate baselines that wait for it")
    which = parser.add_argument_group("for which baselines (with --boot: default is its own machine)")
    which.add_argument("--machine", metavar="NAME", action="append", default=[])
    which.add_argument("--cohort", metavar="NAME", help="the cohort's baseline, and those of its machines")
    which.add_argument("--all", action="store_true", help="wherever the change fits")
    old = parser.add_argument_group("what is replaced (default: allowed for 14 days, until the new was booted)")
    old.add_argument("--now", action="store_true", help="not allowed from now on")
    old.add_argument("--until", metavar="TIME", type=time, help="allowed until then")
    old.add_argument("--keep-old", action="store_true", help="with --until: also after the new was booted")
    parser.add_argument("--policy", metavar="NAME|FILE", default="default", help="what must hold beside the change")
    add_form(parser)
    _add_record(parser)
