"""IMA lists: what is read of them, what they replay to, and which part of them a PCR proves (SPEC 7)."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from conftest import ALGORITHMS, DATA, hash_of, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import (
    FIELDS,
    a_digest,
    a_list,
    aggregate,
    data_of,
    digest_field,
    entry,
    field,
    legacy,
    replay,
    walk,
)

from pyverify import _native
from pyverify.algorithms import bank as bank_of
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import FORMATS, Flag, scan
from pyverify.evidence.ima_list import ImaList
from pyverify.evidence.ima_relabelled import relabelled
from pyverify.evidence.ima_replay import BootAggregate, ImaReplay, Mode, boot_aggregate

LISTS = sorted(path for path in (DATA / "ima").iterdir() if path.suffix != ".json")
PCRS = json.loads((DATA / "ima" / "pcrs.json").read_text())


def columns_of(*lists: bytes, format: str = "binary"):
    return scan(Ragged.of(list(lists)), [format] * len(lists))


def row(value: bytes) -> np.ndarray:
    return np.frombuffer(value, np.uint8)[None]


def fault_of(columns, index: int = 0):
    code = _native.ima_fault_code(int(columns.rows["fault"][index]))
    return (code, int(columns.rows["fault_at"][index])) if code else None


# What the TPM held: our recordings.


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_recorded_list_leads_to_what_the_tpm_held_in_every_bank(path):
    columns = columns_of(path.read_bytes(), format=path.suffix[1:])
    assert fault_of(columns) is None
    expected = {bank: bytes.fromhex(value) for bank, value in PCRS[path.stem]["pcr10"].items()}
    found = ImaReplay(columns).find_prefix({bank: row(value) for bank, value in expected.items()})
    assert found.proven.tolist() == [len(columns.entries)]
    assert found.entries(columns).all()
    for bank, value in expected.items():
        assert found.values[bank].tobytes() == value, bank
    assert not ImaReplay(columns).mismatches().any()


def test_all_recordings_lead_to_what_the_tpm_held_in_one_batch():
    folder = shared("recordings")
    files = sorted(folder.glob("*/ima/*_runtime_measurements*"))
    assert len(files) > 150
    formats = [file.name.replace("_runtime_measurements", "") for file in files]
    columns = scan(Ragged.of([file.read_bytes() for file in files]), formats)
    targets = {name: np.zeros((len(files), size), np.uint8) for name, (_, size) in ALGORITHMS.items()}
    given_ = {name: np.zeros(len(files), np.bool_) for name in ALGORITHMS}
    for i, file in enumerate(files):
        for line in (file.parent.parent / "pcrs_after_logs.txt").read_text().splitlines():
            name, pcr, value = line.split()
            if pcr == "10":
                targets[bank_of(name).name][i] = np.frombuffer(bytes.fromhex(value), np.uint8)
                given_[bank_of(name).name][i] = True
    replayed = ImaReplay(columns)
    found = replayed.find_prefix(targets, given=given_)
    assert not columns.rows["fault"].any()
    assert found.proven.tolist() == columns.rows["n_entries"].tolist()
    assert not replayed.mismatches().any()
    assert not relabelled(columns).any()
    assert given_["sm3_256"].sum() >= 5
    modes = {(bank, mode) for bank in found.modes for mode in found.modes[bank][given_[bank]].tolist()}
    assert {("sm3_256", Mode.OWN), ("sm3_256", Mode.PADDED), ("sha384", Mode.PADDED_DIGESTS)} <= modes


def test_a_text_list_and_its_binary_form_have_equal_entries():
    folder = shared("recordings")
    for text in sorted(folder.glob("*/ima/ascii_runtime_measurements*")):
        binary = text.parent / text.name.replace("ascii", "binary")
        formats = [name.replace("_runtime_measurements", "") for name in (text.name, binary.name)]
        columns = scan(Ragged.of([text.read_bytes(), binary.read_bytes()]), formats)
        assert columns.lists[0] == columns.lists[1] == binary.read_bytes()


def test_a_list_longer_than_the_quote_is_proven_up_to_the_quote():
    folder = shared("recordings", "27_ima_list_longer_than_quote")
    data = (folder / "ima" / "binary_runtime_measurements").read_bytes()
    targets = {}
    for line in (folder / "pcrs_before.txt").read_text().splitlines():
        name, pcr, value = line.split()
        if pcr == "10":
            targets[bank_of(name).name] = row(bytes.fromhex(value))
    columns = columns_of(data)
    found = ImaReplay(columns).find_prefix(targets)
    assert found.proven.tolist() == [57]
    assert found.entries(columns).tolist() == [True] * 57 + [False] * 5


# What other people's TPMs held, and other people's broken lists.


def _corpus(folder: str = "."):
    root = shared("corpus", folder)
    records = json.loads((root / "manifest.json").read_text())
    for record in records:
        if record["kind"].startswith("ima-"):
            bank = (record.get("banks") or ["sha1"])[0]
            kind = {"ima-bin": "binary", "ima-ascii": "ascii"}[record["kind"]]
            data = (shared("corpus") / record["file"]).read_bytes()
            yield record, columns_of(data, format=kind if bank == "sha1" else f"{kind}_{bank}")


# Quoted in a test's source, where the trailing blanks of ima-sig lines were lost: no kernel writes such a list.
_WITHOUT_TRAILING_BLANKS = ("test_ima_verification.ima.txt", "test_ima_ast.ima.txt")


def test_every_list_of_the_corpus_has_the_entries_and_values_of_the_manifest():
    seen = compared = 0
    for record, columns in _corpus():
        if record["file"].endswith(_WITHOUT_TRAILING_BLANKS):
            assert fault_of(columns)[0] == "ima.format", record["file"]
            continue
        replayed = ImaReplay(columns)
        census = record["census"]
        assert fault_of(columns) is None, record["file"]
        assert len(columns.entries) == record["n_events"], record["file"]
        assert columns.rows["n_violations"][0] == census["violations"], record["file"]
        assert replayed.mismatches().sum() == census["template_hash_bad"], record["file"]
        stated = (record.get("expected_pcrs") or {}).get("values", {})
        if targets := {bank: row(bytes.fromhex(pcrs["10"])) for bank, pcrs in stated.items() if "10" in pcrs}:
            assert replayed.find_prefix(targets).proven.tolist() == [record["n_events"]], record["file"]
            compared += len(targets)
        seen += 1
    assert seen >= 22
    assert compared >= 20


MALFORMED = {
    "sml-ima-ng-sha1.bin": ("ima.truncated", 558, 6),
    "sml-ima-sha1.bin": ("ima.truncated", 916, 12),
    "sml-ima-sig-sha256.bin": ("ima.truncated", 987, 9),
    "invalid_ima_log.txt": ("ima.format", 0, 0),
    "ima-log-unknown": ("ima.format", 3, 0),  # its digests are SHA-256's, its name says nothing of it
    "ima-log-sm3_256": ("ima.format", 3, 0),
    "test_ima_verification.py": ("ima.format", 124, 0),
}


def test_malformed_lists_of_the_corpus_have_a_fault_or_a_finding():
    seen = set()
    for record, columns in _corpus("malformed"):
        name = next((name for name in MALFORMED if record["file"].endswith(name)), None)
        if name:
            code, at, entries = MALFORMED[name]
            assert (*fault_of(columns), len(columns.entries)) == (code, at, entries), record["file"]
            seen.add(name)
        elif "invalidated" in record["file"]:
            assert columns.rows["n_violations"][0] == 1
        else:
            assert np.flatnonzero(ImaReplay(columns).mismatches()).tolist() == [208]
    assert seen == set(MALFORMED)


# Known answers.


def test_template_digests_of_the_known_entry():
    answers = json.loads((DATA / "kat.json").read_text())
    data = bytes.fromhex(
        "280000007368613235363a000000000000000000000000000000000000000000000000000000000000000000"
        "0f000000626f6f745f61676772656761746500"
    )
    replayed = ImaReplay(columns_of(entry(data)))
    assert replayed.template_digest(0, "sha1").hex() == "0adefe762c149c7cec19da62f0da1297fcfbffff"
    assert replayed.template_digest(0, "sm3_256").hex().startswith("68c21044639a8677")
    known = json.dumps(answers)
    for bank in ALGORITHMS:
        assert replayed.template_digest(0, bank).hex() in known, bank
        assert replayed.replay(bank).tobytes().hex() in known, bank
        assert replayed.replay(bank, mode=Mode.PADDED).tobytes().hex() in known, bank


def test_a_legacy_entry_is_hashed_with_its_name_padded():
    columns = columns_of(legacy(b"boot_aggregate", bytes(20)))
    assert ImaReplay(columns).template_digest(0, "sha1").hex() == "719de8e521439498e9b77f6ed41e230b9821111e"
    longest = legacy(b"/" + b"x" * 254, a_digest(1, "sha1"))
    assert not ImaReplay(columns_of(longest)).mismatches().any()
    assert fault_of(columns_of(legacy(b"/" + b"x" * 255, bytes(20)))) == ("ima.format", 4 + 20 + 4 + 3 + 20)


def test_one_violation_extends_ones():
    columns = columns_of(entry(data_of("/x", bytes(32)), shown=bytes(20)))
    known = (DATA / "kat.json").read_text()
    for bank in ALGORITHMS:
        value = ImaReplay(columns).replay(bank).tobytes()
        assert value == hash_of(bank, bytes(ALGORITHMS[bank][1]) + b"\xff" * ALGORITHMS[bank][1])
        assert value.hex() in known


# Formats.


def test_formats_are_those_that_kernels_name():
    assert FORMATS["binary"] == FORMATS["binary_sha1"]
    assert FORMATS["ascii_sm3"] == FORMATS["ascii_sm3-256"] == FORMATS["ascii_tpm_alg_12"]
    assert FORMATS["ascii_sm3"][1].name == "sm3_256"
    columns = scan(Ragged.of([a_list(["/a"]), a_list(["/b"])]), ["binary_md5", "binary"])
    assert fault_of(columns) == ("ima.format", 0)
    assert columns.rows["n_entries"].tolist() == [0, 2]
    with pytest.raises(UsageError, match="2 formats"):
        scan(Ragged.of([b""]), ["binary", "binary"])
    with pytest.raises(UsageError, match="binary_md5"):
        ImaList.read(b"", "binary_md5")


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_a_list_of_any_bank_shows_that_banks_digests(bank):
    data = data_of("/a", a_digest(1))
    lists = [entry(data, bank=bank), entry(data, shown=b"\1" * ALGORITHMS[bank][1])]
    padded = entry(data, shown=hash_of("sha1", data).ljust(ALGORITHMS[bank][1], b"\0"))
    columns = columns_of(*lists, padded, format=f"binary_{bank}")
    assert not columns.rows["fault"].any()
    assert ImaReplay(columns).mismatches().tolist() == [False, True, False]


def ascii_line(pcr: int, template: str, *texts: str) -> bytes:
    """A line as the kernel prints it, with a made-up digest."""
    return " ".join([f"{pcr:2d}", "ab" * 20, template, *texts]).encode() + b"\n"


GOOD = "sha256:" + "cd" * 32
SHA1_HEX = "ef" * 20
TEXTS = {
    "ima": ("ima", SHA1_HEX, "/a"),
    "ima-ng": ("ima-ng", GOOD, "/a"),
    "early d-ng": ("ima-ng", SHA1_HEX, "/a"),
    "ima-sig": ("ima-sig", GOOD, "/a", "0302"),
    "ima-sig without": ("ima-sig", GOOD, "/a", ""),
    "ima-ngv2": ("ima-ngv2", "verity:" + GOOD, "/a"),
    "ima-sigv2": ("ima-sigv2", "ima:" + GOOD, "/a", "03"),
    "ima-buf": ("ima-buf", GOOD, "kexec-cmdline", "00ff"),
    "ima-modsig": ("ima-modsig", GOOD, "/a", "", GOOD, "30"),
    "ima-modsig without": ("ima-modsig", GOOD, "/a", "", "", ""),
    "evm-sig": ("evm-sig", GOOD, "/a", "05", "security.ima", "04", "0102", "0", "65534", "33188"),
    "custom": ("d-ng|n-ng|iuid|igid|imode", GOOD, "boot_aggregate", "", "", ""),
    "d alone": ("d|n", SHA1_HEX, "/a"),
}


@pytest.mark.parametrize("texts", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("pcr", [9, 10])
def test_text_is_translated_to_the_bytes_that_the_kernel_hashed(texts, pcr):
    columns = columns_of(ascii_line(pcr, *texts), format="ascii")
    assert fault_of(columns) is None
    template = texts[0]
    ((own, shown, name, message),) = walk(columns.lists[0])
    assert (own, shown, name) == (pcr, b"\xab" * 20, template)
    if template == "ima":
        assert message == b"\xef" * 20 + b"/a".ljust(256, b"\0")
        return
    fields, at = [], 0
    while at < len(message):
        size = struct.unpack_from("<I", message, at)[0]
        fields.append(message[at + 4 : at + 4 + size])
        at += 4 + size
    if template in FIELDS:
        assert len(fields) == FIELDS[template]
    assert fields[1] == texts[2].encode() + b"\0"
    digest = texts[1]
    if template == "d|n":
        assert fields[0] == b"\xef" * 20
    else:
        prefix, _, hexadecimal = digest.rpartition(":")
        assert fields[0] == prefix.encode() + b":\0" + bytes.fromhex(hexadecimal)
    if template == "evm-sig":
        assert fields[2:] == [
            b"\5", b"security.ima\0", b"\4", b"\1\2", bytes(4), struct.pack("<I", 65534), struct.pack("<H", 33188)
        ]  # fmt: skip
    if template == "d-ng|n-ng|iuid|igid|imode":
        assert fields[2:] == [b"", b"", b""]


BAD_LINES = {
    "no newline": (ascii_line(10, "ima-ng", GOOD, "/a")[:-1], "ima.truncated", 0),
    "PCR of one character": (ascii_line(9, "ima-ng", GOOD, "/a")[1:], "ima.format", 0),
    "PCR 24": (ascii_line(24, "ima-ng", GOOD, "/a"), "ima.format", 0),
    "a PCR with a leading zero": (b"0" + ascii_line(9, "ima-ng", GOOD, "/a")[1:], "ima.format", 0),
    "short digest": (b"10 abcd ima-ng " + GOOD.encode() + b" /a\n", "ima.format", 3),
    "upper-case digest": (ascii_line(10, "ima-ng", GOOD, "/a").replace(b"abab", b"ABAB"), "ima.format", 3),
    "unknown template": (ascii_line(10, "ima-xy", GOOD, "/a"), "ima.template", 44),
    "a field too few": (ascii_line(10, "ima-sig", GOOD, "/a"), "ima.format", 124),
    "a field too many": (ascii_line(10, "ima-ng", GOOD, "/a", ""), "ima.format", 123 - 0),
    "a blank in a name": (ascii_line(10, "ima-ng", GOOD, "/a b"), "ima.format", 123),
    "odd hexadecimal digits": (ascii_line(10, "ima-ng", GOOD + "a", "/a"), "ima.format", 51),
    "a digest without hexadecimal digits": (ascii_line(10, "ima-ng", "sha256:", "/a"), "ima.format", 51),
    "a colon alone": (ascii_line(10, "ima-ng", ":" + SHA1_HEX, "/a"), "ima.format", 51),
    "no type": (ascii_line(10, "ima-ngv2", GOOD, "/a"), "ima.format", 53),
    "a NUL": (ascii_line(10, "ima-ng", GOOD, "/a\0b"), "ima.format", 125),
    "a number with a leading zero": (ascii_line(10, "n-ng|iuid", "/a", "01"), "ima.format", 57),
    "a number too large": (ascii_line(10, "n-ng|imode", "/a", "65536"), "ima.format", 58),
    "an empty line": (b"\n", "ima.format", 0),
    "carriage returns": (ascii_line(10, "ima-ng", GOOD, "/a").replace(b"\n", b"\r\n") + b"x", "ima.truncated", 127),
}


@pytest.mark.parametrize(("text", "code", "at"), BAD_LINES.values(), ids=BAD_LINES)
def test_text_that_no_kernel_prints_is_a_fault(text, code, at):
    columns = columns_of(text, format="ascii")
    assert fault_of(columns) == (code, at)


def test_attack_93_a_line_break_in_a_name_is_a_fault_or_breaks_the_replay():
    """A name with a line break tears its own line; what follows must be a whole line to be read, and is not proven."""
    hostile = b"/a\n10 " + b"00" * 20 + b" ima-ng " + GOOD.encode() + b" /usr/bin/good"
    binary = entry(data_of(hostile, a_digest(1)))
    shown = binary[4:24].hex().encode()
    text = b"10 " + shown + b" ima-ng sha256:" + a_digest(1).hex().encode() + b" " + hostile + b"\n"
    columns = columns_of(text, format="ascii")
    assert columns.rows["n_entries"].tolist() == [2]
    value = row(replay(binary, "sha256"))
    assert ImaReplay(columns).find_prefix({"sha256": value}).proven.tolist() == [-1]
    assert ImaReplay(columns).mismatches().tolist()[0]
    broken = text.replace(b"10 " + b"00" * 20, b"xx")
    assert fault_of(columns_of(broken, format="ascii"))[0] == "ima.format"


# A fault and its list.


def test_a_list_with_a_fault_does_not_disturb_its_neighbours_and_proves_nothing():
    good, bad = a_list(["/a", "/b"]), a_list(["/a", "/b"])[:-1]
    columns = columns_of(good, bad, good)
    assert columns.rows["n_entries"].tolist() == [3, 2, 3]
    assert fault_of(columns, 1)[0] == "ima.truncated"
    values = np.concatenate([row(replay(good, "sha256"))] * 3)
    replayed = ImaReplay(columns)
    assert replayed.replay("sha256")[1].tobytes() == bytes(32)
    assert replayed.find_prefix({"sha256": values}).proven.tolist() == [3, -1, 3]
    assert replayed.find_prefix({"sha256": np.zeros((3, 32), np.uint8)}).proven.tolist() == [0, -1, 0]
    with pytest.raises(EvidenceError, match=r"ima\.truncated at byte 190") as caught:
        ImaList.parse(bad)
    assert (caught.value.offset, caught.value.event) == (190, 2)


def test_a_big_endian_list_is_told_from_a_broken_one():
    message = digest_field("sha256", bytes(32)) + field(b"boot_aggregate\0")
    big = struct.pack(">I", 10) + bytes(20) + struct.pack(">I", 6) + b"ima-ng" + message
    with pytest.raises(EvidenceError, match="ima_canonical_fmt") as caught:
        ImaList.parse(big)
    assert caught.value.code == "ima.endianness"
    assert fault_of(columns_of(aggregate() + big))[0] == "ima.format"


def test_an_empty_list_has_no_entries():
    columns = columns_of(b"")
    assert fault_of(columns) is None
    with pytest.raises(EvidenceError) as caught:
        ImaList.parse(b"")
    assert caught.value.code == "ima.empty"
    absent = scan(Ragged.of([None, a_list([])]), ["binary", "ascii"])
    assert absent.rows["n_entries"].tolist() == [0, 0]


# Replay.


@pytest.mark.parametrize("bank", ALGORITHMS)
@pytest.mark.parametrize("mode", [Mode.OWN, Mode.PADDED])
def test_replay_is_as_by_hand(bank, mode):
    if bank == "sha1" and mode != Mode.OWN:
        pytest.skip("SHA-1's own digests need no padding")
    lists = [a_list([f"/{i}/{k}" for k in range(i)]) for i in (0, 1, 5, 40)]
    lists.append(aggregate() + entry(data_of("/v", bytes(32)), shown=bytes(20)) + legacy(b"/l", bytes(20)))
    replayed = ImaReplay(columns_of(*lists))
    values = replayed.replay(bank, mode=mode)
    expected = [replay(data, bank, padded=mode == Mode.PADDED) for data in lists]
    assert [value.tobytes() for value in values] == expected
    found = replayed.find_prefix({bank: np.ascontiguousarray(values)})
    assert found.proven.tolist() == replayed.columns.rows["n_entries"].tolist()
    assert set(found.modes[bank].tolist()) == {mode}


def test_every_prefix_is_found_by_its_values_on_every_kernel():
    data = a_list([f"/{k}" for k in range(30)])
    values = [replay(data, "sha256", entries=k) for k in range(32)]
    columns = columns_of(*[data] * 32)
    targets = np.concatenate([row(value) for value in values])
    for isa in (None, *_native.variants(1)):
        found = ImaReplay(columns, isa=isa).find_prefix({"sha256": targets})
        assert found.proven.tolist() == list(range(32)), isa


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_seek_is_extend_that_stops(data):
    bank = data.draw(st.sampled_from(list(ALGORITHMS)))
    isa = data.draw(st.sampled_from([None, *_native.variants(bank_of(bank).index)]))
    lengths = data.draw(st.lists(st.integers(0, 40), max_size=40))
    size, index = ALGORITHMS[bank][1], bank_of(bank).index
    random = np.random.default_rng(sum(lengths))
    at = np.cumsum([0, *lengths]).astype(np.uint64)
    digests = random.integers(0, 256, (int(at[-1]), size), np.uint8)
    stops = [data.draw(st.integers(-1, n)) for n in lengths]
    starts = random.integers(0, 256, (len(lengths), size), np.uint8)
    targets = random.integers(0, 256, (len(lengths), size), np.uint8)
    ends = starts.copy()
    for c, (n, stop) in enumerate(zip(lengths, stops, strict=True)):
        value = starts[c].tobytes()
        for k in range(n if stop < 0 else stop):
            value = hash_of(bank, value + digests[int(at[c]) + k].tobytes())
        ends[c] = np.frombuffer(value, np.uint8)
        if stop >= 0:
            targets[c] = ends[c]
    values = starts.copy()
    found = _native.seek(index, digests, at, values, targets, isa)
    assert found.tolist() == [_native.NO_PREFIX if stop < 0 else stop for stop in stops]
    assert (values == ends).all()


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_a_trace_has_the_value_of_every_prefix(bank):
    data = a_list([f"/{k}" for k in range(5)])
    columns = columns_of(b"", data)
    expected = [replay(data, bank, entries=k) for k in range(7)]
    for isa in (None, *_native.variants(bank_of(bank).index)):
        assert [value.tobytes() for value in ImaReplay(columns, isa=isa).trace(1, bank)] == expected, isa
    assert ImaReplay(columns).trace(0, bank).tolist() == [[0] * ALGORITHMS[bank][1]]
    with pytest.raises(UsageError):
        ImaReplay(columns).trace(2, bank)


def test_attack_85_the_digest_that_is_shown_is_never_trusted():
    honest = a_list(["/a", "/b"])
    shown = entry(data_of("/b", a_digest(1)))[4:24]
    forged = aggregate() + entry(data_of("/a", a_digest(0))) + entry(data_of("/b", a_digest(66)), shown=shown)
    columns = columns_of(forged)
    replayed = ImaReplay(columns)
    assert replayed.mismatches().tolist() == [False, False, True]
    assert replayed.find_prefix({"sha256": row(replay(honest, "sha256"))}).proven.tolist() == [-1]
    assert ImaList.parse(forged)[2].data_verified is False


def test_attack_86_an_entry_that_claims_to_be_a_violation_does_not_replay():
    honest = a_list(["/a", "/evil"])
    fake = aggregate() + entry(data_of("/a", a_digest(0))) + entry(data_of("/evil", a_digest(1)), shown=bytes(20))
    columns = columns_of(fake)
    assert columns.entries["flags"][2] & Flag.VIOLATION
    assert ImaReplay(columns).find_prefix({"sha256": row(replay(honest, "sha256"))}).proven.tolist() == [-1]
    assert ImaList.parse(fake)[2].data_verified is None


def test_attack_87_relabelled_entries_are_told_by_digest_and_name():
    command_line = b"quiet"
    digest = hash_of("sha256", command_line)
    signature = b"\3\2\4" + bytes(20)
    honest = [
        entry(data_of("kexec-cmdline", digest, command_line), "ima-buf"),
        entry(data_of("/usr/bin/dd", a_digest(1), signature), "ima-sig"),
        entry(data_of("memfd:x", a_digest(1), b""), "ima-sig"),
    ]
    forged = [
        entry(data_of("kexec-cmdline", digest, command_line), "ima-sig"),
        entry(data_of("label", digest, command_line), "ima-sig"),
        entry(data_of("/usr/bin/dd", a_digest(1), signature), "ima-buf"),
        entry(data_of("label", a_digest(1), signature), "d-ng|n-ng|buf"),
        entry(data_of("boot_aggregate", digest, command_line), "ima-buf"),
        entry(data_of(".ima", a_digest(1))),
    ]
    assert relabelled(columns_of(b"".join(honest))).tolist() == [False] * 3
    assert relabelled(columns_of(b"".join(forged))).tolist() == [True] * 6
    known = shared("corpus", "files", "keylime__keylime", "test_ima_dm.ima.txt")
    columns = columns_of(known.read_bytes(), format="ascii")
    assert len(columns.entries) == 15
    assert not relabelled(columns).any()


def test_attack_88_an_entry_moved_to_another_pcr_is_missed_in_its_own():
    honest = a_list(["/a", "/b"])
    moved = aggregate() + entry(data_of("/a", a_digest(0)), pcr=11) + entry(data_of("/b", a_digest(1)))
    columns = columns_of(moved)
    assert columns.rows["pcrs"][0] == 1 << 10 | 1 << 11
    replayed = ImaReplay(columns)
    assert replayed.find_prefix({"sha256": row(replay(honest, "sha256"))}).proven.tolist() == [-1]
    own = replayed.find_prefix({"sha256": row(replay(moved, "sha256"))})
    assert own.proven.tolist() == [2]
    assert own.entries(columns).tolist() == [True, False, True]
    other = replayed.find_prefix({"sha256": row(replay(moved, "sha256", pcr=11))}, pcr=11)
    assert other.entries(columns).tolist() == [False, True, False]


@pytest.mark.parametrize("kept", [slice(1, None), slice(0, 1), slice(0, 2)], ids=["head", "most", "tail"])
def test_attacks_89_and_90_a_list_that_was_cut_does_not_lead_to_the_value(kept):
    entries = [aggregate(), *(entry(data_of(f"/{k}", a_digest(k))) for k in range(2))]
    value = row(replay(b"".join(entries), "sha256"))
    columns = columns_of(b"".join(entries[kept]))
    assert ImaReplay(columns).find_prefix({"sha256": value}).proven.tolist() == [-1]


def test_attack_91_a_prefix_of_nothing_is_that_of_a_pcr_that_nothing_extended():
    columns = columns_of(a_list(["/a"]), b"")
    assert ImaReplay(columns).find_prefix({"sha256": np.zeros((2, 32), np.uint8)}).proven.tolist() == [0, 0]
    ones = np.full((2, 32), 0xFF, np.uint8)
    assert ImaReplay(columns).find_prefix({"sha256": ones}).proven.tolist() == [-1, -1]


def test_attack_92_what_follows_the_prefix_is_not_proven():
    proven = a_list(["/a"])
    columns = columns_of(proven + entry(data_of("/benign", a_digest(9))))
    found = ImaReplay(columns).find_prefix({bank: row(replay(proven, bank)) for bank in ("sha1", "sha256")})
    assert found.entries(columns).tolist() == [True, True, False]


def test_every_given_bank_must_agree_on_the_prefix():
    data = a_list(["/a", "/b", "/c"])
    short = {"sha1": row(replay(data, "sha1", entries=2)), "sha256": row(replay(data, "sha256"))}
    columns = columns_of(data)
    assert ImaReplay(columns).find_prefix(short).proven.tolist() == [-1]
    only = {"sha1": np.zeros(1, np.bool_), "sha256": np.ones(1, np.bool_)}
    assert ImaReplay(columns).find_prefix(short, given=only).proven.tolist() == [4]
    none = {"sha1": np.zeros(1, np.bool_), "sha256": np.zeros(1, np.bool_)}
    assert ImaReplay(columns).find_prefix(short, given=none).proven.tolist() == [-1]
    with pytest.raises(UsageError, match="at least one bank"):
        ImaReplay(columns).find_prefix({})


def test_attack_96_digests_of_a_wrong_length_or_a_weak_or_unknown_algorithm_are_flagged():
    lists = [
        entry(data_of("/a", a_digest(1)[:20])),
        entry(data_of("/a", a_digest(1, "sha1"), algorithm="sha1")),
        entry(data_of("/a", a_digest(1)[:16], algorithm="md5")),
        entry(data_of("/a", a_digest(1), algorithm="sm3_512")),
        entry(data_of("/a", a_digest(1), algorithm="sm3")),
    ]
    flags = [Flag(value) for value in columns_of(*lists).entries["flags"].tolist()]
    assert flags == [Flag.DIGEST_LENGTH, Flag.WEAK_HASH, Flag.WEAK_HASH, Flag.UNKNOWN_ALGORITHM, Flag(0)]


def test_attack_97_one_mode_explains_the_whole_list_and_is_told():
    data = a_list(["/a", "/b"])
    replayed = ImaReplay(columns_of(data))
    padded = replayed.find_prefix({"sha256": row(replay(data, "sha256", padded=True))})
    assert padded.proven.tolist() == [3]
    assert padded.modes["sha256"].tolist() == [Mode.PADDED]
    mixed = bytes(32)
    for number, (*_, message) in enumerate(walk(data)):
        digest = hash_of("sha1", message).ljust(32, b"\0") if number == 2 else hash_of("sha256", message)
        mixed = hash_of("sha256", mixed + digest)
    assert replayed.find_prefix({"sha256": row(mixed)}).proven.tolist() == [-1]


def test_equal_entries_are_hashed_once_across_lists_however_far_apart():
    lists = [a_list([f"/{k}" for k in range(3000)] + [f"/own{i}"]) for i in range(3)]
    columns = columns_of(*lists)
    shared_, alone = ImaReplay(columns), ImaReplay(columns, share=False)
    assert len(shared_.digests("sha256")) == 3001 + 3
    assert len(alone.digests("sha256")) == len(columns.entries) == 3 * 3002
    assert (shared_.replay("sha256") == alone.replay("sha256")).all()
    assert (shared_.digests("sha1")[shared_.message_of] == alone.digests("sha1")[alone.message_of]).all()


# boot_aggregate.


def pcrs(seed: int):
    random = np.random.default_rng(seed)
    return {bank: random.integers(0, 256, (1, 24, size), np.uint8) for bank, (_, size) in ALGORITHMS.items()}


@pytest.mark.parametrize("bank", ALGORITHMS)
@pytest.mark.parametrize(("last", "expected"), [(8, BootAggregate.PCRS_0_7), (10, BootAggregate.PCRS_0_9)])
def test_boot_aggregate_is_over_the_pcrs_of_its_bank(bank, last, expected):
    values = pcrs(1)
    name = {"sm3_256": "sm3"}.get(bank, bank)
    columns = columns_of(aggregate(hash_of(bank, values[bank][0, :last].tobytes()), name))
    expected = BootAggregate.MISMATCH if bank == "sha1" and last == 10 else expected
    assert boot_aggregate(columns, values).tolist() == [expected]
    assert boot_aggregate(columns, pcrs(2)).tolist() == [BootAggregate.MISMATCH]
    without = {other: rows for other, rows in values.items() if other != bank}
    assert boot_aggregate(columns, without).tolist() == [BootAggregate.NO_BANK]
    nothing = {other: np.zeros(1, np.bool_) for other in values}
    assert boot_aggregate(columns, values, given=nothing).tolist() == [BootAggregate.NO_BANK]


def test_attack_95_boot_aggregate_missing_late_or_unfit():
    other = entry(data_of("/a", a_digest(1)))
    violation = entry(data_of("boot_aggregate", bytes(32)), shown=bytes(20))
    lists = [b"", other, other + aggregate(), aggregate(), aggregate(bytes(20)), violation]
    values = {bank: np.repeat(rows, len(lists), axis=0) for bank, rows in pcrs(1).items()}
    assert boot_aggregate(columns_of(*lists), values).tolist() == [
        BootAggregate.ABSENT,
        BootAggregate.ABSENT,
        BootAggregate.ABSENT,
        BootAggregate.ZEROS,
        BootAggregate.MISMATCH,
        BootAggregate.MISMATCH,
    ]
    assert boot_aggregate(columns_of(aggregate()), {}).tolist() == [BootAggregate.ZEROS]
    with pytest.raises(UsageError, match="shape"):
        boot_aggregate(columns_of(*lists), pcrs(1))


def test_attack_98_a_kexec_shows():
    columns = columns_of(aggregate() + aggregate(b"\1" * 32), a_list(["/a"]))
    assert (columns.rows["notes"] & Flag.KEXEC != 0).tolist() == [True, False]


def test_recorded_boot_aggregates_fit_the_recorded_logs():
    from pyverify.replay import replay as replay_logs

    folders = [path for path in sorted(shared("recordings").iterdir()) if (path / "ima").is_dir()]
    logs = Ragged.of([(path / "binary_bios_measurements").read_bytes() for path in folders])
    columns = columns_of(*((path / "ima" / "binary_runtime_measurements").read_bytes() for path in folders))
    replayed = replay_logs(logs)
    given_ = {bank: replayed.has_bank(bank) for bank in ALGORITHMS}
    found = boot_aggregate(columns, replayed.values, given=given_)
    names = {path.name[:2]: BootAggregate(value) for path, value in zip(folders, found.tolist(), strict=True)}
    assert names.pop("49") == BootAggregate.ZEROS
    assert names.pop("22") == BootAggregate.NO_BANK  # there is no event log
    sha1 = {number for number, value in names.items() if value == BootAggregate.PCRS_0_7}
    assert sha1 == {"31", "32"}
    assert {number for number, value in names.items() if value != BootAggregate.PCRS_0_9} == sha1


# For people.


def test_a_list_for_people():
    found = ImaList.parse((DATA / "ima" / "ima-sig.binary").read_bytes())
    assert len(found) == 61
    first, violation = found[0], found[19]
    assert (first.number, first.pcr, first.template, first.path) == (0, 10, "ima-sig", b"boot_aggregate")
    assert first.digest_text.startswith("sha256:bb8acb7283b1")
    assert first.template_digest.hex() == "592cded1cd09fe1403fbe5d9cc4ab98fc249c177"
    assert violation.is_violation
    assert violation.data_verified is None
    assert found[-1].data_verified is True
    assert [one.number for one in found[3:5]] == [3, 4]
    custom = ImaList.parse((DATA / "ima" / "custom.ascii").read_bytes(), "ascii")
    assert custom[0].template == "d-ng|n-ng|iuid|igid|imode"
    assert ImaList.parse(entry(data_of("/a", b"\1" * 32, algorithm="verity:sha256"), "ima-ngv2"))[0].digest_text == (
        "verity:sha256:" + "01" * 32
    )


def test_what_inspect_shows_is_escaped():
    from pyverify.cli.views import Asked
    from pyverify.cli.views.ima_list import view

    asked = Asked("binary_runtime_measurements", "ima")
    hostile = b"/\x1b[2J\xff\xe2\x80\xae"
    data = aggregate() + entry(data_of(hostile, a_digest(1), algorithm="sm4\x1b[0m"), shown=b"\1" * 20)
    document = view(data + b"\0", asked).document()
    assert document["kind"] == "ima"
    assert document["events"][1] == {
        "number": 1,
        "pcr": 10,
        "template": "ima-ng",
        "path": "/\\x1b[2J\\udcff\\u202e",
        "digest": "unknown:" + a_digest(1).hex(),
        "data_verified": False,
    }
    assert document["findings"][0]["code"] == "ima.truncated"
    json.dumps(document)
    line = view(data, asked).table().rows[1][1].text
    assert line.isprintable()
    assert line.endswith("[data does not fit its template digest; unknown algorithm]")
