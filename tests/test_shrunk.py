"""IMA lists of one boot must not shrink (SPEC 10.4, 89 and 90): what is found, and what honest machines send is not."""

from __future__ import annotations

import datetime
import hashlib
import itertools
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from attested_machine import ALL_PCRS, ARCHIVE, HOUR, LOG_ONLY, NOW, Machine, Rows, codes, references_of
from conftest import small_log
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import replay
from ima_evidence import FILES, set_of
from learning import ran_in

from pyverify import ArchiveError, Evidence, Policy
from pyverify.evidence.bundle import ImaList
from pyverify.fleet import job as job_module
from pyverify.fleet.job import Summary, run
from pyverify.fleet.journal import Bound, Journal
from pyverify.fleet.list_facts import LIST_FACTS
from pyverify.fleet.quote_facts import QUOTE_FACTS
from pyverify.fleet.sequence import ListSequence, QuoteSequence
from pyverify.fleet.shrunk import most_before

LOG = small_log(["sha256"])
START = ran_in(LOG)
LISTS = [START + b"".join(FILES[:count]) for count in range(4)]  # of 1 to 4 entries
WITHOUT_10 = [("sha256", [pcr for pcr in ALL_PCRS if pcr != 10])]
SHRUNK = "ima.shrunk"


def at(hours: float) -> datetime.datetime:
    return NOW + hours * HOUR


def sample(machine: Machine, hours: float | None, data: bytes | None, form: str = "binary", **changes) -> Evidence:
    """A sample that nobody signed, as of a time by its own word; ``None`` sends no list."""
    lists = None if data is None else [ImaList(form, data)]
    collected_at = None if hours is None else at(hours)
    return machine.evidence(quotes=None, ima=lists, collected_at=collected_at, **changes)


def signed(machine: Machine, clock: int, measured: bytes, sent: bytes | None, hours: float = 0, **changes) -> Evidence:
    """A sample that the TPM signed when its clock said so, after it had measured a list."""
    selection = changes.pop("selection", None)
    for name in ("reset_count", "restart_count"):
        setattr(machine.tpm, name, changes.pop(name, 7 if name == "reset_count" else 0))
    machine.tpm.clock = clock
    machine.tpm.pcrs["sha256"][10] = replay(measured, "sha256") if measured else bytes(32)
    nonce = hashlib.sha256(f"{clock} {len(measured)} {changes}".encode()).digest()
    quote = machine.quote(selection, nonce, **changes.pop("parts", {}))
    lists = None if sent is None else [ImaList("binary", sent)]
    return machine.evidence(quote, ima=lists, collected_at=at(hours), **changes)


def running(source, *machines: Machine, policy: Policy = LOG_ONLY, learned: bytes | None = LISTS[3], **parts):
    """The verdicts of a job as they come."""
    ima = None if learned is None else set_of(learned)
    references = references_of(*machines, baselines=[one.baseline(ima=ima) for one in machines], challenges=[])
    summary = Summary(policy.name, references.id, NOW)
    return run(source, references=references, policy=policy, as_of=NOW, jobs=1, summary=summary, **parts)


def verdicts(machine: Machine, *evidence, others=(), **options) -> list[dict]:
    """Verdict rows of a job, which are the same whatever the batches are, and whether facts are spread over files."""
    found = []
    for size, held in ((512, 1 << 17), (1, 1), (2, 1 << 17)):
        with mock.patch("pyverify.fleet.sequence._HELD", held):
            batches = running(Rows(evidence, size), machine, *others, **options)
            found.append([row for batch in batches for row in batch.to_pylist()])
    assert found[0] == found[1] == found[2] and len(found[0]) == len(evidence)
    return found[0]


def told(rows) -> list[bool]:
    """Which rows are shrunk; those are not trusted, and have the reason once."""
    marks = [SHRUNK in codes(row, "high") for row in rows]
    for row, mark in zip(rows, marks, strict=True):
        assert not mark or row["verdict"] == "untrusted"
        assert [finding["code"] for finding in row["findings"]].count(SHRUNK) == mark
    return marks


# What nobody signed


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


# What quotes prove


def honest_boot(machine: Machine) -> list[Evidence]:
    """Samples of a boot, each quoted when there were more entries than before; lists are read a little later."""
    grown = [signed(machine, 100 + n, LISTS[n], LISTS[min(n + 1, 3)], hours=-n) for n in range(4)]
    return [*grown, signed(machine, 110, LISTS[3], LISTS[3])]


def test_what_honest_machines_have_signed_does_not_shrink():
    machine, other = Machine(log=LOG), Machine("other", log=LOG)
    evidence = honest_boot(machine)
    rebooted = [
        signed(machine, 200, LISTS[1], LISTS[1], reset_count=8),  # whatever it calls the boot
        signed(machine, 300, LISTS[0], LISTS[0], reset_count=9, boot="b4"),
        signed(machine, 400, LISTS[0], LISTS[0], reset_count=9, restart_count=1, boot="b5"),  # the battery ran out
        signed(other, 500, LISTS[0], LISTS[0]),
    ]
    both = [*evidence, *evidence, *rebooted]
    for sent in (both, both[::-1]):
        rows = verdicts(machine, *sent, policy=ARCHIVE, others=[other])
        assert {(row["verdict"], row["attested"]) for row in rows} == {("trusted", "quote-unfresh")}
        assert not any(told(rows))


@pytest.mark.parametrize(
    "later",
    [
        {},
        {"boot": "b3"},  # a new name makes no new boot
        {"hours": -9},  # nor does a time that is not the TPM's
        {"restart_count": 1},  # it woke up from suspend
    ],
)
def test_a_pcr_that_was_put_back_within_a_boot_is_found(later):
    machine = Machine(log=LOG)
    evidence = [*honest_boot(machine), signed(machine, 120, LISTS[1], LISTS[1], **later)]
    for order in (1, -1):
        rows = verdicts(machine, *evidence[::order], policy=ARCHIVE)[::order]
        assert told(rows) == [False] * 5 + [True]
        assert (rows[5]["attested"], rows[5]["verdict"]) == ("quote-unfresh", "untrusted")
        assert "2 entries are proven; earlier in this boot, by the TPM's clock, 4 were" in str(rows[5]["findings"])


def test_an_older_quote_with_the_list_of_its_time_proves_that_time_and_no_more():
    """What it may not do is to answer a challenge of now: that is ``quote.nonce``, or ``quote-unfresh``."""
    machine = Machine(log=LOG)
    now, before = signed(machine, 200, LISTS[3], LISTS[3]), signed(machine, 100, LISTS[1], LISTS[1], hours=9)
    assert told(verdicts(machine, now, before, policy=ARCHIVE)) == [False, False]


def test_entries_that_no_quote_proves_are_no_measure():
    """A list may be read long after its quote: what came after that is not held against the next quote."""
    machine = Machine(log=LOG)
    evidence = [signed(machine, 100, LISTS[1], LISTS[3]), signed(machine, 101, LISTS[2], LISTS[2])]
    assert told(verdicts(machine, *evidence, policy=ARCHIVE)) == [False, False]


@pytest.mark.parametrize("measured", [LISTS[3], b""])
def test_a_list_that_is_gone_between_two_quotes_has_shrunk(measured):
    """No list was learned, so that PCR 10 need not be quoted and no list be there: but there was one in this boot."""
    machine = Machine(log=LOG)
    selection = WITHOUT_10 if measured else None
    before, after = (signed(machine, clock, measured, None, selection=selection, boot="b3") for clock in (90, 120))
    evidence = [before, signed(machine, 100, LISTS[3], LISTS[3]), after]
    rows = verdicts(machine, *evidence, policy=ARCHIVE, learned=None)
    assert told(rows) == [False, False, True]
    assert [row["verdict"] for row in rows] == ["trusted", "trusted", "untrusted"]


def test_what_another_finding_says_of_a_list_is_not_said_again():
    machine = Machine(log=LOG)
    first = signed(machine, 100, LISTS[3], LISTS[3])
    others = {
        "replay.unexplained": signed(machine, 101, LISTS[3], None),
        "replay.mismatch": signed(machine, 102, LISTS[3], LISTS[1]),
        "ima.pcr": signed(machine, 103, LISTS[3], LISTS[1], selection=WITHOUT_10),
        "ima.empty": signed(machine, 104, b"", LISTS[1]),
    }
    rows = verdicts(machine, first, *others.values(), policy=ARCHIVE, learned=None)
    assert not any(told(rows))
    for code, row in zip(others, rows[1:], strict=True):
        assert code in codes(row, "high")


def test_what_nobody_signed_lowers_nothing_that_is_signed():
    machine = Machine(log=LOG)
    longer, shorter = sample(machine, 0, LISTS[3]), sample(machine, 9, LISTS[0])
    good = signed(machine, 100, LISTS[1], LISTS[1], hours=5)
    rows = verdicts(machine, longer, good, shorter, policy=ARCHIVE)
    assert told(rows) == [False, False, True]
    assert [row["verdict"] for row in rows] == ["untrusted", "trusted", "untrusted"]
    assert all("quote.missing" in codes(rows[at]) for at in (0, 2))


def test_of_several_quotes_the_last_says_when_the_entries_were_there():
    """Two quotes of a row, a moment apart, and one of another row between them, before the last entry."""
    banks = ("sha256", "sm3_256")
    log = small_log(list(banks))
    start = ran_in(log)
    two, three = (start + b"".join(FILES[:count]) for count in (1, 2))
    machine = Machine(log=log, banks=banks)

    def quotes(*moments: tuple[int, bytes], name: bytes) -> Evidence:
        sent = []
        for clock, measured in moments:
            machine.tpm.clock = clock
            for bank in banks:
                machine.tpm.pcrs[bank][10] = replay(measured, bank)
            sent.append(machine.quote(None, hashlib.sha256(name).digest()))
        return machine.evidence(*sent, ima=[ImaList("binary", moments[-1][1])], boot="b2")

    apart = quotes((100, two), (300, three), name=b"apart")
    between = quotes((200, two), name=b"between")
    after = quotes((400, two), name=b"after")
    rows = verdicts(machine, apart, between, after, policy=ARCHIVE, learned=three)
    assert told(rows) == [False, False, True]
    assert [row["verdict"] for row in rows] == ["trusted", "trusted", "untrusted"]


# The rule by itself


def plain(groups, order, values):
    return [
        max(
            (v for g, o, v in zip(groups, order, values, strict=True) if g == group and o < place),
            default=-1,
        )
        for group, place in zip(groups, order, strict=True)
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 1), st.integers(0, 4), st.integers(-1, 5))))
def test_most_before_is_what_a_walk_in_plain_python_finds(drawn):
    one, two, order, values = (np.array([row[at] for row in drawn], np.int64) for at in range(4))
    expected = plain(list(zip(one.tolist(), two.tolist(), strict=True)), order.tolist(), values.tolist())
    assert most_before((one, two), order, values).tolist() == expected


def test_most_before_is_exact_at_the_ends_of_its_types():
    clock = np.array([2**64 - 1, 0, 2**63, 2**63 + 1], np.uint64)
    assert most_before((np.zeros(4, np.int64),), clock, np.array([1, 5, 3, 4])).tolist() == [5, -1, 5, 5]
    values = np.array([10**6, 0] * 1000)
    keys = np.repeat(np.arange(1000), 2)
    assert most_before((keys,), np.array([0, 1] * 1000), values).tolist() == [-1, 10**6] * 1000


def facts(row: int, **changes):
    quote = {
        "row": row,
        "ak_name": b"ak",
        "nonce": b"%d" % row,
        "attest": bytes(32),
        "clock": row,
        "reset_count": 1,
        "restart_count": 0,
        "safe": True,
        "firmware_version": 1,
        "boot": "b",
    }
    return quote | changes


def shrunk_rows(sequence_type, schema, rows) -> list[int]:
    table = pa.Table.from_pylist(rows, schema)
    found = []
    for held in (1, 1 << 17):  # with files and without
        with mock.patch("pyverify.fleet.sequence._HELD", held), sequence_type() as sequence:
            for batch in table.to_batches(max_chunksize=2):
                sequence.add(batch)
            found.append(sorted(row for row, finding in sequence.findings() if finding.code == SHRUNK))
    assert found[0] == found[1]
    return found[0]


def test_keys_are_not_compared_with_each_other_and_what_earlier_jobs_saw_gets_no_finding():
    first = facts(1, ima_entries=4)
    for changes, expected in (
        ({}, [2]),
        ({"ak_name": b"other"}, []),
        ({"reset_count": 2}, []),
        ({"restart_count": 1}, [2]),
        ({"restart_count": 1, "boot": "c"}, []),
        ({"boot": "c"}, [2]),
        ({"boot": None}, [2]),
        ({"restart_count": 1, "boot": None}, []),
        ({"clock": 1}, []),
        ({"clock": 0}, []),
        ({"ima_entries": None}, []),
        ({"ima_entries": 4}, []),
        ({"ima_entries": 0}, [2]),
        ({"row": -1}, []),
    ):
        second = facts(2, ima_entries=3) | changes
        assert shrunk_rows(QuoteSequence, QUOTE_FACTS, [first, second]) == expected, changes
        assert shrunk_rows(QuoteSequence, QUOTE_FACTS, [second, first | {"row": -1}]) == expected, changes


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("mn"), st.sampled_from("bc"), st.integers(0, 4), st.integers(0, 3)), max_size=12)
)
def test_lists_are_judged_as_a_walk_in_plain_python_does(drawn):
    rows = [
        {"row": row, "machine": machine, "boot": boot, "collected_at": at(hours), "entries": entries}
        for row, (machine, boot, hours, entries) in enumerate(drawn)
    ]
    expected = set()
    for one, other in itertools.permutations(rows, 2):
        if [one[key] for key in ("machine", "boot")] != [other[key] for key in ("machine", "boot")]:
            continue
        fewer = other["entries"] < one["entries"] and one["collected_at"] < other["collected_at"]
        if fewer and (other["entries"] or one["row"] < other["row"]):
            expected.add(other["row"])
    assert shrunk_rows(ListSequence, LIST_FACTS, rows) == sorted(expected)
