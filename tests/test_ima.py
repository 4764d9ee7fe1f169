"""IMA lists: what is read of them, binary or text, and what is a fault (SPEC 7.1 to 7.3)."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from conftest import ALGORITHMS, DATA, hash_of
from ima_by_hand import (
    FIELDS,
    a_digest,
    a_list,
    aggregate,
    columns_of,
    data_of,
    digest_field,
    entry,
    fault_of,
    field,
    replay,
    row,
    walk,
)

from pyverify import _native
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import FORMATS, scan
from pyverify.evidence.ima_list import ImaList
from pyverify.evidence.ima_replay import ImaReplay

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


@pytest.mark.parametrize(
    ("numbers", "names"), [(["", "", ""], b""), (["0", "0", "33188"], b"\0")], ids=["no file", "a file without any"]
)
def test_no_extended_attributes_are_nothing_or_an_empty_string(numbers, names):
    line = ascii_line(10, "evm-sig", GOOD, "boot_aggregate", "", "", "", "", *numbers)
    data = columns_of(line, format="ascii").lists[0]
    known = data_of("boot_aggregate", b"\xcd" * 32, b"", names)
    assert known in data
    assert data[data.index(known) + len(known) :].startswith(bytes(8))


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


def test_a_list_past_the_limit_of_entries_is_refused_where_it_passes():
    small = struct.pack("<I", 10) + b"x" * 20 + field(b"n-ng") + field(field(b"a\0"))
    columns = columns_of(small * (_native.IMA_MAX_ENTRIES + 1), small)
    assert fault_of(columns) == ("log.too-large", len(small) * _native.IMA_MAX_ENTRIES)
    assert columns.rows["n_entries"].tolist() == [_native.IMA_MAX_ENTRIES, 1]
    line = b"10 " + b"ab" * 20 + b" n-ng a\n"
    text = columns_of(line * (_native.IMA_MAX_ENTRIES + 1), format="ascii")
    assert fault_of(text) == ("log.too-large", len(line) * _native.IMA_MAX_ENTRIES)


def test_an_empty_list_has_no_entries():
    columns = columns_of(b"")
    assert fault_of(columns) is None
    with pytest.raises(EvidenceError) as caught:
        ImaList.parse(b"")
    assert caught.value.code == "ima.empty"
    absent = scan(Ragged.of([None, a_list([])]), ["binary", "ascii"])
    assert absent.rows["n_entries"].tolist() == [0, 0]


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
