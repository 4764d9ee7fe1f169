"""Learning over a window: the first boots of a machine, and the machines of a cohort, say together what may run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import shared, small_log
from ima_by_hand import a_digest, data_of, entry
from ima_evidence import BANKS, LOG, VIOLATION
from learning import POLICY, assign, codes, high, judged, lay_out, learned, names_of, ran, ran_in, recorded, rows_of

from pyverify import Policy, Store
from pyverify.baseline.model import Origin, State
from pyverify.cli.arguments import build_parser
from pyverify.fleet.learn_window import first_boots_of
from pyverify.fleet.sources import open_source

A, B, C = (entry(data_of(f"/bin/{name}", a_digest(number))) for number, name in enumerate("abc"))
OTHER_B = entry(data_of("/bin/b", a_digest(9)))
FORGED = entry(data_of("/bin/f", a_digest(1)), shown=bytes(19) + b"\1")
EVIL_LOG = small_log(BANKS, command_line=b"init=/bin/sh")


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        yield store


@pytest.mark.parametrize("activate", [True, False])
def test_what_ran_in_the_first_boots_may_run(tmp_path, store, activate):
    boots = {
        ("m", "1"): (LOG, ran(A)),
        ("m", "2"): (LOG, ran(A, B)),
        ("m", "3"): (LOG, ran(OTHER_B)),
        ("m", "4"): (LOG, ran(C)),
    }
    (result,) = learned(lay_out(tmp_path / "a", boots), store, boots=3, activate=activate).values()
    state = State.ACTIVE if activate else State.PENDING
    assert (result.state, result.origin, result.boots, result.left_out, result.missing) == (
        state,
        Origin.FIRST_SEEN,
        3,
        (),
        0,
    )
    assert rows_of(store) == [("machine", "m", 1, state, Origin.FIRST_SEEN)]
    assert names_of(store, "m") == ["/bin/a", "/bin/b", "/bin/b"]
    if activate:
        assert judged(store, "m", LOG, ran(B, A, OTHER_B)).trusted
        assert high(judged(store, "m", LOG, ran(C))) == {"ima.added"}
        assert high(judged(store, "m", LOG, ran(entry(data_of("/bin/b", a_digest(7)))))) == {"ima.changed"}


def test_without_a_window_only_the_first_boot_counts(tmp_path, store):
    (result,) = learned(lay_out(tmp_path / "a", {("m", "1"): (LOG, ran(A)), ("m", "2"): (LOG, ran(B))}), store).values()
    assert (result.boots, result.missing) == (1, 0)
    assert names_of(store, "m") == ["/bin/a"]


LEFT_OUT = {
    "another log": ((EVIL_LOG, ran_in(EVIL_LOG, A, C)), "baseline.event-changed"),
    "another log and nothing new": ((EVIL_LOG, ran_in(EVIL_LOG, A)), "baseline.event-changed"),
    "a forged entry": ((LOG, ran(A, FORGED)), "ima.template-mismatch"),
    "a violation": ((LOG, ran(A, C) + VIOLATION), "ima.violation"),
    "no list": ((LOG, None), "ima.empty"),
    "a list cut short": ((LOG, ran(A, C)[:-1]), "ima.truncated"),
    "a log cut short": ((LOG[:-1], ran(A, C)), "log.truncated"),
    "no log": ((b"", ran(A, C)), "evidence.lost"),
}


@pytest.mark.parametrize(("boot", "code"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_later_boot_in_which_anything_else_is_new_adds_nothing(tmp_path, store, boot, code):
    boots = {("m", "1"): (LOG, ran(A)), ("m", "2"): boot, ("m", "3"): (LOG, ran(B)), ("m", "4"): (LOG, ran(C))}
    (result,) = learned(lay_out(tmp_path / "a", boots), store, boots=3).values()
    ((name, reasons),) = result.left_out
    assert (result.boots, name) == (2, "2")
    assert code in codes(reasons)
    assert names_of(store, "m") == ["/bin/a", "/bin/b"]
    assert high(judged(store, "m", LOG, ran(C))) == {"ima.added"}


def test_a_refused_first_boot_is_not_made_good_by_later_ones(tmp_path, store):
    boots = {("m", "1"): (LOG, ran(A, FORGED)), ("m", "2"): (LOG, ran(A))}
    (result,) = learned(lay_out(tmp_path / "a", boots), store, boots=2).values()
    assert (result.state, codes(result.reasons)) == (None, ["ima.template-mismatch"])
    assert not rows_of(store)


def test_a_first_boot_without_a_list_has_no_set_whatever_comes_later(tmp_path, store):
    learned(lay_out(tmp_path / "a", {("m", "1"): (LOG, None), ("m", "2"): (LOG, ran(A))}), store, boots=2)
    assert judged(store, "m", LOG, None).trusted
    assert store.references().columns[0]["ima_set"].as_py() is None


def test_the_window_is_learned_from_what_there_is(tmp_path, store):
    boots = {("m", "1"): (LOG, ran(A)), ("m", "2"): (LOG, ran(B)), ("n", "1"): (LOG, ran(C))}
    results = learned(lay_out(tmp_path / "a", boots), store, boots=5)
    assert {name: (item.boots, item.missing) for name, item in results.items()} == {"m": (2, 3), "n": (1, 4)}
    assert (names_of(store, "m"), names_of(store, "n")) == (["/bin/a", "/bin/b"], ["/bin/c"])


def test_most_violations_of_the_window_are_learned_where_the_policy_lets_them_pass(tmp_path, store):
    policy = replace(POLICY, ima_violations="warning")
    boots = {
        ("m", "1"): (LOG, ran(A)),
        ("m", "2"): (LOG, ran(A) + VIOLATION * 2),
        ("m", "3"): (LOG, ran(A) + VIOLATION),
    }
    learned(lay_out(tmp_path / "a", boots), store, boots=3, policy=policy)
    assert store.references().ima_violations.tolist() == [2]
    assert judged(store, "m", LOG, ran(A) + VIOLATION * 2).trusted
    assert high(judged(store, "m", LOG, ran(A) + VIOLATION * 3)) == {"ima.violation"}


def test_a_known_machine_is_left_alone_whatever_the_window(tmp_path, store):
    learned(lay_out(tmp_path / "a", {("m", "1"): (LOG, ran(A))}), store)
    before = store.references().id
    assert not learned(lay_out(tmp_path / "b", {("m", "0"): (LOG, ran(C)), ("m", "1"): (LOG, ran(B))}), store, boots=2)
    assert store.references().id == before


def test_samples_of_one_boot_are_one_boot_of_the_window(tmp_path):
    """Of each boot the sample with the lowest number is meant, in whatever order they come."""
    boots = [("c", 3), ("b", 9), ("b", 2), ("a", 1), ("a", 8), ("b", 0), ("d", 7)]
    table = {"machine": ["m"] * 7, "boot": [b for b, _ in boots], "boot_seq": [n for _, n in boots]}
    for order in (slice(None), slice(None, None, -1)):
        columns = {name: values[order] for name, values in table.items()} | {
            "event_log": pa.array([LOG] * 7, pa.binary())
        }
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        for n, expected in ((1, "b"), (2, "ba"), (3, "bac"), (9, "bacd")):
            assert "".join(key[2] for key in first_boots_of(open_source(tmp_path / "a.parquet"), n)["m"]) == expected


# The cohort: what runs on one of its machines may run on all.


def test_machines_of_a_cohort_share_what_ran_and_others_do_not(tmp_path, store):
    assign(store, "web", "w1", "w2", "w3")
    assign(store, "db", "d1")
    boots = {(m, "1"): (LOG, ran(x)) for m, x in {"w1": A, "w2": B, "d1": C, "x1": OTHER_B}.items()}
    boots["w3", "1"] = (EVIL_LOG, None)
    results = learned(lay_out(tmp_path / "a", boots), store)
    assert {item.state for item in results.values()} == {State.ACTIVE}
    assert {m: names_of(store, m) for m in ("w1", "w2", "d1", "x1")} == {
        "w1": ["/bin/a", "/bin/b"],
        "w2": ["/bin/a", "/bin/b"],
        "d1": ["/bin/c"],
        "x1": ["/bin/b"],
    }
    assert judged(store, "w1", LOG, ran(B)).trusted
    assert not judged(store, "w1", LOG, ran(C)).trusted
    assert not judged(store, "x1", LOG, ran(A)).trusted
    assert not judged(store, "w1", EVIL_LOG, ran_in(EVIL_LOG, A)).trusted  # PCRs are each machine's own


def test_a_window_and_a_cohort_are_one_union_of_good_boots(tmp_path, store):
    assign(store, "web", "w1", "w2")
    boots = {
        ("w1", "1"): (LOG, ran(A)),
        ("w1", "2"): (EVIL_LOG, ran_in(EVIL_LOG, C)),
        ("w2", "1"): (LOG, ran(A)),
        ("w2", "2"): (LOG, ran(B)),
    }
    results = learned(lay_out(tmp_path / "a", boots), store, boots=2)
    assert {m: item.boots for m, item in results.items()} == {"w1": 1, "w2": 2}
    assert names_of(store, "w1") == names_of(store, "w2") == ["/bin/a", "/bin/b"]


# Recorded machines.


def archive_of(folder, *numbers):
    return lay_out(folder, {("m", number): recorded(number) for number in numbers})


def test_a_recorded_program_that_ran_once_more_is_known_after_a_window(tmp_path, store):
    """Recording 23 is one more program run; 25 is an unknown one, in no window here, and 24 tampered with the first."""
    (result,) = learned(archive_of(tmp_path / "a", "01", "02", "23"), store, boots=3).values()
    assert (result.boots, result.left_out) == (3, ())
    assert "/usr/bin/setfattr" in names_of(store, "m")
    for number in ("01", "02", "03", "23"):
        assert judged(store, "m", *recorded(number)).trusted, number
    for number, code in {"24": "ima.changed", "25": "ima.added", "26": "ima.violation", "28": "ima.added"}.items():
        assert code in high(judged(store, "m", *recorded(number))), number


def test_recorded_tampering_within_a_window_is_left_out(tmp_path, store):
    (result,) = learned(archive_of(tmp_path / "a", "01", "16", "20", "23", "26"), store, boots=5).values()
    assert result.boots == 2
    assert {boot for boot, _ in result.left_out} == {"16", "20", "26"}
    assert {"ima.violation"} <= set(codes(dict(result.left_out)["26"]))
    for number in ("16", "20"):
        assert not judged(store, "m", *recorded(number)).trusted
    assert "/etc/victim" not in names_of(store, "m")


def test_a_whole_recorded_debian_is_learned_over_two_boots(tmp_path, store):
    (result,) = learned(archive_of(tmp_path / "a", "91", "92"), store, boots=2).values()
    assert (result.boots, result.left_out) == (2, ())
    assert judged(store, "m", *recorded("91")).trusted
    assert judged(store, "m", *recorded("92")).trusted
    assert high(judged(store, "m", *recorded("93"))) == {"ima.changed"}


def test_entries_that_no_quote_proves_are_not_learned_in_a_window(tmp_path, store):
    """Recording 27: five programs ran after the quote. Where no quotes are judged, they count."""
    script = shared("recordings") / "to_archive.py"
    subprocess.run([sys.executable, script, tmp_path / "a", "--only", "01,27"], check=True, capture_output=True)
    source = open_source(tmp_path / "a")
    policy = Policy.preset("archive")
    (result,) = learned(source, store, boots=2, policy=policy, trust_first_key=True).values()
    assert (result.boots, result.left_out) == (2, ())
    assert "/usr/bin/late1" not in names_of(store, "m1")
    with Store.open(str(tmp_path / "by-log.db"), create=True) as by_log:
        (result,) = learned(source, by_log, boots=2).values()
        assert (result.boots, "/usr/bin/late1" in names_of(by_log, "m1")) == (2, True)


def test_no_window_is_empty():
    for wrong in ("0", "-1", "x", ""):
        with pytest.raises(SystemExit):
            build_parser().parse_args(["learn", "a", "--boots", wrong])
    assert build_parser().parse_args(["learn", "a"]).boots == 1
