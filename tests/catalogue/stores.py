"""100 to 108: what is stored, what may be stored, and which evidence belongs to which machine."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from attested_machine import (
    ARCHIVE,
    DEFAULT,
    LOG_ONLY,
    NOW,
    Machine,
    Rows,
    booted_evil,
    job,
    references_of,
    rows_of,
    store_of,
    text_of,
)
from conftest import small_log
from log_editor import Log
from store_tools import damage

from catalogue.archives import archive, in_archive
from catalogue.scenarios import booted, entry, judged, passes, refused
from pyverify import References, Store
from pyverify.appraise.secure_boot_rules import SecureBootRules
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.interchange import own_json
from pyverify.baseline.ledger import Ledger
from pyverify.fleet.learn import learn

SM3 = ("sha256", "sm3_256")
EVIL = b"init=/bin/sh"


@entry(100)
def stores_edited_and_rolled_back(tmp_path):
    path, kept = tmp_path / "s", tmp_path / "anchor"
    machine, later = Machine(), Machine("later")
    store_of(path, machine).__exit__(None)
    old = path.read_bytes()

    def references(**options) -> References:
        with Store.open(str(path), **options) as store:
            return store.references()

    with Store.open(str(path), anchor_file=kept) as store:
        store.add([later.baseline()], action="learn")
    yield passes(machine.judge(references=references(anchor_file=kept)))
    whole = path.read_bytes()
    for edit in (
        "update sequence set digests = zeroblob(length(digests))",
        "update baseline set state = 'revoked'",
        "delete from baseline",
        "delete from head where change = (select max(change) from head)",
    ):
        damage(path, edit)
        yield refused(references)
        path.write_bytes(whole)
    path.write_bytes(old)
    yield passes(machine.judge(references=references()))  # nothing in the file tells, so the anchor has to
    yield refused(lambda: references(anchor_file=kept))
    shutil.copy(f"{path}.key", tmp_path / "own.key")
    path.unlink()
    (tmp_path / "s.key").unlink()
    store_of(path, machine).__exit__(None)
    yield refused(lambda: references(key_file=tmp_path / "own.key"))


@entry(101)
def learned_from_what_does_not_hold(tmp_path):
    machine, stranger = Machine(), Machine("stranger")
    golden, honest = machine.log, machine.evidence()
    log, _ = booted_evil(machine, EVIL)
    altered = Log.parse(golden)
    altered[0].data = b"x" + altered[0].data[1:]
    bad = {
        "hidden": machine.evidence(event_log=golden),
        "altered": booted(machine, altered.bytes()),
        "unsigned": machine.evidence(quotes=None, event_log=log),
        "foreign": machine.evidence(stranger.quote(), event_log=golden),
        "cut": replace(honest, event_log=golden[:-1]),
    }
    with Store.open(str(tmp_path / "s"), create=True) as store:
        Enrollment(store).enroll(machine.name, machine.key.public, at=NOW)
        Ledger(store).add(machine.challenges)
        for evidence in bad.values():
            (result,) = learn(Rows([evidence]), store, policy=DEFAULT, activate=True, as_of=NOW)
            assert result.state is None and not store.machines()
            yield {"verdict": "refused", "findings": [{"code": reason.code} for reason in result.reasons]}
        (result,) = learn(Rows([honest]), store, policy=DEFAULT, activate=True, as_of=NOW)
        assert result.state == "active"
        (row,) = job(store, honest)
        (facts,) = store.references().columns.to_pylist()
        assert (facts["boot"], facts["evidence_id"]) == (honest.boot, row["evidence_id"])
        yield passes(row)


@entry(102)
def nothing_allows_nothing():
    machine = Machine()
    allowed = machine.baseline().allowed
    empty = machine.references(baselines=[machine.baseline(allowed=((),) * 24)])
    without_8 = machine.references(baselines=[machine.baseline(allowed=(*allowed[:8], (), *allowed[9:]))])
    whole = machine.references()
    for references in (whole, empty, without_8, References.of([], enrolled=[machine.enrolled()])):
        (row,) = rows_of([machine.evidence()], references, ARCHIVE)
        yield passes(row) if references is whole else row
    yield refused(lambda: replace(DEFAULT, pcrs_compare=()))
    yield refused(lambda: replace(DEFAULT, banks_allowed=()))


@entry(103)
def digests_of_another_algorithm_or_form():
    machine = Machine(banks=SM3)
    honest = machine.baseline()
    one = honest.allowed[8][0]
    turned = {"sha256": one.sequence.digests["sm3_256"], "sm3_256": one.sequence.digests["sha256"]}
    allowed = (replace(one, sequence=replace(one.sequence, digests=turned)),)
    swapped = replace(honest, allowed=(*honest.allowed[:8], allowed, *honest.allowed[9:]))
    yield passes(machine.judge())
    yield machine.judge(references=machine.references(baselines=[swapped]))
    text = "".join(own_json.export([honest]))
    (again,) = own_json.read(text.encode())
    yield passes(machine.judge(references=machine.references(baselines=[again])))
    right = one.sequence.digests["sha256"][:32].hex()
    forms = (right.upper(), "0x" + right, right[:-2], " " + right, right[:32] + " " + right[32:], right + "00")
    for form in forms:
        forged = text.replace(right, form)
        assert forged != text
        yield refused(lambda data=forged: own_json.read(data.encode()))


@entry(104)
def values_without_their_zeros():
    machine = Machine()
    machine.tpm.extend(23, b"so that the values are needed")
    values = dict(machine.tpm.pcrs["sha256"])
    assert values[16] == bytes(32)
    text = text_of({"sha256": values})
    zeros = b"0x" + b"00" * 32
    shorter = [text.replace(zeros, short, 1) for short in (b"0x" + b"00" * 31, b"0x0", b"0x" + b"00" * 33)]
    quote = machine.quote()
    sound = [machine.evidence(replace(quote, pcrs=text))]
    yield from judged(machine, *(machine.evidence(replace(quote, pcrs=one)) for one in shorter), honest=sound)
    text = "".join(own_json.export([machine.baseline()]))
    file = json.loads(text)
    digests = [s["digests"]["sha256"] for s in file["sequences"].values() if s["digests"].get("sha256")]
    digests[0][0] = digests[0][0][2:]
    yield refused(lambda: own_json.read(json.dumps(file).encode()))


NAMES = ["", "../x", "a/b", "a\0b", "a\nb", "\x1b[31m", "a\u202eb", "\u0430bc", "x" * 129, "x" * 10_000, "a b"]


@entry(105)
def names(tmp_path):
    machine = Machine()
    attacks = [machine.evidence(machine=name) for name in NAMES] + [machine.evidence(boot=name) for name in NAMES]
    for row in judged(machine, *attacks):
        yield row
        if isinstance(row, dict):
            assert all(finding["hint"].isprintable() for finding in row["findings"])
    with Store.open(str(tmp_path / "s"), create=True) as store:
        for name in NAMES:
            yield refused(lambda name=name: Enrollment(store).enroll(name, machine.key.public, at=NOW))
    hostile = {"b\x1b[2J": {}, "b\nb": {}, "b\u202eb": {}}
    yield from in_archive(archive(tmp_path / "a", machine, hostile), machine)


@entry(106)
def bad_evidence_among_good():
    machines = [Machine(f"m{i}") for i in range(4)]
    one = machines[0]
    bad = [one.log[:-3], b"\xff" * 5_000, b"not a log", b"", None, bytes(70 << 20)]
    attacks = [one.evidence(event_log=log) for log in bad]
    sound = [machine.evidence() for machine in machines]
    yield from judged(one, *attacks, references=references_of(*machines), honest=sound)


@entry(107)
def evidence_of_one_machine_under_anothers_name(tmp_path):
    machine, other = Machine(), Machine("other")
    known = references_of(machine, other)
    filed = [machine.evidence(machine="other"), other.evidence(machine="m")]
    yield from judged(machine, *filed, references=known, honest=[machine.evidence(), other.evidence()])
    with store_of(tmp_path / "s", machine, other) as store:
        yield refused(lambda: Enrollment(store).enroll("other", machine.key.public, at=NOW))
        evil = replace(machine.baseline(), id="m", boot="evil")
        yield refused(lambda: store.add([evil], action="learn"))


@entry(108)
def nothing_is_remembered_by_name():
    """Evidence, policy, references: a verdict is of all three, and names them."""
    machine = Machine()
    honest = machine.evidence()
    known = [machine.references(), references_of(machine, Machine("other"))]
    (first,) = rows_of([honest], known[0])
    yield passes(first)
    (evil,) = rows_of([booted(machine, small_log(["sha256"], command_line=EVIL))], known[0])
    (stricter,) = rows_of([honest], known[0], replace(DEFAULT, secure_boot=SecureBootRules(required=True)))
    (same,) = rows_of([honest], known[1])
    (unknown,) = rows_of([honest], References.of([]), LOG_ONLY)
    (again,) = rows_of([honest], known[0])
    yield from (evil, stricter, passes(same), unknown, passes(again))
    assert again == first
    ids = ("evidence_id", "policy_id", "references_id")
    for row, changed in ((evil, ids[0]), (stricter, ids[1]), (same, ids[2])):
        assert [name for name in ids if row[name] != first[name]] == [changed]
