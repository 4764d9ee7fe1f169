"""Evidence of any form written as a folder tree: ``<machine>/<boot>/<member>`` (DESIGN section 10).

A name comes from an archive, and an archive from anywhere: machines and boots are held against their alphabet, members
against the list of those that are known, and every file is made new below folders that were made here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pyverify.errors import ArchiveError, OutputError, UsageError
from pyverify.fleet.evidence_json import parse_evidence_json
from pyverify.fleet.members import (
    AK_CERT,
    EK_CERT,
    EVENT_LOG,
    EVIDENCE,
    QUOTE_PARTS,
    USERSPACE_LOG,
    Member,
    recognise,
)
from pyverify.fleet.names import is_name
from pyverify.fleet.partial import discard, partial_of, sync_folder, writing
from pyverify.fleet.rows import FILES
from pyverify.fleet.sources import Archive

_PLAIN: Final = {
    EVENT_LOG: "binary_bios_measurements",
    USERSPACE_LOG: "tpm2-measure.log",
    AK_CERT: "ak.crt",
    EK_CERT: "ek.crt",
}
_FACTS: Final = "evidence.json"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME_BYTES: Final = 255
"""Longest name of a folder on Linux."""


class _LayoutError(Exception):
    """A row that files cannot say."""


@dataclass(slots=True)
class Unpacked:
    """What was written."""

    rows: int = 0
    unreadable: int = 0
    files: int = 0


def unpack(source: Archive, output: Path, *, watch: Callable[[int], None] = lambda rows: None) -> Unpacked:
    """Writes an archive as a folder tree; other samples of a boot go below ``again-2``, ``again-3`` and so on.

    A boot that could not be read when it was packed gets a folder in which ``evidence.json`` says why, and which can be
    read as little: an error stays an error.

    Args:
        source: what to unpack.
        output: the folder, which must not be there yet, and appears when all is in it.
        watch: is called with the number of boots that have been written.

    Raises:
        UsageError: the output is there already.
        ArchiveError: the archive breaks off, or a row of it cannot be told by files. Nothing is written then.
        OutputError: the disk is full, or refuses.
    """
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output} is there already; name another place")
    folder = partial_of(output)
    try:
        with writing(output):
            folder.mkdir(parents=True)
    except OutputError as error:
        if folder.exists():
            raise UsageError(f"{folder} is there from another run; remove it first") from error
        raise
    done = Unpacked()
    try:
        with writing(output):
            for batch in source.batches(columns=FILES):
                for row in batch.to_pylist():
                    _write(folder, row, done)
                watch(done.rows)
            folder.rename(output)
            sync_folder(output.parent)
    except BaseException:
        discard(folder)
        raise
    return done


def _write(root: Path, row: dict[str, Any], done: Unpacked) -> None:
    fault = row["fault"]
    if fault is not None:
        # Not JSON, so that whoever reads the folder has an error too.
        members = {_FACTS: f"unreadable when it was packed: {fault['code']}: {fault['hint']}\n".encode()}
        machine, boot = _shown(row["machine"]), _shown(row["boot"])
        done.unreadable += 1
    else:
        machine, boot = row["machine"], row["boot"]
        try:
            members = _members(row)
        except _LayoutError as error:
            raise ArchiveError(f"{machine}/{boot}: {error}; it can only be kept as Parquet") from error
    place = _new_folder(root, machine, boot)
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name, data in members.items():
            with os.fdopen(os.open(name, _NEW, 0o666, dir_fd=handle), "wb") as file:
                file.write(data)
    finally:
        os.close(handle)
    done.files += len(members)
    done.rows += 1


def _new_folder(root: Path, machine: str, boot: str) -> Path:
    number, place = 1, root / machine / boot
    while True:
        try:
            place.mkdir(parents=True)
            return place
        except FileExistsError:
            number += 1
            place = root / f"again-{number}" / machine / boot


def _shown(name: str | None) -> str:
    """A name of a boot that could not be read as one of a folder; one outside the alphabet stays outside it."""
    if name is not None and is_name(name) and recognise(name) is None:
        return name
    text = "\\" + (name or "").replace("/", "\\x2f").replace("\0", "\\x00")
    return text.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore")


def _members(row: dict[str, Any]) -> dict[str, bytes]:
    """The bytes of each member by its file's name: as they were named, else as they are named."""
    for what in ("machine", "boot"):
        if recognise(row[what]) is not None:
            raise _LayoutError(f"a {what} may not be called like a member of evidence")
    if row["event_log_kind"] not in (None, "tcg"):
        raise _LayoutError(f"files cannot say that the event log is of kind {row['event_log_kind']}")
    items = list(_held(row))
    held = dict(items)
    if len(held) != len(items):
        raise _LayoutError("two IMA lists of one format")
    found: dict[str, bytes] = {}
    for name, own in _named(row):
        member = recognise(name)
        if member is None or name in found:
            raise _LayoutError("files: names what is no member of evidence, or one twice")
        if member == EVIDENCE:
            _check_facts(row, own)
        # A key without a quote is in no column either.
        has_column = member != EVIDENCE and (member.column != "quotes" or own is None)
        if has_column and own is not None:
            raise _LayoutError(f"files: {name} is there twice, in its column too")
        data = held.pop(member, None) if has_column else own
        if data is None:
            raise _LayoutError(f"files: {name} is in no column")
        found[name] = data
    if held:
        raise _LayoutError("files: does not name all that the columns hold")
    return found or {_FACTS: b"{}"}


def _named(row: dict[str, Any]) -> Iterator[tuple[str, bytes | None]]:
    """Names of files, and the bytes of those that no column holds."""
    if row["files"] is not None:
        for item in row["files"]:
            if item is None or item["name"] is None:
                raise _LayoutError("files: has an item without a name")
            yield item["name"], item["data"]
        return
    for member, _ in _held(row):
        yield _name_of(member), None
    facts = _facts(row)
    if facts:
        yield _FACTS, facts


def _name_of(member: Member) -> str:
    if member in _PLAIN:
        return _PLAIN[member]
    if member.column == "ima":
        form, _, bank = member.part.partition("_")
        return f"{form}_runtime_measurements{'_' * bool(bank)}{bank}"
    number = f".{member.number}" if member.number else ""
    return f"ak{number}.pub" if member.part == "ak_pub" else f"quote{number}.{member.part}"


def _held(row: dict[str, Any]) -> Iterator[tuple[Member, bytes]]:
    """What the columns hold. Quotes that were named are numbered as they were."""
    for member in _PLAIN:
        if row[member.column] is not None:
            yield member, row[member.column]
    for item in row["ima"] or ():
        if item["data"] is None:
            raise _LayoutError("an IMA list without its bytes")
        yield Member("ima", item["format"]), item["data"]
    for number, item in zip(_numbers(row), row["quotes"] or (), strict=True):
        if all(item[part] is None for part in QUOTE_PARTS if part != "ak_pub"):
            raise _LayoutError("a key is no quote")
        for part in QUOTE_PARTS:
            if item[part] is not None:
                yield Member("quotes", part, number), item[part]


def _numbers(row: dict[str, Any]) -> list[int]:
    """The numbers of the quotes: those that their files had."""
    count = len(row["quotes"] or ())
    if row["files"] is None:
        return list(range(count))
    named = (recognise(item["name"]) for item in row["files"] if item and item["name"] and item["data"] is None)
    numbers = sorted({member.number for member in named if member and member.column == "quotes"})
    if len(numbers) != count:
        raise _LayoutError("files: names other quotes than there are")
    return numbers


def _check_facts(row: dict[str, Any], data: bytes | None) -> None:
    try:
        facts = parse_evidence_json(data or b"")
    except ValueError as error:
        raise _LayoutError(f"files: evidence.json: {error}") from error
    if facts != (row["boot_seq"], row["collected_at"]):
        raise _LayoutError("files: evidence.json says something else than the columns")


def _facts(row: dict[str, Any]) -> bytes:
    """``evidence.json`` of a row that was never a file."""
    facts = []
    if row["boot_seq"] is not None:
        facts.append(f'"boot_seq": {row["boot_seq"]}')
    if row["collected_at"] is not None:
        facts.append(f'"collected_at": "{row["collected_at"].isoformat().replace("+00:00", "Z")}"')
    return f"{{{', '.join(facts)}}}".encode() if facts else b""
