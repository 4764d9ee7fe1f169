"""What honest machines do differently from boot to boot is no alarm; the attack that looks like it is one."""

from __future__ import annotations

import datetime
from dataclasses import replace

import log_editor
import pytest
import test_ima_appraisal as ima
from attested_machine import DEFAULT, LOG_ONLY, NOW, Machine, codes, refused, rows_of, trusted
from baselines_by_hand import baseline
from cel_writers import cel_json, cel_tlv
from conftest import DATA, replay_by_hand, shared
from ima_by_hand import a_digest, data_of, entry
from secure_boot_logs import EV_IPL, SECURE_BOOT_LOG, Editor
from tpm_in_python import Tpm
from varied_boots import (
    BANKS,
    BOOTING,
    CALLING,
    EVIL,
    FILES,
    FIRST_TRY,
    NVPCRS,
    PHASES,
    RETURNING,
    SHIM,
    booted,
    contents,
    known,
    learned,
    other_digest,
    phases,
    userspace,
)

from pyverify import Evidence, Outcome, References, evidence_batch, verify, verify_batches
from pyverify.baseline.model import Allowed
from pyverify.evidence.log_kinds import with_userspace

HONEST = booted()


def judge(log: bytes, references: References, policy=LOG_ONLY, **sent):
    return verify(Evidence("m", "b2", event_log=log, **sent), references=references, policy=policy, as_of=NOW)


def is_green(verdict) -> bool:
    """Trusted, no lamp red, and nothing to read that alarms."""
    assert verdict.outcome is Outcome.TRUSTED, verdict.findings
    assert "red" not in dict(verdict.stages).values()
    return all(finding.severity == "info" for finding in verdict.findings)


def is_alarm(verdict, *told: str, stage: str) -> bool:
    """Untrusted for these reasons, which show at this lamp."""
    assert verdict.outcome is Outcome.UNTRUSTED, verdict.outcome
    assert set(told) <= codes(verdict, "high"), codes(verdict)
    return dict(verdict.stages)[stage] == "red"


def attempts(*events: bytes) -> bytes:
    return booted(pcr4=[*FIRST_TRY[:2], *events, *FIRST_TRY[2:]])


RETRIED = {
    "nothing ran": attempts(RETURNING, CALLING),
    "shim ran": attempts(SHIM, RETURNING, CALLING, BOOTING),
    "twice": attempts(RETURNING, SHIM, RETURNING, CALLING),
}
NOT_RETRIED = {
    "another program ran first": attempts(EVIL, RETURNING, CALLING),
    "it ran after shim": attempts(SHIM, EVIL, RETURNING, CALLING),
    "it ran in one bank's view": attempts(other_digest(SHIM, "sm3_256", bytes(32)), RETURNING, CALLING),
    "it ran at last": booted(pcr4=[*FIRST_TRY, RETURNING, CALLING, EVIL]),
}


@pytest.mark.parametrize("log", RETRIED.values(), ids=RETRIED)
def test_a_boot_that_was_retried_is_green(log):
    assert is_green(judge(log, known(HONEST)))
    events = log_editor.events_of(log)
    for kind, other in (("cel-tlv", cel_tlv(events)), ("cel-json", cel_json(events))):
        assert is_green(judge(other, known(HONEST), event_log_kind=kind))
    assert is_green(judge(HONEST, known(HONEST)))


@pytest.mark.parametrize("log", NOT_RETRIED.values(), ids=NOT_RETRIED)
def test_a_program_that_ran_in_an_attempt_is_an_alarm(log):
    assert is_alarm(judge(log, known(HONEST)), "baseline.event-added", stage="boot loader")


def rebooted(log: bytes, said: tuple[tuple[int, bytes], ...] = (), name: str = "m", before: bytes = HONEST) -> Machine:
    """A machine that was learned from one boot, after another boot: its TPM has what user space extended too."""
    machine = Machine(name, BANKS, log=before)
    machine.log, machine.tpm = log, Tpm.booted(log, owner=name)
    for pcr, text in said:
        machine.tpm.extend(pcr, text)
    return machine


def references_of(machine: Machine, before: bytes = HONEST, **changes) -> References:
    return machine.references(baselines=[learned(before, machine=machine.name, quoted_banks=tuple(BANKS), **changes)])


@pytest.mark.parametrize("log", RETRIED.values(), ids=RETRIED)
def test_a_quoted_boot_that_was_retried_is_green(log):
    machine = rebooted(log)
    assert trusted(machine.judge(references=references_of(machine)))


@pytest.mark.parametrize("log", NOT_RETRIED.values(), ids=NOT_RETRIED)
def test_a_quoted_program_that_ran_in_an_attempt_is_an_alarm(log):
    machine = rebooted(log)
    assert refused(machine.judge(references=references_of(machine)), "baseline.event-added")


def test_a_log_of_retries_does_not_explain_what_the_quote_has():
    """The TPM has the program; the log says that the boot was retried."""
    machine = rebooted(NOT_RETRIED["another program ran first"])
    for log in RETRIED.values():
        verdict = machine.judge(references=references_of(machine), event_log=log)
        assert refused(verdict, "replay.mismatch", "baseline.event-added")


@pytest.mark.parametrize("name", ["01_m1_first_boot", "60_sb_first_boot", "70_uki", "80_sm3_all_banks"])
def test_a_recorded_boot_is_green_when_it_was_retried_and_an_alarm_when_more_ran(name):
    data = (DATA / "logs" / f"{name}.bin").read_bytes()
    log = log_editor.Log.parse(data)
    separator = log.find(4, 4)
    image = log[log.find(4, 0x80000003)]
    action = [log_editor.new(log, 4, 0x80000007, text[-n:]) for text, n in ((RETURNING, 47), (CALLING, 40))]
    references = References.of([baseline("m", data)])
    for images in ([], [image]):
        retried = log.copy()
        retried[separator + 1 : separator + 1] = [*images, *action]
        assert is_green(judge(retried.bytes(), references))
    evil = log.copy()
    evil[separator + 1 : separator + 1] = [log_editor.new(log, 4, 0x80000003, image.data), *action]
    assert is_alarm(judge(evil.bytes(), references), "baseline.event-added", stage="boot loader")


UKI = (DATA / "logs" / "70_uki.bin").read_bytes()
UKI_BANKS = [*log_editor.Log.parse(UKI)[-1].digests]


@pytest.mark.parametrize("boot", [UKI, HONEST], ids=["a recorded kernel image", "nothing in PCR 11"])
def test_a_boot_that_is_looked_at_sooner_or_later_is_green(boot):
    banks = [*log_editor.Log.parse(boot)[-1].digests]
    references = known(with_userspace(boot, phases(*PHASES[:2], banks=banks)))
    for some in (PHASES[:0], PHASES[:1], PHASES[:2], PHASES[:4], PHASES, PHASES[:1] + PHASES[3:4]):
        assert is_green(judge(boot, references, userspace_log=phases(*some, banks=banks) or None))


NO_PHASES = {
    "repeated": (b"enter-initrd", b"leave-initrd", b"leave-initrd"),
    "out of order": (b"enter-initrd", b"sysinit", b"leave-initrd"),
    "another word": (b"enter-initrd", b"leave-initrd", b"enter-initrd-evil"),
}


@pytest.mark.parametrize("said", NO_PHASES.values(), ids=NO_PHASES)
def test_other_words_in_pcr_11_are_an_alarm(said):
    stage = "kernel and command line"
    references = known(with_userspace(UKI, phases(*PHASES[:2], banks=UKI_BANKS)))
    assert is_alarm(judge(UKI, references, userspace_log=phases(*said, banks=UKI_BANKS)), stage=stage)
    machine = rebooted(HONEST, tuple((11, text) for text in said))
    verdict = machine.judge(references=references_of(machine), userspace_log=phases(*said))
    assert refused(verdict, "baseline.event-added")


@pytest.mark.parametrize("count", range(7))
def test_a_quoted_boot_that_is_looked_at_sooner_or_later_is_green(count):
    said = tuple((11, text) for text in PHASES[:count])
    machine = rebooted(HONEST, said)
    references = references_of(machine, with_userspace(HONEST, phases(*PHASES[:4])))
    assert trusted(machine.judge(references=references, userspace_log=userspace(*said) or None))


def test_fewer_phases_than_the_quote_has_are_an_alarm():
    machine = rebooted(HONEST, tuple((11, text) for text in PHASES[:4]))
    references = references_of(machine, with_userspace(HONEST, phases(*PHASES[:2])))
    assert trusted(machine.judge(references=references, userspace_log=phases(*PHASES[:4])))
    assert refused(machine.judge(references=references, userspace_log=phases(*PHASES[:3])), "replay.mismatch")
    assert refused(machine.judge(references=references), "replay.unexplained")


def test_an_nvpcr_that_is_set_up_is_green_and_other_words_are_an_alarm():
    stage = "kernel and command line"
    references = known(with_userspace(HONEST, userspace((9, NVPCRS[0]))))
    new = ((9, NVPCRS[0]), (9, NVPCRS[1]))
    assert is_green(judge(HONEST, references, userspace_log=userspace(*new)))
    machine = rebooted(HONEST, new)
    assert trusted(machine.judge(references=references_of(machine), userspace_log=userspace(*new)))
    for text in (NVPCRS[1] + b" ", b"evil"):
        other = userspace((9, NVPCRS[0]), (9, text))
        assert is_alarm(judge(HONEST, references, userspace_log=other), "baseline.event-added", stage=stage)


def files(*changed: bytes) -> bytes:
    return booted(pcr9=changed)


SAVED = contents(9, b"grubenv", b"saved_entry=1")


def test_an_environment_of_grub_that_may_vary_is_green_and_no_other_file_is():
    stage = "kernel and command line"
    references = known(HONEST, varies={9: (1,)})
    saved = files(FILES[0], SAVED, FILES[2])
    assert is_green(judge(saved, references))
    assert is_alarm(judge(saved, known(HONEST)), "baseline.event-changed", stage=stage)
    machine = rebooted(saved)
    assert trusted(machine.judge(references=references_of(machine, varies={9: (1,)})))
    assert refused(machine.judge(references=references_of(machine)), "baseline.event-changed")
    evil = contents(9, b"grub.cfg", b"init=/bin/sh")
    for log, code in (
        (files(evil, SAVED, FILES[2]), "changed"),
        (files(FILES[0], SAVED, SAVED, FILES[2]), "added"),
        (files(FILES[0], SAVED, evil, FILES[2]), "added"),
        (files(FILES[0], FILES[2]), "removed"),
        (booted(pcr9=[FILES[0], SAVED, FILES[2]], command_line=b"init=/bin/sh"), "changed"),
    ):
        verdict = judge(log, references)
        assert is_alarm(verdict, f"baseline.event-{code}", stage=stage)
        assert len(verdict.findings) == 1, "what may vary is not told as a reason"


def test_what_runs_less_or_more_often_is_green_and_an_unknown_program_is_an_alarm():
    for some in (ima.FILES[:1], ima.FILES[::-1], [*ima.FILES, *ima.FILES[:2]]):
        assert is_green(ima.judge(ima.AGGREGATE + b"".join(some)))
    stage = "applications"
    assert is_alarm(ima.judge(ima.HONEST + entry(data_of("/bin/evil", a_digest(9)))), "ima.added", stage=stage)
    assert is_alarm(ima.judge(ima.HONEST + entry(data_of("/bin/a", a_digest(9)))), "ima.changed", stage=stage)


def test_a_list_is_held_against_the_boot_that_was_retried():
    """boot_aggregate covers PCR 4: that of the boot that was learned belongs to another boot."""
    log = RETRIED["shim ran"]
    lists = {}
    for name, of in (("retried", log), ("learned", HONEST)):
        values = replay_by_hand(of)["sha256"]
        aggregate = ima.hash_of("sha256", b"".join(values[pcr] for pcr in range(10)))
        lists[name] = ima.ImaList("binary", entry(data_of("boot_aggregate", aggregate)) + ima.FILES[0])
    references = known(HONEST, ima=ima.set_of(lists["learned"].data))
    assert is_green(judge(log, references, ima=[lists["retried"]]))
    assert is_alarm(judge(log, references, ima=[lists["learned"]]), "ima.boot-aggregate", stage="applications")


def test_violations_that_were_there_when_learned_are_no_alarm_and_more_are():
    references = ima.references(ima.HONEST, violations=1)
    verdict = ima.judge(ima.HONEST + ima.VIOLATION, known=references)
    assert (verdict.outcome, ima.lamp(verdict)) == (Outcome.TRUSTED, "green")
    assert ima.told(verdict) == [("ima.violation", "warning")]
    more = ima.judge(ima.HONEST + 2 * ima.VIOLATION, known=references)
    assert is_alarm(more, "ima.violation", stage="applications")


def test_secure_boot_that_was_off_since_ever_is_green_and_switched_off_later_is_an_alarm():
    off = (DATA / "logs" / "01_m1_first_boot.bin").read_bytes()
    verdict = judge(off, known(off))
    assert is_green(verdict)
    assert codes(verdict) == {"secureboot.disabled"}
    assert is_green(judge(SECURE_BOOT_LOG, known(SECURE_BOOT_LOG)))
    switched_off = Editor(SECURE_BOOT_LOG).content("SecureBoot", b"\0").build()
    verdict = judge(switched_off, known(SECURE_BOOT_LOG))
    assert is_alarm(verdict, "baseline.event-changed", stage="secure boot policy")


def with_another_mok() -> bytes:
    """The recorded boot with other contents of MokList, as shim measures it where an owner key was added."""
    log = Editor(SECURE_BOOT_LOG)
    mok = next(one for one in log.entries if one.pcr == 14 and one.kind == EV_IPL and one.data == b"MokList\0")
    mok.rehash(log.banks, b"a list with a key of the owner's")
    return log.build()


def test_a_machine_owner_key_that_was_learned_is_green_and_one_added_later_is_an_alarm():
    mok = with_another_mok()
    assert is_green(judge(mok, known(mok)))
    verdict = judge(mok, known(SECURE_BOOT_LOG))
    assert is_alarm(verdict, "baseline.event-changed", stage="secure boot policy")
    assert {finding.pcr for finding in verdict.findings if finding.severity == "high"} == {14}


RECORDED = {
    "reboots": ("01", ["02", "03", "04", "05", "40", "53"], ["14", "16", "18", "19", "20", "10"]),
    "Secure Boot": ("60", ["61"], ["62", "63", "65", "68"]),
    "a machine owner key": ("65", ["65"], ["61", "68"]),
    "Secure Boot off": ("68", ["68"], ["65"]),
    "kernel images": ("70", ["70"], ["71", "73", "74"]),
    "SM3": ("80", ["81"], []),
    "SM3 alone": ("82", ["83"], ["84"]),
    "a whole Debian": ("91", ["92", "93"], []),
}


@pytest.mark.parametrize(("first", "honest", "others"), RECORDED.values(), ids=RECORDED)
def test_recorded_boots_alike_are_green_and_others_are_an_alarm(first, honest, others):
    def log(number: str) -> bytes:
        return (next(shared("recordings").glob(f"{number}_*")) / "binary_bios_measurements").read_bytes()

    references = known(log(first))
    for number in honest:
        assert is_green(judge(log(number), references)), number
    for number in others:
        verdict = judge(log(number), references)
        assert verdict.outcome is Outcome.UNTRUSTED, number
        assert "red" in dict(verdict.stages).values(), number


def test_rows_that_differ_alike_are_judged_as_each_alone():
    saved = files(FILES[0], SAVED, FILES[2])
    boots = [HONEST, *RETRIED.values(), *NOT_RETRIED.values(), saved]
    logs = [*boots * 3, saved]
    names = [f"m{n // len(boots)}" for n in range(len(logs))]
    made = [learned(HONEST, machine="m0"), learned(HONEST, machine="m1", varies={9: (1,)})]
    made += [learned(RETRIED["twice"], machine="m2"), learned(HONEST, machine="m3", varies={9: (0,)})]
    references = References.of(made)
    rows = [Evidence(name, f"b{n}", event_log=log) for n, (name, log) in enumerate(zip(names, logs, strict=True))]
    together = rows_of(rows, references, LOG_ONLY)
    alone = [rows_of([row], references, LOG_ONLY)[0] for row in rows]
    assert together == alone
    outcomes = [row["verdict"] == "trusted" for row in together]
    first, varied, retried = (outcomes[at : at + len(boots)] for at in range(0, 3 * len(boots), len(boots)))
    green = [True] * 4
    assert first == [*green, *[False] * 5]
    assert varied == [*green, *[False] * 4, True]
    assert retried == [False, False, False, True, *[False] * 5]
    assert outcomes[3 * len(boots) :] == [False]


def test_one_log_beside_other_quoted_values_is_judged_by_these():
    """Equal logs of one cohort, one of them sent by a machine whose TPM has something else."""
    log = RETRIED["shim ran"]
    honest, liar = (rebooted(log, name=name) for name in ("honest", "liar"))
    liar.tpm = Tpm.booted(NOT_RETRIED["it ran after shim"], owner="liar")
    made = [learned(HONEST, machine=one.name, quoted_banks=tuple(BANKS)) for one in (honest, liar)]
    references = References.of(
        made, enrolled=[one.enrolled() for one in (honest, liar)], challenges=[*honest.challenges, *liar.challenges]
    )
    for order in ((honest, liar), (liar, honest)):
        rows = rows_of([one.evidence() for one in order], references, DEFAULT)
        verdicts = {row["machine"]: row for row in rows}
        assert verdicts["honest"]["verdict"] == "trusted"
        assert refused(verdicts["liar"], "replay.mismatch", "baseline.event-added")


def test_one_quoted_value_beside_other_logs_is_explained_by_each():
    retried, silent = (rebooted(RETRIED["shim ran"], name=name) for name in ("retried", "silent"))
    made = [learned(HONEST, machine=one.name, quoted_banks=tuple(BANKS)) for one in (retried, silent)]
    references = References.of(
        made, enrolled=[one.enrolled() for one in (retried, silent)], challenges=retried.challenges + silent.challenges
    )
    sent = [retried.evidence(), silent.evidence(event_log=RETRIED["nothing ran"])]
    for order in (sent, sent[::-1]):
        verdicts = {row["machine"]: row for row in rows_of(order, references, DEFAULT)}
        assert verdicts["retried"]["verdict"] == "trusted"
        assert refused(verdicts["silent"], "replay.mismatch", "baseline.event-added")
        assert [stage["state"] for stage in verdicts["silent"]["stages"]].count("red") == 1


def test_what_was_replaced_long_ago_has_no_variations():
    old = learned(HONEST)
    new = learned(booted(pcr4=[*FIRST_TRY, EVIL]))
    until = NOW - datetime.timedelta(days=1)
    allowed = list(new.allowed)
    allowed[4] = (Allowed(old.allowed[4][0].sequence, until), *new.allowed[4])
    references = References.of([replace(new, allowed=tuple(allowed))])
    assert is_green(judge(booted(pcr4=[*FIRST_TRY[:2], SHIM, RETURNING, *FIRST_TRY[2:], EVIL]), references))
    assert judge(RETRIED["shim ran"], references).outcome is Outcome.UNTRUSTED


def test_a_fleet_that_differs_alike_is_looked_at_once(monkeypatch):
    from pyverify.appraise import comparison

    calls = {"is_variation": 0, "difference_findings": 0}
    for name in calls:
        original = getattr(comparison, name)

        def counted(*args, name=name, original=original, **how):
            calls[name] += 1
            return original(*args, **how)

        monkeypatch.setattr(comparison, name, counted)
    logs = [RETRIED["twice"], NOT_RETRIED["it ran at last"]] * 100
    rows = [Evidence(f"m{n}", "b", event_log=log) for n, log in enumerate(logs)]
    references = References.of([learned(HONEST, machine=row.machine) for row in rows])
    (batch,) = verify_batches([evidence_batch(rows)], references=references, policy=LOG_ONLY, as_of=NOW)
    assert batch.column("verdict").to_pylist() == ["trusted", "untrusted"] * 100
    assert calls == {"is_variation": 2, "difference_findings": 1}
