"""Machines, archives and arguments that try to get more from a change of baselines than was approved."""

from __future__ import annotations

import dataclasses
import datetime
import json

import pytest
from attested_machine import DEFAULT, HOUR, Machine, Rows, stands, store_of
from attested_machine import NOW as ASKED
from baselines_by_hand import BANKS, baseline
from conftest import DATA, entry, hash_of, small_log
from test_lifecycle import ALL, NOW, OLD, SHA256, WHO, kernel_edit, sequences
from test_superseded import NEW_LOG, OLD_LOG, approve, job, store
from tpm_in_python import Tpm

from pyverify import EventLog, PyverifyError, Store, UsageError, verify
from pyverify.appraise.appraisal import Appraisal
from pyverify.baseline.booted import remember
from pyverify.baseline.edits import edits
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.history import history, load, load_counting, versions
from pyverify.baseline.identity import Challenge
from pyverify.baseline.interchange import keylime_check, keylime_refstate
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import Accepted, State, event_sequences
from pyverify.baseline.selection import Selection
from pyverify.baseline.supersede import GRACE, ImaEdit, Old, with_ima
from pyverify.cli.approve import _boot, _chosen
from pyverify.cli.main import main
from pyverify.evidence.bundle import evidence_batch
from pyverify.evidence.ima_set import ImaSet, Member
from pyverify.fleet.changes import BootChange, Changes, Offer
from pyverify.fleet.learn import learn
from pyverify.fleet.learn_refstate import learn_satisfying

__all__ = ["store"]

GRUBENV = entry(8, 0xD, b"grubenv", BANKS)


def test_a_step_back_stays_one_when_an_event_is_let_vary(store):
    old, new = small_log(BANKS, extra=GRUBENV), small_log(BANKS, extra=GRUBENV, command_line=b"quiet splash")
    store.add([baseline("x", old)], action="learn")
    approve(store)
    assert job(store, ("x", "2", 2, new))["2"][0] == "trusted"
    assert job(store, ("x", "3", 3, old))["3"][0] == "untrusted"
    Lifecycle(store).vary(ALL, 8, 1, (0xD, "grubenv"), **WHO)
    assert job(store, ("x", "3", 3, old))["3"][0] == "untrusted"


def test_of_two_superseded_values_the_older_is_a_step_back_within_a_job_and_later(store):
    approve(store)
    change = edits(8, sequences(command_line=b"quiet splash")[8], sequences(command_line=b"third")[8])
    Lifecycle(store).approve(ALL, change, at=NOW, old=OLD, **WHO)
    found = job(store, ("m", "1", 1, NEW_LOG), ("m", "2", 2, OLD_LOG), ("n", "3", 1, OLD_LOG), ("n", "4", 2, NEW_LOG))
    assert {boot: verdict for boot, (verdict, _) in found.items()} == {
        "1": "trusted",
        "2": "untrusted",
        "3": "trusted",
        "4": "trusted",
    }
    assert job(store, ("n", "5", 3, OLD_LOG))["5"][0] == "untrusted"
    assert job(store, ("n", "6", 4, NEW_LOG))["6"][0] == "trusted"


def test_a_number_that_a_machine_gives_its_boot_does_not_let_it_go_back_unseen(tmp_path):
    """It sends the new with an unasked quote and a huge number, and then, freshly asked, the old with a small one."""
    machine = Machine(challenges=[])
    machine.challenges.clear()
    new = small_log(list(machine.banks), command_line=b"quiet splash")
    with store_of(tmp_path / "s.db", machine) as store:
        Lifecycle(store).approve(ALL, [kernel_edit()], at=ASKED, old=OLD, **WHO)
        old_tpm, machine.tpm = machine.tpm, Tpm.booted(new, owner=machine.name)
        unasked = machine.evidence(machine.quote(nonce=b"unasked"), event_log=new, boot="new", boot_seq=1 << 40)
        verdict = verify(unasked, references=store.references(), policy=DEFAULT, as_of=ASKED)
        assert not verdict.trusted and verdict.reached
        remember(store, verdict.reached)
        machine.tpm = old_tpm
        now = datetime.datetime.now(datetime.UTC)
        Ledger(store).add([Challenge(machine.key.name, machine.nonce, now + HOUR, machine.name)])
        verdict = verify(
            machine.evidence(boot_seq=1), references=store.references(), policy=DEFAULT, as_of=now + 2 * HOUR
        )
        assert stands(verdict).attested == "quote"
        assert not stands(verdict).trusted
        assert "baseline.rolled-back" in {finding.code for finding in verdict.findings}


def offered(machine, log, references, policy=DEFAULT):
    """What a boot of a machine differs in, as an approval would see it."""
    machine.tpm = Tpm.booted(log, owner=machine.name)
    appraisal = Appraisal(evidence_batch([machine.evidence(event_log=log)]), references, policy, ASKED)
    (change,) = Changes().of(appraisal, appraisal.verdicts())
    assert change.against == ()
    return change


def test_digests_that_no_quote_proves_are_not_approved_for_machines_that_quote_them(tmp_path):
    """The log of a boot says the digest of something else in a bank that its quote leaves out."""
    banks = ("sha256", "sm3_256")
    liar = Machine("liar", banks=banks, quoted_banks=("sha256",))
    other = Machine("other", banks=banks, quoted_banks=("sm3_256",))
    good, evil = (small_log(list(banks), command_line=text) for text in (b"quiet splash", b"evil"))
    digests = [event_sequences(EventLog.parse(log))[8].split("sm3_256")[0] for log in (good, evil)]
    with store_of(tmp_path / "s.db", liar, other) as store:
        change = offered(liar, good.replace(*digests), store.references())
        life = Lifecycle(store)
        life.approve(Selection(machines=("liar",)), change.edits, at=ASKED, old=OLD, **WHO)
        with pytest.raises(UsageError, match="nothing of this"):
            life.approve(Selection(machines=("other",)), change.edits, at=ASKED, old=OLD, **WHO)
        assert stands(liar.judge(references=store.references(), event_log=good)).trusted
        other.tpm = Tpm.booted(evil, owner="other")
        assert not stands(other.judge(references=store.references(), event_log=evil)).trusted


def test_a_store_or_snapshot_cannot_have_accepted_what_is_never_accepted():
    machine, outcomes = Machine(), []
    for accepted in ((), (Accepted("quote.unfresh", None, "trust me"),)):
        references = machine.references(baselines=[machine.baseline(accepted=accepted)])
        outcomes.append(machine.judge(references=references, at=ASKED + 48 * HOUR).outcome)
    assert outcomes == ["untrusted", "untrusted"]


def test_what_may_vary_still_may_after_a_whole_boot_was_approved(tmp_path):
    machine = Machine()
    (bank,) = machine.banks

    def log(environment, command_line=b"quiet"):
        return small_log([bank], command_line=command_line, extra=entry(8, 0xD, environment, [bank]))

    machine.log = log(b"first")
    with store_of(tmp_path / "s.db", machine) as store:
        life = Lifecycle(store)
        life.vary(ALL, 8, 1, (0xD, "first"), **WHO)
        upgraded = log(b"second", b"quiet splash")
        change = offered(machine, upgraded, store.references())
        sequences_of_boot = {pcr: change.sequences[pcr] for pcr in change.differing}
        life.approve_boot("m", sequences_of_boot, at=ASKED, old=OLD, **WHO)
        for text, command_line, trusted in ((b"third", b"quiet splash", True), (b"third", b"evil", False)):
            booted = log(text, command_line)
            machine.tpm = Tpm.booted(booted, owner="m")
            verdict = machine.judge(references=store.references(), event_log=booted)
            assert stands(verdict).trusted == trusted


ODD_NAMES = ("\udcff", "a\x1b[2J", "", "x" * 4096, "\0")


@pytest.mark.parametrize("text", ODD_NAMES)
def test_only_errors_of_its_own_leave_the_life_cycle(store, text):
    life, who = Lifecycle(store), {"who": text, "reason": text}
    calls = (
        lambda: life.approve(ALL, [kernel_edit()], at=NOW, old=OLD, **who),
        lambda: life.vary(ALL, 8, 0, (0xD, text), **who),
        lambda: life.approve(Selection(machines=(text,)), [kernel_edit()], at=NOW, old=OLD, **WHO),
        lambda: life.approve(Selection(cohort=text), [kernel_edit()], at=NOW, old=OLD, **WHO),
        lambda: life.activate(Selection(machines=(text,)), **who),
        lambda: life.rollback("machine", text, 1, at=NOW, **WHO),
        lambda: life.rollback("machine", "m", 1 << 70, at=NOW, **WHO),
        lambda: life.rollback("machine", "m", -1, at=NOW, **who),
        lambda: life.assign(text, ["m"], **WHO),
        lambda: life.assign("web", [text], **WHO),
        lambda: life.assign("web", ["m"], **who),
        lambda: life.ignore(["m"], until=NOW, **who),
        lambda: load(store, "machine", text, 1 << 70),
        lambda: load(store, text, "m"),
        lambda: history(store, "machine", text),
        lambda: versions(store, text, text),
        lambda: load_counting(store, text, [text]),
    )
    for number, call in enumerate(calls):
        try:
            call()
        except PyverifyError:
            pass
        except Exception as error:
            pytest.fail(f"call {number}: {error!r}")


@pytest.mark.parametrize("naive", [datetime.datetime(2026, 11, 24)])
def test_a_time_without_its_zone_is_refused(store, naive):
    life = Lifecycle(store)
    for number, call in enumerate(
        (
            lambda: life.approve(ALL, [kernel_edit()], at=naive, old=OLD, **WHO),
            lambda: life.approve(ALL, [kernel_edit()], at=NOW, old=Old(naive), **WHO),
            lambda: life.rollback("machine", "m", 1, at=naive, **WHO),
            lambda: life.ignore(["m"], until=naive, **WHO),
        )
    ):
        try:
            call()
        except UsageError:
            continue
        except Exception as error:
            pytest.fail(f"call {number}: {error!r}")
        pytest.fail(f"call {number}: nothing")


def test_who_and_why_are_shown_without_control_characters(tmp_path, capfd):
    place = ("--store", str(tmp_path / "s.db"))
    words = ("--who", "\x1b]0;ops\x07", "--reason", "\x1b[31mred")
    assert main(["baseline", "assign", "m", "--cohort", "web", *words, *place]) == 0
    for command in (["history", "m"], ["list"], ["list", "--all"]):
        assert main(["baseline", *command, *place]) == 0
        assert not {"\x1b", "\x07"} & set(capfd.readouterr().out)


def test_a_file_of_names_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "names").write_bytes(b"m\xff")
    words = ["--file", str(tmp_path / "names"), "--cohort", "web", "--store", str(tmp_path / "s.db")]
    assert main(["baseline", "assign", *words]) == 2


def test_a_change_is_named_by_its_whole_id(tmp_path):
    offer = Offer("0123456789abcdef0123", (kernel_edit(),), (), ("m",))
    assert _chosen([offer], offer.id.upper()) is offer
    for name in (offer.id[:-1], "", offer.id + "0"):
        with pytest.raises(UsageError, match="is no change"):
            _chosen([offer], name)


def test_a_boot_of_several_samples_is_approved_only_where_all_are_alike():
    """Whoever looked at one of them must not approve another."""
    one, other = (BootChange("m", "1", "machine", edits=(kernel_edit(new=text),)) for text in (b"a", b"b"))
    bad = BootChange("m", "1", "machine", against=("key.unknown",))
    assert _boot([one, one], "m/1") is one
    for samples in ([one, other], [one, bad], [bad], []):
        with pytest.raises(UsageError):
            _boot(samples, "m/1")


def test_what_is_over_is_a_step_back_only_for_boots_that_came_after_the_new(store):
    approve(store)
    job(store, ("m", "2", 2, NEW_LOG))
    late = job(store, ("m", "1", 1, OLD_LOG), ("m", "3", 3, OLD_LOG), as_of=NOW + 2 * GRACE)
    assert {boot: found[0] for boot, (_, found) in late.items()} == {"1": "expired", "3": "rolled-back"}


def extra(word):
    return entry(8, 0xD, word, BANKS)


def fix_now(store, before, after):
    """A change that is approved as a security fix: the old is not allowed any more."""
    old, new = (sequences(**one)[8] for one in (before, after))
    Lifecycle(store).approve(ALL, edits(8, old, new), at=NOW, old=Old(NOW), **WHO)


def test_a_security_fix_ends_what_it_replaces_in_older_boots_too(tmp_path):
    """Two changes in a row: whoever may still be without the first may not be without the second, which is a fix."""
    weak, fixed = extra(b"weak"), extra(b"fixed")
    logs = {
        f"{line}-{word}": small_log(BANKS, command_line=line.encode(), extra=extra(word.encode()))
        for line in ("quiet", "splash")
        for word in ("weak", "fixed")
    }
    for keep in (False, True):
        with Store.open(str(tmp_path / f"{keep}.db"), create=True) as store:
            store.add([baseline(name, logs["quiet-weak"]) for name in logs], action="learn")
            Lifecycle(store).approve(ALL, [kernel_edit(b"quiet", b"splash")], at=NOW, old=Old(OLD.until, keep), **WHO)
            fix_now(store, {"command_line": b"splash", "extra": weak}, {"command_line": b"splash", "extra": fixed})
            found = job(store, *((name, name, 1, log) for name, log in logs.items()))
            assert {name: verdict for name, (verdict, _) in found.items()} == {
                "quiet-weak": "untrusted",
                "quiet-fixed": "trusted",
                "splash-weak": "untrusted",
                "splash-fixed": "trusted",
            }


def test_a_security_fix_ends_what_came_before_what_it_replaces(store):
    approve(store)
    assert job(store, ("m", "1", 1, OLD_LOG))["1"][0] == "trusted"
    fix_now(store, {"command_line": b"quiet splash"}, {"command_line": b"third"})
    third = small_log(BANKS, command_line=b"third")
    found = job(store, ("m", "1", 1, OLD_LOG), ("n", "2", 1, NEW_LOG), ("n", "3", 2, third))
    assert [verdict for verdict, _ in found.values()] == ["untrusted", "untrusted", "trusted"]


def test_a_whole_boot_that_is_a_security_fix_ends_all_that_came_before_it(store):
    approve(store)
    third = small_log(BANKS, command_line=b"third")
    boot = {8: sequences(command_line=b"third")[8]}
    Lifecycle(store).approve_boot("m", boot, at=NOW, old=Old(NOW), **WHO)
    found = job(store, ("m", "1", 1, OLD_LOG), ("m", "2", 2, NEW_LOG), ("m", "3", 3, third), ("n", "4", 1, OLD_LOG))
    assert [verdict for verdict, _ in found.values()] == ["untrusted", "untrusted", "trusted", "trusted"]


def test_a_security_fix_ends_nothing_that_others_of_a_cohort_are_leaving(tmp_path):
    other, others = small_log(BANKS, command_line=b"other"), small_log(BANKS, command_line=b"other fixed")
    two = tuple(
        a + (b if a != b else ()) for a, b in zip(baseline().allowed, baseline("o", other).allowed, strict=True)
    )
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        store.add([baseline("web", scope="cohort", allowed=two)], action="learn")
        Lifecycle(store).assign("web", ["m", "n", "o"], **WHO)
        approve(store)
        fix_now(store, {"command_line": b"other"}, {"command_line": b"other fixed"})
        found = job(store, ("m", "1", 1, OLD_LOG), ("n", "2", 1, other), ("o", "3", 1, others))
        assert [verdict for verdict, _ in found.values()] == ["trusted", "untrusted", "trusted"]


def test_a_file_that_is_replaced_at_once_may_run_in_none_of_its_older_forms():
    def file(path, number):
        return Member(path, SHA256, bytes([number]) * 32)

    ima, superseded = ImaSet([file(b"/a", 1), file(b"/b", 1)]), ()
    steps = (([file(b"/a", 2), file(b"/b", 2)], OLD), ([file(b"/a", 3)], Old(NOW)))
    for members, old in steps:
        ima, superseded = with_ima(ima, superseded, [ImaEdit(one, False) for one in members], old, NOW)
    assert set(ima) == {file(b"/a", 3), file(b"/b", 2)}
    assert [(set(one.ima), one.until) for one in superseded] == [({file(b"/b", 1)}, OLD.until)]


def with_another_image(log, *banks):
    """A log whose boot loader has another digest in some banks; its data is the same, as it says nothing of it."""
    image = next(event for event in EventLog.parse(log).events if event.type_hint == 0x80000003)
    for bank in banks:
        log = log.replace(image.digests[bank], hash_of(bank, b"evil"))
    return log


@pytest.mark.parametrize(
    ("learned", "booted", "quoted", "trusted"),
    [
        pytest.param((), (), ("sm3_256",), False, id="honest, without what was proven"),
        pytest.param((), (), ("sha256", "sm3_256"), True, id="honest"),
        pytest.param(("sm3_256",), ("sha256", "sm3_256"), ("sm3_256",), False, id="another image"),
        pytest.param(("sm3_256",), ("sha256", "sm3_256"), ("sha256", "sm3_256"), False, id="another image, in both"),
        pytest.param(("sm3_256",), (), ("sha256", "sm3_256"), False, id="the image that was proven"),
    ],
)
def test_a_policy_that_moves_to_another_bank_does_not_rely_on_what_no_quote_proved(
    tmp_path, learned, booted, quoted, trusted
):
    """The log of the first boot says the digest of another image in the bank that nobody quoted."""
    banks = ("sha256", "sm3_256")
    machine = Machine(banks=banks, quoted_banks=("sha256",))
    moved = dataclasses.replace(DEFAULT, banks_required=("sm3_256",))
    first = machine.evidence(event_log=with_another_image(machine.log, *learned), boot="b1")
    with store_of(tmp_path / "s.db") as store:
        Enrollment(store).enroll("m", machine.key.public, at=ASKED)
        Ledger(store).add(machine.challenges)
        (one,) = learn(Rows([first]), store, policy=DEFAULT, activate=True, as_of=ASKED)
        assert one.state == "active"
        references = store.references()
    log = with_another_image(machine.log, *booted)
    machine.tpm, machine.quoted_banks = Tpm.booted(log, owner="m"), quoted
    verdict = machine.judge(policy=moved, references=references, event_log=log)
    assert stands(verdict).trusted == trusted


GOLDEN = (DATA / "logs" / "01_m1_first_boot.bin").read_bytes()
ITS_BANKS = ("sha1", "sha256", "sha384", "sha512")


def vouched(path, archive, *machines):
    """What became of first boots that a reference state is to vouch for, and the references after that."""
    refstate = keylime_refstate.read(json.dumps(keylime_check.export(EventLog.parse(GOLDEN))).encode())
    with store_of(path) as store:
        for machine in machines:
            Enrollment(store).enroll(machine.name, machine.key.public, at=ASKED)
            Ledger(store).add(machine.challenges)
        found = learn_satisfying(
            archive, store, refstate, policy=DEFAULT, state=State.ACTIVE, as_of=ASKED, who="ops", reason="golden"
        )
        return {one.machine: one.refused for one in found}, store.references()


def test_a_reference_state_vouches_for_no_digests_that_no_quote_proves(tmp_path):
    """It is of SHA-256: a log may say of SHA-256 what it likes where only other banks are quoted."""
    honest = Machine("honest", banks=ITS_BANKS, quoted_banks=("sha256",), log=GOLDEN)
    evil = Machine("evil", banks=ITS_BANKS, quoted_banks=("sha384",), log=with_another_image(GOLDEN, "sha384"))
    found, references = vouched(tmp_path / "s.db", Rows([honest.evidence(), evil.evidence()]), honest, evil)
    assert found == {"honest": None, "evil": "no quote proves bank sha256, which the reference state is of"}
    assert [stands(m.judge(references=references)).trusted for m in (honest, evil)] == [True, False]


@pytest.mark.parametrize("at_first", ["golden", "absent"])
def test_a_reference_state_vouches_for_no_boot_that_is_another_when_it_is_learned(tmp_path, at_first):
    """Whoever can write to the archive shows one boot to the reference state and another to what learns it."""
    honest = Machine(banks=ITS_BANKS, quoted_banks=("sha256",), log=GOLDEN)
    evil = Machine(banks=ITS_BANKS, quoted_banks=("sha256",), log=with_another_image(GOLDEN, *ITS_BANKS))
    reads = [[evil.evidence()], [honest.evidence()] if at_first == "golden" else [], [evil.evidence()]]

    class Changing:
        def batches(self, **_):
            yield from Rows(reads.pop(0)).batches()

    found, references = vouched(tmp_path / "s.db", Changing(), evil)
    assert found == {"m": "the archive changed while it was read"}
    assert not len(references)
