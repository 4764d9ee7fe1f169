"""The arguments of commands that look at single files: ``inspect``, ``replay``, ``quote``, ``policy``."""

from __future__ import annotations

from typing import Any

from pyverify.cli.arguments.shared import add_form, command, group
from pyverify.cli.evidence_file import KINDS


def add_inspect(commands: Any) -> None:
    """Adds ``inspect``."""
    words = "show what is in an event log, an IMA list, a quote, a key"
    inspect = command(commands, "inspect", "inspect:inspect", words)
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


def add_replay(commands: Any) -> None:
    """Adds ``replay``."""
    words = "replay event logs, and IMA lists, to PCR values"
    replay = command(commands, "replay", "replay:replay", words)
    replay.add_argument("files", metavar="FILE", nargs="+")
    add_form(replay)
    replay.add_argument("--kind", choices=KINDS, help="what the files are (default: what each looks like)")
    replay.add_argument(
        "--pcrs", metavar="FILE", help="compare with these PCR values (tpm2_pcrread, or BANK PCR HEX lines)"
    )
    replay.add_argument("--isa", metavar="NAME", help="force a variant of the hash kernels (see `pyverify info`)")


def add_quote(commands: Any) -> None:
    """Adds ``quote verify``, with the flags of tpm2_checkquote."""
    words = "verify a signed quote; flags as tpm2_checkquote"
    actions = group(commands, "quote", words)
    verify = command(actions, "verify", "quote:verify", "is this quote signed by this key, over this nonce and PCRs?")
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
    add_form(verify)


def add_policy(commands: Any) -> None:
    """Adds ``policy``."""
    words = "what a policy asks for"
    actions = group(commands, "policy", words)
    show = command(actions, "show", "policy:show", "print a whole policy, with what each key means")
    show.add_argument("policy", metavar="NAME|FILE", nargs="?", default="default", help="(default: default)")
    show.add_argument("--format", choices=("toml", "json"), default="toml")
    check = command(actions, "check", "policy:check", "say where a policy asks for more or less than default")
    check.add_argument("file", metavar="FILE")
