"""The life of baselines in the store: what an approval replaces, what it leaves alone, and what can be gone back to."""

from __future__ import annotations

import datetime

import pytest
from baselines_by_hand import BANKS, baseline
from conftest import entry, hash_of, small_log

from pyverify import EventLog, Store, UsageError
from pyverify.baseline.edits import apply, edits
from pyverify.baseline.history import versions
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import Origin, State, event_sequences
from pyverify.baseline.selection import Selection
from pyverify.baseline.supersede import GRACE, ImaEdit, Old
from pyverify.evidence.ima_set import ImaSet, Member, kind_of

NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
OLD = Old(NOW + GRACE)
WHO = {"who": "ops", "reason": "update"}
ALL = Selection(everyone=True)
SHA256 = kind_of("sha256")


def sequences(**changes):
    return event_sequences(EventLog.parse(small_log(BANKS, **changes)))


def kernel_edit(old=b"quiet", new=b"quiet splash"):
    (edit,) = edits(8, sequences(command_line=old)[8], sequences(command_line=new)[8])
    return edit


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        yield store


def rows_of(references, name):
    """What a snapshot has of a baseline: the version that counts, if any does."""
    return [row for row in references.columns.to_pylist() if row["id"] == name]


def told(store, name):
    """(version, state, origin) of each version."""
    return [(one.version, one.state, one.origin) for one in versions(store, "machine", name)]


def allowed(references, name, pcr):
    """(text of the last event, until, keep) of what the version that counts allows."""
    (row,) = references.find([name])
    profile = int(references.profile[row])
    return [(a.sequence.texts[-1], a.until, a.keep) for a in references.allowed(profile, pcr)]


def test_an_approval_replaces_and_leaves_the_old_for_two_weeks(store):
    store.add([baseline("a"), baseline("b"), baseline("c", small_log(BANKS, command_line=b"other"))], action="learn")
    done = Lifecycle(store).approve(ALL, [kernel_edit()], at=NOW, old=OLD, **WHO)
    assert done.concerned == 2
    references = store.references()
    assert allowed(references, "a", 8) == [
        ("kernel_cmdline: quiet", OLD.until, False),
        ("kernel_cmdline: quiet splash", None, False),
    ]
    assert allowed(references, "c", 8) == [("kernel_cmdline: other", None, False)]
    assert told(store, "a") == [(1, State.SUPERSEDED, Origin.FIRST_SEEN), (2, State.ACTIVE, Origin.APPROVED)]
    assert told(store, "c") == [(1, State.ACTIVE, Origin.FIRST_SEEN)]
    assert [row["version"] for row in rows_of(references, "a")] == [2]


def test_only_what_was_chosen_changes(store):
    store.add([baseline("a"), baseline("b")], action="learn")
    Lifecycle(store).approve(Selection(machines=("b", "absent")), [kernel_edit()], at=NOW, old=OLD, **WHO)
    references = store.references()
    assert len(allowed(references, "a", 8)) == 1
    assert len(allowed(references, "b", 8)) == 2


def test_a_cohort_is_its_own_baseline_and_its_machines(store):
    store.add([baseline("a"), baseline("b"), baseline("web", scope="cohort")], action="learn")
    life = Lifecycle(store)
    life.assign("web", ["a", "x"], **WHO)
    life.assign("web", ["b"], **WHO)
    life.assign(None, ["b"], **WHO)
    assert life.approve(Selection(cohort="web"), [kernel_edit()], at=NOW, old=OLD, **WHO).concerned == 2
    references = store.references()
    assert references.machines.cohort_of == {"a": "web", "x": "web"}
    assert len(allowed(references, "a", 8)) == len(allowed(references, "x", 8)) == 2
    assert len(allowed(references, "b", 8)) == 1


def test_what_fits_nowhere_changes_nothing(store):
    store.add([baseline("a"), baseline("p", state=State.PENDING)], action="learn")
    with pytest.raises(UsageError, match="nothing of this"):
        Lifecycle(store).approve(ALL, [kernel_edit(b"x", b"y")], at=NOW, old=OLD, **WHO)
    with pytest.raises(UsageError, match="nothing of this"):
        Lifecycle(store).approve(Selection(machines=("p",)), [kernel_edit()], at=NOW, old=OLD, **WHO)
    assert [r["version"] for r in store.references().columns.to_pylist()] == [1, 1]


def test_pending_baselines_are_activated(store):
    store.add([baseline("a"), baseline("p", state=State.PENDING)], action="learn")
    assert not store.references().active[store.references().find(["p"])[0]]
    assert Lifecycle(store).activate(ALL, **WHO).concerned == 1
    references = store.references()
    assert references.active[references.find(["p"])[0]]
    with pytest.raises(UsageError, match="pending"):
        Lifecycle(store).activate(ALL, **WHO)


def test_two_approvals_in_a_row_combine_in_any_order(store):
    """A machine may have the one change, the other, both or none of them, until the grace of each is over."""
    store.add([baseline("a", small_log(BANKS, extra=extra()))], action="learn")
    life = Lifecycle(store)
    life.approve(ALL, [kernel_edit()], at=NOW, old=OLD, **WHO)
    first, last = sequences(extra=extra()), sequences(extra=extra(b"less"))
    life.approve(ALL, edits(8, first[8], last[8]), at=NOW, old=Old(OLD.until + GRACE), **WHO)
    references = store.references()
    (row,) = references.find(["a"])
    found = references.allowed(int(references.profile[row]), 8)
    assert [(one.sequence.split("sha256"), one.until) for one in found] == [
        ([hash_of("sha256", line), hash_of("sha256", word)], until)
        for line, word, until in (
            (b"quiet", b"more", OLD.until),
            (b"quiet", b"less", OLD.until),
            (b"quiet splash", b"more", OLD.until + GRACE),
            (b"quiet splash", b"less", None),
        )
    ]


def extra(text=b"more"):
    return entry(8, 0xD, text, BANKS)


def test_what_is_approved_again_is_current_again(store):
    store.add([baseline("a")], action="learn")
    life = Lifecycle(store)
    life.approve(ALL, [kernel_edit()], at=NOW, old=OLD, **WHO)
    life.approve(ALL, [kernel_edit(b"quiet splash", b"quiet")], at=NOW, old=Old(NOW), **WHO)
    assert allowed(store.references(), "a", 8) == [
        ("kernel_cmdline: quiet splash", NOW, False),
        ("kernel_cmdline: quiet", None, False),
    ]


def test_a_rollback_allows_what_was_and_nothing_after(store):
    store.add([baseline("a"), baseline("b")], action="learn")
    life = Lifecycle(store)
    life.approve(ALL, [kernel_edit()], at=NOW, old=Old(NOW + GRACE, keep=True), **WHO)
    life.rollback("machine", "a", 1, at=NOW, **WHO)
    references = store.references()
    assert allowed(references, "a", 8) == [
        ("kernel_cmdline: quiet splash", NOW, False),
        ("kernel_cmdline: quiet", None, False),
    ]
    assert [state for _, state, _ in told(store, "a")] == [State.SUPERSEDED, State.REVOKED, State.ACTIVE]
    assert allowed(references, "b", 8)[-1][0] == "kernel_cmdline: quiet splash"
    for version in (3, 4, 0):
        with pytest.raises(UsageError, match="earlier ones: 1, 2"):
            life.rollback("machine", "a", version, at=NOW, **WHO)


def test_an_event_that_may_vary(store):
    store.add([baseline("a"), baseline("c", small_log(BANKS, command_line=b"other"))], action="learn")
    life = Lifecycle(store)
    event = (0xD, "kernel_cmdline: quiet")
    assert life.vary(ALL, 8, 0, event, **WHO).concerned == 1
    references = store.references()
    assert [r["version"] for r in rows_of(references, "c")] == [1]
    (one,) = references.allowed(int(references.profile[references.find(["a"])[0]]), 8)
    assert one.sequence.varies == (0,)
    for pcr, position in ((8, 0), (8, 1), (9, 0)):
        with pytest.raises(UsageError):
            life.vary(ALL, pcr, position, event, **WHO)


def member(path, contents, kind=SHA256):
    return Member(path, kind, hash_of("sha256", contents))


def test_files_are_approved_as_one_change(store):
    ima = ImaSet([member(b"/bin/a", b"1"), member(b"/bin/b", b"1")])
    store.add([baseline("a", ima=ima), baseline("bare"), baseline("c", ima=ImaSet([member(b"/x", b"1")]))], action="l")
    new = [ImaEdit(member(b"/bin/a", b"2"), False), ImaEdit(member(b"/bin/new", b"1"), True)]
    assert Lifecycle(store).approve(Selection(machines=("a", "bare")), [], new, at=NOW, old=OLD, **WHO).concerned == 1
    references = store.references()
    row = rows_of(references, "a")[-1]
    assert {(m.path, m.digest) for m in references.ima.set(row["ima_set"])} == {
        (b"/bin/a", hash_of("sha256", b"2")),
        (b"/bin/b", hash_of("sha256", b"1")),
        (b"/bin/new", hash_of("sha256", b"1")),
    }
    ((old, until),) = [(references.ima.set(one["set"]), one["until"]) for one in row["ima_superseded"]]
    assert list(old) == [member(b"/bin/a", b"1")]
    assert until == OLD.until
    # A changed file is no reason to let others run it that never knew it.
    with pytest.raises(UsageError):
        Lifecycle(store).approve(Selection(machines=("c",)), [], new[:1], at=NOW, old=OLD, **WHO)


def test_at_once_leaves_no_digest_of_a_replaced_file(store):
    store.add([baseline("a", ima=ImaSet([member(b"/bin/a", b"1")]))], action="learn")
    Lifecycle(store).approve(ALL, [], [ImaEdit(member(b"/bin/a", b"2"), False)], at=NOW, old=Old(NOW), **WHO)
    assert rows_of(store.references(), "a")[-1]["ima_superseded"] == []


def test_an_edit_is_only_made_where_it_fits_in_one_place():
    log = small_log(BANKS, extra=extra() + extra())
    twice = event_sequences(EventLog.parse(log))[8]
    once = event_sequences(EventLog.parse(small_log(BANKS, extra=extra())))[8]
    changed = event_sequences(EventLog.parse(small_log(BANKS, extra=entry(8, 0xD, b"other", BANKS))))[8]
    (edit,) = edits(8, once, changed)
    assert apply(edit, once) == changed
    assert apply(edit, twice) is None
    assert apply(edit, changed) is None


@pytest.mark.parametrize("new", [[b"b"], [b"a", b"x", b"b"], [b"b", b"a"], [b"x", b"b"], [b"a", b"b", b"c", b"d"], []])
def test_edits_turn_one_sequence_into_the_other(new):
    def sequence(texts):
        log = small_log(BANKS, extra=b"".join(entry(9, 0xD, text, BANKS) for text in texts))
        return event_sequences(EventLog.parse(log))[9]

    old, wanted = sequence([b"a", b"b"]), sequence(new)
    result = old
    for edit in edits(9, old, wanted):
        result = apply(edit, result)
    assert (result.texts, {bank: result.digests[bank] for bank in BANKS}) == (
        wanted.texts,
        {bank: wanted.digests[bank] for bank in BANKS},
    )


def test_sequences_that_no_edit_explains():
    one = sequences()[0]
    assert edits(0, one, event_sequences(EventLog.parse(small_log(["sm3_256"])))[0]) is None
    assert edits(17, sequences()[17], sequences()[0]) is None


def test_names_that_cannot_be(store):
    for call in (
        lambda: Lifecycle(store).assign("we b", ["a"], **WHO),
        lambda: Lifecycle(store).assign("web", ["../a"], **WHO),
        lambda: Lifecycle(store).ignore(["a\n"], until=NOW, **WHO),
        lambda: Selection(machines=("a",), everyone=True),
        Selection,
    ):
        with pytest.raises(UsageError):
            call()
