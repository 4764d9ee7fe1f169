"""Whatever an archive holds, each trouble is a row with a reason and the rows beside it stand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from source_archives import Tree, faults, make, make_folder, read

from pyverify.fleet import folder as folder_module
from pyverify.fleet import limits
from pyverify.fleet.evidence_json import parse_evidence_json
from pyverify.fleet.sources import open_source

LOG = "binary_bios_measurements"
GOOD: Tree = {"m/good": {LOG: b"log"}, "z/good": {LOG: b"log"}}
UNREADABLE, NAME, DUPLICATE = "evidence.unreadable", "evidence.name", "evidence.duplicate"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = make_folder(tmp_path / "archive", GOOD)
    (root / "m" / "bad").mkdir()
    return root


def check(archive: Path, code: str = UNREADABLE) -> None:
    """The boot m/bad failed, and it alone."""
    rows = read(archive)
    assert [(row["machine"], row["boot"]) for row in rows] == [("m", "bad"), ("m", "good"), ("z", "good")]
    assert [row["fault"] and row["fault"]["code"] for row in rows] == [code, None, None]
    assert rows[0]["event_log"] is None
    assert [row["event_log"] for row in rows[1:]] == [b"log", b"log"]


@pytest.mark.parametrize("target", ["/dev/zero", "../good/" + LOG, "nothing", "."])
def test_links_are_not_followed(archive: Path, target: str) -> None:
    (archive / "m" / "bad" / LOG).symlink_to(target)
    check(archive)


def test_fifo_and_folder_in_place_of_a_file(archive: Path) -> None:
    os.mkfifo(archive / "m" / "bad" / LOG)
    check(archive)
    (archive / "m" / "bad" / LOG).unlink()
    (archive / "m" / "bad" / LOG).mkdir()
    check(archive)


def test_a_file_that_became_a_device_after_it_was_listed(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive / "m" / "bad" / LOG).symlink_to("/dev/zero")
    monkeypatch.setattr(folder_module, "_not_a_file", lambda entry: None)
    check(archive)  # the open refuses the link
    monkeypatch.setattr(folder_module, "_FILE_FLAGS", os.O_RDONLY)
    check(archive)  # and were it a device, the descriptor tells


def test_links_among_folders(archive: Path) -> None:
    (archive / "m" / "bad").rmdir()
    (archive / "m" / "latest").symlink_to("good")  # hides nothing
    (archive / "README").symlink_to("/etc/hostname")
    assert faults(archive) == [("m", "good", None), ("z", "good", None)]
    (archive / "m" / "dead").symlink_to("nowhere")
    (archive / "n").symlink_to(archive / "m")
    assert faults(archive) == [
        ("m", "dead", UNREADABLE),
        ("m", "good", None),
        ("n", "", UNREADABLE),
        ("z", "good", None),
    ]


def test_limits_in_a_folder(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive / "m" / "bad" / LOG).write_bytes(bytes(11))
    monkeypatch.setitem(limits.MEMBER_BYTES, "event_log", 10)
    check(archive)
    monkeypatch.setitem(limits.MEMBER_BYTES, "event_log", 11)
    monkeypatch.setattr(limits, "BOOT_BYTES", 10)
    check(archive)


def test_too_many_quotes(archive: Path) -> None:
    for number in range(1, limits.QUOTES + 2):
        (archive / "m" / "bad" / f"quote.{number}.msg").write_bytes(b"")
    check(archive)


def test_two_spellings_of_one_ima_list(archive: Path) -> None:
    for name in ("binary_runtime_measurements_sm3", "binary_runtime_measurements_sm3_256"):
        (archive / "m" / "bad" / name).write_bytes(b"")
    check(archive, DUPLICATE)


def test_a_file_that_changes_while_it_is_read(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive / "m" / "bad" / LOG
    path.write_bytes(b"before")
    true_read = os.read

    def growing(fd: int, size: int) -> bytes:
        data = true_read(fd, size)
        if data == b"before":
            path.write_bytes(b"before and after")
        return data

    monkeypatch.setattr(folder_module.os, "read", growing)
    check(archive)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("what", [LOG, "bad"])
def test_a_member_or_folder_that_may_not_be_read(
    archive: Path, what: str, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive / "m" / "bad" / LOG).write_bytes(b"log")
    true_open = os.open
    bad = (archive / "m" / "bad").stat().st_ino

    def guarded(path: Any, flags: int, *args: Any, dir_fd: int | None = None) -> int:
        inside = dir_fd is not None and os.fstat(dir_fd).st_ino == bad
        if path == what and (what == "bad" or inside):
            raise error
        return true_open(path, flags, *args, dir_fd=dir_fd)

    monkeypatch.setattr(folder_module.os, "open", guarded)
    check(archive)


def test_a_machine_whose_folder_may_not_be_listed(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive / "m" / "bad").rmdir()
    closed = (archive / "m").stat().st_ino
    true_scandir = os.scandir

    def guarded(path: Any) -> Any:
        if isinstance(path, int) and os.fstat(path).st_ino == closed:
            raise PermissionError(13, "Permission denied")
        return true_scandir(path)

    monkeypatch.setattr(folder_module.os, "scandir", guarded)
    assert faults(archive) == [("m", "", UNREADABLE), ("z", "good", None)]


@pytest.mark.parametrize("remove", ["file", "folder"])
def test_what_vanishes_between_listing_and_reading(archive: Path, remove: str, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = archive / "m" / "bad" / LOG
    victim.write_bytes(b"log")
    true_list = folder_module._list

    def listing(fd: int) -> Any:
        found = true_list(fd)
        if victim.exists() and (
            (remove == "folder" and "bad" in found.folders) or (remove == "file" and found.members)
        ):
            victim.unlink()
            if remove == "folder":
                victim.parent.rmdir()
        return found

    source = open_source(archive)
    monkeypatch.setattr(folder_module, "_list", listing)
    codes = [fault and fault["code"] for batch in source.batches() for fault in batch.column("fault").to_pylist()]
    assert codes == [UNREADABLE, None, None]


def test_folders_too_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("archive", *["d"] * (limits.FOLDER_DEPTH + 3))
    deep.mkdir(parents=True)
    (deep / LOG).write_bytes(b"log")
    assert faults(tmp_path / "archive") == [("d", "d", UNREADABLE)]


BAD_NAMES = {
    "a\x1b[2Jb": "a\\x1b[2Jb",
    "a\nb": "a\\x0ab",
    "x" * 200: "x" * 125 + "\\..",
    "rechner-ä": "rechner-\\u00e4",
    "a b": "a b",
    "back\\slash": "back\\\\slash",
}


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_outside_the_alphabet(kind: str, name: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path, {f"{name}/b": {LOG: b"log"}, f"m/{name}": {LOG: b"log"}, **GOOD})
    rows = read(path)
    found = {(row["machine"], row["boot"], row["fault"]["code"]) for row in rows if row["fault"]}
    assert found == {(BAD_NAMES[name], "b", NAME), ("m", BAD_NAMES[name], NAME)}
    assert len(rows) == 4


EVIDENCE_JSON = [
    b"",
    b"[]",
    b"7",
    b"{",
    b'{"boot_seq": true}',
    b'{"boot_seq": 7.0}',
    b'{"boot_seq": "7"}',
    b'{"boot_seq": 07}',
    b'{"boot_seq": -1}',
    b'{"boot_seq": 9223372036854775808}',
    b'{"boot_seq": ' + b"9" * 10_000 + b"}",
    b'{"boot_seq": [7]}',
    b'{"boot_seq": {}}',
    b'{"boot_seq": 1, "boot_seq": 1}',
    b'{"x": {"a": 1, "a": 2}}',
    b'{"x": NaN}',
    b'{"x": -Infinity}',
    b'{"collected_at": 5}',
    b'{"collected_at": "2026-11-01"}',
    b'{"collected_at": "2026-11-01T00:00:00"}',
    b'{"collected_at": "2026-13-01T00:00:00Z"}',
    b'{"collected_at": "0001-01-01T00:00:00+10:00"}',
    b'{"collected_at": "20261101T000000Z"}',
    b'{"x": ' + b"[" * 60_000,
    b'\xef\xbb\xbf{"boot_seq": 1}',
    b'{"x": "\xff"}',
    b'{"boot_seq": 1} x',
    b'{"boot_seq": 1}' + b" " * (64 << 10),
]


@pytest.mark.parametrize("data", EVIDENCE_JSON, ids=range(len(EVIDENCE_JSON)))
def test_evidence_json_is_strict(archive: Path, data: bytes) -> None:
    (archive / "m" / "bad" / LOG).write_bytes(b"log")
    (archive / "m" / "bad" / "evidence.json").write_bytes(data)
    check(archive)
    assert faults(archive, columns="keys") == faults(archive)


def test_evidence_json_that_is_fine(archive: Path) -> None:
    for text in ('{"boot_seq": null, "x": {"a": {"a": 1}}}', '{"collected_at": "2026-11-01t00:00:00.123456789z"}'):
        (archive / "m" / "bad" / "evidence.json").write_text(text)
        assert [code for _, _, code in faults(archive)] == [None] * 3


@pytest.mark.parametrize("seq", ["0", "7", "9" * 18, "9" * 19, "07", "-1", "1.0"])
@pytest.mark.parametrize(
    "time", ["2026-11-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-01T24:00:00Z", "0000-01-01T00:00:00Z"]
)
def test_the_usual_evidence_json_is_read_as_any_other(seq: str, time: str) -> None:
    found = []
    for form in ('{"boot_seq": %s, "collected_at": "%s"}', '{"boot_seq": %s, "collected_at": "%s" }'):
        try:
            found.append(str(parse_evidence_json((form % (seq, time)).encode())))
        except ValueError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_a_fault_keeps_the_order_of_boots(archive: Path) -> None:
    (archive / "m" / "bad" / LOG).symlink_to("/dev/zero")
    (archive / "m" / "bad" / "evidence.json").write_text('{"boot_seq": 3}')
    assert read(archive)[0]["boot_seq"] == 3
