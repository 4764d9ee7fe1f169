"""The attacks of SPEC section 10.5 on what is stored, 100 to 108, each by its number."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest
from baselines_by_hand import BANKS, baseline
from conftest import hash_of, small_log
from store_tools import damage
from test_enrollment import AK, OTHER_AK
from test_ledger import NOW

from pyverify import Policy, References, ReferencesError, Store, StoreError, verify_batches
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.model import State, event_sequences
from pyverify.errors import UsageError

LOG = small_log(BANKS)


@pytest.fixture
def path(tmp_path) -> Path:
    """A store of four changes."""
    path = tmp_path / "s.db"
    with Store.open(str(path), create=True) as store:
        store.add([baseline("a"), baseline("b", small_log(BANKS, command_line=b"x"))], action="learn")
        Enrollment(store).enroll("a", AK, at=NOW)
        Enrollment(store).enroll("b", OTHER_AK, at=NOW)
        store.add([baseline("c", state=State.PENDING)], action="learn")
    return path


def references(path: Path, **options) -> References:
    with Store.open(str(path), **options) as store:
        return store.references()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("update baseline set state = 'active'", id="edited"),
        pytest.param("update sequence set digests = zeroblob(length(digests)) where id = 1", id="edited interned"),
        pytest.param("delete from baseline where id = 'b'", id="deleted"),
        pytest.param("update baseline set change = 5 - change", id="moved to another change"),
        pytest.param("update change set number = -number; update change set number = 5 + number", id="re-ordered"),
        pytest.param("delete from head where change = 4", id="head cut off"),
        pytest.param(
            "delete from head where change = 4; delete from baseline where change = 4;"
            "delete from change where number = 4;"
            "update change set number = 4 where number = 3",
            id="change taken out",
        ),
        pytest.param("create view more as select 1", id="a view added"),
        pytest.param("create trigger t after insert on spent begin delete from spent; end", id="a trigger added"),
        pytest.param("drop index ix_baseline_change", id="an index dropped"),
        pytest.param(
            "alter table enrolled rename to kept; create view enrolled as select * from kept", id="a view for a table"
        ),
    ],
)
def test_attack_100_what_was_edited_or_deleted_is_seen(path, statement):
    references(path)
    damage(path, statement)
    with pytest.raises(StoreError, match=r"^store\.tampered: .+"):
        references(path)


def test_attack_100_an_older_copy_is_seen_by_the_anchor_and_only_by_it(path, tmp_path):
    old = shutil.copy(path, tmp_path / "old.db")
    kept = tmp_path / "anchor"
    references(path, anchor_file=kept)
    with Store.open(str(path), anchor_file=kept) as store:
        store.add([baseline("d")], action="learn")
        head = store.head
    assert json.loads(kept.read_text()) == {
        "store": head.store_id.hex(),
        "change": 5,
        "head": head.digest.hex(),
    }
    newest = path.read_bytes()
    shutil.copy(old, path)
    assert len(references(path)) == 3  # nothing in the file tells
    for use in (lambda: references(path, anchor_file=kept), lambda: Store.open(str(path), anchor_file=kept)):
        with pytest.raises(StoreError, match=r"^store\.rolled-back: change 5 is no longer in it"):
            use()
    with Store.open(str(path)) as store, pytest.raises(StoreError, match=r"^store\.rolled-back: it has no head"):
        store.verify(head.digest[:8])
    with Store.open(str(path)) as store:
        store.add([baseline("another d")], action="learn")  # the old copy goes on as if nothing had been
    with pytest.raises(StoreError, match=r"^store\.tampered: the head of change 5 is another"):
        references(path, anchor_file=kept)
    path.write_bytes(newest)
    assert len(references(path, anchor_file=kept)) == 4
    with Store.open(str(path)) as store:
        assert store.verify(head.digest).head == head


def test_attack_100_a_new_store_is_not_the_one_that_the_anchor_knows(path, tmp_path):
    kept = tmp_path / "anchor"
    references(path, anchor_file=kept)
    path.unlink()
    with pytest.raises(StoreError, match=r"^store\.tampered: another store is in its place"):
        Store.open(str(path), create=True, anchor_file=kept)


def test_attack_100_heads_of_one_store_do_not_fit_another(path, tmp_path):
    """Two stores with one key and the same changes: rows and heads of one are worth nothing in the other."""
    shutil.copy(f"{path}.key", tmp_path / "t.db.key")
    Store.open(str(tmp_path / "t.db"), create=True).__exit__(None)
    rows = sqlite3.connect(tmp_path / "t.db")
    rows.execute("attach ? as other", (str(path),))
    for (name,) in rows.execute("select name from other.sqlite_master where type = 'table'").fetchall():
        if name != "about":
            rows.execute(f"insert into main.{name} select * from other.{name}")
    rows.commit()
    rows.close()
    with pytest.raises(StoreError, match=r"^store\.tampered: the rows of change 1 "):
        references(tmp_path / "t.db")


def test_attack_100_a_store_signed_by_somebody_else_is_not_ours(path, tmp_path):
    own = shutil.copy(f"{path}.key", tmp_path / "own.key")
    path.unlink()
    Path(f"{path}.key").unlink()
    with Store.open(str(path), create=True) as store:
        store.add([baseline("a", small_log(BANKS, command_line=b"evil"))], action="learn")
    with pytest.raises(StoreError, match=r"^store\.tampered: its key is "):
        references(path, key_file=own)


@pytest.mark.parametrize(
    "prepared",
    [
        pytest.param("", id="tables"),
        pytest.param("create trigger t after insert on spent begin delete from spent; end", id="a trigger"),
        pytest.param("drop table spent; create view spent as select * from challenge", id="a view for a table"),
        pytest.param(
            "create table s as select * from spent; drop table spent; alter table s rename to Spent",
            id="no primary key",
        ),
    ],
)
def test_attack_100_a_store_is_not_made_of_tables_that_somebody_prepared(path, prepared):
    """Whoever writes to the file leaves tables of his own, and waits until they are taken for new and signed for."""
    tables = sqlite3.connect(path).execute("select name from sqlite_master where type = 'table'").fetchall()
    damage(path, "".join(f"delete from {name};" for (name,) in tables) + "drop table about;" + prepared)
    with pytest.raises(StoreError, match=r"^store\.tampered: "):
        Store.open(str(path), create=True)


def _same_or_refused(path: Path, wanted: bytes) -> bool:
    """Whether damage was seen; if not, it must have changed nothing."""
    try:
        with Store.open(str(path)) as store:
            assert store.references().id == wanted
            return False
    except StoreError:
        return True


def test_attack_100_any_byte_of_the_file_is_seen_or_harmless_seed_100(tmp_path):
    """Bits anywhere in the file: rows, indices, page headers, the schema. Nothing but StoreError ever comes out."""
    path = tmp_path / "s.db"
    with Store.open(str(path), create=True) as store:
        store.add([baseline("a", state=State.PENDING)], action="learn")
        Enrollment(store).enroll("a", AK, at=NOW)
    wanted, whole = references(path).id, path.read_bytes()
    chance = random.Random(100)
    used = [at for at in range(len(whole)) if whole[at]]
    free = [at for at in range(len(whole)) if not whole[at]]
    seen = 0
    places = [*chance.sample(used, FLIPS), *chance.sample(free, FLIPS // 5)]
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ chance.choice((0x01, 0x80, 0xFF, 0x20))]) + whole[at + 1 :])
        seen += _same_or_refused(path, wanted)
    assert seen > FLIPS // 2
    path.write_bytes(whole)
    assert references(path).id == wanted


FLIPS = int(os.environ.get("PYVERIFY_FLIPS", "120"))
"""How many of the bytes that are in use; all of them is a matter of an hour."""


def test_attack_100_each_byte_of_each_row_is_seen(path):
    """Whatever value of whatever row: one bit of it, one at a time."""
    whole, count = path.read_bytes(), 0
    rows = sqlite3.connect(path)
    tables = [name for (name,) in rows.execute("select name from sqlite_master where type = 'table'")]
    for table in tables:
        columns = [row[1] for row in rows.execute(f"pragma table_info({table})")]
        (n_rows,) = rows.execute(f"select count(*) from {table}").fetchone()
        for column in columns if n_rows else []:
            edit = (
                f'update {table} set "{column}" = case typeof("{column}") when \'integer\' then "{column}" + 1000 '
                f"when 'null' then 'x' when 'blob' then \"{column}\" || x'00' else \"{column}\" || 'x' end "
                f"where rowid = (select max(rowid) from {table})"
            )
            damage(path, edit)
            with pytest.raises(StoreError):
                references(path)
            path.write_bytes(whole)
            count += 1
    rows.close()
    assert count > 45


def test_attack_101_a_baseline_says_what_it_was_learned_from(path):
    facts = {row["id"]: row for row in references(path).columns.to_pylist()}
    assert facts["a"]["evidence_id"] == hash_of("sha256", b"a")
    assert {name: (row["boot"], row["origin"]) for name, row in facts.items()} == dict.fromkeys(
        "abc", ("b", "first-seen")
    )


def judge(refs: References, **columns) -> list[dict]:
    """Verdicts on bare logs."""
    rows = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    policy = dataclasses.replace(Policy.preset("log-only"))
    (verdicts,) = verify_batches([rows], references=refs, policy=policy, as_of=NOW)
    return verdicts.to_pylist()


def codes(verdict: dict) -> set[str]:
    return {finding["code"] for finding in verdict["findings"] if finding["severity"] == "high"}


def test_attack_102_nothing_is_allowed_by_what_is_not_there():
    empty = baseline("empty", allowed=((),) * 24)
    without = baseline("without", allowed=(*baseline().allowed[:8], (), *baseline().allowed[9:]))
    refs = References.of([baseline("good"), empty, without])
    names = ["good", "empty", "without", "unknown"]
    found = dict(zip(names, judge(refs, machine=names, boot=["b"] * 4, event_log=[LOG] * 4), strict=True))
    assert found["good"]["verdict"] == "trusted"
    assert [found[name]["verdict"] for name in names[1:]] == ["untrusted", "untrusted", "unmeasured"]


def test_attack_103_a_digest_of_one_algorithm_is_none_of_another():
    """SM3 and SHA-256 digests have one length."""
    both = small_log(["sha256", "sm3_256"])
    (swapped,) = [
        dataclasses.replace(
            one,
            digests={"sha256": one.digests["sm3_256"], "sm3_256": one.digests["sha256"]},
        )
        for one in [baseline("m", both).allowed[8][0].sequence]
    ]
    honest = baseline("m", both)
    wrong = (*honest.allowed[:8], (dataclasses.replace(honest.allowed[8][0], sequence=swapped),), *honest.allowed[9:])
    for one, verdict in ((honest, "trusted"), (dataclasses.replace(honest, allowed=wrong), "untrusted")):
        (found,) = judge(References.of([one]), machine=["m"], boot=["b"], event_log=[both])
        assert found["verdict"] == verdict


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_attack_104_a_value_of_another_length_is_refused(size):
    one = event_sequences_of(LOG)[8]
    value = dataclasses.replace(one, types=(), texts=(), digests={}, values={"sha256": bytes(size)})
    allowed = baseline().allowed
    with pytest.raises(ReferencesError):
        References.of(
            [baseline("m", allowed=(*allowed[:8], (dataclasses.replace(allowed[8][0], sequence=value),), *allowed[9:]))]
        )


def event_sequences_of(log: bytes):
    from pyverify import EventLog

    return event_sequences(EventLog.parse(log))


BAD_NAMES = ["", "../x", "a/b", "a\0b", "a\nb", "\x1b[31m", "a\u202eb", "\u0430bc", "x" * 129, "x" * 10_000, "a b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_attack_105_a_name_that_is_none_names_no_machine(tmp_path, name):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        with pytest.raises(UsageError, match="is no machine name"):
            Enrollment(store).enroll(name, AK, at=NOW)
        assert store.head.number == 0
    (found,) = judge(References.of([baseline("good")]), machine=[name], boot=["b"], event_log=[LOG])
    assert found["verdict"] == "error"


def test_attack_106_one_bad_log_disturbs_no_other():
    logs = [LOG, LOG[:-3], b"", b"\xff" * 5000, LOG]
    names = ["a", "b", "c", "d", "e"]
    refs = References.of([baseline(name) for name in names])
    found = judge(refs, machine=names, boot=["b"] * 5, event_log=logs)
    assert [row["verdict"] for row in found][::4] == ["trusted", "trusted"]
    assert [row["verdict"] for row in found][1] == "error"
    assert "trusted" not in [row["verdict"] for row in found][1:4]


def test_attack_107_one_machine_has_one_baseline_and_one_key_one_machine(path):
    with Store.open(str(path)) as store:
        with pytest.raises(StoreError, match="exists already"):
            store.add([baseline("a", small_log(BANKS, command_line=b"evil"))], action="learn")
        with pytest.raises(UsageError, match=r"key\.shared"):
            Enrollment(store).enroll("b", AK, at=NOW)
        assert store.verify().head.number == 4


def test_attack_108_a_verdict_is_named_by_all_that_went_into_it():
    """Evidence, policy, references: change one of them, and its name in the row is another."""
    refs = [References.of([baseline("m")]), References.of([baseline("m"), baseline("n")])]
    logs = [LOG, small_log(BANKS, command_line=b"x")]
    policies = [Policy.preset("log-only"), dataclasses.replace(Policy.preset("log-only"), name="other", kexec=True)]

    def names(log: bytes, one: References, policy: Policy) -> tuple:
        rows = pa.record_batch({"machine": ["m"], "boot": ["b"], "event_log": [log]})
        (verdicts,) = verify_batches([rows], references=one, policy=policy, as_of=NOW)
        (row,) = verdicts.to_pylist()
        return row["evidence_id"], row["policy_id"], row["references_id"]

    first = names(logs[0], refs[0], policies[0])
    assert names(logs[0], refs[0], policies[0]) == first
    for at, inputs in enumerate(
        [(logs[1], refs[0], policies[0]), (logs[0], refs[0], policies[1]), (logs[0], refs[1], policies[0])]
    ):
        other = names(*inputs)
        assert [a != b for a, b in zip(first, other, strict=True)] == [i == (0, 1, 2)[at] for i in range(3)]
