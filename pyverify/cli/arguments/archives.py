"""The arguments of commands that work on archives of evidence, and on the verdicts that come of them."""

from __future__ import annotations

import argparse
from typing import Any

from pyverify.cli.arguments.shared import ARCHIVE, add_form, add_job_options, add_jobs, command, positive


def add_learn(commands: Any) -> None:
    """Adds ``learn``."""
    learn = command(commands, "learn", "learn:learn", "make a baseline of each new machine from its first boot")
    add_job_options(learn)
    learn.add_argument("--activate", action="store_true", help="make the new baselines active at once")
    words = "enrol the key of each machine's first boot, as trusted on first use"
    learn.add_argument("--trust-first-key", action="store_true", help=words)
    words = "learn what may run from this many first boots of each machine (default: 1); PCRs are from the first"
    learn.add_argument("--boots", metavar="N", type=positive, default=1, help=words)
    words = "live with this finding of a first boot, such as event.data-mismatch:4, where it needs it"
    learn.add_argument("--accept", metavar="CODE:PCR", action="append", default=[], help=words)
    learn.add_argument("--reason", metavar="TEXT", help="why that is accepted; kept with the baselines")
    words = "make one baseline for the machines that are assigned to this cohort, and none of their own"
    learn.add_argument("--cohort", metavar="NAME", help=words)


def add_verify(commands: Any) -> None:
    """Adds ``verify``."""
    verify = command(commands, "verify", "verify:verify", "give every machine and boot of an archive a verdict")
    add_job_options(verify)
    add_jobs(verify)
    words = "where it runs: threads of this process, or a Spark cluster (pip install 'pyverify[spark]')"
    verify.add_argument("--engine", choices=("local", "spark"), default="local", help=words)
    words = "the cluster, such as spark://head:7077 (default: what spark-submit says, else all cores here)"
    verify.add_argument("--master", metavar="URL", help=words)
    formats = ("table", "json", "jsonl", "parquet", "ear", "shielded-vm", "oci")
    verify.add_argument("--format", choices=formats, default="table")
    words = "names and profile of the EAR: the draft's (default), or those that Veraison and Trustee use"
    verify.add_argument("--ear-dialect", choices=("draft", "veraison"), help=words)
    words = "sign each EAR as a JWT with this private key: PEM, Ed25519 or P-256"
    verify.add_argument("--ear-key", metavar="FILE", help=words)
    _add_run_options(verify)


def _add_run_options(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("-o", "--output", metavar="FILE", help="write here; it appears when it is whole")
    words = "go on where a run with the same -o was interrupted: verdicts that are finished are kept beside FILE"
    verify.add_argument("--resume", action="store_true", help=words)
    words = "a verdict for every machine that sent nothing, of those in the store or of a file's lines"
    verify.add_argument("--expect", metavar="store|FILE", help=words)
    words = "when to exit with 1 or 3: only if something is untrusted, or never (default: unmeasured, so for anything)"
    verify.add_argument("--fail-on", choices=("untrusted", "unmeasured", "never"), default="unmeasured", help=words)
    verify.add_argument("--summary", metavar="FILE", help="counts, times, ids and the exit code as JSON")


def add_explain(commands: Any) -> None:
    """Adds ``explain``."""
    explain = command(commands, "explain", "explain:explain", "say in words why machines are not trusted")
    add_job_options(explain)
    explain.add_argument(
        "machines", metavar="MACHINE", nargs="*", help="these only (default: all that are not trusted)"
    )
    explain.set_defaults(any_number="machines")


def add_pack(commands: Any) -> None:
    """Adds ``pack`` and ``unpack``."""
    pack = command(commands, "pack", "pack:pack", "write archives of evidence as Parquet, to be kept for years")
    pack.add_argument("archives", metavar="ARCHIVE", nargs="+", help=ARCHIVE)
    words = "folder of part files, or one file where it ends in .parquet; it appears when it is whole"
    pack.add_argument("-o", "--output", metavar="OUT", required=True, help=words)
    pack.add_argument("--partition", choices=("date",), help="a folder a day, by collected_at")
    unpack = command(commands, "unpack", "pack:unpack", "write an archive as a folder of MACHINE/BOOT/MEMBER")
    unpack.add_argument("source", metavar="ARCHIVE", help=ARCHIVE)
    unpack.add_argument("-o", "--output", metavar="OUT", required=True, help="folder; it appears when it is whole")


def add_cohorts(commands: Any) -> None:
    """Adds ``cohorts``."""
    words = "group the machines of an archive that boot alike, the odd ones first"
    cohorts = command(commands, "cohorts", "cohorts:cohorts", words)
    words = f"{ARCHIVE}; the newest boot of each machine counts"
    cohorts.add_argument("evidence", metavar="ARCHIVE", help=words)
    words = "say which other cohort is closest to these, and what differs"
    cohorts.add_argument("machines", metavar="MACHINE", nargs="*", help=words)
    cohorts.set_defaults(any_number="machines")
    add_jobs(cohorts)
    add_form(cohorts)


def add_hunt(commands: Any) -> None:
    """Adds ``hunt``."""
    words = "say which machines ever booted a digest, what a dbx revokes, or a text; when first and last"
    hunt = command(commands, "hunt", "hunt:hunt", words)
    hunt.add_argument("archive", metavar="ARCHIVE", help=ARCHIVE)
    many: dict[str, Any] = {"action": "append", "default": []}
    hunt.add_argument("--digest", metavar="[BANK:]HEX", help="a digest of an event, or of a file in IMA lists", **many)
    words = "what these revoke: EFI signature lists, an update as it is published, or a file of efivarfs"
    hunt.add_argument("--dbx", metavar="FILE", help=words, **many)
    hunt.add_argument("--event", metavar="TEXT", help="what an event says (UTF-8, UTF-16), or an IMA path", **many)
    add_jobs(hunt)
    hunt.add_argument("--format", choices=("table", "json", "jsonl"), default="table")


def add_report(commands: Any) -> None:
    """Adds ``report``."""
    report = command(commands, "report", "report:report", "verdict files as one page to look at, without a network")
    words = "what `verify` wrote: Parquet, JSON lines or JSON; several make a time line"
    report.add_argument("verdicts", metavar="VERDICTS", nargs="+", help=words)
    report.add_argument("-o", "--output", metavar="FILE", help="the page (default: standard output)")
