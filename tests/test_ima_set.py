"""Sets of what may run, and runtime policies of others (SPEC 9.4, 10.4)."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from conftest import shared
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import a_digest, a_list, aggregate, data_of, entry, legacy

from pyverify import _native
from pyverify.errors import PyverifyError, UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import scan
from pyverify.evidence.ima_set import ADDED, CHANGED, NOT_JUDGED, OK, ImaSet, Member, kind_of
from pyverify.evidence.runtime_policy import read_runtime_policy


def columns_of(*lists: bytes):
    return scan(Ragged.of(list(lists)), ["binary"] * len(lists))


def outcome(known: ImaSet, one: bytes) -> int:
    """Of an entry that is not the list's first."""
    return int(known.check(columns_of(aggregate() + one))[1])


KNOWN = ImaSet.of(
    columns_of(aggregate() + entry(data_of("/bin/a", a_digest(1))) + entry(data_of("/bin/b", a_digest(2))))
)


def test_an_entry_is_good_only_by_name_algorithm_and_digest():
    assert outcome(KNOWN, entry(data_of("/bin/a", a_digest(1)))) == OK
    assert outcome(KNOWN, entry(data_of("/bin/a", a_digest(1), b"\3\2"), "ima-sig")) == OK
    assert outcome(KNOWN, entry(data_of("/bin/a", a_digest(2)))) == CHANGED
    assert outcome(KNOWN, entry(data_of("/bin/c", a_digest(1)))) == ADDED
    assert outcome(KNOWN, entry(data_of("/bin/", a_digest(1)))) == ADDED
    assert outcome(KNOWN, entry(data_of("/bin/a\xff".encode("latin1"), a_digest(1)))) == ADDED


@pytest.mark.parametrize(
    "one",
    [
        entry(data_of("/bin/a", a_digest(1), algorithm="sm3")),
        entry(data_of("/bin/a", a_digest(1), algorithm="sm3_512")),
        entry(data_of("/bin/a", a_digest(1)[:31])),
        entry(data_of("/bin/a", a_digest(1)[:20])),
        entry(data_of("/bin/a", a_digest(1) + b"\0")),
        entry(data_of("/bin/a", b"")),
        entry(data_of("/bin/a", a_digest(1), algorithm="verity:sha256"), "ima-ngv2"),
        entry(data_of("/bin/a", a_digest(1), b"x"), "ima-buf"),
        entry(data_of("/bin/a", a_digest(1))[44:], "n-ng"),
    ],
    ids=["SM3", "unknown", "one byte less", "20 bytes", "one byte more", "none", "fs-verity", "a buffer", "no digest"],
)
def test_attacks_96_and_103_what_only_looks_like_the_digest_is_another(one):
    assert outcome(KNOWN, one) == CHANGED


def test_all_names_of_sm3_are_one_algorithm():
    known = ImaSet.of(columns_of(entry(data_of("/a", a_digest(1), algorithm="sm3-256"))))
    for name in ("sm3", "sm3-256", "sm3_256"):
        assert outcome(known, entry(data_of("/a", a_digest(1), algorithm=name))) == OK
    assert next(iter(known)).algorithm == "sm3"


def test_attack_94_boot_aggregate_is_good_only_as_entry_0():
    known = ImaSet.of(columns_of(aggregate() + entry(data_of("boot_aggregate", a_digest(1)))))
    assert len(known) == 0
    outcomes = known.check(columns_of(aggregate() + aggregate(), entry(data_of("/a", a_digest(1)))))
    assert outcomes.tolist() == [NOT_JUDGED, ADDED, ADDED]


def test_attack_86_the_name_of_a_violation_is_not_used():
    fake = entry(data_of("/bin/a", a_digest(1)), shown=bytes(20))
    assert outcome(KNOWN, fake) == NOT_JUDGED
    assert len(ImaSet.of(columns_of(fake))) == 0


def test_sets_are_canonical_and_add_up():
    lists = [a_list([f"/{k}" for k in order]) for order in ([1, 2, 3], [2, 1, 3])]
    one, other = (ImaSet.of(columns_of(data)) for data in lists)
    assert one != other  # the digest goes with the place
    both = one.union(other)
    assert both == other.union(one) == ImaSet.of(columns_of(*lists))
    assert hash(both) == hash(other.union(one))
    assert len(both) == 5
    assert len(both.paths) == 3
    assert ImaSet() == ImaSet.of(columns_of())
    assert outcome(ImaSet(), entry(data_of("/a", a_digest(1)))) == ADDED
    which = np.array([False, True, False, False])
    assert [member.path for member in ImaSet.of(columns_of(lists[0]), which)] == [b"/1"]


def test_a_set_goes_to_another_process_without_its_index():
    KNOWN.check(columns_of(b""))
    copy = pickle.loads(pickle.dumps(KNOWN))
    assert copy == KNOWN
    assert copy._sets is None
    assert outcome(copy, entry(data_of("/bin/a", a_digest(1)))) == OK


def test_a_slice_of_lists_is_held_against_a_set():
    lists = [aggregate() + entry(data_of("/bin/a", a_digest(1))), b"", a_list(["/x", "/y"]), a_list(["/bin/a"])]
    columns = columns_of(*lists)
    whole = KNOWN.check(columns)
    assert whole.tolist() == [3, OK, 3, ADDED, ADDED, 3, CHANGED]
    for first in range(5):
        for last in range(first, 5):
            begin = sum(int(n) for n in columns.rows["n_entries"][:first])
            end = sum(int(n) for n in columns.rows["n_entries"][:last])
            assert KNOWN.check(columns, first, last).tolist() == whole[begin:end].tolist()
    with pytest.raises(UsageError):
        KNOWN.check(columns, 0, 5)


@given(
    st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 3), st.booleans()), max_size=30),
    st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 3), st.booleans()), max_size=30),
)
@settings(deadline=None, max_examples=60)
def test_membership_is_as_pythons(known, asked):
    def member(path: bytes, number: int, sm3: bool) -> Member:
        return Member(path.replace(b"\0", b"x"), kind_of("sm3" if sm3 else "sha256"), a_digest(number))

    members = [member(*one) for one in known]
    found = ImaSet(members)
    assert list(found) == sorted(set(members))
    assert ImaSet.from_columns(*found.to_columns()) == found
    paths = {one.path for one in members}
    questions = [member(*one) for one in asked]
    data = aggregate() + b"".join(entry(data_of(one.path, one.digest, algorithm=one.algorithm)) for one in questions)
    expected = [OK if one in members else CHANGED if one.path in paths else ADDED for one in questions]
    assert found.check(columns_of(data)).tolist()[1:] == expected


def test_columns_that_no_set_has_are_refused():
    paths, members_at, kinds, digests = KNOWN.to_columns()
    swapped = Ragged.of([paths[1], paths[0]])
    sha1 = np.full(2, kind_of("sha1"), np.uint32)
    for columns in (
        (swapped, members_at, kinds, digests),
        (paths, members_at[:-1], kinds, digests),
        (paths, np.array([0, 0, 2], np.uint64), kinds, digests),
        (paths, np.array([0, 2, 1], np.uint64), kinds, digests),
        (paths, np.array([0, 1, 3], np.uint64), kinds, digests),
        (paths, members_at, sha1, digests),
        (paths, members_at, kinds, Ragged.of([digests[0]])),
    ):
        with pytest.raises(UsageError):
            ImaSet.from_columns(*columns)


def test_items_are_found_by_their_bytes_only():
    table = Ragged.of([b"", b"a", b"ab", b"abc" * 100, b"\0"])
    slots = _native.index(table.blob, table.offsets)
    items = Ragged.of([b"ab", b"", b"abc", b"\0\0", b"abc" * 100, b"\0", b"b"])
    found = _native.find(items.blob, items.offsets, table.blob, table.offsets, slots)
    assert found.tolist() == [2, 0, _native.NOT_FOUND, _native.NOT_FOUND, 3, 4, _native.NOT_FOUND]
    nothing = Ragged.of([])
    slots = _native.index(nothing.blob, nothing.offsets)
    found = _native.find(items.blob, items.offsets, nothing.blob, nothing.offsets, slots)
    assert set(found.tolist()) == {_native.NOT_FOUND}
    with pytest.raises(UsageError):
        _native.collect(items.blob, np.array([len(items.blob)]), np.array([1], np.uint32))


def test_recorded_programs_that_changed_or_are_new():
    folder = shared("recordings")
    lists = {
        number: next(folder.glob(f"{number}_*")).joinpath("ima", "binary_runtime_measurements").read_bytes()
        for number in ("01", "02", "23", "24", "25")
    }
    boot = ImaSet.of(columns_of(lists["01"]))
    assert set(boot.check(columns_of(lists["02"])).tolist()) == {OK, NOT_JUDGED}
    ran = ImaSet.of(columns_of(lists["23"]))
    names = {}
    for known, number in ((boot, "25"), (ran, "24")):
        columns = columns_of(lists[number])
        outcomes = known.check(columns)
        names[number] = {(columns.path(k), outcomes[k]) for k in np.flatnonzero((outcomes != OK) & (outcomes != 3))}
    assert names["25"] == {(b"/usr/bin/dropper", ADDED)}
    assert names["24"] == {(b"/usr/bin/setfattr", CHANGED)}


# Runtime policies.


def policy(**changed):
    document = {
        "meta": {"version": 1, "generator": 2, "timestamp": "2026-01-01"},
        "release": 0,
        "digests": {"/bin/a": [a_digest(1).hex()], "/bin/b c": ["sm3:" + a_digest(2).hex()]},
        "excludes": [],
        "keyrings": {".ima": [a_digest(3).hex()]},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": None},
        "ima-buf": {"kexec-cmdline": [a_digest(4).hex()]},
        "verification-keys": "",
    }
    return document | changed


def checked(document, *entries: bytes) -> list[int]:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_runtime_policy(data).check(columns_of(aggregate() + b"".join(entries))).tolist()[1:]


def test_a_runtime_policy_allows_what_it_lists():
    assert checked(
        policy(),
        entry(data_of("/bin/a", a_digest(1))),
        entry(data_of("/bin/a", a_digest(1), b""), "ima-sig"),
        entry(data_of("/bin/a", a_digest(2))),
        entry(data_of("/bin/b_c", a_digest(2), algorithm="sm3")),
        entry(data_of("/bin/b_c", a_digest(2))),
        entry(data_of(".ima", a_digest(3), b"key"), "ima-buf"),
        entry(data_of(".ima", a_digest(3))),
        entry(data_of("kexec-cmdline", a_digest(4), b"quiet"), "ima-buf"),
        entry(data_of("/other", a_digest(1))),
        legacy(b"/bin/a", a_digest(1)[:20]),
    ) == [OK, OK, CHANGED, OK, CHANGED, OK, CHANGED, OK, ADDED, CHANGED]


def test_attack_103_a_digest_without_algorithm_is_never_sm3_unless_asked():
    one = entry(data_of("/bin/a", a_digest(1), algorithm="sm3"))
    assert checked(policy(), one) == [CHANGED]
    read = read_runtime_policy(json.dumps(policy()).encode(), sm3=True)
    assert read.check(columns_of(aggregate() + one)).tolist() == [NOT_JUDGED, OK]
    assert read.check(columns_of(aggregate() + entry(data_of("/bin/a", a_digest(1))))).tolist()[1:] == [CHANGED]


def test_attack_94_excludes_match_whole_names():
    names = ["/tmp/x", "/var/tmp/x", "/tmp", "/tmp/x\ny", "/bin/a", "/opt/b"]
    entries = [entry(data_of(name, a_digest(9))) for name in names]
    excluded = checked(policy(excludes=["/tmp/.*", "/op|/opt/."]), *entries)
    assert excluded == [NOT_JUDGED, ADDED, ADDED, ADDED, CHANGED, NOT_JUDGED]
    buffer = entry(data_of("/tmp/x", a_digest(9), b"x"), "ima-buf")
    assert checked(policy(excludes=["/tmp/.*"]), buffer) == [ADDED]
    later = entry(data_of("boot_aggregate", a_digest(1)))
    assert checked(policy(digests={"boot_aggregate": [a_digest(1).hex()]}), later) == [ADDED]


def test_attack_109_patterns_take_linear_time_or_are_refused():
    hostile = entry(data_of("/" + "a" * 60_000, a_digest(1)))
    assert checked(policy(excludes=["/(a+)+$b", "/(a|a)*b"]), hostile) == [ADDED]
    for pattern in ("(a", r"(a)\1", "a(?=b)", "a{1,100000}", "a)|(.*"):
        with pytest.raises(UsageError, match="RE2"):
            checked(policy(excludes=[pattern]))
    for many in (["a"] * 1001, ["a" * 5000]):
        with pytest.raises(UsageError, match="at most"):
            checked(policy(excludes=many))


def test_ignored_keyrings_are_not_judged():
    ring = entry(data_of(".platform", a_digest(9), b"key"), "ima-buf")
    command_line = entry(data_of("kexec-cmdline", a_digest(9), b"quiet"), "ima-buf")
    file = entry(data_of(".platform", a_digest(9)))
    for ignored, expected in (([".platform"], NOT_JUDGED), (["*"], NOT_JUDGED), ([".evm"], ADDED)):
        ima = {"ignored_keyrings": ignored, "log_hash_alg": "sha256", "dm_policy": None}
        assert checked(policy(ima=ima), ring, command_line, file) == [expected, CHANGED, ADDED]


REFUSED = {
    "no JSON": b"{",
    "a list": b"[]",
    "a key twice": json.dumps(policy()).encode().replace(b'"release"', b'"excludes": [], "release"'),
    "NaN": json.dumps(policy()).encode().replace(b'"release": 0', b'"release": NaN'),
    "too deep": b'{"a":' * 100_000,
    "an unknown key": policy(extra=1),
    "true for a number": policy(release=True),
    "a float for a number": policy(release=1.0),
    "no digests": {"meta": {"version": 1}},
    "another version": policy(meta={"version": 2, "generator": 1}),
    "digests of another type": policy(digests={"/a": a_digest(1).hex()}),
    "a digest of another type": policy(digests={"/a": [1]}),
    "upper case": policy(digests={"/a": [a_digest(1).hex().upper()]}),
    "0x": policy(digests={"/a": ["0x" + a_digest(1).hex()]}),
    "a digest of no known length": policy(digests={"/a": ["ab" * 30]}),
    "a digest of another length than its algorithm": policy(digests={"/a": ["sha1:" + a_digest(1).hex()]}),
    "an unknown algorithm": policy(digests={"/a": ["sha99:" + a_digest(1).hex()]}),
    "a device mapper policy": policy(ima={"dm_policy": "x"}),
    "an unknown log hash": policy(ima={"log_hash_alg": "sm3"}),
    "excludes of another type": policy(excludes="/tmp"),
    "an envelope": {"payload": "e30=", "payloadType": "application/vnd.keylime+json", "signatures": []},
    "a name that is none": policy(digests={"/\ud800": [a_digest(1).hex()]}),
    "a line without a name": a_digest(1).hex().encode() + b"\n",
    "a line without a digest": b"/bin/a\n",
    "a line of another tool": b"\\" + a_digest(1).hex().encode() + b"  /bin/a\n",
}


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_a_policy_that_is_not_strictly_one_is_refused(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(UsageError):
        read_runtime_policy(data)


def test_a_plain_list_of_hashes_is_a_policy():
    text = f"{a_digest(1).hex()}  /bin/a\n\n{a_digest(2).hex()} */bin/b c\nsm3:{a_digest(3).hex()} /bin/d\n".encode()
    assert checked(
        text,
        entry(data_of("/bin/a", a_digest(1))),
        entry(data_of("/bin/b_c", a_digest(2))),
        entry(data_of("/bin/d", a_digest(3), algorithm="sm3")),
        entry(data_of("/bin/d", a_digest(3))),
        entry(data_of("/bin/e", a_digest(3))),
    ) == [OK, OK, OK, CHANGED, ADDED]


def test_policies_of_the_corpus_are_read():
    folder = shared("corpus", "files", "keylime__keylime")
    read = read_runtime_policy((folder / "runtime-policy-test.json").read_bytes())
    assert len(read.allowed) == 20 + len(json.loads((folder / "runtime-policy-test.json").read_text())["keyrings"])
    assert read.allowed.paths[0] == b".ima"
    for name in ("allowlist-sha1", "allowlist-sha256", "allowlist-sha384", "allowlist-sha512", "policy-sha512"):
        assert len(read_runtime_policy((folder / name).read_bytes()).allowed) == 1, name
    for name in ("allowlist-unknown", "policy-unknown", "runtime-policy-test-signed.json"):
        with pytest.raises(UsageError):
            read_runtime_policy((folder / name).read_bytes())


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(policy(release=text)).encode()))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(data):
    try:
        read_runtime_policy(data)
    except PyverifyError:
        return


@pytest.mark.parametrize("digits", [63, 65, 73, 1])
def test_a_digest_with_an_odd_number_of_digits_is_none(digits):
    with pytest.raises(UsageError, match="not a digest"):
        read_runtime_policy(b"sha256:" + b"a" * digits + b"  /bin/sh\n")
