"""Our own form of baselines: nothing is lost, equal things stand there once, and what is not exactly so is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from baselines_by_hand import everything, of_log
from conftest import shared, small_log
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify import EventLog, PyverifyError, References, UsageError
from pyverify.algorithms import BANKS
from pyverify.baseline.interchange import own_json
from pyverify.baseline.model import Allowed, Baseline, EventSequence, Origin, State, event_sequences


def printed(*baselines: Baseline) -> bytes:
    return "".join(own_json.export(baselines)).encode("ascii")


FILE = printed(everything(), of_log())


def changed(change) -> bytes:
    file = json.loads(FILE)
    change(file)
    return json.dumps(file).encode()


def test_what_is_read_is_what_was_written():
    baselines = [everything(), of_log(), of_log(name="n", log=small_log(["sm3_256", "sha512"]), banks=())]
    assert own_json.read(printed(*baselines)) == baselines


def test_baselines_come_back_as_the_same_references():
    baselines = [everything(), of_log(name="a"), of_log(name="b")]
    assert References.of(own_json.read(printed(*baselines))).id == References.of(baselines).id


def test_recorded_boots_come_back():
    logs = sorted(shared("recordings").glob("*/binary_bios_measurements"))
    baselines = [of_log(p.read_bytes(), name=p.parent.name) for p in logs if p.stat().st_size]
    assert len(baselines) > 60
    assert own_json.read(printed(*baselines)) == baselines


def test_the_bytes_do_not_hang_on_the_order_of_the_baselines():
    baselines = [of_log(name="a"), everything(), of_log(name="b"), replace(of_log(name="a"), version=2)]
    assert printed(*baselines) == printed(*reversed(baselines))


def test_what_machines_share_is_there_once():
    def size(n: int) -> int:
        known: dict[bytes, EventSequence] = {}
        log = EventLog.parse(small_log(["sha1", "sha256"]))
        one = replace(everything(), scope="machine")
        of_pcrs = [tuple(Allowed(s) for s in (sequence,)) for sequence in event_sequences(log, known)]
        machines = [replace(one, id=f"m{i:06}", allowed=tuple(of_pcrs)) for i in range(n)]
        return len(printed(*machines))

    file = json.loads(printed(*(of_log(name=f"m{i}") for i in range(50))))
    assert len(file["profiles"]) == 1
    assert len(file["sequences"]) < 24
    assert (size(300) - size(100)) / 200 < 1000  # bytes a machine, of which two sets are named by their keys


def test_shared_values_are_one_object():
    first, second = own_json.read(printed(of_log(name="a"), of_log(name="b")))
    assert first.allowed is second.allowed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.update(extra=1), r"\$ has an unknown key “extra”; allowed are format"),
        (lambda f: f.update(version=2), r"\$\.version is 2; allowed is 1"),
        (lambda f: f.update(version=True), r"\$\.version"),
        (lambda f: f.update(format="other"), r"\$\.format"),
        (lambda f: f.pop("profiles"), r"\$ lacks profiles"),
        (lambda f: f["baselines"].append(f["baselines"][0]), r"\$\.baselines\[2\].* is there twice"),
        (lambda f: f["baselines"][0].update(note="x"), r"\$\.baselines\[0\] has an unknown key"),
        (lambda f: f["baselines"][0].pop("origin"), r"\$\.baselines\[0\] lacks origin"),
        (lambda f: f["baselines"][0].update(state="trusted"), r"\.state is .*allowed is one of pending, active"),
        (lambda f: f["baselines"][0].update(origin="me"), r"\.origin is .*first-seen"),
        (lambda f: f["baselines"][0].update(scope="fleet"), r"\.scope is .*machine or cohort"),
        (lambda f: f["baselines"][0].update(id="../x"), "cannot be the name"),
        (lambda f: f["baselines"][0].update(id="a\u202eb"), r"a\\u202eb"),
        (lambda f: f["baselines"][0].update(boot="a/b"), r"\.boot is"),
        (lambda f: f["baselines"][0].update(version=0), r"\.version is 0"),
        (lambda f: f["baselines"][0].update(version=1.0), r"\.version is .*a whole number"),
        (lambda f: f["baselines"][0].update(ima_violations=-1), r"\.ima_violations is -1"),
        (lambda f: f["baselines"][0].update(log_banks=[]), r"\.log_banks is empty"),
        (lambda f: f["baselines"][0].update(log_banks=["sha256", "sha1"]), r"\.log_banks is out of order"),
        (lambda f: f["baselines"][0].update(log_banks=["sha256", "sha256"]), r"\.log_banks is out of order"),
        (
            lambda f: f["baselines"][0].update(quoted_banks=["md5"]),
            r"quoted_banks\[0\] is .md5.; allowed is one of sha1",
        ),
        (lambda f: f["baselines"][0].update(quoted_banks=["SHA256"]), r"quoted_banks\[0\]"),
        (lambda f: f["baselines"][0].update(profile="0" * 64), r"\.profile is .*a key of \$\.profiles"),
        (lambda f: f["baselines"][0].update(ima_set="0" * 64), r"\.ima_set is .*a key of \$\.ima_sets"),
        (lambda f: f["baselines"][0].update(ima_set=None), r"\$\.ima_sets\..* is not referred to"),
        (lambda f: f["baselines"].pop(), "is not referred to"),
        (lambda f: f["baselines"][0].update(evidence_id="ab"), r"\.evidence_id is .*64 lower-case"),
        (lambda f: f["baselines"][0]["accepted"][0].update(code="no.such"), r"accepted\[0\]\.code"),
        (lambda f: f["baselines"][0]["accepted"][0].update(code="quote.unfresh"), r"accepted\[0\]\.code"),
        (lambda f: f["baselines"][0]["accepted"][0].update(pcr=None), r"accepted\[0\]\.pcr"),
        (lambda f: f["baselines"][0]["accepted"][0].update(pcr=7), r"accepted\[0\]\.pcr is 7"),
        (lambda f: f["baselines"][0]["accepted"][0].update(pcr=24), r"accepted\[0\]\.pcr is 24"),
        (lambda f: f["baselines"][0]["accepted"][0].update(reason="a\x1b[2J"), r"accepted\[0\]\.reason"),
        (lambda f: f["baselines"][0]["ima_superseded"][0].update(until="2026-13-01T00:00:00.000000Z"), r"\.until is"),
        (lambda f: f["baselines"][0]["ima_superseded"][0].update(until="2026-12-01T00:00:00Z"), r"\.until is"),
    ],
)
def test_a_file_that_is_not_exactly_so_is_refused_with_the_place(change, words):
    with pytest.raises(UsageError, match=words):
        own_json.read(changed(change))


def sequence(**changes) -> bytes:
    """A file with one sequence changed; its key no longer fits, but what is wrong with it is said first."""

    def change(file):
        table = file["sequences"]
        key = everything().allowed[8][0].sequence.key.hex()
        table[key] = {**table[key], **changes}

    return changed(change)


DIGEST = everything().allowed[8][0].sequence.digests["sha256"].hex()


@pytest.mark.parametrize(
    "digest",
    [
        DIGEST.upper(),
        "0x" + DIGEST,
        DIGEST[:-2],
        DIGEST + "00",
        DIGEST[:-1],
        " " + DIGEST[1:],
        DIGEST.lstrip("0")[1:],
        "\u0661" + DIGEST[1:],
        7,
        None,
        [DIGEST],
    ],
)
def test_a_digest_has_one_form(digest):
    """SPEC attacks 103 and 104."""
    words = r"\.digests\.sha256\[0\] is .*allowed is a sha256 digest: 64 lower-case hexadecimal digits"
    with pytest.raises(UsageError, match=words):
        own_json.read(sequence(digests={"sha256": [digest]}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digests": {}}, "allowed are digests of events in some bank, or values"),
        ({"digests": {"sha256": []}}, "has 0 digests for 1 events"),
        ({"digests": {"sha256": [DIGEST, DIGEST]}}, "has 2 digests for 1 events"),
        ({"digests": {"md5": [DIGEST]}}, "md5.*allowed is one of sha1"),
        ({"digests": {"sm3": [DIGEST]}}, "sm3.*allowed is one of sha1"),
        ({"values": {"sha256": DIGEST}}, "not both"),
        ({"types": []}, "0 types and 1 texts"),
        ({"types": [True]}, r"\.types\[0\] is true or false"),
        ({"types": [1 << 32]}, r"\.types\[0\]"),
        ({"texts": ["a\nb"]}, r"\.texts\[0\] is"),
        ({"texts": ["\ud800"]}, r"\.texts\[0\] is"),
        ({"texts": ["x" * 241]}, r"\.texts\[0\] is"),
        ({"varies": [1]}, r"\.varies\[0\] is 1"),
        ({"varies": [0, 0]}, r"\.varies has 2 items"),
        ({"start": 256}, r"\.start is 256"),
        (
            {"types": [1, 1], "texts": ["a", "b"], "digests": {"sha256": [DIGEST, DIGEST]}, "varies": [1, 0]},
            r"\.varies\[1\] is 0; allowed is a whole number from 2 to 1",
        ),
        ({"varies": []}, "is not what its key says"),
        ({"digests": {"sm3_256": [DIGEST]}}, "is not what its key says"),
    ],
)
def test_a_sequence_that_says_less_or_something_else_is_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        own_json.read(sequence(**changes))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.pop(), "has 23 PCRs; allowed are 24"),
        (lambda p: p.append([]), "has 25 items"),
        (lambda p: p[8].append(p[8][0]), "allows one sequence twice"),
        (lambda p: p[8][0].update(keep=True), "only one of until and keep"),
        (lambda p: p[8].clear(), "is not what its key says"),
        (lambda p: [of_pcr.clear() for of_pcr in p], "allows nothing in any PCR"),
        (lambda p: p[8][0].update(sequence="0" * 64), r"a key of \$\.sequences"),
    ],
)
def test_a_profile_that_allows_otherwise_is_refused(change, words):
    def of_all(file):
        for profile in file["profiles"].values():
            change(profile)

    with pytest.raises(UsageError, match=words):
        own_json.read(changed(of_all))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"/bin/sh": []}, "has no digest"),
        ({"/bin/sh": ["sha256:" + DIGEST, "sha256:" + DIGEST]}, "has one digest twice"),
        ({"/bin/sh": [DIGEST]}, r"allowed is \[verity:\]"),
        ({"/bin/sh": ["sha256:" + DIGEST.upper()]}, r"allowed is \[verity:\]"),
        ({"/bin/sh": ["sha384:" + DIGEST]}, r"allowed is \[verity:\]"),
        ({"/bin/sh": ["buffer:verity:sha256:" + DIGEST]}, r"allowed is \[verity:\]"),
        ({"/bin/sh": ["sm3-256:" + DIGEST]}, "this algorithm is called sm3"),
        ({"/bin/\udcc3\udca9": ["sha256:" + DIGEST]}, "surrogates that stand for no byte"),
        ({"/bin/\ud800": ["sha256:" + DIGEST]}, "surrogates that stand for no byte"),
        ({"/bin/sh": ["sha256:" + DIGEST]}, "is not what its key says"),
    ],
)
def test_an_ima_set_that_is_not_exactly_so_is_refused(members, words):
    def change(file):
        file["ima_sets"][everything().ima.key.hex()] = members

    with pytest.raises(UsageError, match=words):
        own_json.read(changed(change))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not strict JSON"),
        (b"[]", r"\$ is a list; allowed is an object"),
        (b"null", r"\$ is null"),
        (FILE + b"x", "not strict JSON"),
        (FILE.replace(b'"version":1,\n', b'"version":1,"version":1,\n', 1), "a key stands there twice"),
        (b'{"format":NaN}', "not strict JSON"),
        (b"[" * 200_000, "not strict JSON"),
        (b'{"format":"\xff"}', "not UTF-8"),
    ],
)
def test_a_text_that_is_not_strict_json_is_refused(data, words):
    with pytest.raises(UsageError, match=words):
        own_json.read(data)


def test_two_versions_of_one_key_are_not_written():
    with pytest.raises(UsageError, match="machine m 1 is there twice"):
        printed(of_log(), of_log())


names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True)
words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@st.composite
def sequences(draw):
    if draw(st.booleans()):
        chosen = draw(st.lists(st.sampled_from(BANKS), min_size=1, unique=True))
        return EventSequence(
            0, (), (), {}, (), {b.name: draw(st.binary(min_size=b.size, max_size=b.size)) for b in chosen}
        )
    n = draw(st.integers(0, 4))
    chosen = draw(st.lists(st.sampled_from(BANKS), min_size=1, unique=True))
    digests = {b.name: draw(st.binary(min_size=n * b.size, max_size=n * b.size)) for b in chosen}
    types = tuple(draw(st.lists(st.integers(0, 0xFFFFFFFF), min_size=n, max_size=n)))
    texts = tuple(draw(st.lists(words, min_size=n, max_size=n)))
    varies = tuple(sorted(draw(st.sets(st.integers(0, n - 1))))) if n else ()
    return EventSequence(draw(st.sampled_from([0, 3, 4, 255])), types, texts, digests, varies)


@st.composite
def baselines(draw):
    until = st.one_of(st.none(), st.datetimes(timezones=st.just(everything().ima_superseded[0].until.tzinfo)))

    def allowed(sequence):
        ends = draw(until)
        return Allowed(sequence, ends, ends is not None and draw(st.booleans()))

    of_pcrs = [
        tuple(allowed(s) for s in draw(st.lists(sequences(), max_size=2, unique_by=lambda s: s.key))) for _ in range(3)
    ]
    of_pcrs[0] = of_pcrs[0] or (Allowed(EventSequence(0, (), (), {"sha256": b""})),)
    return of_log(
        name=draw(names),
        scope=draw(st.sampled_from(["machine", "cohort"])),
        version=draw(st.integers(1, (1 << 31) - 1)),
        state=draw(st.sampled_from(list(State))),
        origin=draw(st.sampled_from(list(Origin))),
        allowed=tuple(of_pcrs + [()] * 21),
        evidence_id=draw(st.binary(min_size=32, max_size=32)),
    )


@given(st.lists(baselines(), max_size=3, unique_by=lambda b: (b.scope, b.id, b.version)))
@settings(max_examples=60, deadline=None)
def test_read_and_write_are_each_others_reverse(items):
    text = printed(*items)
    again = own_json.read(text)
    assert again == sorted(items, key=lambda b: (b.scope, b.id, b.version))
    assert printed(*again) == text


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_refused_or_says_the_same(data):
    """Bytes changed, cut or doubled never raise anything but our own errors, and never pass for another baseline."""
    at = data.draw(st.integers(0, len(FILE) - 1))
    end = data.draw(st.integers(at, min(at + 80, len(FILE))))
    new = data.draw(
        st.one_of(st.binary(max_size=3), st.sampled_from([b"", b"[]", b"{}", b"null", b"0", FILE[at:end] * 2]))
    )
    damaged = FILE[:at] + new + FILE[end:]
    try:
        found = own_json.read(damaged)
    except PyverifyError:
        return
    for one, other in zip(found, own_json.read(FILE), strict=True):
        # Keys bind all that is shared; what stands in a baseline's own row may be read as it is written there.
        assert (one.allowed, one.ima) == (other.allowed, other.ima)
