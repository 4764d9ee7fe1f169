"""``enroll``: attestation keys of a machine, and the certificates that theirs must lead to."""

from __future__ import annotations

import argparse
import datetime
import json
import sys

from pyverify.baseline.enrollment import Enrolled, Enrollment
from pyverify.cli.identity_files import key_facts, key_words, read_file, who
from pyverify.cli.stores import open_store
from pyverify.errors import UsageError
from pyverify.evidence.certificates import read_certificates
from pyverify.evidence.sm2 import Sm2Mode


def enroll(args: argparse.Namespace) -> int:
    """Pins roots, enrols keys; of a machine without keys given, prints those that it has."""
    if args.machine is None and not args.root:
        raise UsageError("name a machine and its keys, or certificates to pin with --root")
    if args.ak_cert and len(args.keys) != 1:
        raise UsageError("--ak-cert is for one key: name that one")
    now = args.as_of or datetime.datetime.now(datetime.UTC)
    roots = [der for name in args.root for der in read_certificates(read_file(name))]
    keys = [read_file(name) for name in args.keys]
    ak_certificates, ek_certificates = (
        read_certificates(read_file(name)) if name else [] for name in (args.ak_cert, args.ek_cert)
    )
    mode = None if args.sm2_mode is None else Sm2Mode(args.sm2_mode)
    with open_store(args, create=True) as store:
        enrollment = Enrollment(store)
        if roots:
            new = enrollment.pin(roots, who=who(), reason=args.reason)
            print(f"{new} of {len(roots)} certificates newly pinned", file=sys.stderr)
        done = [
            enrollment.enroll(
                args.machine,
                key,
                at=now,
                since=args.since,
                until=args.until,
                sm2_mode=mode,
                ak_certificates=ak_certificates,
                ek_certificates=ek_certificates,
                who=who(),
                reason=args.reason,
            )
            for key in keys
        ]
        if args.machine is not None and not keys:
            done = [Enrolled(key, False) for key in enrollment.keys(args.machine)]
    if args.format == "json":
        print(json.dumps([key_facts(item.key) | {"new": item.is_new} for item in done], indent=1))
        return 0
    for item in done:
        print(key_words(item.key) + ("  new" if item.is_new else ""))
    return 0
