"""Steps over the columns of a batch come to what one does row by row."""

from __future__ import annotations

import datetime
import hashlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import DATA

from pyverify.appraise import log_checks
from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.policy import Policy
from pyverify.appraise.rows import evidence_ids, log_digests
from pyverify.appraise.secure_boot_rules import SecureBootRules
from pyverify.baseline.references import References
from pyverify.errors import UsageError
from pyverify.evidence.bundle import Evidence, evidence_batch
from pyverify.evidence.columns import Ragged, Repeated, evidence_schema, items_of
from pyverify.evidence.gather import distinct_rows, slices
from pyverify.evidence.scanned import ScannedLogs

_COLUMNS = ("event_log_kind", "event_log", "userspace_log", "ima", "quotes", "ak_cert", "ek_cert")


def _word(value: Any) -> bytes:
    """What stands for a value in an evidence id, by hand."""
    if value is None:
        return b"\0"
    if isinstance(value, list):
        parts = [part for item in value for part in ([None] if item is None else item.values())]
        return len(parts).to_bytes(4, "big") + b"".join(map(_word, parts))
    return b"\1" + hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()


def _batch(rng: random.Random, n: int) -> pa.RecordBatch:
    def item() -> bytes | None:
        return rng.choice([None, b"", rng.randbytes(rng.randrange(90))])

    def items(make: Callable[[], Any]) -> list[Any] | None:
        return rng.choice([None, [], [rng.choice([None, make(), make()]) for _ in range(rng.randrange(4))]])

    def quote() -> dict[str, bytes | None]:
        return {name: item() for name in ("msg", "sig", "ak_pub", "pcrs")}

    def ima() -> dict[str, Any]:
        return {"format": rng.choice([None, "", "binary"]), "data": item()}

    make: dict[str, Callable[[], Any]] = {
        **dict.fromkeys(("event_log", "userspace_log", "ak_cert", "ek_cert"), item),
        "event_log_kind": lambda: rng.choice([None, "tcg", ""]),
        "quotes": lambda: items(quote),
        "ima": lambda: items(ima),
        "machine": lambda: "m",
        "boot": lambda: "b",
    }
    schema = evidence_schema()
    columns = [pa.array([make.get(f.name, lambda: None)() for _ in range(n)], f.type) for f in schema]
    return pa.record_batch(columns, schema=schema)


@pytest.mark.parametrize("seed", range(40))
def test_evidence_ids_are_over_what_was_sent(seed: int) -> None:
    rng = random.Random(seed)
    whole = _batch(rng, rng.randrange(12))
    for batch in (whole, whole.slice(len(whole) // 3, len(whole) // 2)):
        logs = Ragged.from_arrow(batch.column("event_log"))
        expected = []
        for row in batch.to_pylist():
            sent = [(name, row[name]) for name in _COLUMNS if row[name] is not None]
            facts = [name.encode() + b"\0" + _word(value) for name, value in sent]
            expected.append(hashlib.sha256(b"".join(facts)).digest())
        assert evidence_ids(batch, logs.present, log_digests(logs)) == expected


@pytest.mark.parametrize("kinds", [1, 3, 500])
def test_distinct_rows_stand_for_all(kinds: int) -> None:
    rng = np.random.default_rng(kinds)
    table = rng.integers(0, 9, (kinds, 5), np.int64)[rng.integers(0, kinds, 600)]
    examples, row_of = distinct_rows(table)
    assert (table[examples][row_of] == table).all()
    assert kinds > 3 or len(examples) == len(np.unique(table, axis=0))
    none, of_none = distinct_rows(table[:0])
    assert len(none) == len(of_none) == 0
    alike, of_alike = distinct_rows(table[:, :0])
    assert alike.tolist() == [0] and not of_alike.any() and len(of_alike) == len(table)


def test_no_slices_are_an_empty_batch() -> None:
    empty = slices(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert len(empty) == 0 and empty.to_list() == []


def test_items_are_listed_as_they_are_indexed() -> None:
    items = Ragged.of([b"one", None, b"", b"three"])
    assert items.to_list() == [items[i] for i in range(4)] == [b"one", b"", b"", b"three"]


def _dictionary_of(values: list[bytes | None], numbers: list[int | None], index: pa.DataType, of: pa.DataType) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(numbers, index), pa.array(values, of))


@pytest.mark.parametrize("of", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("index", [pa.int8(), pa.uint16(), pa.int64()])
def test_the_items_of_a_dictionary_are_laid_out_once_each(index: pa.DataType, of: pa.DataType) -> None:
    # Two equal values, one that is empty, one that is null, one that nobody has; a row that is null.
    values = [b"one", b"nobody's", b"one", b"", None, b"two"]
    whole = _dictionary_of(values, [0, 5, None, 2, 3, 4, 0, 0], index, of)
    for array in (whole, whole.slice(2, 5), whole.slice(2, 1), whole.slice(3, 1), whole.slice(0, 0)):
        items, plain = items_of(array), Ragged.from_arrow(array)
        wanted = array.to_pylist()
        assert isinstance(items, Repeated)
        assert [items[i] for i in range(len(items))] == [item or b"" for item in wanted] == plain.to_list()
        assert items.present.tolist() == [item is not None for item in wanted] == plain.present.tolist()
        assert items.sizes.tolist() == plain.sizes.tolist()
        assert b"nobody's" not in items.distinct.to_list()
        assert (log_digests(items) == log_digests(plain)).all()


@pytest.mark.parametrize("damaged", [False, True])
def test_logs_of_a_dictionary_are_appraised_as_they_are_one_by_one(damaged: bool) -> None:
    log = DATA.joinpath("kat_log.bin").read_bytes()
    other = log[:-3] if damaged else log.replace(log[-8:], b"changed!")
    values: list[bytes | None] = [log, b"unused", bytes(log), other, b"", None, b"no log"]
    numbers = [0, 3, 2, None, 4, 5, 0, 6, 3, 2]
    names = [f"m{row}" for row in range(len(numbers))]
    logs = _dictionary_of(values, numbers, pa.int32(), pa.large_binary())

    def verdicts(event_log: Any, policy: str) -> list[dict[str, Any]]:
        log_checks.forget()
        batch = pa.record_batch({"machine": names, "boot": ["b"] * len(names), "event_log": event_log})
        as_of = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        found = verify_batches([batch], references=References.of([]), policy=Policy.preset(policy), as_of=as_of)
        return [row for of_batch in found for row in of_batch.to_pylist()]

    for policy in ("log-only", "archive"):
        assert verdicts(logs, policy) == verdicts(logs.dictionary_decode(), policy)


def test_each_log_of_a_batch_has_its_own_findings_and_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def scan(logs: Ragged) -> ScannedLogs:
        looked_at.extend(logs.to_list())
        return real(logs)

    real = ScannedLogs.of
    monkeypatch.setattr(ScannedLogs, "of", scan)
    # A log of TPM 1.2: one separator, whose digest is that of its data or not.
    good, bad = (
        b"\0\0\0\0\4\0\0\0" + hashlib.sha1(data).digest() + b"\4\0\0\0\0\0\0\0" for data in (bytes(4), b"other")
    )
    logs = Ragged.of([bad, good, bad, good])

    def codes() -> list[list[str]]:
        findings = FindingColumns(4)
        banks, registers = np.ones(4, np.uint32), np.zeros(4, np.bool_)
        log_checks.check_logs(logs, log_digests(logs), banks, registers, np.arange(4), SecureBootRules(), findings)
        return [[finding["code"] for finding in row] for row in findings.to_arrow().to_pylist()]

    log_checks.forget()
    first = codes()
    assert first[0] == first[2] and first[1] == first[3]
    assert "event.data-mismatch" in first[0] and "event.data-mismatch" not in first[1]
    assert sorted(looked_at) == sorted([bad, good])
    assert codes() == first and len(looked_at) == 2
    log_checks.forget()
    assert codes() == first and len(looked_at) == 4


@pytest.mark.parametrize(
    "change", [{"machine": "\ud800"}, {"boot": 3}, {"event_log": 7}, {"boot_seq": 2**63}, {"collected_at": "now"}]
)
def test_values_that_no_evidence_has_are_usage(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        evidence_batch([Evidence(**{"machine": "m", "boot": "1", **change})])
