"""``policy``: what a policy asks for, in full or compared with the default."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pyverify.appraise.policy import Policy
from pyverify.appraise.policy_difference import differences
from pyverify.appraise.policy_keys import document
from pyverify.cli.archive import policy_of
from pyverify.evidence.text import escape


def show(args: argparse.Namespace) -> int:
    """Prints the whole policy with what each key means."""
    policy = policy_of(args)
    if args.format == "json":
        json.dump({"id": policy.id.hex(), **document(policy)}, sys.stdout, indent=1)
        print()
    else:
        print(f"# policy id {policy.id.hex()}\n\n{policy.to_toml()}", end="")
    return 0


def check(args: argparse.Namespace) -> int:
    """Prints a line for each difference from the default, those that let more pass marked as weaker."""
    policy = Policy.read(Path(args.file))
    found = differences(policy, Policy.preset("default"))
    weaker = sum(difference.weaker for difference in found)
    print(f"{escape(args.file)}: policy {policy.name}, id {policy.id.hex()}")
    for difference in found:
        print(f"  {'weaker' if difference.weaker else 'stricter':<9} {difference.rule}: {escape(difference.words)}")
    if not found:
        print("  the same as default")
    print(f"{len(found)} differences from default, {weaker} of them weaker", file=sys.stderr)
    return 0
