"""IMA lists of one boot must not shrink (SPEC 10.4, 89 and 90): what nobody signed, by the evidence's own time."""

from __future__ import annotations

from unittest import mock

import pytest
from attested_machine import LOG_ONLY, NOW, Machine, Rows, codes
from ima_samples import LISTS, LOG, SHRUNK, running, sample, told, verdicts

from pyverify import ArchiveError, Policy
from pyverify.fleet import job as job_module
from pyverify.fleet.journal import Bound, Journal


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([1, 2, 3], [0, 0, 0]),
        ([2, 2, 2], [0, 0, 0]),
        ([3, 2], [0, 1]),
        ([1, 3, 2], [0, 0, 1]),
        ([3, 1, 2, 3], [0, 1, 1, 0]),  # what was there is still not all there
    ],
)
def test_lists_that_grow_are_honest_and_those_that_shrink_are_not(lengths, expected):
    machine = Machine(log=LOG)
    evidence = [sample(machine, hours, LISTS[length]) for hours, length in enumerate(lengths)]
    for order in (1, -1):  # the order of rows says nothing
        rows = verdicts(machine, *evidence[::order])
        assert told(rows)[::order] == [bool(mark) for mark in expected]
        assert [row["verdict"] for row in rows][::order] == ["untrusted" if mark else "trusted" for mark in expected]


def test_a_finding_says_how_many_there_were_and_turns_the_lamp_red():
    machine = Machine(log=LOG)
    longer, shorter = verdicts(machine, sample(machine, 0, LISTS[3]), sample(machine, 1, LISTS[1]))
    (finding,) = shorter["findings"]
    assert (finding["code"], finding["severity"], finding["pcr"]) == (SHRUNK, "high", 10)
    assert finding["hint"].startswith("2 entries") and finding["hint"].endswith("has 4 entries")
    lamps = [{stage["name"]: stage["state"] for stage in row["stages"]} for row in (longer, shorter)]
    assert [lamp["applications"] for lamp in lamps] == ["green", "red"]


@pytest.mark.parametrize(
    "second",
    [
        {"boot": "b3"},  # it booted again
        {"hours": 0},  # samples of one time have no order: the same evidence again, or two collectors
        {"hours": None},
        {"hours": -1},
    ],
)
def test_other_boots_and_samples_without_an_order_are_not_compared(second):
    machine = Machine(log=LOG)
    hours = second.get("hours", 1)
    boot = {name: value for name, value in second.items() if name == "boot"}
    evidence = [sample(machine, 0, LISTS[3]), sample(machine, hours, LISTS[1], **boot)]
    assert told(verdicts(machine, *evidence)) == [False, False]


def test_the_same_evidence_again_is_a_retry():
    machine = Machine(log=LOG)
    evidence = [sample(machine, hours, LISTS[length]) for hours, length in ((0, 1), (1, 3), (0, 1), (1, 3))]
    assert told(verdicts(machine, *evidence)) == [False] * 4


def test_machines_are_not_compared_with_each_other():
    machine, other = Machine(log=LOG), Machine("other", log=LOG)
    evidence = [sample(machine, 0, LISTS[3]), sample(other, 1, LISTS[1]), sample(machine, 2, LISTS[3])]
    assert told(verdicts(machine, *evidence, others=[other])) == [False] * 3


def test_lists_of_other_formats_have_the_same_entries():
    def text(data: bytes) -> bytes:
        count = LISTS.index(data) + 1
        lines = (b"10 %040d ima-ng sha256:%064d /bin/%d\n" % (n, n, n) for n in range(1, count))
        return b"10 %040d ima-ng sha256:%064d boot_aggregate\n" % (0, 0) + b"".join(lines)

    machine = Machine(log=LOG)
    forms = [("binary", LISTS[2]), ("ascii", text(LISTS[2])), ("binary", LISTS[3]), ("ascii", text(LISTS[1]))]
    evidence = [sample(machine, hours, data, form) for hours, (form, data) in enumerate(forms)]
    assert told(verdicts(machine, *evidence)) == [False, False, False, True]


def test_a_list_that_is_gone_has_shrunk_where_nothing_else_says_so():
    machine = Machine(log=LOG)
    evidence = [sample(machine, hours, data) for hours, data in enumerate((None, LISTS[1], None, b"", LISTS[1]))]
    rows = verdicts(machine, *evidence, learned=None)
    assert told(rows) == [False, False, True, True, False]
    assert rows[2]["findings"][-1]["hint"].startswith("no list; ")


def test_a_list_that_is_gone_is_told_of_once():
    machine = Machine(log=LOG)
    evidence = [sample(machine, hours, data) for hours, data in enumerate((LISTS[1], None, b""))]
    rows = verdicts(machine, *evidence)  # the learning boot had a list
    assert told(rows) == [False] * 3
    assert [codes(row, "high") for row in rows] == [set(), {"ima.empty"}, {"ima.empty"}]


def test_without_any_list_and_where_lists_are_not_judged_nothing_is_told():
    machine = Machine(log=LOG)
    none = [sample(machine, hours, None) for hours in range(3)]
    assert told(verdicts(machine, *none, learned=None)) == [False] * 3
    ignoring = Policy.read('[policy]\nname = "site"\n[evidence]\nquote = "no"\n[ima]\njudge = "no"\n')
    lists = [sample(machine, hours, data) for hours, data in enumerate((LISTS[3], LISTS[1], None))]
    assert told(verdicts(machine, *lists, learned=None, policy=ignoring)) == [False] * 3


def test_evidence_that_cannot_be_judged_is_not_missing_a_list():
    machine = Machine(log=LOG)
    good = [sample(machine, hours, LISTS[3]) for hours in (0, 9)]
    bad = [
        sample(machine, 1, None, event_log=LOG[:-1]),
        sample(machine, 2, LISTS[1], event_log=LOG[:-1]),
        sample(machine, 3, LISTS[1][:-1]),
        sample(machine, 4, None, event_log=b""),
        sample(machine, 5, None, event_log=None),
        sample(machine, 6, LISTS[1], event_log=None),
    ]
    rows = verdicts(machine, good[0], *bad, good[1], learned=None)
    assert told(rows) == [False] * 8
    assert [row["verdict"] for row in rows] == ["trusted", *["error"] * 3, *["unmeasured"] * 3, "trusted"]


def test_a_machine_without_a_baseline_must_not_lose_entries_either():
    machine, stranger = Machine(log=LOG), Machine("stranger", log=LOG)
    evidence = [sample(stranger, hours, LISTS[length]) for hours, length in ((0, 3), (1, 1))]
    rows = verdicts(machine, *evidence)
    assert told(rows) == [False, True]
    assert [row["verdict"] for row in rows] == ["unmeasured", "untrusted"]


def test_a_sample_without_a_list_counts_behind_one_that_has_it_in_the_archive():
    """So no verdict before the first list of a job has to wait."""
    machine = Machine(log=LOG)
    evidence = [sample(machine, hours, data) for hours, data in ((5, None), (1, LISTS[1]), (4, None), (0, None))]
    assert told(verdicts(machine, *evidence, learned=None)) == [False, False, True, False]


class Counted:
    """An archive that says how far it was read, and may break off."""

    def __init__(self, evidence, breaks_at: int | None = None, error: BaseException | None = None) -> None:
        self._evidence, self._breaks_at, self._error, self.read = evidence, breaks_at, error, 0

    def batches(self, **options):
        for number, batch in enumerate(Rows(self._evidence, 1).batches(**options)):
            if number == self._breaks_at:
                raise self._error
            self.read += 1
            yield batch


def test_verdicts_wait_from_the_first_list_on():
    machine = Machine(log=LOG)
    lists = [None, None, LISTS[3], None, LISTS[1]]
    source = Counted([sample(machine, hours, data) for hours, data in enumerate(lists)])
    rows = running(source, machine, learned=None)
    assert [(len(next(rows)), source.read) for _ in range(3)] == [(1, 1), (1, 2), (1, 5)]
    assert [next(rows)["verdict"].to_pylist() for _ in range(2)] == [["untrusted"], ["untrusted"]]


@pytest.mark.parametrize("breaks_at", range(6))
def test_an_archive_that_breaks_off_gives_the_verdicts_of_all_before(breaks_at):
    machine = Machine(log=LOG)
    lists = [None, LISTS[3], LISTS[1], None, LISTS[3]]
    source = Counted([sample(machine, h, data) for h, data in enumerate(lists)], breaks_at, ArchiveError("broken"))
    found = []
    try:
        for batch in running(source, machine, learned=None):
            found += batch.to_pylist()
    except ArchiveError:
        assert breaks_at < 5
    else:
        assert breaks_at == 5
    assert told(found) == [False, False, True, True, False][:breaks_at]


@pytest.mark.parametrize("stop", range(1, 5))
def test_a_job_that_goes_on_finds_what_one_that_was_not_interrupted_does(tmp_path, monkeypatch, stop):
    monkeypatch.setattr("pyverify.fleet.journal._PART_ROWS", 1)
    machine = Machine(log=LOG)
    evidence = [sample(machine, h, data) for h, data in enumerate((None, LISTS[3], LISTS[1], None, LISTS[3]))]
    whole = [row for batch in running(Counted(evidence), machine, learned=None) for row in batch.to_pylist()]
    references = machine.references(baselines=[machine.baseline()], challenges=[])
    (tmp_path / "partial").mkdir()
    journal = Journal(tmp_path / "partial")
    journal.begin(Bound.of(LOG_ONLY.id, references, NOW, "0"), None)
    with pytest.raises(KeyboardInterrupt):
        list(running(Counted(evidence, stop, KeyboardInterrupt()), machine, learned=None, journal=journal))
    again = Journal(tmp_path / "partial")
    assert again.has_parts
    with mock.patch.object(job_module, "appraise", wraps=job_module.appraise) as appraised:
        rows = [
            row
            for batch in running(Counted(evidence), machine, learned=None, journal=again)
            for row in batch.to_pylist()
        ]
    assert appraised.call_count == 5 - stop
    assert rows == whole and told(rows) == [False, False, True, True, False]
