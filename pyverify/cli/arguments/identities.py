"""The arguments of ``enroll`` and ``challenge``."""

from __future__ import annotations

from typing import Any

from pyverify.cli.arguments.shared import add_identity_options, command, group, time


def add_enroll(commands: Any) -> None:
    """Adds ``enroll``."""
    enroll = command(commands, "enroll", "enroll:enroll", "say which attestation keys are a machine's")
    enroll.add_argument("machine", metavar="MACHINE", nargs="?", help="without keys: print those that it has")
    enroll.add_argument("keys", metavar="KEY", nargs="*", help="public area of an attestation key, as its TPM gave it")
    enroll.set_defaults(any_number="keys")
    enroll.add_argument("--ak-cert", metavar="FILE", help="the key's certificate, PEM or DER, with its intermediates")
    enroll.add_argument("--ek-cert", metavar="FILE", help="the TPM's EK certificate, for `challenge new --activate`")
    enroll.add_argument("--root", metavar="FILE", action="append", default=[], help="pin these certificates")
    enroll.add_argument("--since", metavar="TIME", type=time, help="from when on it is its key (default: always)")
    enroll.add_argument("--until", metavar="TIME", type=time, help="from when on it is its key no longer")
    enroll.add_argument("--sm2-mode", choices=("digest", "za"), help="what an SM2 key signs (default: digest)")
    enroll.add_argument("--reason", metavar="TEXT", help="why, for the record")
    add_identity_options(enroll)


def add_challenge(commands: Any) -> None:
    """Adds ``challenge``."""
    words = "the ledger of nonces, and credential activation"
    actions = group(commands, "challenge", words)
    new = command(actions, "new", "challenge:new", "make a nonce for each key of a machine, or a credential")
    new.add_argument("machine", metavar="MACHINE")
    new.add_argument("public", metavar="FILE", nargs="*", help="with --activate: public areas of its EK and of its AK")
    new.set_defaults(any_number="public")
    new.add_argument("--ak", metavar="NAME", help="for this key only, by its Name in hex")
    new.add_argument("--activate", action="store_true", help="write a credential that only its TPM can open")
    new.add_argument("-o", "--output", metavar="FILE", help="where the credential goes")
    add_identity_options(new)
    take = command(actions, "import", "challenge:import_", "take in challenges that were issued elsewhere")
    take.add_argument("file", metavar="FILE", help="JSON list of {ak_name, nonce, issued_at, machine}")
    add_identity_options(take)
    check = command(actions, "check", "challenge:check", "compare what a TPM got out of a credential")
    check.add_argument("machine", metavar="MACHINE")
    check.add_argument("file", metavar="SECRET", help="what tpm2_activatecredential wrote")
    add_identity_options(check)
