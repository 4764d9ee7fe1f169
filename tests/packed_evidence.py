"""What the tests of packing share: evidence that is worth a verdict, and what becomes of it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from conftest import small_log
from source_archives import Tree

from pyverify import Policy
from pyverify.baseline.references import References
from pyverify.fleet.job import Summary, run
from pyverify.fleet.sources import open_source

LOG = "binary_bios_measurements"
GOOD = small_log(["sha256"])
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
REAL: Tree = {
    f"m{machine}/b{boot}": {
        LOG: small_log(["sha1", "sha256"], command_line=b"quiet %d" % machine),
        "ak.crt": b"certificate",
        "evidence.json": b'{"boot_seq": %d, "collected_at": "2026-11-0%dT08:00:00Z"}' % (boot, boot),
    }
    for machine in range(3)
    for boot in (1, 2)
}


def verdicts(archive: Path) -> list[dict[str, Any]]:
    """Verdict rows but for where they are from."""
    policy, references = Policy.preset("log-only"), References.of([])
    found = []
    summary = Summary(policy.name, references.id, NOW)
    for batch in run(open_source(archive), references=references, policy=policy, as_of=NOW, jobs=1, summary=summary):
        found += batch.drop_columns(["source"]).to_pylist()
    return found


def members(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def by_boot(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["machine"] or "", row["boot"] or "", row["evidence_id"]))
