"""Learned IMA sets in stores and references: what goes in comes out, once, and damage is an error."""

from __future__ import annotations

import sqlite3

import numpy as np
import pyarrow as pa
import pytest
from baselines_by_hand import baseline
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import a_digest, aggregate, data_of, entry
from store_tools import damage_and_sign

from pyverify import References, ReferencesError, Store, StoreError
from pyverify.baseline.ima_columns import NO_SET
from pyverify.baseline.snapshot import SCHEMA, VERSION
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import scan
from pyverify.evidence.ima_set import ADDED, CHANGED, NOT_JUDGED, OK, ImaSet, Member, kind_of

SHA256 = kind_of("sha256")


def a_set(*members: tuple[str, int]) -> ImaSet:
    return ImaSet(Member(path.encode(), SHA256, a_digest(number)) for path, number in members)


SETS = {
    "a": a_set(("/bin/a", 1), ("/bin/b", 2)),
    "b": a_set(("/bin/a", 1), ("/bin/b", 2)),
    "c": a_set(("/bin/b", 3), ("/bin/a", 1), ("/bin/a", 4)),
    "d": ImaSet(),
    "e": None,
    "f": ImaSet([Member(b"/sm3", kind_of("sm3"), a_digest(1)), Member(b"/big\xff", kind_of("sha512"), bytes(64))]),
}
BASELINES = [baseline(name, ima=one, ima_violations=len(name)) for name, one in SETS.items()]


def stored(path, baselines=BASELINES):
    with Store.open(str(path), create=True) as store:
        store.add(baselines, action="learn")


def sets_of(references: References) -> dict[str, ImaSet | None]:
    names = references.columns.field("id").to_pylist()
    numbers = references.ima_set.tolist()
    return {name: None if n == NO_SET else references.ima.set(n) for name, n in zip(names, numbers, strict=True)}


def test_store_and_references_give_back_what_was_added(tmp_path):
    stored(tmp_path / "s.db")
    with Store.open(str(tmp_path / "s.db")) as store:
        references = store.references()
    for one in (references, References.of(BASELINES)):
        assert sets_of(one) == SETS
        assert one.ima_violations.tolist() == [1] * len(SETS)
        assert len(one.ima) == 4
    references.save(tmp_path / "r.arrow")
    assert sets_of(References.load(tmp_path / "r.arrow")) == SETS


def test_references_are_the_same_whatever_the_order():
    assert References.of(BASELINES).id == References.of(BASELINES[::-1]).id
    assert References.of(BASELINES[:3]).id != References.of(BASELINES[:2]).id


def test_equal_contents_are_one_row_over_many_transactions(tmp_path):
    path = tmp_path / "s.db"
    for at in range(0, 60, 20):
        stored(path, [baseline(f"m{i}", ima=a_set(("/bin/a", 1), ("/bin/b", i % 2))) for i in range(at, at + 20)])
    with sqlite3.connect(path) as rows:
        counts = [rows.execute(f"select count(*) from ima_{name}").fetchone()[0] for name in ("path", "member", "set")]
    rows.close()
    assert counts == [2, 3, 2]


def test_machines_that_share_entries_cost_their_numbers(tmp_path):
    """Beside four bytes a member, some hundreds a baseline: nothing of the names or digests is there twice."""
    names = [(f"/usr/lib/some/longer/folder/lib{i}.so", i) for i in range(1000)]
    stored(tmp_path / "s.db", [baseline(f"m{i}", ima=a_set(*names[: 900 + i])) for i in range(100)])
    size = (tmp_path / "s.db").stat().st_size
    assert size < 100 * (4 * 1000 + 600) + 1000 * 400 + 40 * 4096  # and a page for each table and index
    with Store.open(str(tmp_path / "s.db")) as store:
        references = store.references()
    references.save(tmp_path / "r.arrow")
    assert (tmp_path / "r.arrow").stat().st_size < 100 * (4 * 1000 + 200) + 1000 * 150 + 20_000
    assert sets_of(references)["m7"] == a_set(*names[:907])


@pytest.mark.parametrize(
    "damage",
    [
        "delete from ima_path",
        "delete from ima_member where id = 1",
        "delete from ima_set",
        "update ima_path set key = 7 where id = 1",
        "update ima_member set key = x'00' where id = 1",
        "update ima_member set key = 'text' where id = 1",
        "update ima_member set key = substr(key, 1, 20) where id = 1",
        "update ima_member set key = cast(x'7f' || substr(key, 2) as blob) where id = 1",
        "update ima_member set key = cast(x'ff' || substr(key, 2) as blob) where id = 1",
        "update ima_set set members = x'00'",
        "update ima_set set members = x'ffffffff'",
        "update ima_set set members = members || members",
        "update ima_set set members = x'0100000001000000'",
        "update ima_set set members = 'text'",
        "update ima_set set members = 7",
        "update baseline set ima_set = 99",
        "update baseline set ima_set = 'x'",
        "update baseline set ima_violations = -1",
        "update baseline set ima_violations = 'x'",
    ],
)
def test_a_damaged_store_is_an_error_not_a_crash(tmp_path, damage):
    stored(tmp_path / "s.db", BASELINES[:3])
    damage_and_sign(tmp_path / "s.db", damage)
    with Store.open(str(tmp_path / "s.db")) as store, pytest.raises(StoreError):
        store.references()


def changed(name: str, change) -> bytes:
    """A snapshot one table of which is another: ``change`` gets its entries."""
    data = References.of(BASELINES)._data
    with pa.ipc.open_file(data) as file:
        table = file.read_all()
    merged = {
        field.name: [item for row in table.column(field.name).to_pylist() for item in row] for field in list(SCHEMA)[1:]
    }
    assert change(merged[name]) is None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(
            pa.record_batch(
                [
                    pa.array([value], field.type)
                    for value, field in zip([VERSION, *merged.values()], SCHEMA, strict=True)
                ],
                schema=SCHEMA,
            )
        )
    return sink.getvalue()


def set_item(at, value):
    def change(entries):
        entries[at] = {**entries[at], **value} if isinstance(value, dict) else value

    return change


DAMAGE = {
    "a name twice": ("ima_paths", set_item(0, b"/bin/b")),
    "no name": ("ima_paths", set_item(0, None)),
    "a name that is not there": ("ima_members", set_item(-1, {"path": 99})),
    "members out of order": ("ima_members", lambda entries: entries.reverse()),
    "a member twice": ("ima_members", lambda entries: entries.insert(0, entries[0])),
    "an unknown algorithm": ("ima_members", set_item(-1, {"kind": 200})),
    "a kind out of all bounds": ("ima_members", set_item(-1, {"kind": 2**32 - 1})),
    "no kind": ("ima_members", set_item(-1, {"kind": None})),
    "a digest longer than its algorithm": ("ima_members", set_item(-1, {"digest": b"\1" * 64})),
    "no digest": ("ima_members", set_item(0, {"digest": None})),
    "no set": ("ima_sets", set_item(0, None)),
    "a number that is no member": ("ima_sets", lambda entries: entries.append([99])),
    "a number that is none": ("ima_sets", lambda entries: entries.append([None])),
    "a number twice": ("ima_sets", lambda entries: entries.append([1, 1])),
    "numbers out of order": ("ima_sets", lambda entries: entries.append([1, 0])),
    "a set that is not there": ("baselines", set_item(0, {"ima_set": 99})),
    "no violations": ("baselines", set_item(0, {"ima_violations": None})),
}


def test_a_snapshot_that_was_only_written_again_is_one():
    assert sets_of(References(pa.py_buffer(changed("ima_sets", lambda entries: None)))) == SETS


@pytest.mark.parametrize(("name", "change"), DAMAGE.values(), ids=DAMAGE)
def test_references_that_contradict_themselves_are_refused(name, change):
    with pytest.raises(ReferencesError):
        References(pa.py_buffer(changed(name, change)))


_MEMBERS = st.tuples(st.sampled_from(["/a", "/b", "/bb", ""]), st.integers(0, 4), st.sampled_from(["sha256", "sm3"]))


@given(st.lists(st.lists(_MEMBERS, max_size=8), min_size=1, max_size=4), st.lists(_MEMBERS, min_size=1, max_size=12))
@settings(deadline=None, max_examples=80)
def test_many_sets_in_one_table_are_as_each_by_itself_and_as_pythons(known, asked):
    def member(path: str, number: int, algorithm: str) -> Member:
        return Member(path.encode(), kind_of(algorithm), a_digest(number))

    sets = [ImaSet(member(*one) for one in members) for members in known]
    references = References.of([baseline(f"m{i}", ima=one) for i, one in enumerate(sets)])
    data = aggregate() + b"".join(entry(data_of(p, a_digest(n), algorithm=a)) for p, n, a in asked)
    columns = scan(Ragged.of([data] * (len(sets) + 1)), ["binary"] * (len(sets) + 1))
    numbers = np.append(references.ima_set, np.uint32(NO_SET))
    outcomes, found = references.ima.check(columns, numbers)
    size = len(asked) + 1
    assert set(outcomes[-size:].tolist()) == {NOT_JUDGED}
    for i, one in enumerate(sets):
        own = outcomes[i * size : (i + 1) * size]
        assert own.tolist() == one.check(columns, i, i + 1).tolist()
        members, paths = set(one), {m.path for m in one}
        questions = [member(*question) for question in asked]
        assert own.tolist()[1:] == [OK if q in members else CHANGED if q.path in paths else ADDED for q in questions]
        for k, question in enumerate(questions):
            if own[k + 1] != ADDED:
                expected = question if own[k + 1] == OK else min(m for m in members if m.path == question.path)
                at = found[i * size + k + 1 : i * size + k + 2]
                assert references.ima.digests(at) == [expected.digest]
