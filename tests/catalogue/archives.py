"""27 to 29: archives and files that are not what they seem. Nothing is extracted, followed or read without bound."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from attested_machine import Machine
from source_archives import make_folder, make_tar, make_zip, tar_bytes

from catalogue.scenarios import Answer, Passed, entry, of_archive, passes, refused
from pyverify.fleet import limits

LOG = "binary_bios_measurements"


def archive(root: Path, machine: Machine, boots: dict[str, dict[str, bytes]]) -> Path:
    """A folder of these boots, each with the machine's log, after an honest boot and before another."""
    tree = {f"{machine.name}/{name}": {LOG: machine.log, **members} for name, members in boots.items()}
    return make_folder(root, {f"{machine.name}/a": {LOG: machine.log}, **tree, f"{machine.name}/z": {LOG: machine.log}})


def in_archive(path: Path, *machines: Machine) -> Iterator[Answer | Passed]:
    """What the boots of an archive got; those called a and z are honest."""
    rows = of_archive(path, *machines)
    assert {"a", "z"} <= {row["boot"] for row in rows}
    for row in rows:
        yield passes(row) if row["boot"] in ("a", "z") else row


@entry(27)
def bombs(tmp_path, monkeypatch):
    machine = Machine()
    honest = {"m/a": {LOG: machine.log}, "m/z": {LOG: machine.log}}
    for pack in (bytes, gzip.compress):
        path = tmp_path / "honest"
        path.write_bytes(pack(tar_bytes(honest)))
        yield from in_archive(path, machine)
    monkeypatch.setattr(limits, "TOTAL_RATIO_FROM", 1 << 20)
    monkeypatch.setattr(limits, "MEMBER_RATIO", 500)
    zeros = tar_bytes({"m/b": {LOG: bytes(48 << 20)}})
    (tmp_path / "bomb").write_bytes(gzip.compress(zeros))
    yield refused(lambda: of_archive(tmp_path / "bomb", machine))
    flat = make_zip(tmp_path / "zip", [(f"m/b/{LOG}", bytes(48 << 20))])
    yield refused(lambda: of_archive(flat, machine))
    (tmp_path / "nested").write_bytes(gzip.compress(gzip.compress(tar_bytes(honest))))
    yield refused(lambda: of_archive(tmp_path / "nested", machine))
    monkeypatch.setattr(limits, "MEMBERS", 1_000)
    many = make_tar(tmp_path / "many", [(f"m/{i}/{LOG}", b"") for i in range(1_001)])
    yield refused(lambda: of_archive(many, machine))
    monkeypatch.setitem(limits.MEMBER_BYTES, "event_log", 1 << 20)
    yield from in_archive(archive(tmp_path / "large", machine, {"b": {LOG: bytes(1 + (1 << 20))}}), machine)


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@entry(28)
def members(tmp_path):
    machine = Machine()
    log = (machine.log,)
    sound = [(f"m/{boot}/{LOG}", *log) for boot in "az"]
    outside = tmp_path / "outside"
    names = [f"../{outside.name}/{LOG}", f"m/../../{outside.name}/{LOG}", f"{outside}/{LOG}"]
    members: list = [(name, *log) for name in names]
    members += [
        (link(f"m/{kind[0]}/{LOG}", kind, target), b"")
        for kind, target in (
            (tarfile.SYMTYPE, f"../a/{LOG}"),
            (tarfile.LNKTYPE, f"m/a/{LOG}"),
            (tarfile.CHRTYPE, ""),
            (tarfile.FIFOTYPE, ""),
        )
    ]
    members += [(f"m/twice/{LOG}", *log), (f"m/twice/{LOG}", *log)]
    members += [(f"bad name/b/{LOG}", *log)]
    path = make_tar(tmp_path / "tar", [*sound, *members])
    yield from in_archive(path, machine)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        for name, content in sound:
            packed.writestr(name, content)
        for name in (f"../{outside.name}/{LOG}", f"m/b/../../{outside.name}/{LOG}"):
            packed.writestr(name, machine.log)
    (tmp_path / "zip").write_bytes(data.getvalue())
    yield from in_archive(tmp_path / "zip", machine)
    assert not outside.exists()


@entry(29)
def files(tmp_path, monkeypatch):
    machine = Machine()
    boots = ("link", "device", "fifo", "folder", "changing")
    root = archive(tmp_path / "a", machine, {name: {} for name in boots})
    at = {name: root / "m" / name / LOG for name in boots}
    for name in boots[:4]:
        at[name].unlink()
    at["link"].symlink_to(root / "m" / "a" / LOG)
    at["device"].symlink_to("/dev/zero")
    os.mkfifo(at["fifo"])
    at["folder"].mkdir()
    at["changing"].write_bytes(b"before")
    read = os.read

    def growing(fd: int, size: int) -> bytes:
        found = read(fd, size)
        if found == b"before":
            at["changing"].write_bytes(machine.log)
        return found

    monkeypatch.setattr("pyverify.fleet.folder.os.read", growing)
    yield from in_archive(root, machine)
