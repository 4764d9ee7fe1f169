"""Verdict rows by hand, and the verdicts of the sample fleet as files."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import small_log

from pyverify.appraise.stages import STAGES
from pyverify.appraise.verdict import FINDING_TYPE, VERDICT_SCHEMA

NOW = datetime.datetime(2026, 11, 24, 8, tzinfo=datetime.UTC)
SEEN = NOW - datetime.timedelta(hours=2)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def finding(code: str, severity: str = "high", **fields) -> dict:
    return {
        **dict.fromkeys(field.name for field in FINDING_TYPE),
        "code": code,
        "severity": severity,
        "hint": code,
    } | fields


def stages(red: int | None = None, *, judged: bool = True) -> list[dict]:
    """Six lamps: green up to ``red``, grey behind it; all grey where nothing was judged."""
    states = ["grey" if not judged or (red is not None and i > red) else "green" for i in range(len(STAGES))]
    rows = []
    for i, (name, pcrs) in enumerate(STAGES):
        differs = i == red
        rows.append(
            {
                "name": name,
                "state": "red" if differs else states[i],
                "pcrs": sum(1 << pcr for pcr in pcrs),
                "expected": digest("expected") if differs else None,
                "actual": digest("actual") if differs else None,
            }
        )
    return rows


def verdict_row(machine: str, verdict: str = "trusted", *findings: dict, boot: str = "boot-1", **fields) -> dict:
    return {
        "schema_version": 1,
        "machine": machine,
        "boot": boot,
        "boot_seq": 7,
        "collected_at": SEEN,
        "as_of": NOW,
        "verdict": verdict,
        "attested": "quote",
        "key": "enrolled",
        "ak_name": b"\0\x0b" + digest(f"AK of {machine}"),
        "nonce": digest(f"what {machine} was asked"),
        "evidence_id": digest(f"{machine} {boot}"),
        "policy_id": digest("policy"),
        "references_id": digest("references"),
        "baseline": {"scope": "machine", "id": machine, "version": 1},
        "pcrs_proven": [{"bank": "sha256", "mask": 0x7BFF}],
        "pcrs_unproven": [],
        "stages": stages(judged=verdict in ("trusted", "untrusted")),
        "cohort": None,
        "findings": list(findings),
        "source": {"file": "evidence.parquet", "row_group": 0, "row": 0},
    } | fields


def write(path: Path, rows: list[dict] | pa.Table) -> Path:
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=VERDICT_SCHEMA), path)
    return path


def many_machines(rows: pa.Table, n: int) -> pa.Table:
    """These rows again and again under the names of n machines."""
    numbers = pa.array([i % len(rows) for i in range(n)])
    names = pa.array([f"node-{i:06d}" for i in range(n)])
    copies = rows.take(numbers)
    return copies.set_column(copies.schema.get_field_index("machine"), VERDICT_SCHEMA.field("machine"), names)


def sample_verdicts(folder: Path) -> Path:
    """The sample fleet, learned and verified as ``demo`` does it, as a Parquet file."""
    from pyverify.cli.demo import SAMPLE, _keys_of_first_boots
    from pyverify.cli.main import main

    store, out = ["--store", str(folder / "sample.db")], folder / "sample.parquet"
    for machine, key in _keys_of_first_boots(folder).items():
        assert main(["enroll", machine, str(key), *store]) == 0
    assert main(["learn", str(SAMPLE), "--policy", "archive", *store, "--activate"]) == 0
    assert main(["verify", str(SAMPLE), "--policy", "archive", *store, "--format", "parquet", "-o", str(out)]) == 1
    return out


def pending_machine(folder: Path) -> list[str]:
    """Arguments of ``verify``: an archive of one machine that is unmeasured, for its baseline is not active yet."""
    from pyverify.cli.main import main

    boot = folder / "archive" / "m1" / "b1"
    boot.mkdir(parents=True)
    (boot / "binary_bios_measurements").write_bytes(small_log(["sha256"]))
    common = [str(folder / "archive"), "--store", str(folder / "s.db"), "--policy", "log-only"]
    assert main(["learn", *common]) == 0
    return common
