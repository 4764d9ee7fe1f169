"""The command: builds the targets in C, writes seeds, runs each target for a time, prints a line for each."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.registry import C_TARGETS, dictionary, python_targets

ROOT: Final = Path(__file__).parent.parent.parent
INPUT_SECONDS: Final = 20
"""One input; the slowest honest one takes a tenth of a second, under sanitizers on a busy machine."""
MEMORY_MB: Final = 2048

_COVERAGE = re.compile(r"^#\d+\s+(\w+)\s+cov: (\d+)", re.MULTILINE)
_COUNTED = re.compile(r"^#(\d+)\s", re.MULTILINE)
_UNITS = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """What came of one target; ``cpu`` are seconds, of its own process and those that it waited for."""

    name: str
    executions: int
    cpu: float
    before: int
    after: int
    inputs: int
    found: list[Path]
    log: Path
    code: int


def main(arguments: list[str]) -> int:
    """Exit code: 0 nothing was found, 1 something was, or a target did not run."""
    names = [*C_TARGETS, *python_targets()]
    options = _parse(arguments, names)
    if options.list:
        print("\n".join(names))
        return 0
    chosen = options.target or names
    folder = options.folder.resolve()
    if any(name in C_TARGETS for name in chosen):
        _build(folder / "cmake")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: _tell(_run(name, folder, options.seconds)), chosen))
    executions, hours = sum(ran.executions for ran in results), sum(ran.cpu for ran in results) / 3600
    print(f"{executions:>12,} executions of {len(results)} targets, {hours:,.2f} CPU hours")
    return int(any(ran.found or ran.code for ran in results))


def _parse(arguments: list[str], names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests/fuzz", description="Runs fuzz targets; needs clang, CMake and atheris.")
    parser.add_argument("target", nargs="*", help="all of them by default", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=10, help="for each target (10)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (2)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "fuzz", help="corpora, findings, logs (build/fuzz)"
    )
    parser.add_argument("--list", action="store_true", help="names of the targets")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.target if name not in names]:
        parser.error(f"unknown target {unknown[0]}; there is {', '.join(names)}")
    return options


def _build(folder: Path) -> None:
    settings = ["-DCMAKE_C_COMPILER=clang", "-DPV_FUZZ=ON", "-DCMAKE_C_FLAGS=-Werror"]
    for command in (["cmake", "-S", ROOT, "-B", folder, *settings], ["cmake", "--build", folder, "--parallel", "2"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _run(name: str, folder: Path, seconds: int) -> Ran:
    corpus, seeds, findings = (folder / kind / name for kind in ("corpus", "seeds", "findings"))
    for path in (corpus, seeds, findings):
        path.mkdir(parents=True, exist_ok=True)
    if name in C_TARGETS:
        make_seeds, longest = C_TARGETS[name]
        command: list[str | Path] = [folder / "cmake" / f"fuzz_{name}"]
        if words := dictionary(name):
            command.append(f"-dict={words}")
    else:
        target = python_targets()[name]
        make_seeds, longest = target.seeds, target.max_len
        command = [sys.executable, ROOT / "tests" / "fuzz" / "harness.py", name]
    for seed in make_seeds():
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    command += [
        f"-max_total_time={seconds}",
        f"-max_len={longest}",
        f"-timeout={INPUT_SECONDS}",
        f"-report_slow_units={INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        corpus,
        seeds,
    ]
    known = set(findings.iterdir())
    log = folder / f"{name}.log"
    code, cpu = _run_to_end(command, log)
    said = log.read_text(errors="replace")
    coverage = dict.fromkeys(("INITED", "LAST"), 0)
    for event, blocks in _COVERAGE.findall(said):
        coverage["INITED" if event == "INITED" else "LAST"] = int(blocks)
    units = _UNITS.findall(said) or _COUNTED.findall(said)  # at its end, or as far as it came
    return Ran(
        name,
        int(units[-1]) if units else 0,
        cpu,
        coverage["INITED"],
        max(coverage.values()),
        len(list(corpus.iterdir())),
        sorted(set(findings.iterdir()) - known),
        log,
        code,
    )


def _run_to_end(command: list[str | Path], log: Path) -> tuple[int, float]:
    """The exit code, and the seconds of processor time."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=_environment())
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def _environment() -> dict[str, str]:
    """One thread for numpy and Arrow: targets run side by side, and coverage is of one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def _tell(ran: Ran) -> Ran:
    growth = f"coverage {ran.before:>5,} -> {ran.after:>5,}"
    kept = f"{ran.inputs:>5,} inputs kept"
    print(f"{ran.executions:>12,} executions  {ran.cpu:>7,.0f} CPU s  {growth}  {kept}  {ran.name}", flush=True)
    for path in ran.found:
        print(f"             FOUND by {ran.name}: {path} (log: {ran.log})", flush=True)
    if ran.code and not ran.found:
        print(f"             {ran.name} ended with {ran.code}: see {ran.log}", flush=True)
    return ran
