"""``challenge``: the ledger of nonces, and credential activation."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path

from pyverify.baseline.challenge_file import format_challenges, parse_challenges
from pyverify.baseline.enrollment import Enrollment, check_machine
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.store import Store
from pyverify.cli.identity_files import key_facts, key_words, read_file, who
from pyverify.cli.stores import open_store
from pyverify.errors import UsageError
from pyverify.evidence.public_area import MAX_SIZE
from pyverify.evidence.text import escape


def new(args: argparse.Namespace) -> int:
    """Prints a fresh nonce for each key of a machine; with --activate, writes a credential."""
    check_machine(args.machine)
    now = args.as_of or datetime.datetime.now(datetime.UTC)
    with open_store(args) as store:
        if args.activate or args.public:
            return _new_credential(args, store, now)
        names = [key.ak_name for key in Enrollment(store).keys(args.machine) if key.holds_at(now)]
        if args.ak is not None:
            names = [name for name in names if name.hex() == args.ak.lower()]
        if not names:
            raise UsageError(
                f"key.unknown: {args.machine} has no such key enrolled at this time; `pyverify enroll {args.machine} "
                "AK.pub` enrols one"
            )
        issued = Ledger(store).issue(args.machine, names, at=now)
    if args.format == "json":
        print(format_challenges(issued))
        return 0
    for challenge in issued:
        print(challenge.nonce.hex())
        print(f"for key {challenge.ak_name.hex()}, good for 24 hours", file=sys.stderr)
    return 0


def _new_credential(args: argparse.Namespace, store: Store, now: datetime.datetime) -> int:
    if not args.activate or len(args.public) != 2 or args.output is None:
        raise UsageError("a credential takes all of: --activate MACHINE EK AK -o FILE")
    ek, ak = (read_file(name, MAX_SIZE) for name in args.public)
    blob = Enrollment(store).challenge(args.machine, ek, ak, at=now)
    if args.output == "-":
        sys.stdout.buffer.write(blob)
    else:
        Path(args.output).write_bytes(blob)
    print(
        f"give {escape(args.output)} to {args.machine}: `tpm2_activatecredential -i … -o SECRET`, and within 24 hours "
        f"`pyverify challenge check {args.machine} SECRET`",
        file=sys.stderr,
    )
    return 0


def import_(args: argparse.Namespace) -> int:
    """Takes challenges that were issued elsewhere into the ledger."""
    challenges = parse_challenges(read_file(args.file))
    for machine in {challenge.machine for challenge in challenges}:
        if machine is not None:
            check_machine(machine)
    with open_store(args, create=True) as store:
        added = Ledger(store).add(challenges)
    if args.format == "json":
        print(json.dumps({"challenges": len(challenges), "new": added}))
    else:
        print(f"{len(challenges):,} challenges, {added:,} of them new")
    return 0


def check(args: argparse.Namespace) -> int:
    """Compares what a TPM got out of a credential; 1 where it is not what was put in."""
    check_machine(args.machine)
    now = args.as_of or datetime.datetime.now(datetime.UTC)
    secret = read_file(args.file, MAX_SIZE)
    with open_store(args) as store:
        key = Enrollment(store).answer(args.machine, secret, at=now, who=who())
    if args.format == "json":
        print(json.dumps({"activated": key is not None, "key": None if key is None else key_facts(key)}))
    elif key is None:
        print(f"no: this is not the secret of an open challenge of {args.machine}")
    else:
        print(key_words(key))
    return 0 if key is not None else 1
