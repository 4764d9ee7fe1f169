"""What each PCR is for, in the names of systemd's and the PC Client profile's tables (SPEC 1.3)."""

from __future__ import annotations

from typing import Final

PCR_NAMES: Final[dict[int, str]] = {
    0: "platform-code",
    1: "platform-config",
    2: "external-code",
    3: "external-config",
    4: "boot-loader-code",
    5: "boot-loader-config",
    6: "host-platform",
    7: "secure-boot-policy",
    8: "grub-commands",
    9: "kernel-initrd",
    10: "ima",
    11: "kernel-boot",
    12: "kernel-config",
    13: "sysexts",
    14: "shim-policy",
    15: "system-identity",
    16: "debug",
    17: "drtm-details",
    18: "drtm-authorities",
    19: "drtm",
    20: "drtm",
    21: "drtm",
    22: "drtm",
    23: "application-support",
}


def pcr_name(pcr: int) -> str:
    """``PCR 4 (boot-loader-code)``."""
    return f"PCR {pcr} ({PCR_NAMES[pcr]})" if pcr in PCR_NAMES else f"PCR {pcr}"
