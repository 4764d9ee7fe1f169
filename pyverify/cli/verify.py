"""``verify``: the main job."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

import pyarrow as pa

from pyverify.baseline.booted import remember
from pyverify.baseline.heads import Head
from pyverify.baseline.ledger import Ledger
from pyverify.cli.archive import as_of, policy_of, progress
from pyverify.cli.lines import legend, verdict_line
from pyverify.cli.spark_engine import appraised_by
from pyverify.cli.stores import head_words, open_store
from pyverify.errors import ArchiveError, UsageError
from pyverify.evidence.text import escape
from pyverify.fleet.job import Summary, default_jobs, run
from pyverify.fleet.sources import open_source
from pyverify.output.tables import Write, line_writer, verdict_writer, whole_file


def verify(args: argparse.Namespace) -> int:
    """Appraises an archive against the store; the exit code says what came of it."""
    policy, now, start = policy_of(args), as_of(args), time.monotonic()
    writer = _writer(args)
    source = open_source(args.archive)
    broken: ArchiveError | None = None
    with (
        open_store(args) as store,
        appraised_by(args, source) as archive,
        progress(source, "boots") as update,
    ):
        references = store.references()
        summary = Summary(policy.name, references.id, now)
        rows = run(
            archive,
            references=references,
            policy=policy,
            as_of=now,
            jobs=args.jobs or default_jobs(),
            summary=summary,
            ledger=Ledger(store),
            remember=partial(remember, store),
            watch=update,
        )
        try:
            if args.format == "table":
                _print_table(rows, args.output)
            else:
                with writer as write:
                    for batch in rows:
                        write(batch)
        except ArchiveError as error:
            broken = error
        head = store.head
    _print_summary(summary, head, time.monotonic() - start)
    if not summary.rows:
        print(
            f"pyverify: {escape(args.archive)} holds no boots: is it MACHINE/BOOT/binary_bios_measurements?",
            file=sys.stderr,
        )
    if broken is not None:
        raise broken
    return summary.exit_code


def _writer(args: argparse.Namespace) -> AbstractContextManager[Write]:
    """What writes verdicts in any format but ``table``, which opens its file when it is entered.

    Raises:
        UsageError: the format is ``ear`` and its key is none, or there are options for EAR and it is not.
    """
    if args.format == "ear":
        from pyverify.output.ear import ear_lines

        return line_writer(args.output, ear_lines(args.ear_dialect or "draft", args.ear_key))
    if args.ear_dialect or args.ear_key:
        raise UsageError("--ear-dialect and --ear-key go with --format ear")
    if args.format in ("shielded-vm", "oci"):
        from pyverify.output import cloud

        report = cloud.oci if args.format == "oci" else cloud.shielded_vm
        return line_writer(args.output, lambda row: map(json.dumps, report(row)))
    return verdict_writer(args.format, args.output)


def _print_table(verdicts: Iterator[pa.RecordBatch], output: str | None) -> None:
    from rich.console import Console

    with whole_file(output) as file:
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


def _print_summary(summary: Summary, head: Head, seconds: float) -> None:
    counts = ", ".join(
        f"{summary.outcomes[name]:,} {name}"
        for name in ("trusted", "untrusted", "unmeasured", "error")
        if summary.outcomes[name]
    )
    print(
        f"{summary.rows:,} boots: {counts or 'nothing to judge'} · policy {summary.policy} · as of "
        f"{summary.as_of.isoformat(timespec='seconds')} · references {summary.references_id.hex()[:12]} · "
        f"{head_words(head)} · {seconds:.1f} s, {summary.rows / max(seconds, 1e-9):,.0f}/s",
        file=sys.stderr,
    )
