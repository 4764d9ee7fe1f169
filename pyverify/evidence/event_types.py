"""TCG event types: their numbers and names (SPEC section 1.2).

A type is a hint: a replay authenticates digests and their order, never what an event says it is.
"""

from __future__ import annotations

from typing import Final

EV_PREBOOT_CERT: Final = 0x00
EV_POST_CODE: Final = 0x01
EV_NO_ACTION: Final = 0x03
EV_SEPARATOR: Final = 0x04
EV_ACTION: Final = 0x05
EV_EVENT_TAG: Final = 0x06
EV_S_CRTM_CONTENTS: Final = 0x07
EV_S_CRTM_VERSION: Final = 0x08
EV_CPU_MICROCODE: Final = 0x09
EV_PLATFORM_CONFIG_FLAGS: Final = 0x0A
EV_TABLE_OF_DEVICES: Final = 0x0B
EV_COMPACT_HASH: Final = 0x0C
EV_IPL: Final = 0x0D
EV_IPL_PARTITION_DATA: Final = 0x0E
EV_NONHOST_CODE: Final = 0x0F
EV_NONHOST_CONFIG: Final = 0x10
EV_NONHOST_INFO: Final = 0x11
EV_OMIT_BOOT_DEVICE_EVENTS: Final = 0x12
EV_POST_CODE2: Final = 0x13
EV_EFI_VARIABLE_DRIVER_CONFIG: Final = 0x80000001
EV_EFI_VARIABLE_BOOT: Final = 0x80000002
EV_EFI_BOOT_SERVICES_APPLICATION: Final = 0x80000003
EV_EFI_BOOT_SERVICES_DRIVER: Final = 0x80000004
EV_EFI_RUNTIME_SERVICES_DRIVER: Final = 0x80000005
EV_EFI_GPT_EVENT: Final = 0x80000006
EV_EFI_ACTION: Final = 0x80000007
EV_EFI_PLATFORM_FIRMWARE_BLOB: Final = 0x80000008
EV_EFI_HANDOFF_TABLES: Final = 0x80000009
EV_EFI_PLATFORM_FIRMWARE_BLOB2: Final = 0x8000000A
EV_EFI_HANDOFF_TABLES2: Final = 0x8000000B
EV_EFI_VARIABLE_BOOT2: Final = 0x8000000C
EV_EFI_GPT_EVENT2: Final = 0x8000000D
EV_EFI_HCRTM_EVENT: Final = 0x80000010
EV_EFI_VARIABLE_AUTHORITY: Final = 0x800000E0
EV_EFI_SPDM_FIRMWARE_BLOB: Final = 0x800000E1
EV_EFI_SPDM_FIRMWARE_CONFIG: Final = 0x800000E2
EV_EFI_SPDM_DEVICE_POLICY: Final = 0x800000E3
EV_EFI_SPDM_DEVICE_AUTHORITY: Final = 0x800000E4

NAMES: Final[dict[int, str]] = {value: key for key, value in globals().items() if key.startswith("EV_")}
"""Names of the types that the TCG has given one."""


def name(event_type: int) -> str:
    """The TCG name of a type, or its number (``0x%08x``) if it has none."""
    return NAMES.get(event_type) or f"0x{event_type:08x}"
