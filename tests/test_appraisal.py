"""Verdicts: honest evidence is trusted, each thing that can be wrong is not, and a row never disturbs its
neighbours."""

from __future__ import annotations

import datetime
import struct

import pyarrow as pa
import pytest
from baselines_by_hand import baseline
from conftest import ALGORITHMS, DATA, entry, hash_of, image, no_action, small_log, spec_id
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify import EventLog, Evidence, Outcome, Policy, References, UsageError, evidence_batch, verify, verify_batches
from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.baseline.model import State
from pyverify.evidence.bundle import ImaList, Quote
from pyverify.findings import CODES, Effect, Severity
from pyverify.replay import replay

BANKS = ["sha1", "sha256"]
LOG = small_log(BANKS)
POLICY = Policy.preset("log-only")
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


def judge(log, references=None, **fields):
    evidence = Evidence(machine="m", boot="b2", event_log=log, **fields)
    if references is None:
        references = References.of([baseline("m", LOG)])
    return verify(evidence, references=references, policy=POLICY, as_of=NOW)


def codes(verdict):
    return [finding.code for finding in verdict.findings]


def test_honest_evidence_is_trusted():
    verdict = judge(LOG)
    assert verdict.outcome is Outcome.TRUSTED
    assert verdict.trusted
    assert verdict.attested == "log"
    assert not verdict.findings
    assert [state for _, state in verdict.stages] == ["green"] * 5 + ["grey"]


def _edit(log: bytes, old: bytes, new: bytes) -> bytes:
    assert log.count(old) == 1
    return log.replace(old, new)


CHANGES = {
    "boot loader changed": (
        _edit(LOG, hash_of("sha256", b"loader"), hash_of("sha256", b"evil")),
        "baseline.event-changed",
        4,
    ),
    "only the weak bank changed": (
        _edit(LOG, hash_of("sha1", b"loader"), hash_of("sha1", b"evil")),
        "baseline.event-changed",
        4,
    ),
    "command line changed": (small_log(BANKS, command_line=b"init=/bin/sh"), "baseline.event-changed", 8),
    "event added": (small_log(BANKS, extra=entry(9, 0xD, b"evil", BANKS)), "baseline.event-added", 9),
    "event added to a PCR that was untouched": (
        small_log(BANKS, extra=entry(12, 0xD, b"evil", BANKS)),
        "baseline.event-added",
        12,
    ),
    "event repeated": (small_log(BANKS, extra=image(BANKS)), "baseline.event-added", 4),
    "event removed": (_edit(LOG, image(BANKS), b""), "baseline.event-removed", 4),
    "events in another order": (
        _edit(
            _edit(LOG, image(BANKS), b""),
            entry(4, 4, bytes(4), BANKS),
            image(BANKS) + entry(4, 4, bytes(4), BANKS),
        ),
        "baseline.event-moved",
        4,
    ),
    "event disguised as one that is not extended": (
        _edit(LOG, image(BANKS), image(BANKS).replace(struct.pack("<I", 0x80000003), struct.pack("<I", 3), 1)),
        "baseline.event-removed",
        4,
    ),
    "PCR 0 started otherwise": (
        _edit(LOG, spec_id(BANKS), spec_id(BANKS) + no_action(0, b"StartupLocality\0\3", BANKS)),
        "baseline.pcr",
        0,
    ),
}


@pytest.mark.parametrize(("log", "code", "pcr"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_untrusted_and_named(log, code, pcr):
    verdict = judge(log)
    assert verdict.outcome is Outcome.UNTRUSTED
    assert code in codes(verdict)
    finding = next(finding for finding in verdict.findings if finding.code == code)
    assert finding.pcr == pcr
    assert finding.severity is Severity.HIGH
    assert f"PCR {pcr} " in finding.hint
    red = [name for name, state in verdict.stages if state == "red"]
    assert len(red) == 1


def test_a_change_has_its_digests_and_event():
    finding = judge(CHANGES["boot loader changed"][0]).findings[0]
    number = next(e.number for e in EventLog.parse(LOG) if e.type_name == "EV_EFI_BOOT_SERVICES_APPLICATION")
    assert (finding.bank, finding.event) == ("sha256", number)
    assert (finding.expected, finding.actual) == (hash_of("sha256", b"loader"), hash_of("sha256", b"evil"))


def test_the_first_difference_comes_first():
    two = small_log(BANKS, command_line=b"x")
    two = _edit(two, hash_of("sha256", b"loader"), hash_of("sha256", b"evil"))
    events = [finding.event for finding in judge(two).findings]
    assert events == sorted(events)
    assert len(events) == 2


def test_a_name_that_no_digest_covers_changes_nothing_that_is_compared():
    """Text is a hint: a swapped name under the right digest is no change of what was measured (SPEC 10, 35)."""
    loader, other = "\\loader.efi".encode("utf-16-le"), "\\danger.efi".encode("utf-16-le")
    assert judge(_edit(LOG, loader, other)).outcome is Outcome.TRUSTED


_VERSION = "1.0\0".encode("utf-16-le")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (entry(0, 8, _VERSION, BANKS), entry(0, 8, b"2.0", BANKS, {bank: hash_of(bank, _VERSION) for bank in BANKS})),
        (b"kernel_cmdline: quiet", b"kernel_cmdline: evil!"),
    ],
    ids=["class A", "class B"],
)
def test_data_that_its_digest_covers_must_be_what_was_measured(old, new):
    """Every PCR equals the baseline, and still the log lies (SPEC 10, 38)."""
    verdict = judge(_edit(LOG, old, new))
    assert (verdict.outcome, codes(verdict)) == (Outcome.UNTRUSTED, ["event.data-mismatch"])


def test_pcrs_that_may_vary_are_reported():
    order = struct.pack("<16sQQ", b"g" * 16, 1, 2) + b"B\0" + b"\1\0"
    verdict = judge(small_log(BANKS, extra=entry(1, 0x80000002, order, BANKS)))
    assert verdict.outcome is Outcome.TRUSTED
    assert codes(verdict) == ["baseline.reported"]
    assert verdict.findings[0].pcr == 1


def test_a_log_cut_between_two_events_is_never_trusted():
    log = EventLog.parse(LOG)
    for at in log.columns["at"]:
        verdict = judge(LOG[: int(at)])
        assert verdict.outcome is not Outcome.TRUSTED, int(at)
    assert "may have been cut" in judge(LOG[: int(log.columns["at"][-1])]).findings[-1].hint


@pytest.mark.parametrize("path", sorted((DATA / "logs").glob("*.bin")), ids=lambda path: path.stem)
def test_a_real_log_cut_anywhere_is_never_trusted(path):
    data = path.read_bytes()
    references = References.of([baseline("m", data)])
    pieces = [data[:size] for size in range(len(data) + 1)]
    batch = evidence_batch([Evidence("m", f"b{size}", event_log=piece) for size, piece in enumerate(pieces)])
    (verdicts,) = verify_batches([batch], references=references, policy=POLICY, as_of=NOW)
    outcomes = verdicts.column("verdict").to_pylist()
    assert outcomes[-1] == "trusted"
    assert set(outcomes[1:-1]) == {"error", "untrusted"}
    assert outcomes[0] == "unmeasured"
    boundaries = {int(at) for at in EventLog.parse(data).columns["at"]} - {0}
    assert {size for size, outcome in enumerate(outcomes) if outcome == "untrusted"} == boundaries


NOTHING = {
    "no log": (None, "unmeasured", ["log.absent", "evidence.lost"]),
    "empty log": (b"", "unmeasured", ["log.absent", "evidence.lost"]),
    "no log at all but text": (
        b"not a log, but long enough to be one" * 9,
        "error",
        ["log.not-a-log", "evidence.lost"],
    ),
    "cut log": (LOG[:-5], "error", ["log.truncated", "evidence.lost"]),
    "trailing bytes": (LOG + bytes(20) + b"x", "error", ["log.trailing", "evidence.lost"]),
    "header only": (spec_id(BANKS), "untrusted", None),
}


@pytest.mark.parametrize(("log", "outcome", "expected"), NOTHING.values(), ids=NOTHING)
def test_evidence_that_cannot_be_judged(log, outcome, expected):
    verdict = judge(log)
    assert verdict.outcome == outcome
    assert expected is None or codes(verdict) == expected
    if outcome != "untrusted":
        assert {state for _, state in verdict.stages} == {"grey"}


def test_without_a_baseline():
    verdict = judge(LOG, References.of([]))
    assert (verdict.outcome, codes(verdict)) == (Outcome.UNMEASURED, ["baseline.absent"])
    verdict = judge(LOG, References.of([baseline("m", LOG, state=State.PENDING)]))
    assert (verdict.outcome, codes(verdict)) == (Outcome.UNMEASURED, ["baseline.pending"])
    for state in (State.SUPERSEDED, State.REVOKED):
        assert judge(LOG, References.of([baseline("m", LOG, state=state)])).outcome is Outcome.UNMEASURED
    verdict = judge(b"", References.of([]))
    assert codes(verdict) == ["log.absent"]


def test_the_learning_boot_says_so():
    first = judge(LOG)
    references = References.of([baseline("m", LOG, evidence_id=first.evidence_id)])
    again = judge(LOG, references)
    assert codes(again) == ["baseline.learned-here"]
    assert again.outcome is Outcome.TRUSTED


def test_a_bank_that_went_away():
    references = References.of([baseline("m", LOG)])
    weaker = small_log(["sha1"])
    verdict = judge(weaker, references)
    assert verdict.outcome is Outcome.UNTRUSTED
    assert codes(verdict) == ["bank.missing", "bank.weak"]
    lacking = small_log(BANKS, extra=entry(6, 0xC, b"x", BANKS, {"sha1": hash_of("sha1", b"x")}))
    assert "bank.missing" in codes(judge(lacking, references))
    assert judge(lacking, references).outcome is Outcome.UNTRUSTED


def test_only_a_weak_bank_is_a_warning():
    log = small_log(["sha1"])
    verdict = judge(log, References.of([baseline("m", log)]))
    assert (verdict.outcome, codes(verdict)) == (Outcome.TRUSTED, ["bank.weak"])


def test_one_more_bank_than_learned_is_fine():
    """A firmware update may switch a bank on; those of the baseline still hold."""
    assert judge(small_log([*BANKS, "sm3_256"])).outcome is Outcome.TRUSTED


def test_contradicting_start_values_are_high():
    late = small_log(BANKS, extra=no_action(0, b"StartupLocality\0\3", BANKS))
    verdict = judge(late)
    assert (verdict.outcome, codes(verdict)) == (Outcome.UNTRUSTED, ["replay.start"])


def test_notes_are_told():
    assert codes(judge(LOG + b"\xff" * 100)) == ["log.padding"]
    assert codes(judge(small_log(BANKS, extra=no_action(0, spec_id(BANKS)[32:], BANKS)))) == ["event.duplicate-header"]
    assert codes(judge(small_log(BANKS, extra=entry(0, 3, b"x", BANKS)))) == ["event.no-action-digest"]


def test_quotes_are_not_judged_and_say_so():
    verdict = judge(LOG, quotes=[Quote(b"m", b"s")], ima=[ImaList("binary", b"")], userspace_log=b"", ak_cert=b"c")
    assert (verdict.outcome, codes(verdict)) == (Outcome.TRUSTED, ["quote.ignored"])


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 129, "\x1b[31m", "ma\n", "ü", "a\0"])
def test_names_outside_their_alphabet(name):
    verdict = verify(Evidence(name, "b", event_log=LOG), references=References.of([baseline("m")]), policy=POLICY)
    assert (verdict.outcome, codes(verdict)[0]) == (Outcome.ERROR, "evidence.name")
    verdict = verify(Evidence("m", name, event_log=LOG), references=References.of([baseline("m")]), policy=POLICY)
    assert (verdict.outcome, codes(verdict)[0]) == (Outcome.ERROR, "evidence.name")


def test_hostile_text_stays_text():
    log = small_log(BANKS, command_line=b"\x1b]0;owned\x07\xe2\x80\xae\n")
    hint = judge(log).findings[0].hint
    assert "\x1b" not in hint
    assert "\n" not in hint
    assert "became" in hint


def test_findings_have_a_bound():
    flood = b"".join(entry(9, 0xD, str(i).encode(), BANKS) for i in range(500))
    verdict = judge(small_log(BANKS, extra=flood))
    assert verdict.outcome is Outcome.UNTRUSTED
    assert len(verdict.findings) == 101
    assert "400 more" in verdict.findings[-1].hint


def test_evidence_id_is_of_the_evidence_alone():
    ids = {
        judge(LOG).evidence_id,
        judge(LOG, ak_cert=b"").evidence_id,
        judge(LOG, ek_cert=b"").evidence_id,
        judge(LOG, quotes=[]).evidence_id,
        judge(LOG, quotes=[Quote(b"ab", b"")]).evidence_id,
        judge(LOG, quotes=[Quote(b"a", b"b")]).evidence_id,
        judge(None).evidence_id,
        judge(b"").evidence_id,
    }
    assert len(ids) == 8
    again = verify(Evidence("other", "b", event_log=LOG), references=References.of([]), policy=POLICY)
    assert again.evidence_id == judge(LOG).evidence_id


def test_verdict_rows_have_their_schema():
    batch = evidence_batch([Evidence("m", "b", event_log=LOG), Evidence("m", "c")])
    (verdicts,) = verify_batches([batch], references=References.of([baseline("m")]), policy=POLICY, as_of=NOW)
    assert verdicts.schema == VERDICT_SCHEMA
    verdicts.validate(full=True)
    row, absent = verdicts.to_pylist()
    assert row["baseline"] == {"scope": "machine", "id": "m", "version": 1}
    assert row["pcrs_proven"] == []
    assert [proof["bank"] for proof in row["pcrs_unproven"]] == BANKS
    assert row["policy_id"] == POLICY.id
    assert (row["as_of"], row["key"]) == (NOW, "none")
    assert absent["pcrs_unproven"] == []


def test_optional_columns_may_be_missing_and_required_ones_not():
    full = evidence_batch([Evidence("m", "b", event_log=LOG)])
    batch = full.select(["machine", "boot", "event_log"])
    (verdicts,) = verify_batches([batch], references=References.of([baseline("m")]), policy=POLICY, as_of=NOW)
    assert verdicts.column("verdict").to_pylist() == ["trusted"]
    with pytest.raises(UsageError, match="event_log"):
        list(verify_batches([full.select(["machine", "boot"])], references=References.of([]), policy=POLICY, as_of=NOW))
    with pytest.raises(UsageError, match="time zone"):
        list(verify_batches([full], references=References.of([]), policy=POLICY, as_of=datetime.datetime(2026, 1, 1)))
    empty = full.slice(0, 0)
    (verdicts,) = verify_batches([empty], references=References.of([]), policy=POLICY, as_of=NOW)
    assert len(verdicts) == 0


def _strip(verdicts):
    return [{k: v for k, v in row.items() if k != "source"} for batch in verdicts for row in batch.to_pylist()]


ROWS = st.lists(
    st.sampled_from(
        [LOG, None, b"", LOG[:-3], small_log(BANKS, command_line=b"x"), b"garbage" * 30, small_log(["sha512"])]
    ),
    min_size=1,
    max_size=12,
)


@given(rows=ROWS, cut=st.integers(0, 12), data=st.data())
@settings(max_examples=30, deadline=None)
def test_splitting_and_permuting_a_batch_changes_no_verdict(rows, cut, data):
    references = References.of([baseline("m", LOG)])
    evidence = [Evidence("m", f"b{i}", event_log=log) for i, log in enumerate(rows)]
    order = data.draw(st.permutations(range(len(rows))))

    def run(*batches):
        return _strip(verify_batches(batches, references=references, policy=POLICY, as_of=NOW))

    whole = run(evidence_batch(evidence))
    cut = min(cut, len(rows))
    parts = [evidence_batch(part) for part in (evidence[:cut], evidence[cut:]) if part]
    assert run(*parts) == whole
    permuted = run(evidence_batch([evidence[i] for i in order]))
    assert permuted == [whole[i] for i in order]
    assert [run(evidence_batch([item]))[0] for item in evidence] == whole


DIGEST_BYTES = [
    (int(at) + i, bank)
    for row in EventLog.parse(LOG).columns
    if row["type"] != 3 and row["pcr"] not in (1, 5, 6)
    for bank, at in zip(ALGORITHMS, row["digest_at"], strict=True)
    if at != 0xFFFFFFFF
    for i in range(ALGORITHMS[bank][1])
]


@given(where=st.sampled_from(DIGEST_BYTES), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_a_bit_of_any_compared_digest_is_never_trusted(where, bit):
    changed = bytearray(LOG)
    changed[where[0]] ^= 1 << bit
    assert judge(bytes(changed)).outcome is Outcome.UNTRUSTED


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_garbage_is_never_trusted(data):
    assert judge(data).outcome in (Outcome.ERROR, Outcome.UNMEASURED, Outcome.UNTRUSTED)


def test_faults_of_the_archive_are_findings_of_their_row():
    batch = evidence_batch([Evidence("m", "b", event_log=LOG), Evidence("m", "c", event_log=LOG)])
    fault = pa.array([{"code": "evidence.duplicate", "hint": "two logs"}, None])
    batch = batch.append_column("fault", fault)
    (verdicts,) = verify_batches([batch], references=References.of([baseline("m")]), policy=POLICY, as_of=NOW)
    first, second = verdicts.to_pylist()
    assert (first["verdict"], first["findings"][0]["code"]) == ("error", "evidence.duplicate")
    assert (second["verdict"], second["findings"]) == ("trusted", [])


def test_a_cut_log_is_seen_where_another_event_of_its_pcr_changed_too():
    whole = small_log(BANKS, extra=entry(5, 0x80000006, b"disk A", BANKS))
    references = References.of([baseline("m", whole)])
    other = small_log(BANKS, extra=entry(5, 0x80000006, b"disk B", BANKS))
    assert judge(other, references).outcome is Outcome.TRUSTED
    ends = EventLog.parse(other).columns["at"]
    for at in ends[-2:]:
        assert judge(other[: int(at)], references).outcome is Outcome.UNTRUSTED


def test_a_flood_of_differences_takes_no_quadratic_time():
    """Two boots of one hostile machine, 8,000 events each: what took minutes is done in a moment."""

    def flood(word):
        return b"".join(entry(9, 0xD, b"%s%d" % (word, i), ["sha256"]) for i in range(8000))

    references = References.of([baseline("m", small_log(["sha256"], extra=flood(b"a")))])
    verdict = judge(small_log(["sha256"], extra=flood(b"b")), references)
    assert verdict.outcome is Outcome.UNTRUSTED
    assert len(verdict.findings) == 101


@pytest.mark.parametrize(
    "column",
    [("machine", pa.array([1])), ("event_log", pa.array([1])), ("quotes", pa.array(["x"])), ("fault", pa.array(["x"]))],
    ids=lambda column: column[0],
)
def test_columns_of_other_types_are_refused(column):
    batch = evidence_batch([Evidence("m", "b", event_log=LOG)])
    name, array = column
    names = [n for n in batch.schema.names if n != name]
    batch = pa.record_batch([*(batch.column(n) for n in names), array], names=[*names, name])
    with pytest.raises(UsageError, match=name):
        list(verify_batches([batch], references=References.of([]), policy=POLICY, as_of=NOW))


def test_text_in_any_layout_is_text():
    batch = evidence_batch([Evidence("m", "b", event_log=LOG)])
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        names = batch.schema.names
        machine = pa.array(["m"]).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(["m"], kind)
        columns = [machine if n == "machine" else batch.column(n) for n in names]
        (verdicts,) = verify_batches(
            [pa.record_batch(columns, names=names)], references=References.of([baseline("m")]), policy=POLICY, as_of=NOW
        )
        assert verdicts.column("verdict").to_pylist() == ["trusted"]


def test_things_that_are_no_logs_are_refused():
    for thing in ("text", None, 5):
        with pytest.raises(UsageError):
            EventLog.read(thing)
        with pytest.raises(UsageError):
            replay([thing] if thing is not None else thing)


def test_the_table_of_findings_is_whole():
    assert all(code.name == name for name, code in CODES.items())
    assert {c.name for c in CODES.values() if c.effect is Effect.UNMEASURED} == {
        "evidence.absent",
        "log.absent",
        "baseline.absent",
        "baseline.pending",
    }
