"""References of a service: as a snapshot read anew says, without reading one for each nonce."""

from __future__ import annotations

import datetime

import pytest
from attested_machine import DEFAULT, HOUR, NOW, Machine
from baselines_by_hand import baseline

from pyverify import ReferencesError, Store, verify
from pyverify.baseline.booted import remember
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.live import LiveReferences
from pyverify.baseline.place import Place, Reached


class Counted(LiveReferences):
    """How often the store was read whole."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.read = 0
        whole = store.references

        def references():
            self.read += 1
            return whole()

        store.references = references


@pytest.fixture
def machines():
    return Machine("web-1"), Machine("web-2")


@pytest.fixture
def store(tmp_path, machines):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        store.add([machine.baseline() for machine in machines], action="learn")
        for machine in machines:
            Enrollment(store).enroll(machine.name, machine.key.public, at=NOW - 2 * HOUR)
        yield store


def judged(machine: Machine, references, nonce: bytes):
    return verify(machine.evidence(machine.quote(nonce=nonce)), references=references, policy=DEFAULT, as_of=NOW)


def told(verdict):
    return verdict.outcome, verdict.attested, [(finding.code, finding.hint) for finding in verdict.findings]


def test_nonces_come_and_go_without_the_store_being_read_again(store, machines):
    live, ledger = Counted(store), Ledger(store)
    machine = machines[0]
    nonces = []
    for minutes in (30, 20, 10):
        (asked,) = ledger.issue(machine.name, [machine.key.name], at=NOW - datetime.timedelta(minutes=minutes))
        nonces.append(asked.nonce)
        for nonce in (*nonces, bytes(32)):
            now, anew = (judged(machine, references, nonce) for references in (live.of("web-1"), store.references()))
            live.read -= 1  # the one above
            assert told(now) == told(anew)
        stands = judged(machine, live.of("web-1"), nonces[-1])
        machine.tpm.clock += 1
        another = judged(machine, live.of("web-1"), nonces[-1])
        assert ledger.consume(stands, at=NOW).trusted
        assert "quote.replayed" in {finding.code for finding in ledger.consume(another, at=NOW).findings}
        assert "quote.replayed" in {finding.code for finding in judged(machine, live.of("web-1"), nonces[-1]).findings}
    assert live.read == 1


def test_a_machine_is_asked_nothing_that_another_was(store, machines):
    live, ledger = LiveReferences(store), Ledger(store)
    for machine in machines:
        ledger.issue(machine.name, [machine.key.name], at=NOW)
    own, other = (machine.key.name for machine in machines)
    identity = live.of("web-1").identity
    assert len(identity.challenges(own)) == 1 and not identity.challenges(other)
    assert not live.of("nobody").identity.challenges(own)


CHANGES = {
    "a baseline": lambda store: store.add([baseline("web-3")], action="learn"),
    "a key": lambda store: Enrollment(store).enroll("web-1", Machine("other").key.public, at=NOW),
    "a cohort": lambda store: Lifecycle(store).assign("web", ["web-2"], who="me", reason=None),
    "an ignored alert": lambda store: Lifecycle(store).ignore(["web-2"], until=NOW + HOUR, who="me", reason="known"),
    "a change of another kind": lambda store: store.add([baseline("web-3")], action="what a later version does"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_else_changes_counts_at_once(store, change):
    live = Counted(store)
    before = live.of("web-1").id
    assert live.of("web-1").id == before and live.read == 1
    change(store)
    assert live.of("web-1").id == live.of("web-1").id and live.read == 2


def test_what_a_machine_has_booted_counts_for_itself_at_once(store, machines):
    live = Counted(store)
    live.of("web-1")
    key = machines[0].baseline().allowed[4][0].sequence.key
    remember(store, [Reached("web-1", 4, key, Place(issued_at=NOW, boot_seq=2, collected_at=None, boot="b"))])
    live.of("web-2")
    assert live.read == 1
    live.of("web-1")
    live.of("web-1")
    assert live.read == 2


def test_the_id_is_of_the_challenges_too_and_such_references_are_no_file(store, machines, tmp_path):
    references, name = store.references(), machines[0].key.name
    challenges = [Challenge(name, bytes([n]) * 32, NOW) for n in range(3)]
    asking = references.asking(challenges)
    assert asking.id == references.asking(challenges[::-1]).id != references.id
    spent = Challenge(name, bytes(32), NOW, spent_by=bytes(32))
    others = [[], challenges[:2], [spent, *challenges[1:]], [Challenge(name, bytes(32), NOW + HOUR), *challenges[1:]]]
    assert len({references.asking(some).id for some in (challenges, *others)}) == 5
    with pytest.raises(ReferencesError, match="saved"):
        asking.save(tmp_path / "r")
    assert not references.identity.challenges(name), "the references themselves are as they were"


@pytest.mark.parametrize(
    "challenges",
    [
        [Challenge(b"no name", bytes(32), NOW)],
        [Challenge(Machine().key.name, bytes(32), NOW)] * 2,
        [Challenge(Machine().key.name, "text", NOW)],
        [Challenge(Machine().key.name, bytes(32), NOW.replace(year=1900))],
    ],
    ids=["no Name", "a nonce twice", "no nonce", "before there were any"],
)
def test_challenges_that_cannot_be_are_refused(store, challenges):
    with pytest.raises(ReferencesError):
        store.references().asking(challenges)
