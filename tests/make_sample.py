#!/usr/bin/env python3
"""Makes pyverify/cli/sample.tar.xz, the fleet of `pyverify demo`, from recorded boots of virtual machines.

    tests/make_sample.py RECORDINGS

Each machine of the sample is one story. The evidence is as it was recorded, but for the names and for one log that is
cut. The same recordings give the same bytes.
"""

import io
import json
import lzma
import sys
import tarfile
from pathlib import Path

STORIES = {
    "web-1": ["01_m1_first_boot", "02_m1_reboot", "03_m1_reboot2"],
    "web-2": ["07_m2_first_boot", "20_grub_modified"],
    "web-3": ["53_fleet_f1", "14_cmdline_changed"],
    "web-4": ["54_fleet_f2", "10_kernel_upgraded"],
    "web-5": ["55_fleet_f3", "02_m1_reboot"],
    "web-6": ["05_m1_reboot4", "22_no_event_log"],
    "db-1": ["60_sb_first_boot", "61_sb_reboot", "63_sb_dbx_updated"],
    "edge-1": ["82_sm3_only", "83_sm3_only_reboot", "84_sm3_only_cmdline_changed"],
    "uki-1": ["70_uki", "71_uki_kernel_upgraded"],
}
CUT = ("web-5", 2, 9000)
"""Machine, boot and bytes kept of the log that is cut."""


def main() -> None:
    recordings = Path(sys.argv[1])
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for machine, boots in sorted(STORIES.items()):
            for number, recording in enumerate(boots, 1):
                log = (recordings / recording / "binary_bios_measurements").read_bytes()
                if (machine, number) == CUT[:2]:
                    log = log[: CUT[2]]
                evidence = {"boot_seq": number, "collected_at": f"2026-11-{number:02}T08:00:00Z"}
                add(tar, f"{machine}/boot-{number}/binary_bios_measurements", log)
                add(tar, f"{machine}/boot-{number}/evidence.json", json.dumps(evidence).encode() + b"\n")
    target = Path(__file__).parent.parent / "pyverify" / "cli" / "sample.tar.xz"
    target.write_bytes(lzma.compress(raw.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(target, target.stat().st_size, "bytes")


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
