"""The whole command line, a file for each group of commands."""

from __future__ import annotations

import argparse

from pyverify.cli.arguments.archives import (
    add_cohorts,
    add_explain,
    add_hunt,
    add_learn,
    add_pack,
    add_report,
    add_verify,
)
from pyverify.cli.arguments.baselines import add_baseline
from pyverify.cli.arguments.files import add_inspect, add_policy, add_quote, add_replay
from pyverify.cli.arguments.identities import add_challenge, add_enroll
from pyverify.cli.arguments.shared import add_form, command


def build_parser() -> argparse.ArgumentParser:
    """A parser whose ``run`` is ``module:function`` under ``pyverify.cli``."""
    parser = argparse.ArgumentParser(
        prog="pyverify", description="Did each machine of the fleet boot what it should have booted?"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_inspect(commands)
    add_replay(commands)
    add_learn(commands)
    add_verify(commands)
    add_explain(commands)
    add_pack(commands)
    add_cohorts(commands)
    add_hunt(commands)
    add_enroll(commands)
    add_challenge(commands)
    add_baseline(commands)
    add_quote(commands)
    add_policy(commands)
    add_report(commands)
    add_form(command(commands, "info", "info:info", "versions, banks and the kernels in use"))
    command(commands, "demo", "demo:demo", "learn and verify a sample fleet, and say what to see in it")
    return parser
