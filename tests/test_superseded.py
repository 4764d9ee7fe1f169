"""What an approval replaced is allowed for a while, until the machine has booted the new, and never after that."""

from __future__ import annotations

import datetime
from functools import partial

import pytest
from baselines_by_hand import BANKS, baseline
from conftest import entry, small_log
from test_lifecycle import ALL, NOW, OLD, WHO, kernel_edit, sequences

from pyverify import Evidence, Policy, Store, verify
from pyverify.baseline.booted import remember
from pyverify.baseline.edits import edits
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.supersede import GRACE, Old
from pyverify.evidence.bundle import evidence_batch
from pyverify.fleet.job import Summary, run

POLICY = Policy.preset("log-only")
OLD_LOG, NEW_LOG = small_log(BANKS), small_log(BANKS, command_line=b"quiet splash")
OTHER_LOG = small_log(BANKS, command_line=b"evil")
DAY = datetime.timedelta(days=1)


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        store.add([baseline("m"), baseline("n")], action="learn")
        yield store


class Boots:
    """A source of boots: (machine, boot, boot_seq, log)."""

    def __init__(self, *boots):
        self._boots = boots

    def batches(self, **_):
        for machine, boot, boot_seq, log in self._boots:
            yield evidence_batch([Evidence(machine, boot, event_log=log, boot_seq=boot_seq)])

    def progress(self):
        return 0, 0


def job(store, *boots, as_of=NOW):
    """{boot: (verdict, codes)} of a job that keeps what machines have booted."""
    references = store.references()
    summary = Summary(POLICY.name, references.id, as_of)
    batches = run(
        Boots(*boots),
        references=references,
        policy=POLICY,
        as_of=as_of,
        jobs=1,
        summary=summary,
        remember=partial(remember, store),
    )
    rows = [row for batch in batches for row in batch.to_pylist()]
    return {row["boot"]: (row["verdict"], codes(row["findings"])) for row in rows}


def codes(findings):
    kept = ("rolled-back", "expired", "approved", "event-changed", "ignored")
    told = [
        f for f in findings if f["code"].endswith(kept) and (f["code"] != "baseline.approved" or f["pcr"] is not None)
    ]
    return [f["code"].removeprefix("baseline.") for f in told]


def approve(store, old=OLD):
    Lifecycle(store).approve(ALL, [kernel_edit()], at=NOW, old=old, **WHO)


def test_the_old_and_the_new_are_trusted_until_the_time_is_over(store):
    assert job(store, ("m", "1", 1, NEW_LOG)) == {"1": ("untrusted", ["event-changed"])}
    approve(store)
    assert job(store, ("m", "1", 1, OLD_LOG), ("n", "2", 1, NEW_LOG), ("m", "3", 2, OTHER_LOG)) == {
        "1": ("trusted", ["approved"]),
        "2": ("trusted", []),
        "3": ("untrusted", ["event-changed"]),
    }
    late = job(store, ("m", "1", 1, OLD_LOG), ("m", "2", 2, NEW_LOG), as_of=NOW + GRACE)
    assert late == {"1": ("untrusted", ["expired", "event-changed"]), "2": ("trusted", [])}
    assert job(store, ("m", "1", 1, OLD_LOG), as_of=NOW + GRACE - DAY)["1"][0] == "trusted"


def test_once_the_new_was_booted_the_old_is_a_step_back_within_a_job(store):
    approve(store)
    found = job(store, ("m", "3", 3, OLD_LOG), ("m", "1", 1, OLD_LOG), ("m", "2", 2, NEW_LOG), ("n", "4", 9, OLD_LOG))
    assert found == {
        "3": ("untrusted", ["approved", "rolled-back"]),
        "1": ("trusted", ["approved"]),
        "2": ("trusted", []),
        "4": ("trusted", ["approved"]),
    }


def test_once_the_new_was_booted_the_old_is_a_step_back_in_later_jobs(store):
    approve(store)
    job(store, ("m", "2", 2, NEW_LOG))
    found = job(store, ("m", "3", 3, OLD_LOG), ("m", "1", 1, OLD_LOG), ("n", "4", 4, OLD_LOG))
    assert found == {
        "3": ("untrusted", ["rolled-back", "event-changed"]),
        "1": ("trusted", ["approved"]),
        "4": ("trusted", ["approved"]),
    }
    late = job(store, ("m", "3", 3, OLD_LOG), as_of=NOW + 2 * GRACE)
    assert late == {"3": ("untrusted", ["rolled-back", "event-changed"])}


def test_a_single_verdict_knows_of_a_step_back_too(store):
    approve(store)
    job(store, ("m", "2", 2, NEW_LOG))
    evidence = Evidence("m", "3", event_log=OLD_LOG, boot_seq=3)
    verdict = verify(evidence, references=store.references(), policy=POLICY, as_of=NOW)
    assert verdict.outcome == "untrusted"
    assert dict(verdict.stages)["kernel and command line"] == "red"
    assert any(f.code == "baseline.rolled-back" and "boot 2" in f.hint for f in verdict.findings)


def test_at_once_and_keep_old(store):
    approve(store, Old(NOW))
    assert job(store, ("m", "1", 1, OLD_LOG)) == {"1": ("untrusted", ["expired", "event-changed"])}
    Lifecycle(store).approve(ALL, [kernel_edit(b"quiet splash", b"quiet")], at=NOW, old=Old(NOW + DAY, True), **WHO)
    found = job(store, ("m", "2", 2, OLD_LOG), ("m", "3", 3, NEW_LOG), ("m", "4", 4, OLD_LOG))
    assert [verdict for verdict, _ in found.values()] == ["trusted"] * 3
    assert job(store, ("m", "5", 5, NEW_LOG))["5"][0] == "trusted"
    assert job(store, ("m", "5", 5, NEW_LOG), as_of=NOW + DAY)["5"][0] == "untrusted"


def test_boots_without_an_order_are_taken_in_the_order_of_their_names(store):
    approve(store)
    assert job(store, ("m", "b", None, NEW_LOG), ("m", "a", None, OLD_LOG), ("m", "c", None, OLD_LOG)) == {
        "b": ("trusted", []),
        "a": ("trusted", ["approved"]),
        "c": ("untrusted", ["approved", "rolled-back"]),
    }


def test_no_bank_may_be_behind_the_others(store):
    """Where the values of two banks tell of two different states there is no such state."""
    approve(store)
    old, new = sequences()[8].digests, sequences(command_line=b"quiet splash")[8].digests
    mixed = NEW_LOG.replace(new["sha256"][:32], old["sha256"][:32])
    assert mixed != NEW_LOG
    assert job(store, ("m", "1", 1, mixed))["1"][0] == "untrusted"


def test_an_older_of_two_superseded_values_is_a_step_back_from_the_newer(store):
    approve(store)
    job(store, ("m", "2", 2, NEW_LOG))
    third = sequences(command_line=b"third")[8]
    change = edits(8, sequences(command_line=b"quiet splash")[8], third)
    Lifecycle(store).approve(ALL, change, at=NOW, old=OLD, **WHO)
    found = job(store, ("m", "3", 3, OLD_LOG), ("m", "4", 4, NEW_LOG))
    assert found == {"3": ("untrusted", ["rolled-back", "event-changed"]), "4": ("trusted", ["approved"])}


def test_after_a_rollback_the_withdrawn_is_no_longer_allowed(store):
    approve(store)
    Lifecycle(store).rollback("machine", "m", 1, at=NOW, **WHO)
    found = job(store, ("m", "1", 1, NEW_LOG), ("m", "2", 2, OLD_LOG), ("n", "3", 3, NEW_LOG))
    assert [verdict for verdict, _ in found.values()] == ["untrusted", "trusted", "trusted"]


def test_an_ignored_machine_stays_untrusted(store):
    life = Lifecycle(store)
    life.ignore(["m"], until=NOW + DAY, **WHO)
    assert job(store, ("m", "1", 1, OTHER_LOG), ("n", "2", 1, OTHER_LOG), ("m", "3", 3, OLD_LOG)) == {
        "1": ("untrusted", ["event-changed", "ignored"]),
        "2": ("untrusted", ["event-changed"]),
        "3": ("trusted", []),
    }
    assert job(store, ("m", "1", 1, OTHER_LOG), as_of=NOW + DAY) == {"1": ("untrusted", ["event-changed"])}


def test_a_machine_is_held_against_its_cohort_until_it_has_a_baseline_of_its_own(store):
    store.add([baseline("web", NEW_LOG, scope="cohort")], action="learn")
    Lifecycle(store).assign("web", ["m", "x"], **WHO)
    found = job(store, ("x", "1", 1, NEW_LOG), ("x", "2", 1, OLD_LOG), ("m", "3", 3, NEW_LOG), ("y", "4", 1, NEW_LOG))
    assert [verdict for verdict, _ in found.values()] == ["trusted", "untrusted", "untrusted", "unmeasured"]


def test_known_events_in_another_order_or_without_one_of_them_are_no_known_boot(store):
    """A scheme that asks whether each digest is known would trust both."""
    one, two = (entry(8, 0xD, text, BANKS) for text in (b"first", b"second"))
    store.add([baseline("x", small_log(BANKS, extra=one + two))], action="learn")
    for extra, code in ((one + two, None), (two + one, "moved"), (one, "removed"), (two, "removed"), (b"", "removed")):
        evidence = Evidence("x", "1", event_log=small_log(BANKS, extra=extra))
        verdict = verify(evidence, references=store.references(), policy=POLICY, as_of=NOW)
        assert verdict.trusted == (code is None)
        assert code is None or f"baseline.event-{code}" in {f.code for f in verdict.findings}


def test_who_approved_what_a_boot_is_held_against_is_told(store):
    evidence = Evidence("m", "1", event_log=OLD_LOG)
    told = []
    for _ in range(2):
        verdict = verify(evidence, references=store.references(), policy=POLICY, as_of=NOW)
        told.append([f.hint for f in verdict.findings if f.code == "baseline.approved" and f.pcr is None])
        approve(store) if not told[-1] else None
    assert told[0] == []
    assert [" by ops: update" in hint for hint in told[1]] == [True]


def test_a_service_remembers_what_a_machine_has_booted(store):
    approve(store)
    new = verify(Evidence("m", "2", event_log=NEW_LOG, boot_seq=2), references=store.references(), policy=POLICY)
    assert [(one.pcr, one.place.boot_seq) for one in new.reached] == [(8, 2)]
    remember(store, new.reached)
    remember(store, new.reached)
    old = verify(Evidence("m", "3", event_log=OLD_LOG, boot_seq=3), references=store.references(), policy=POLICY)
    assert (old.trusted, "baseline.rolled-back" in {f.code for f in old.findings}) == (False, True)
