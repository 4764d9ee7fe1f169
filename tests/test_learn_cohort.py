"""Cohorts and learning: what a cohort's baseline corroborates, what it refuses, and how it is learned itself."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from attested_machine import ARCHIVE, Machine
from baselines_by_hand import baseline
from conftest import entry, small_log
from ima_by_hand import a_digest, data_of
from ima_by_hand import entry as ima_entry
from ima_evidence import BANKS, LOG, set_of
from learning import (
    NOW,
    WHO,
    assign,
    codes,
    high,
    judged,
    lay_out,
    learned,
    learned_cohort,
    names_of,
    ran,
    ran_in,
    recorded,
    rows_of,
)
from test_learn_accept import MISMATCH_4, ODD_4
from test_lifecycle import kernel_edit
from test_verify_quotes_cli import lay_out as lay_out_quoted

from pyverify import Store, UsageError
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import Accepted, Origin, State
from pyverify.baseline.selection import Selection
from pyverify.baseline.supersede import GRACE, MAX_ALLOWED, ImaEdit, Old
from pyverify.evidence.ima_set import Member, kind_of
from pyverify.fleet.sources import open_source

A, B, C = (ima_entry(data_of(f"/bin/{name}", a_digest(number))) for number, name in enumerate("abc"))
OTHER_B = ima_entry(data_of("/bin/b", a_digest(9)))
EVIL_LOG = small_log(BANKS, command_line=b"init=/bin/sh")
NEW_LOG = small_log(BANKS, command_line=b"quiet splash")
WEB = Selection(cohort="web")


@pytest.fixture
def store(tmp_path):
    """A store with machines assigned to the cohort ``web``, which has no baseline yet."""
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        assign(store, "web", "w1", "w2", "w3")
        yield store


A_AND_B = ran(A, B)


def of_web(store, log=LOG, data=A_AND_B, **changes):
    """Gives the cohort a baseline."""
    ima = None if data is None else set_of(data)
    store.add([baseline("web", log, scope="cohort", ima=ima, **changes)], action="learn")


def archive(folder, **boots):
    """The first boots of machines."""
    return lay_out(folder, {(machine, "1"): boot for machine, boot in boots.items()})


# Corroboration.


@pytest.mark.parametrize("activate", [True, False])
def test_what_the_cohorts_baseline_trusts_is_active_at_once(tmp_path, store, activate):
    of_web(store)
    source = archive(tmp_path / "a", w1=(LOG, ran(A)), x1=(LOG, ran(A)))
    results = learned(source, store, activate=activate)
    own = State.ACTIVE if activate else State.PENDING
    assert {m: (item.state, item.origin) for m, item in results.items()} == {
        "w1": (State.ACTIVE, Origin.CORROBORATED),
        "x1": (own, Origin.FIRST_SEEN),
    }
    assert ("machine", "w1", 1, State.ACTIVE, Origin.CORROBORATED) in rows_of(store)
    assert names_of(store, "w1") == ["/bin/a"]
    assert judged(store, "w1", LOG, ran(A)).trusted
    assert judged(store, "w1", LOG, ran(B)).trusted  # approved in the cohort
    assert not judged(store, "w1", EVIL_LOG, ran(A)).trusted
    assert not judged(store, "w1", LOG, ran(C)).trusted


DIFFERENT = {
    "another log": ((EVIL_LOG, ran_in(EVIL_LOG, A)), "baseline.event-changed"),
    "another program": ((LOG, ran(A, C)), "ima.added"),
    "a changed program": ((LOG, ran(A, OTHER_B)), "ima.changed"),
    "no list": ((LOG, None), "ima.empty"),
    "a broken log": ((LOG[:-1], ran(A)), "log.truncated"),
    "no log": ((b"", ran(A)), "evidence.lost"),
}


@pytest.mark.parametrize("boots", [1, 2])
@pytest.mark.parametrize("activate", [True, False])
@pytest.mark.parametrize(("boot", "code"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_from_its_cohort_never_becomes_its_own_proof(tmp_path, store, boot, code, activate, boots):
    of_web(store)
    source = lay_out(tmp_path / "a", {("w1", "1"): boot, ("w1", "2"): (LOG, ran(A)), ("w2", "1"): (LOG, ran(B))})
    results = learned(source, store, activate=activate, boots=boots)
    assert results["w1"].state is None
    assert code in codes(results["w1"].reasons)
    assert results["w2"].origin is Origin.CORROBORATED
    assert "w1" not in store.machines()
    assert not judged(store, "w1", *boot).trusted
    assert names_of(store, "w2") == ["/bin/b"]  # nothing of what was refused came in


def test_a_cohort_that_nobody_activated_corroborates_nothing(tmp_path, store):
    of_web(store, state=State.PENDING)
    (result,) = learned(archive(tmp_path / "a", w1=(EVIL_LOG, ran_in(EVIL_LOG, C))), store, activate=False).values()
    assert (result.state, result.origin) == (State.PENDING, Origin.FIRST_SEEN)


def test_of_what_the_cohorts_baseline_does_not_speak_nobody_stands_for_it(tmp_path, store):
    of_web(store, data=None)
    results = learned(archive(tmp_path / "a", w1=(LOG, ran(C)), w2=(LOG, None)), store, activate=False)
    assert {m: (item.state, item.origin) for m, item in results.items()} == {
        "w1": (State.PENDING, Origin.FIRST_SEEN),
        "w2": (State.ACTIVE, Origin.CORROBORATED),
    }


def replaced(store):
    """The cohort goes on to another kernel command line; the old one is good for two more weeks."""
    edits = [kernel_edit()]
    Lifecycle(store).approve(WEB, edits, at=NOW, old=Old(NOW + GRACE), **WHO)


def test_what_is_being_replaced_in_the_cohort_does_not_become_good_for_ever(tmp_path, store):
    of_web(store)
    replaced(store)
    assert judged(store, "w1", LOG, ran(A)).trusted
    results = learned(archive(tmp_path / "a", w1=(LOG, ran(A)), w2=(NEW_LOG, ran_in(NEW_LOG, A))), store)
    assert (results["w1"].state, codes(results["w1"].reasons)) == (None, ["baseline.pcr"])
    assert results["w1"].reasons[0].pcr == 8
    assert results["w2"].origin is Origin.CORROBORATED
    later = NOW + GRACE + datetime.timedelta(days=1)
    assert not learned(archive(tmp_path / "b", w1=(LOG, ran(A))), store, as_of=later)["w1"].state


def test_a_program_that_is_being_replaced_does_not_become_good_for_ever(tmp_path, store):
    of_web(store)
    new = Member(b"/bin/b", kind_of("sha256"), a_digest(9))
    Lifecycle(store).approve(WEB, [], [ImaEdit(new, False)], at=NOW, old=Old(NOW + GRACE), **WHO)
    assert judged(store, "w1", LOG, ran(B)).trusted
    results = learned(archive(tmp_path / "a", w1=(LOG, ran(B)), w2=(LOG, ran(OTHER_B))), store)
    assert (results["w1"].state, codes(results["w1"].reasons)) == (None, ["ima.added"])
    assert results["w2"].origin is Origin.CORROBORATED


def test_events_that_may_vary_in_the_cohort_may_in_its_machines(tmp_path, store):
    of_web(store)
    Lifecycle(store).vary(WEB, 8, 0, (0xD, "kernel_cmdline: quiet"), **WHO)
    results = learned(archive(tmp_path / "a", w1=(EVIL_LOG, ran_in(EVIL_LOG, A))), store)
    assert results["w1"].origin is Origin.CORROBORATED, results["w1"].reasons
    assert judged(store, "w1", EVIL_LOG, ran_in(EVIL_LOG, A)).trusted
    assert judged(store, "w1", NEW_LOG, ran_in(NEW_LOG, A)).trusted
    other = small_log(BANKS, extra=entry(8, 0xD, b"more", BANKS))
    assert not judged(store, "w1", other, ran_in(other, A)).trusted


def test_exceptions_of_the_cohort_that_a_machine_needs_become_its_own(tmp_path, store):
    exception = Accepted("event.data-mismatch", 4, "known firmware")
    of_web(store, ODD_4, None, accepted=(exception, Accepted("separator.duplicate", 2, "not needed")))
    results = learned(archive(tmp_path / "a", w1=(ODD_4, None), x1=(ODD_4, None)), store)
    assert (results["w1"].origin, results["x1"].state) == (Origin.CORROBORATED, None)
    references = store.references()
    assert references.accepted(int(references.find(["w1"])[0])) == [exception]
    assert judged(store, "w1", ODD_4).trusted


def test_later_boots_of_a_corroborated_machine_must_be_trusted_by_the_cohort_too(tmp_path, store):
    of_web(store)
    boots = {
        ("w1", "1"): (LOG, ran(A)),
        ("w1", "2"): (LOG, ran(B)),
        ("w1", "3"): (LOG, ran(C)),
        ("w1", "4"): (EVIL_LOG, None),
    }
    (result,) = learned(lay_out(tmp_path / "a", boots), store, boots=4).values()
    assert (result.origin, result.boots, [boot for boot, _ in result.left_out]) == (Origin.CORROBORATED, 2, ["3", "4"])
    assert names_of(store, "w1") == ["/bin/a", "/bin/b"]
    assert high(judged(store, "w1", LOG, ran(C))) == {"ima.added"}


def test_a_later_boot_that_ran_what_is_being_replaced_adds_nothing(tmp_path, store):
    of_web(store)
    new = Member(b"/bin/b", kind_of("sha256"), a_digest(9))
    Lifecycle(store).approve(WEB, [], [ImaEdit(new, False)], at=NOW, old=Old(NOW + GRACE), **WHO)
    boots = {("w1", "1"): (LOG, ran(A)), ("w1", "2"): (LOG, ran(B)), ("w1", "3"): (LOG, ran(OTHER_B))}
    (result,) = learned(lay_out(tmp_path / "a", boots), store, boots=3).values()
    assert [(boot, codes(reasons)) for boot, reasons in result.left_out] == [("2", ["ima.added"])]
    assert result.boots == 2
    assert judged(store, "w1", LOG, ran(OTHER_B)).trusted
    assert not judged(store, "w1", LOG, ran(B)).trusted


def test_a_key_is_not_trusted_on_first_use_of_what_differs_from_the_cohort(tmp_path):
    honest, evil = Machine("w1"), Machine("w2", log=small_log(["sha256"], command_line=b"init=/bin/sh"))
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        assign(store, "web", "w1", "w2")
        store.add([baseline("web", honest.log, scope="cohort", quoted_banks=("sha256",))], action="learn")
        for machine in (honest, evil):
            lay_out_quoted(tmp_path / "a", machine.name, "b1", machine.log, machine.quote())
        results = learned(open_source(tmp_path / "a"), store, policy=ARCHIVE, trust_first_key=True, activate=False)
        assert results["w1"].origin is Origin.CORROBORATED
        assert results["w2"].state is None
        references = store.references()
        assert [len(references.identity.ak_of(name)) for name in ("w1", "w2")] == [1, 0]
        assert honest.judge(policy=replace(ARCHIVE, key="first-use"), references=references).trusted


# A baseline of a cohort.


@pytest.mark.parametrize("activate", [True, False])
def test_a_cohort_may_be_what_any_of_its_machines_was(tmp_path, store, activate):
    boots = {"w2": (LOG, ran(A)), "w1": (NEW_LOG, ran_in(NEW_LOG, B)), "w3": (LOG, ran(A)), "x": (EVIL_LOG, None)}
    result = learned_cohort(archive(tmp_path / "a", **boots), store, "web", activate=activate)
    assert (result.machines, result.refused, result.absent) == (3, (), 0)
    state = State.ACTIVE if activate else State.PENDING
    assert rows_of(store) == [("cohort", "web", 1, state, Origin.FIRST_SEEN)]
    assert (result.baseline.boot, len(result.baseline.allowed[8]), len(result.baseline.allowed[4])) == ("1", 2, 1)
    (first,) = [row["evidence_id"] for row in store.references().columns.to_pylist()]
    assert first == judged(store, "w1", NEW_LOG, ran_in(NEW_LOG, B)).evidence_id
    if not activate:
        assert not judged(store, "w1", LOG, ran(A)).trusted
        return
    for machine in ("w1", "w2", "w3"):
        assert judged(store, machine, LOG, ran(B)).trusted
        assert judged(store, machine, NEW_LOG, ran_in(NEW_LOG, A)).trusted
        assert not judged(store, machine, EVIL_LOG, ran_in(EVIL_LOG, A)).trusted
        assert not judged(store, machine, LOG, ran(C)).trusted
    assert judged(store, "x", LOG, ran(A)).outcome.value == "unmeasured"


def test_a_refused_boot_is_told_and_adds_nothing(tmp_path, store):
    forged = ima_entry(data_of("/bin/f", a_digest(1)), shown=bytes(19) + b"\1")
    boots = {"w1": (LOG, ran(C, forged)), "w2": (LOG, ran(A)), "w3": (EVIL_LOG[:-1], ran(C))}
    result = learned_cohort(archive(tmp_path / "a", **boots), store, "web")
    assert {one.machine: codes(one.reasons) for one in result.refused} == {
        "w1": ["ima.template-mismatch"],
        "w3": ["log.truncated"],
    }
    assert (result.machines, [member.path for member in result.baseline.ima]) == (1, [b"/bin/a"])
    assert len(result.baseline.allowed[8]) == 1


def test_a_machine_that_its_own_baseline_does_not_trust_is_refused(tmp_path, store):
    learned(archive(tmp_path / "own", w1=(LOG, ran(A)), w2=(LOG, ran(A))), store)
    replaced_own = Selection(machines=("w2",))
    Lifecycle(store).approve(replaced_own, [kernel_edit()], at=NOW, old=Old(NOW + GRACE), **WHO)
    boots = {"w1": (EVIL_LOG, ran_in(EVIL_LOG, A)), "w2": (LOG, ran(A)), "w3": (LOG, ran(A))}
    result = learned_cohort(archive(tmp_path / "a", **boots), store, "web")
    assert {one.machine: codes(one.reasons) for one in result.refused} == {
        "w1": ["baseline.event-changed"],
        "w2": ["baseline.pcr"],
    }
    assert result.machines == 1


def test_a_machine_without_a_list_is_left_out_where_others_sent_theirs(tmp_path, store):
    result = learned_cohort(archive(tmp_path / "a", w1=(EVIL_LOG, None), w2=(LOG, ran(A))), store, "web")
    assert [(one.machine, codes(one.reasons)) for one in result.refused] == [("w1", ["ima.empty"])]
    assert (result.machines, result.absent, len(result.baseline.allowed[8])) == (1, 1, 1)
    assert judged(store, "w3", LOG, ran(A)).trusted
    assert not judged(store, "w1", EVIL_LOG, None).trusted


def test_a_cohort_that_has_a_baseline_is_left_alone(tmp_path, store):
    source = archive(tmp_path / "a", w1=(LOG, ran(A)))
    assert learned_cohort(source, store, "web", activate=False).baseline is not None
    before = store.references().id
    again = learned_cohort(archive(tmp_path / "b", w2=(EVIL_LOG, None)), store, "web")
    assert (again.is_known, again.baseline) == (True, None)
    assert store.references().id == before


def test_nothing_is_made_of_nothing(tmp_path, store):
    with pytest.raises(UsageError, match="no machine is assigned"):
        learned_cohort(archive(tmp_path / "a", w1=(LOG, None)), store, "db")
    with pytest.raises(UsageError, match="no machine name"):
        learned_cohort(open_source(tmp_path / "a"), store, "a b")
    assert learned_cohort(archive(tmp_path / "b", x=(LOG, None)), store, "web").absent == 3
    refused = learned_cohort(archive(tmp_path / "c", w1=(LOG[:-1], None)), store, "web")
    assert (refused.baseline, len(refused.refused)) == (None, 1)
    assert not rows_of(store)


def test_machines_that_are_all_different_are_not_one_cohort(tmp_path, store):
    names = [f"v{i:03}" for i in range(MAX_ALLOWED + 1)]
    assign(store, "many", *names)
    boots = {name: (small_log(BANKS, command_line=name.encode()), None) for name in names}
    source = archive(tmp_path / "a", **boots)
    with pytest.raises(UsageError, match="PCR 8 differs in 65 ways among 65 machines"):
        learned_cohort(source, store, "many")
    assert not rows_of(store)
    assign(store, None, names[0])
    assert len(learned_cohort(source, store, "many").baseline.allowed[8]) == MAX_ALLOWED
    assert not judged(store, names[1], boots[names[0]][0]).trusted
    assert judged(store, names[1], boots[names[2]][0]).trusted


def test_pcrs_that_are_only_reported_may_differ_in_any_number_of_ways(tmp_path, store):
    """Disks and boot orders are each machine's own; PCR 5 of a fleet has as many values as machines."""
    names = [f"v{i:03}" for i in range(MAX_ALLOWED + 6)]
    assign(store, "many", *names)
    boots = {name: (small_log(BANKS, extra=entry(1, 0x80000002, name.encode(), BANKS)), None) for name in names}
    result = learned_cohort(archive(tmp_path / "a", **boots), store, "many")
    assert (result.machines, len(result.baseline.allowed[1])) == (len(names), MAX_ALLOWED)
    for name in (names[0], names[-1]):
        assert judged(store, name, boots[name][0]).trusted


def test_only_banks_that_all_have_count(tmp_path, store):
    logs = {"w1": small_log(["sha1", "sha256"]), "w2": small_log(["sha256", "sha384"])}
    result = learned_cohort(archive(tmp_path / "a", **{m: (log, None) for m, log in logs.items()}), store, "web")
    assert result.baseline.log_banks == ("sha256",)
    for machine in ("w1", "w2", "w3"):
        for log in logs.values():
            assert judged(store, machine, log).trusted
    evil = small_log(["sha256", "sha384"], command_line=b"init=/bin/sh")
    assert not judged(store, "w2", evil).trusted
    assert not judged(store, "w2", small_log(["sha384"])).trusted


def test_machines_without_a_bank_in_common_are_not_one_cohort(tmp_path, store):
    source = archive(tmp_path / "a", w1=(small_log(["sha256"]), None), w2=(small_log(["sha384"]), None))
    with pytest.raises(UsageError, match="no bank in common"):
        learned_cohort(source, store, "web")


def test_a_quoted_cohort_asks_for_quotes(tmp_path):
    machines = [Machine(name) for name in ("w1", "w2")]
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        assign(store, "web", "w1", "w2")
        for machine in machines:
            lay_out_quoted(tmp_path / "a", machine.name, "b1", machine.log, machine.quote())
        source = open_source(tmp_path / "a")
        refused = learned_cohort(source, store, "web", policy=ARCHIVE)
        assert {code for one in refused.refused for code in codes(one.reasons)} == {"key.unknown"}
        result = learned_cohort(source, store, "web", policy=ARCHIVE, trust_first_key=True)
        assert (result.machines, result.baseline.quoted_banks) == (2, ("sha256",))
        references, policy = store.references(), replace(ARCHIVE, key="first-use")
        for machine in machines:
            assert machine.judge(policy=policy, references=references).trusted
        evidence = machines[0].judge(machines[1].quote(), policy=policy, references=references)
        assert not evidence.trusted


def test_exceptions_are_the_cohorts(tmp_path, store):
    boots = {"w1": (ODD_4, None), "w2": (LOG, None)}
    assert len(learned_cohort(archive(tmp_path / "a", **boots), store, "web", activate=False).refused) == 1
    with Store.open(str(tmp_path / "other.db"), create=True) as other:
        assign(other, "web", "w1", "w2")
        result = learned_cohort(open_source(tmp_path / "a"), other, "web", accepted=MISMATCH_4)
        assert (result.machines, result.baseline.accepted) == (2, MISMATCH_4)
        assert judged(other, "w2", ODD_4).trusted
        assert not judged(other, "w2", small_log(BANKS, extra=entry(2, 4, bytes(4), BANKS))).trusted


def test_a_recorded_class_of_machines(tmp_path):
    """Recordings 53-55: three machines of one image. A fourth of it is corroborated, one with more memory is not."""
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        assign(store, "f", "f1", "f2", "f3", "m2", "m4")
        boots = {name: recorded(number) for name, number in (("f1", "53"), ("f2", "54"), ("f3", "55"))}
        result = learned_cohort(archive(tmp_path / "a", **boots), store, "f")
        assert (result.machines, result.absent, result.refused) == (3, 2, ())
        assert {len(allowed) for allowed in result.baseline.allowed} == {1}
        assert judged(store, "f1", *recorded("02")).trusted
        assert not judged(store, "f1", *recorded("20")).trusted
        results = learned(archive(tmp_path / "b", m2=recorded("07"), m4=recorded("09")), store, activate=False)
        assert (results["m2"].origin, results["m4"].state) == (Origin.CORROBORATED, None)
        assert {reason.pcr for reason in results["m4"].reasons} == {0}


def test_on_the_command_line(run, tmp_path, monkeypatch, store):
    monkeypatch.chdir(tmp_path)
    common = ("--policy", "log-only", "--store", "s.db")
    archive(tmp_path / "a", w1=(LOG, ran(A)), w2=(LOG[:-1], ran(A)))
    assert run("learn", "a", *common, "--cohort", "web", "--boots", "2")[0] == 2
    code, out, err = run("learn", "a", *common, "--cohort", "web", "--activate")
    assert code == 0
    assert "w2  1  refused: log.truncated" in out
    assert "1 baseline learned (active), from 1 machine" in err and "1 assigned machine not in the archive" in err
    assert "left alone" in run("learn", "a", *common, "--cohort", "web")[2]
    assert run("learn", "a", *common, "--cohort", "db")[0] == 2
    boots = {("w3", "1"): (LOG, ran(A)), ("w3", "2"): (LOG, ran(C)), ("w1", "1"): (EVIL_LOG, None)}
    lay_out(tmp_path / "b", boots)
    code, out, err = run("learn", "b", *common, "--boots", "2")
    assert code == 0
    assert "w3  2  left out of the window: ima.added" in out
    assert "w1  1  refused: " in out
    assert "1 of them active, corroborated by their cohorts" in err
    lay_out(tmp_path / "c", {("x", "1"): (LOG, ran(A))})
    assert "fewer than 3 boots of 1 machine in the archive" in run("learn", "c", *common, "--boots", "3")[2]
