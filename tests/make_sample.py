#!/usr/bin/env python3
"""Makes pyverify/cli/sample.tar.xz, the fleet of `pyverify demo`, from recorded boots of virtual machines.

    tests/make_sample.py RECORDINGS

Each machine of the sample is one recorded machine: event log, IMA list, a signed quote with the PCR values beside it,
and the key that signed. The evidence is as it was recorded, but for the names and for one log that is cut. The same
recordings give the same bytes.
"""

import io
import json
import lzma
import struct
import sys
import tarfile
from pathlib import Path

STORIES = {
    "app-1": ["91_debian_first_boot", "92_debian_reboot", "93_debian_packages_upgraded"],
    "db-1": ["60_sb_first_boot", "61_sb_reboot", "63_sb_dbx_updated"],
    "edge-1": ["82_sm3_only", "83_sm3_only_reboot", "84_sm3_only_cmdline_changed"],
    "uki-1": ["70_uki", "71_uki_kernel_upgraded"],
    "web-1": [
        "01_m1_first_boot",
        "02_m1_reboot",
        "10_kernel_upgraded",
        "14_cmdline_changed",
        "20_grub_modified",
        "22_no_event_log",
        "25_ima_unknown_program",
        "37_pcr4_extended_by_hand",
        "40_s3_resume",
    ],
    "web-2": ["07_m2_first_boot", "08_m2_reboot", "47_tpm_replaced"],
}
CUT = ("web-1", "40_s3_resume", 9000)
"""Machine, recording and bytes kept of the log that is cut."""
QUOTES = ("sm2p_sm3_256_0-23", "rsa_sha256_0-23")
"""Quotes by the name of their recording: the first that a boot has is taken."""


def main() -> None:
    recordings = Path(sys.argv[1])
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for machine, boots in sorted(STORIES.items()):
            for number, name in enumerate(boots, 1):
                for member, data in evidence_of(recordings / name, machine, number):
                    add(tar, f"{machine}/boot-{number}/{member}", data)
    target = Path(__file__).parent.parent / "pyverify" / "cli" / "sample.tar.xz"
    target.write_bytes(lzma.compress(raw.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(target, target.stat().st_size, "bytes")


def evidence_of(recording: Path, machine: str, number: int) -> list[tuple[str, bytes]]:
    """Names and bytes of the members of one boot."""
    log = (recording / "binary_bios_measurements").read_bytes()
    if (machine, recording.name) == CUT[:2]:
        log = log[: CUT[2]]
    quote = next(recording / "quotes" / name for name in QUOTES if (recording / "quotes" / f"{name}.msg").exists())
    key = recording / "ak" / f"ak_{quote.name.split('_')[0]}.tpm2b"
    message = quote.with_suffix(".msg").read_bytes()
    order = {"boot_seq": reset_count(message), "collected_at": f"2026-11-{number:02}T08:00:00Z"}
    return [
        ("binary_bios_measurements", log),
        ("binary_runtime_measurements", (recording / "ima" / "binary_runtime_measurements").read_bytes()),
        *((f"quote.{part}", quote.with_suffix(f".{part}").read_bytes()) for part in ("msg", "sig", "pcrs")),
        ("ak.pub", key.read_bytes()),
        ("evidence.json", json.dumps(order).encode() + b"\n"),
    ]


def reset_count(message: bytes) -> int:
    """resetCount of a TPMS_ATTEST: behind magic, type, qualifiedSigner, extraData and the 8-byte clock."""
    at = 6
    for _ in range(2):
        at += 2 + struct.unpack_from(">H", message, at)[0]
    return struct.unpack_from(">I", message, at + 8)[0]


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
