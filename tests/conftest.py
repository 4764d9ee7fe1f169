"""Where the recordings are, and small helpers that more than one test file needs."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("PYVERIFY_SHARED", ROOT.parent / "shared"))

pytest.register_assert_rewrite("catalogue")  # so that its scenarios say what they found
sys.path.append(str(ROOT))  # for bench; last, so that the installed pyverify comes before its source

# The order of banks in a header as EDK2 writes it: name, TPM_ALG_ID, digest size (TCG Algorithm Registry).
ALGORITHMS = {"sha1": (4, 20), "sha256": (0xB, 32), "sha384": (0xC, 48), "sha512": (0xD, 64), "sm3_256": (0x12, 32)}


def shared(*parts: str) -> Path:
    """A folder of the recordings or the corpus; the test is skipped where they are not beside the project."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not beside the project")
    return path


@pytest.fixture
def run(capfd):
    """Calls the command with arguments: exit code, standard output, standard error."""
    from pyverify.cli.main import main

    def call(*args: object) -> tuple[object, str, str]:
        try:
            code: object = main([str(arg) for arg in args])
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        return code, out, err

    return call


def hash_of(bank: str, data: bytes) -> bytes:
    """The oracle: OpenSSL through hashlib."""
    import hashlib

    return hashlib.new({"sm3_256": "sm3"}.get(bank, bank), data).digest()


def spec_id(banks: list[str], vendor: bytes = b"") -> bytes:
    """A Spec ID event for these banks, as the first entry of a log (SPEC 2.2)."""
    data = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(banks))
    data += b"".join(struct.pack("<HH", *ALGORITHMS[bank]) for bank in banks) + bytes([len(vendor)]) + vendor
    return struct.pack("<II20sI", 0, 3, bytes(20), len(data)) + data


def entry(pcr: int, kind: int, data: bytes, banks: list[str], digests: dict[str, bytes] | None = None) -> bytes:
    """A crypto-agile entry whose digests are those of its data, or the given ones (SPEC 2.3)."""
    own = digests if digests is not None else {bank: hash_of(bank, data) for bank in banks}
    body = b"".join(struct.pack("<H", ALGORITHMS[bank][0]) + digest for bank, digest in own.items())
    return struct.pack("<III", pcr, kind, len(own)) + body + struct.pack("<I", len(data)) + data


def no_action(pcr: int, data: bytes, banks: list[str]) -> bytes:
    """An EV_NO_ACTION entry with the zero digests it should have."""
    return entry(pcr, 3, data, banks, {bank: bytes(ALGORITHMS[bank][1]) for bank in banks})


def image(banks: list[str], contents: bytes = b"loader") -> bytes:
    """A boot loader as an entry: UEFI_IMAGE_LOAD_EVENT with a device path; its digest is of contents not in the log."""
    name = "\\loader.efi\0".encode("utf-16-le")
    path = struct.pack("<BBH", 4, 4, 4 + len(name)) + name + b"\x7f\xff\4\0"
    data = struct.pack("<QQQQ", 0, 0, 0, len(path)) + path
    return entry(4, 0x80000003, data, banks, {bank: hash_of(bank, contents) for bank in banks})


def grub_text(prefix: bytes, text: bytes, banks: list[str]) -> bytes:
    """A string of GRUB's as an entry: the digest is of the text alone (SPEC 3.5)."""
    return entry(8, 0xD, prefix + text + b"\0", banks, {bank: hash_of(bank, text) for bank in banks})


def small_log(banks: list[str], *, extra: bytes = b"", command_line: bytes = b"quiet") -> bytes:
    """A short honest log: firmware, separators in PCR 0-7, a boot loader, a command line, ExitBootServices."""
    log = spec_id(banks)
    log += entry(0, 8, "1.0\0".encode("utf-16-le"), banks)
    log += b"".join(entry(pcr, 4, bytes(4), banks) for pcr in range(8))
    log += image(banks)
    log += grub_text(b"kernel_cmdline: ", command_line, banks)
    log += extra
    log += entry(5, 0x80000007, b"Exit Boot Services Invocation", banks)
    return log + entry(5, 0x80000007, b"Exit Boot Services Returned with Success", banks)


def replay_by_hand(log: bytes) -> dict[str, dict[int, bytes]]:
    """A second opinion that shares no code with the package: walks a crypto-agile log and extends with hashlib.

    Start values are zeros with the locality of a StartupLocality event, 0xFF for PCRs 17-22.
    """
    size = struct.unpack_from("<I", log, 28)[0]
    count = struct.unpack_from("<I", log, 56)[0]
    names = {number: name for name, (number, _) in ALGORITHMS.items()}
    sizes = dict(struct.unpack_from("<HH", log, 60 + 4 * i) for i in range(count))
    banks = [names[number] for number in sizes if number in names]
    values = {
        bank: {p: (b"\xff" if 17 <= p <= 22 else b"\0") * ALGORITHMS[bank][1] for p in range(24)} for bank in banks
    }
    at = 32 + size
    while at < len(log) and log[at : at + 8] not in (b"\xff" * 8, b"\0" * 8):
        pcr, kind, n = struct.unpack_from("<III", log, at)
        at += 12
        digests = {}
        for _ in range(n):
            number = struct.unpack_from("<H", log, at)[0]
            digests[number] = log[at + 2 : at + 2 + sizes[number]]
            at += 2 + sizes[number]
        length = struct.unpack_from("<I", log, at)[0]
        data = log[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == 3:
            if data.startswith(b"StartupLocality\0"):
                for bank in banks:
                    values[bank][0] = values[bank][0][:-1] + data[16:17]
            continue
        for number, digest in digests.items():
            if number in names:
                bank = names[number]
                values[bank][pcr] = hash_of(bank, values[bank][pcr] + digest)
    return values
