"""``pyverify``: the arguments of all commands, and what becomes of errors.

Commands import what they need when they run, so that ``inspect`` and ``replay`` load neither pyarrow nor SQLAlchemy.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pyverify.cli.baseline_arguments import add_baseline
from pyverify.cli.evidence_file import KINDS
from pyverify.errors import ArchiveError, EvidenceError, PyverifyError, UsageError
from pyverify.evidence.text import escape

DONE: Final = 0
NO: Final = 1
USAGE: Final = 2
UNREADABLE: Final = 3
INTERNAL: Final = 4


def _time(text: str) -> datetime.datetime:
    """A time as RFC 3339; without a zone it is UTC."""
    try:
        time = datetime.datetime.fromisoformat(text)
        return time.astimezone(datetime.UTC) if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-11-01T08:00:00Z") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _command(commands: Any, name: str, run: str, words: str) -> argparse.ArgumentParser:
    """A subcommand; ``run`` is ``module:function`` under ``pyverify.cli``, imported only when it is called."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    parser.set_defaults(run=run)
    return parser


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    """What the commands that work on an archive and a store have in common."""
    parser.add_argument("archive", metavar="ARCHIVE", help="folder, tar (.gz .zst .xz), zip or Parquet of evidence")
    _add_store_option(parser)
    words = "what must hold: default, archive, log-only, or a file (a name with / or .toml at its end)"
    parser.add_argument("--policy", metavar="NAME|FILE", default="default", help=words)
    parser.add_argument("--as-of", metavar="TIME", type=_time, help="time of the verdicts (default: now)")


def _add_store_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get("PYVERIFY_STORE", "pyverify.db"),
        help="baseline store: a file or a database URL (default: $PYVERIFY_STORE, else pyverify.db)",
    )
    parser.add_argument(
        "--store-key",
        metavar="FILE",
        default=os.environ.get("PYVERIFY_STORE_KEY"),
        help="key that the store's changes are signed with, or its public key to read it with (default: "
        "$PYVERIFY_STORE_KEY, else STORE.key beside a file, pyverify.key for a URL)",
    )
    parser.add_argument(
        "--anchor", metavar="FILE", help="keeps the store's last head: shows when an older copy is back"
    )


def _add_enroll(commands: Any) -> None:
    enroll = _command(commands, "enroll", "enroll:enroll", "say which attestation keys are a machine's")
    enroll.add_argument("machine", metavar="MACHINE", nargs="?", help="without keys: print those that it has")
    enroll.add_argument("keys", metavar="KEY", nargs="*", help="public area of an attestation key, as its TPM gave it")
    enroll.set_defaults(any_number="keys")
    enroll.add_argument("--ak-cert", metavar="FILE", help="the key's certificate, PEM or DER, with its intermediates")
    enroll.add_argument("--ek-cert", metavar="FILE", help="the TPM's EK certificate, for `challenge new --activate`")
    enroll.add_argument("--root", metavar="FILE", action="append", default=[], help="pin these certificates")
    enroll.add_argument("--since", metavar="TIME", type=_time, help="from when on it is its key (default: always)")
    enroll.add_argument("--until", metavar="TIME", type=_time, help="from when on it is its key no longer")
    enroll.add_argument("--sm2-mode", choices=("digest", "za"), help="what an SM2 key signs (default: digest)")
    enroll.add_argument("--reason", metavar="TEXT", help="why, for the record")
    _add_identity_options(enroll)


def _add_challenge(commands: Any) -> None:
    words = "the ledger of nonces, and credential activation"
    parser: argparse.ArgumentParser = commands.add_parser("challenge", help=words, description=words)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = _command(actions, "new", "challenge:new", "make a nonce for each key of a machine, or a credential")
    new.add_argument("machine", metavar="MACHINE")
    new.add_argument("public", metavar="FILE", nargs="*", help="with --activate: public areas of its EK and of its AK")
    new.set_defaults(any_number="public")
    new.add_argument("--ak", metavar="NAME", help="for this key only, by its Name in hex")
    new.add_argument("--activate", action="store_true", help="write a credential that only its TPM can open")
    new.add_argument("-o", "--output", metavar="FILE", help="where the credential goes")
    _add_identity_options(new)
    take = _command(actions, "import", "challenge:import_", "take in challenges that were issued elsewhere")
    take.add_argument("file", metavar="FILE", help="JSON list of {ak_name, nonce, issued_at, machine}")
    _add_identity_options(take)
    check = _command(actions, "check", "challenge:check", "compare what a TPM got out of a credential")
    check.add_argument("machine", metavar="MACHINE")
    check.add_argument("file", metavar="SECRET", help="what tpm2_activatecredential wrote")
    _add_identity_options(check)


def _add_identity_options(parser: argparse.ArgumentParser) -> None:
    _add_store_option(parser)
    parser.add_argument("--as-of", metavar="TIME", type=_time, help="the time now (default: the clock's)")
    parser.add_argument("--format", choices=("table", "json"), default="table")


def _add_baseline(commands: Any) -> None:
    words = "what the machines should measure, and whether the store of it is whole"
    parser: argparse.ArgumentParser = commands.add_parser("baseline", help=words, description=words)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add_baseline(actions, _command, _add_store_option, _time, _positive)
    words = "check every row, head and signature of the store"
    check = _command(actions, "verify-store", "verify_store:verify_store", words)
    check.add_argument("--head", metavar="HEX", help="it must contain this head, which an earlier run printed")
    check.add_argument("--format", choices=("table", "json"), default="table")
    _add_store_option(check)


def _add_quote(commands: Any) -> None:
    """``quote verify``, with the flags of tpm2_checkquote."""
    words = "verify a signed quote; flags as tpm2_checkquote"
    actions = commands.add_parser("quote", help=words, description=words).add_subparsers(
        metavar="ACTION", required=True
    )
    verify = _command(actions, "verify", "quote:verify", "is this quote signed by this key, over this nonce and PCRs?")
    verify.add_argument(
        "-u", "--public", metavar="FILE", required=True, help="key: TPM2B_PUBLIC, TPMT_PUBLIC, PEM or DER"
    )
    verify.add_argument("-m", "--message", metavar="FILE", required=True, help="TPMS_ATTEST or TPM2B_ATTEST")
    verify.add_argument("-s", "--signature", metavar="FILE", required=True, help="TPMT_SIGNATURE, or the plain form")
    verify.add_argument("-q", "--qualification", dest="nonce", metavar="HEX", help="the nonce it must carry")
    verify.add_argument("-g", "--hash-algorithm", dest="hash", metavar="NAME", help="hash that it must be signed with")
    verify.add_argument("-l", "--pcr-list", metavar="LIST", help="PCRs that it must select: sha256:0,1,7+sm3_256:0")
    verify.add_argument("-f", "--pcr", dest="pcrs", metavar="FILE", help="PCR values (tpm2_quote -o, or text)")
    verify.add_argument(
        "--sm2-mode",
        choices=("digest", "za"),
        default="digest",
        help="what SM2 keys sign (default: digest, as TPMs do)",
    )
    verify.add_argument("--format", choices=("table", "json"), default="table")


def _add_policy(commands: Any) -> None:
    words = "what a policy asks for"
    parser: argparse.ArgumentParser = commands.add_parser("policy", help=words, description=words)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = _command(actions, "show", "policy:show", "print a whole policy, with what each key means")
    show.add_argument("policy", metavar="NAME|FILE", nargs="?", default="default", help="(default: default)")
    show.add_argument("--format", choices=("toml", "json"), default="toml")
    check = _command(actions, "check", "policy:check", "say where a policy asks for more or less than default")
    check.add_argument("file", metavar="FILE")


def _add_inspect(commands: Any) -> None:
    words = "show what is in an event log, an IMA list, a quote, a key"
    inspect = _command(commands, "inspect", "inspect:inspect", words)
    inspect.add_argument("file", metavar="FILE", help="`-` for standard input")
    inspect.add_argument("--format", choices=("table", "json", "yaml"), default="table")
    inspect.add_argument("--kind", choices=KINDS, help="what the file is (default: what it looks like)")
    inspect.add_argument("--summary", action="store_true", help="of an event log: the boot in a dozen lines")
    inspect.add_argument(
        "--pcr", metavar="N,...", action="append", help="only what extends these PCRs, or RTMR0 to RTMR3"
    )
    inspect.add_argument(
        "--type", metavar="TYPE,...", action="append", help="only events of these types: EV_IPL, 0x8401"
    )


def _add_replay(commands: Any) -> None:
    words = "replay event logs, and IMA lists, to PCR values"
    replay = _command(commands, "replay", "replay:replay", words)
    replay.add_argument("files", metavar="FILE", nargs="+")
    replay.add_argument("--format", choices=("table", "json"), default="table")
    replay.add_argument("--kind", choices=KINDS, help="what the files are (default: what each looks like)")
    replay.add_argument(
        "--pcrs", metavar="FILE", help="compare with these PCR values (tpm2_pcrread, or BANK PCR HEX lines)"
    )
    replay.add_argument("--isa", metavar="NAME", help="force a variant of the hash kernels (see `pyverify info`)")


def _add_run_options(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("-o", "--output", metavar="FILE", help="write here; it appears when it is whole")
    words = "go on where a run with the same -o was interrupted: verdicts that are finished are kept beside FILE"
    verify.add_argument("--resume", action="store_true", help=words)
    words = "a verdict for every machine that sent nothing, of those in the store or of a file's lines"
    verify.add_argument("--expect", metavar="store|FILE", help=words)
    words = "when to exit with 1 or 3: only if something is untrusted, or never (default: unmeasured, so for anything)"
    verify.add_argument("--fail-on", choices=("untrusted", "unmeasured", "never"), default="unmeasured", help=words)
    verify.add_argument("--summary", metavar="FILE", help="counts, times, ids and the exit code as JSON")


def _add_pack(commands: Any) -> None:
    archive = "folder, tar (.gz .zst .xz), zip or Parquet of evidence"
    pack = _command(commands, "pack", "pack:pack", "write archives of evidence as Parquet, to be kept for years")
    pack.add_argument("archives", metavar="ARCHIVE", nargs="+", help=archive)
    words = "folder of part files, or one file where it ends in .parquet; it appears when it is whole"
    pack.add_argument("-o", "--output", metavar="OUT", required=True, help=words)
    pack.add_argument("--partition", choices=("date",), help="a folder a day, by collected_at")
    unpack = _command(commands, "unpack", "pack:unpack", "write an archive as a folder of MACHINE/BOOT/MEMBER")
    unpack.add_argument("source", metavar="ARCHIVE", help=archive)
    unpack.add_argument("-o", "--output", metavar="OUT", required=True, help="folder; it appears when it is whole")


def _add_cohorts(commands: Any) -> None:
    words = "group the machines of an archive that boot alike, the odd ones first"
    cohorts = _command(commands, "cohorts", "cohorts:cohorts", words)
    words = "folder, tar (.gz .zst .xz), zip or Parquet of evidence; the newest boot of each machine counts"
    cohorts.add_argument("evidence", metavar="ARCHIVE", help=words)
    words = "say which other cohort is closest to these, and what differs"
    cohorts.add_argument("machines", metavar="MACHINE", nargs="*", help=words)
    cohorts.set_defaults(any_number="machines")
    cohorts.add_argument("--jobs", metavar="N", type=_positive, help="threads (default: the processors there are)")
    cohorts.add_argument("--format", choices=("table", "json"), default="table")


def _add_hunt(commands: Any) -> None:
    words = "say which machines ever booted a digest, what a dbx revokes, or a text; when first and last"
    hunt = _command(commands, "hunt", "hunt:hunt", words)
    hunt.add_argument("archive", metavar="ARCHIVE", help="folder, tar (.gz .zst .xz), zip or Parquet of evidence")
    many: dict[str, Any] = {"action": "append", "default": []}
    hunt.add_argument("--digest", metavar="[BANK:]HEX", help="a digest of an event, or of a file in IMA lists", **many)
    words = "what these revoke: EFI signature lists, an update as it is published, or a file of efivarfs"
    hunt.add_argument("--dbx", metavar="FILE", help=words, **many)
    hunt.add_argument("--event", metavar="TEXT", help="what an event says (UTF-8, UTF-16), or an IMA path", **many)
    hunt.add_argument("--jobs", metavar="N", type=_positive, help="threads (default: the processors there are)")
    hunt.add_argument("--format", choices=("table", "json", "jsonl"), default="table")


def _add_learn(commands: Any) -> None:
    learn = _command(commands, "learn", "learn:learn", "make a baseline of each new machine from its first boot")
    _add_job_options(learn)
    learn.add_argument("--activate", action="store_true", help="make the new baselines active at once")
    words = "enrol the key of each machine's first boot, as trusted on first use"
    learn.add_argument("--trust-first-key", action="store_true", help=words)
    words = "learn what may run from this many first boots of each machine (default: 1); PCRs are from the first"
    learn.add_argument("--boots", metavar="N", type=_positive, default=1, help=words)
    words = "live with this finding of a first boot, such as event.data-mismatch:4, where it needs it"
    learn.add_argument("--accept", metavar="CODE:PCR", action="append", default=[], help=words)
    learn.add_argument("--reason", metavar="TEXT", help="why that is accepted; kept with the baselines")
    words = "make one baseline for the machines that are assigned to this cohort, and none of their own"
    learn.add_argument("--cohort", metavar="NAME", help=words)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="pyverify", description="Did each machine of the fleet boot what it should have booted?"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    _add_inspect(commands)
    _add_replay(commands)

    _add_learn(commands)

    verify = _command(commands, "verify", "verify:verify", "give every machine and boot of an archive a verdict")
    _add_job_options(verify)
    verify.add_argument("--jobs", metavar="N", type=_positive, help="threads (default: the processors there are)")
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

    explain = _command(commands, "explain", "explain:explain", "say in words why machines are not trusted")
    _add_job_options(explain)
    explain.add_argument(
        "machines", metavar="MACHINE", nargs="*", help="these only (default: all that are not trusted)"
    )
    explain.set_defaults(any_number="machines")

    _add_pack(commands)
    _add_cohorts(commands)
    _add_hunt(commands)
    _add_enroll(commands)
    _add_challenge(commands)
    _add_baseline(commands)
    _add_quote(commands)
    _add_policy(commands)

    report = _command(commands, "report", "report:report", "verdict files as one page to look at, without a network")
    words = "what `verify` wrote: Parquet, JSON lines or JSON; several make a time line"
    report.add_argument("verdicts", metavar="VERDICTS", nargs="+", help=words)
    report.add_argument("-o", "--output", metavar="FILE", help="the page (default: standard output)")

    info = _command(commands, "info", "info:info", "versions, banks and the kernels in use")
    info.add_argument("--format", choices=("table", "json"), default="table")

    _command(commands, "demo", "demo:demo", "learn and verify a sample fleet, and say what to see in it")
    return parser


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; what a command takes any number of may also follow its options, where argparse gives up."""
    args, rest = parser.parse_known_args(argv)
    if rest and ("any_number" not in args or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        getattr(args, args.any_number).extend(rest)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 done, 1 the answer is no, 2 usage, 3 unreadable input, 4 internal."""
    args = _parsed(build_parser(), argv)
    with _ended_by_sigterm():
        return _run(args)


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM: as an interrupt, but for the exit code."""


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what runs here as an interrupt does, so that nothing is left half written."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def end(*_: object) -> None:
        raise _TerminatedError

    if mine:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(args: argparse.Namespace) -> int:
    module, function = args.run.split(":")
    on_archive = "archive" in args
    try:
        code: int = getattr(importlib.import_module(f"pyverify.cli.{module}"), function)(args)
        sys.stdout.flush()
    except UsageError as error:
        return _complain(error, USAGE)
    except (ArchiveError, EvidenceError) as error:
        return _complain(error, INTERNAL if on_archive else UNREADABLE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away; say nothing at exit
        return INTERNAL
    except OSError as error:
        return _complain(error, INTERNAL if on_archive else UNREADABLE)
    except PyverifyError as error:
        return _complain(error, INTERNAL)
    except Exception as error:
        return _complain(f"internal error, please report it: {type(error).__name__}: {error}", INTERNAL)
    except KeyboardInterrupt as stop:
        print("pyverify: interrupted; nothing was left half written", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stop, _TerminatedError) else signal.SIGINT)
    return code


def _complain(error: Exception | str, code: int) -> int:
    print(f"pyverify: {escape(str(error), 2000)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
