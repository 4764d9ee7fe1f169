"""IMA lists of one boot must not shrink (SPEC 10.4, 89 and 90): what quotes prove of them, by the TPM's clock."""

from __future__ import annotations

import hashlib

import pytest
from attested_machine import ALL_PCRS, ARCHIVE, Machine, codes
from conftest import small_log
from ima_by_hand import replay
from ima_evidence import FILES
from ima_samples import LISTS, LOG, sample, signed, told, verdicts
from learning import ran_in

from pyverify import Evidence
from pyverify.evidence.bundle import ImaList

WITHOUT_10 = [("sha256", [pcr for pcr in ALL_PCRS if pcr != 10])]


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
