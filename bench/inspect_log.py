"""Bench ``inspect``: somebody at a terminal looks at one log, a whole process each time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import machine
from bench.peers import tpm2_eventlog_is_here
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.templates import templates
from bench.timing import interleaved
from pyverify.evidence.eventlog import EventLog

_BENCH: Final = "inspect"
_VIEWS: Final = {"table": (), "json": ("--format", "json"), "summary": ("--summary",)}


def inspect(plan: Plan) -> Iterator[Line | Note]:
    """The median over processes, on the wall, for a log of usual length in each way to show it."""
    logs = sorted((template.log for template in templates()), key=len)
    log = logs[len(logs) // 2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "binary_bios_measurements")
        path.write_bytes(log)
        ours = {
            name: _process(folder, sys.executable, "-m", "pyverify", "inspect", path.name, *options)
            for name, options in _VIEWS.items()
        }
        peers = {"numpy": _process(folder, sys.executable, "-c", "import numpy")}
        if tpm2_eventlog_is_here():
            peers["tpm2_eventlog"] = _process(folder, "tpm2_eventlog", path.name)
        else:
            yield Note(_BENCH, "tpm2_eventlog is not installed: left out")
        seconds = interleaved(ours | peers, plan.short_samples)
    isa = machine.isa(("sha256",))
    for name in ours:
        case = f"all-{name}-of-{len(EventLog.parse(log).events)}-events"
        for peer in peers:
            yield Line(_BENCH, case, isa, 1, seconds[name] * 1e3, "ms", peer, seconds[peer] / seconds[name])


def _process(folder: str, *command: str) -> Callable[[], None]:
    """A process in a folder that is no checkout, so that Python finds the installed package."""

    def run() -> None:
        done = subprocess.run(command, capture_output=True, check=False, cwd=folder)
        if done.returncode:
            raise DifferentResultsError(f"{' '.join(command)} ends with {done.returncode}: {done.stderr.decode()}")

    return run
