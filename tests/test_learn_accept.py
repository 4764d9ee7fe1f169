"""``learn --accept``: an exception for one finding of one PCR of the machines that need it, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attested_machine import ARCHIVE, Machine
from baselines_by_hand import baseline
from conftest import entry, hash_of, small_log
from ima_evidence import BANKS, LOG
from learning import codes, high, judged, lay_out, learned, ran
from test_verify_quotes_cli import lay_out as lay_out_quoted

from pyverify import Store, UsageError
from pyverify.baseline.acceptable import ACCEPTABLE
from pyverify.baseline.model import Accepted, State
from pyverify.findings import CODES
from pyverify.fleet.accepted import parse_accepted
from pyverify.fleet.sources import open_source


def odd_action(pcr, banks=BANKS, number=0):
    """An action whose digest is of something else."""
    digests = {bank: hash_of(bank, b"else %d" % number) for bank in banks}
    return entry(pcr, 0x80000007, b"Calling EFI Application from Boot Option", banks, digests)


def second_separator(pcr):
    return entry(pcr, 4, bytes(4), BANKS)


ODD_4, ODD_2, TWICE_4 = (small_log(BANKS, extra=extra) for extra in (odd_action(4), odd_action(2), second_separator(4)))
MISMATCH_4 = parse_accepted(["event.data-mismatch:4"], "known firmware")


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        yield store


def test_what_is_accepted_is_lived_with_by_the_machine_that_needs_it(tmp_path, store):
    source = lay_out(tmp_path / "a", {("odd", "1"): (ODD_4, None), ("plain", "1"): (LOG, None)})
    results = learned(source, store, accepted=MISMATCH_4)
    assert [item.state for item in results.values()] == [State.ACTIVE] * 2
    references = store.references()
    by_name = {name: references.accepted(int(references.find([name])[0])) for name in ("odd", "plain")}
    assert by_name == {"odd": [Accepted("event.data-mismatch", 4, "known firmware")], "plain": []}
    verdict = judged(store, "odd", ODD_4)
    (told,) = [finding for finding in verdict.findings if finding.code == "baseline.accepted"]
    assert verdict.trusted
    assert (told.severity.value, told.pcr) == ("info", 4)
    assert "known firmware" in told.hint and "event.data-mismatch" in told.hint


def test_without_the_exception_the_boot_is_refused(tmp_path, store):
    (result,) = learned(lay_out(tmp_path / "a", {("odd", "1"): (ODD_4, None)}), store).values()
    assert (result.state, codes(result.reasons)) == (None, ["event.data-mismatch"])


TWINS = {
    "another PCR": ("odd", ODD_2, "event.data-mismatch"),
    "another code": ("odd", TWICE_4, "separator.duplicate"),
    "another machine": ("plain", ODD_4, "event.data-mismatch"),
    "another digest of the same": ("odd", small_log(BANKS, extra=odd_action(4, number=1)), "baseline.event-changed"),
    "one more of the same": ("odd", small_log(BANKS, extra=odd_action(4) * 2), "baseline.event-added"),
    "none of it": ("odd", LOG, "baseline.event-removed"),
}


@pytest.mark.parametrize(("machine", "log", "code"), TWINS.values(), ids=TWINS)
def test_nothing_else_is_lived_with(tmp_path, store, machine, log, code):
    source = lay_out(tmp_path / "a", {("odd", "1"): (ODD_4, None), ("plain", "1"): (LOG, None)})
    learned(source, store, accepted=MISMATCH_4)
    verdict = judged(store, machine, log)
    assert not verdict.trusted
    assert code in high(verdict)


@pytest.mark.parametrize("log", [ODD_2, TWICE_4, small_log(BANKS, extra=odd_action(4) + odd_action(7))])
def test_an_exception_learns_nothing_else(tmp_path, store, log):
    (result,) = learned(lay_out(tmp_path / "a", {("odd", "1"): (log, None)}), store, accepted=MISMATCH_4).values()
    assert result.state is None
    assert result.reasons


def test_what_is_not_told_of_is_not_accepted(tmp_path, store):
    """Of many events alike the first of each PCR are told of: none hides behind those of another."""
    log = small_log(BANKS, extra=odd_action(4) * 16 + odd_action(2))
    (result,) = learned(lay_out(tmp_path / "a", {("odd", "1"): (log, None)}), store, accepted=MISMATCH_4).values()
    assert (result.state, codes(result.reasons)) == (None, ["event.data-mismatch"])
    log = small_log(BANKS, extra=odd_action(4) * 16)
    (result,) = learned(lay_out(tmp_path / "b", {("odd", "1"): (log, None)}), store, accepted=MISMATCH_4).values()
    assert result.state is State.ACTIVE


def test_nor_is_it_later(store):
    """A baseline does not pin what is only reported, so that a boot may have any number of such events there."""
    odd, late = small_log(BANKS, extra=odd_action(6)), small_log(BANKS, extra=odd_action(6) * 16 + odd_action(1))
    store.add([baseline("odd", odd, accepted=(Accepted("event.data-mismatch", 6, "known firmware"),))], action="learn")
    assert judged(store, "odd", odd).trusted
    assert not judged(store, "odd", late).trusted


def test_exceptions_and_a_window_go_together(tmp_path, store):
    boots = {("odd", "1"): (ODD_4, None), ("odd", "2"): (ODD_4, None), ("odd", "3"): (ODD_2, None)}
    (result,) = learned(lay_out(tmp_path / "a", boots), store, accepted=MISMATCH_4, boots=3).values()
    assert (result.boots, [boot for boot, _ in result.left_out]) == (2, ["3"])
    assert judged(store, "odd", ODD_4).trusted


def test_a_key_is_trusted_on_first_use_of_a_boot_that_needs_an_exception(tmp_path, store):
    machine = Machine("web-1", log=small_log(["sha256"], extra=odd_action(4, ["sha256"])))
    folder = lay_out_quoted(tmp_path / "a", "web-1", "b1", machine.log, machine.quote())
    options = {"policy": ARCHIVE, "trust_first_key": True}
    (result,) = learned(open_source(folder), store, **options).values()
    assert (result.state, store.references().identity.ak_of("web-1")) == (None, [])
    (result,) = learned(open_source(folder), store, accepted=MISMATCH_4, **options).values()
    assert result.state is State.ACTIVE
    policy = replace(ARCHIVE, key="first-use")
    assert machine.judge(policy=policy, references=store.references()).trusted
    assert not machine.judge(policy=ARCHIVE, references=store.references()).trusted


# What may be accepted.

NEVER = sorted(CODES.keys() - ACCEPTABLE)


@pytest.mark.parametrize("code", NEVER)
def test_what_must_not_be_accepted_is_not(code):
    for text in (code, f"{code}:4"):
        with pytest.raises(UsageError, match="never accepted"):
            parse_accepted([text], "because")


def test_families_that_are_never_accepted():
    """DESIGN section 6: never quotes, keys or PCR 7; nor what says that evidence is not whole or not authentic."""
    families = {code.split(".")[0] for code in ACCEPTABLE}
    assert families == {"event", "separator"}
    for family in ("quote", "key", "log", "ima", "cel", "evidence", "baseline", "store", "replay", "bank", "policy"):
        assert any(code.startswith(f"{family}.") for code in NEVER)


@pytest.mark.parametrize("code", sorted(ACCEPTABLE))
def test_nothing_is_accepted_of_pcr_7_or_of_no_pcr(code):
    assert parse_accepted([f"{code}:4", f"{code}:4"], "because") == (Accepted(code, 4, "because"),)
    for number, words in {
        "7": "PCR 7",
        "07": "PCR 7",
        "": "no PCR",
        "24": "no PCR",
        "-1": "no PCR",
        "²": "no PCR",
    }.items():
        with pytest.raises(UsageError, match=words):
            parse_accepted([f"{code}:{number}"], "because")
    with pytest.raises(UsageError, match="of which PCR"):
        parse_accepted([code], "because")


def test_unknown_codes_and_missing_reasons_are_told():
    with pytest.raises(UsageError, match="no finding"):
        parse_accepted(["event.typo:4"], "because")
    for reason in (None, "", "  "):
        with pytest.raises(UsageError, match="reason"):
            parse_accepted(["event.data-mismatch:4"], reason)
    with pytest.raises(UsageError, match="nothing is accepted"):
        parse_accepted([], "because")
    assert parse_accepted([], None) == ()


def test_on_the_command_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path / "a", {("odd", "1"): (ODD_4, None), ("odd", "2"): (ODD_4, None), ("odd", "3"): (ODD_2, None)})
    common = ("--policy", "log-only")
    code, out, err = run("learn", "a", *common, "--accept", "quote.digest:4", "--reason", "x")
    assert (code, out) == (2, "") and "never accepted" in err
    assert not (tmp_path / "pyverify.db").exists()
    code, _, err = run("learn", "a", *common, "--accept", "event.data-mismatch:4")
    assert code == 2 and "--reason" in err
    accept = ("--accept", "event.data-mismatch:4", "--accept", "separator.duplicate:2", "--reason", "known firmware")
    code, out, err = run("learn", "a", *common, "--activate", *accept)
    assert (code, out) == (0, "") and "1 baseline learned (active)" in err
    code, out, _ = run("verify", "a", *common)
    assert code == 1
    assert [line.split()[2] for line in out.splitlines()[:3]] == ["trusted", "trusted", "untrusted"]
    code, out, _ = run("explain", "a", "odd", *common)
    assert "known firmware" in out


def test_an_exception_does_not_make_a_list_of_another_boot_good(tmp_path, store):
    (result,) = learned(lay_out(tmp_path / "a", {("odd", "1"): (ODD_4, ran())}), store, accepted=MISMATCH_4).values()
    assert (result.state, codes(result.reasons)) == (None, ["ima.boot-aggregate"])
