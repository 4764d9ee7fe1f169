"""``verify``: the main job."""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from pyverify.appraise.policy import Policy
from pyverify.baseline.booted import remember
from pyverify.baseline.heads import Head
from pyverify.baseline.ledger import Ledger
from pyverify.cli.archive import policy_of, progress
from pyverify.cli.lines import legend, number_of, verdict_line
from pyverify.cli.resume import Run, run_of
from pyverify.cli.spark_engine import appraised_by
from pyverify.cli.stores import head_words, open_store
from pyverify.errors import ArchiveError, OutputError, UsageError
from pyverify.evidence.text import escape
from pyverify.fleet.expected import machines_of, read_machines
from pyverify.fleet.job import Summary, default_jobs, run
from pyverify.fleet.sources import open_source
from pyverify.output.tables import Write, line_writer, verdict_writer, whole_file

_OUTCOMES = ("trusted", "untrusted", "unmeasured", "error")
_UNREADABLE = 4


def verify(args: argparse.Namespace) -> int:
    """Appraises an archive against the store; the exit code says what came of it."""
    policy, start = policy_of(args), time.monotonic()
    source = open_source(args.archive)
    listed = set() if args.expect in (None, "store") else read_machines(Path(args.expect))
    broken: ArchiveError | None = None
    with open_store(args) as store, run_of(args, store, policy) as this, appraised_by(args, source) as archive:
        summary = Summary(policy.name, this.references.id, this.as_of)
        with progress(source, "boots", lambda: _words(summary.so_far)) as update:
            rows = run(
                archive,
                references=this.references,
                policy=policy,
                as_of=this.as_of,
                jobs=args.jobs or default_jobs(),
                summary=summary,
                ledger=Ledger(store),
                remember=partial(remember, store),
                watch=update,
                journal=this.journal,
                expected=machines_of(this.references, this.as_of) if args.expect == "store" else listed,
            )
            try:
                _write(rows, _writer(args, this.folder), args, this)
            except ArchiveError as error:
                broken = error
            except BrokenPipeError:
                raise
            except OSError as error:
                where, why = args.output or "standard output", error.strerror or error
                waiting = f"that of {tempfile.gettempdir()}, where verdicts wait for the last row"
                raise OutputError(f"{where}: cannot be written ({why}); see to its disk, and to {waiting}") from error
        head = store.head
        seconds = time.monotonic() - start
        code = summary.exit_code_if(args.fail_on) if broken is None else _UNREADABLE
        _print_summary(summary, head, seconds)
        if args.summary is not None:
            _write_summary(args, summary, policy, head, seconds, code)
        if not summary.rows:
            words = "holds no boots: is it MACHINE/BOOT/binary_bios_measurements?"
            print(f"pyverify: {escape(args.archive)} {words}", file=sys.stderr)
        if broken is not None:
            raise broken
    return code


def _write(
    rows: Iterator[pa.RecordBatch], writer: AbstractContextManager[Write], args: argparse.Namespace, this: Run
) -> None:
    if args.format == "table":
        _print_table(rows, args.output, this.folder)
        return
    with writer as write:
        for batch in rows:
            write(batch)


def _writer(args: argparse.Namespace, folder: Path | None) -> AbstractContextManager[Write]:
    """What writes verdicts in any format but ``table``, which opens its file when it is entered.

    Raises:
        UsageError: the format is ``ear`` and its key is none, or there are options for EAR and it is not.
    """
    if args.format == "ear":
        from pyverify.output.ear import ear_lines

        return line_writer(args.output, ear_lines(args.ear_dialect or "draft", args.ear_key), folder)
    if args.ear_dialect or args.ear_key:
        raise UsageError("--ear-dialect and --ear-key go with --format ear")
    if args.format in ("shielded-vm", "oci"):
        from pyverify.output import cloud

        report = cloud.oci if args.format == "oci" else cloud.shielded_vm
        return line_writer(args.output, lambda row: map(json.dumps, report(row)), folder)
    return verdict_writer(args.format, args.output, folder)


def _print_table(verdicts: Iterator[pa.RecordBatch], output: str | None, folder: Path | None) -> None:
    from rich.console import Console

    with whole_file(output, folder) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        try:
            wide = not file.isatty()
            console = Console(file=text, width=10_000 if wide else None, soft_wrap=wide, highlight=False)
            for batch in verdicts:
                rows = batch.to_pylist()
                machine_width = max(len(row["machine"] or "?") for row in rows)
                boot_width = max(len(row["boot"] or "?") for row in rows)
                for row in rows:
                    console.print(verdict_line(row, machine_width, boot_width), overflow="ellipsis")
            console.print(legend())
        finally:
            text.detach()


def _words(outcomes: Counter[str]) -> str:
    return ", ".join(f"{outcomes[name]:,} {name}" for name in _OUTCOMES if outcomes[name])


def _print_summary(summary: Summary, head: Head, seconds: float) -> None:
    parts = [
        f"{number_of(summary.rows, 'boot')}: {_words(summary.outcomes) or 'nothing to judge'}",
        f"policy {summary.policy}",
        f"as of {summary.as_of.isoformat(timespec='seconds')}",
        f"references {summary.references_id.hex()[:12]}",
        head_words(head),
        f"{seconds:.1f} s, {summary.rows / max(seconds, 1e-9):,.0f}/s",
        *([f"{summary.kept:,} kept of the run before"] if summary.kept else []),
    ]
    print(" · ".join(parts), file=sys.stderr)


def _write_summary(
    args: argparse.Namespace, summary: Summary, policy: Policy, head: Head, seconds: float, code: int
) -> None:
    """What a run came to, for machines; ``rows`` counts verdicts, those on machines that sent nothing too."""
    facts: dict[str, Any] = {
        "schema_version": 1,
        "archive": args.archive,
        "output": args.output,
        "rows": summary.rows,
        "outcomes": {name: summary.outcomes[name] for name in _OUTCOMES},
        "kept_rows": summary.kept,
        "seconds": round(seconds, 3),
        "rows_per_second": round(summary.rows / max(seconds, 1e-9), 1),
        "policy": policy.name,
        "policy_id": policy.id.hex(),
        "references_id": summary.references_id.hex(),
        "store_head": {"change": head.number, "digest": head.digest.hex()},
        "as_of": summary.as_of.isoformat().replace("+00:00", "Z"),
        "fail_on": args.fail_on,
        "exit_code": code,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyverify", "pyarrow", "numpy")},
        },
    }
    with whole_file(args.summary) as file:
        file.write(json.dumps(facts, indent=1).encode() + b"\n")
