"""IMA lists of many machines: tiles change nothing, and memory has a bound."""

from __future__ import annotations

import resource
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
from baselines_by_hand import baseline
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import a_digest, data_of, entry
from ima_evidence import AGGREGATE, ATTACKS, HONEST, LOG, NOW, POLICY, VIOLATION, set_of

from pyverify import References, verify_batches
from pyverify.appraise import ima_lists
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.ima_judgement import judge_ima
from pyverify.evidence.columns import evidence_schema
from pyverify.evidence.ima_set import ImaSet


def many(n: int, lists: list[bytes], sets: list[ImaSet]):
    """Batch, references and what judging them finds: row i has list and set i, over and over."""
    known = References.of([replace(BASE, id=f"m{i:05}", ima=sets[i % len(sets)]) for i in range(n)])
    sent = [[{"format": "binary", "data": lists[i % len(lists)]}] for i in range(n)]
    batch = pa.record_batch({"ima": pa.array(sent, evidence_schema().field("ima").type)})
    rows = known.find([f"m{i:05}" for i in range(n)])

    def run():
        findings = FindingColumns(n)
        judge_ima(
            batch,
            references=known,
            baseline=rows,
            of_cohort=np.full(n, -1),
            judged=np.ones(n, np.bool_),
            as_of=NOW,
            values={},
            usable={},
            quoted={},
            authentic={},
            policy=POLICY,
            findings=findings,
        )
        return findings

    return run


BASE = baseline("m", LOG)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_splitting_lists_into_tiles_changes_nothing(data):
    pool = [HONEST, AGGREGATE, b"", HONEST[:-1], HONEST + VIOLATION, *(value for value, _ in ATTACKS.values() if value)]
    lists = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=12))
    sets = [set_of(HONEST), set_of(AGGREGATE), ImaSet()]
    run = many(len(lists), lists, sets)
    whole = run().to_arrow()
    usual = ima_lists.TILE
    try:
        ima_lists.TILE = data.draw(st.integers(1, 600))
        assert run().to_arrow() == whole
    finally:
        ima_lists.TILE = usual


def test_ten_thousand_machines_are_judged_fast_within_a_bounded_memory():
    """Some 400 entries each, equal ones in many lists; 8 s is several times what a quiet machine takes."""
    files = [entry(data_of(f"/usr/lib/x86_64-linux-gnu/lib{i}.so", a_digest(i))) for i in range(600)]
    lists = [AGGREGATE + b"".join(files[i : i + 400]) for i in range(100)]
    run = many(10_000, lists, [set_of(data) for data in lists])
    run()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    findings = run()
    assert time.process_time() - begin < 8
    assert not (findings.high | findings.error).any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB; the lists are 500 MB
    other = many(10_000, lists, [set_of(data) for data in lists[1:]])
    assert np.count_nonzero(other().high) > 9_000


def test_a_null_that_still_owns_lists_sent_none_and_moves_no_neighbours():
    known = References.of([replace(BASE, id=name, ima=set_of(HONEST)) for name in "ab"])
    lists = pa.array([[{"format": "binary", "data": HONEST}]] * 2, evidence_schema().field("ima").type)
    masked = pa.ListArray.from_arrays(lists.offsets, lists.values, mask=pa.array([True, False]))
    batch = pa.record_batch({"machine": ["a", "b"], "boot": ["1", "1"], "event_log": [LOG, LOG], "ima": masked})
    (verdicts,) = verify_batches([batch], references=known, policy=POLICY, as_of=NOW)
    found = [[finding["code"] for finding in row["findings"]] for row in verdicts.to_pylist()]
    assert found == [["ima.empty"], []]
