"""What an event's data says (SPEC sections 1.2, 2.2 and 3): in fields for programs, and as one line for people.

Data is what the log says, not what was measured: whoever shows it marks what the event's digest does not cover.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyverify.evidence import event_types as types
from pyverify.evidence import firmware_events as firmware
from pyverify.evidence import uefi_events, variables
from pyverify.evidence.decoded import Decoded, Undecodable, bytes_field
from pyverify.evidence.ipl import ipl
from pyverify.evidence.no_action import no_action
from pyverify.evidence.spdm import spdm
from pyverify.evidence.tagged import tagged
from pyverify.evidence.words import plain


def decode(pcr: int, event_type: int, data: bytes) -> Decoded:
    """What the data of an event of this PCR and type says. Never raises.

    A structure that does not fit is of kind ``undecodable``, with its fault and its bytes.
    """
    try:
        return _DECODERS.get(event_type, _ANY)(pcr, data)
    except Undecodable as fault:
        return Decoded("undecodable", str(fault), [bytes_field("data", data, 0)], fault)


def describe(pcr: int, event_type: int, data: bytes) -> str:
    """The text of :func:`decode`: one line of at most 240 printable characters.

    The line is no proof: it repeats what the log claims. Data that is not what the type says reads ``undecodable ...``.
    """
    return decode(pcr, event_type, data).text


_Decoder = Callable[[int, bytes], Decoded]

_ANY: Final = plain("bytes")

_STRUCTURES: Final[dict[int, _Decoder]] = {
    types.EV_NO_ACTION: no_action,
    types.EV_EVENT_TAG: tagged,
    types.EV_EFI_VARIABLE_DRIVER_CONFIG: variables.configuration,
    types.EV_EFI_VARIABLE_BOOT: variables.configuration,
    types.EV_EFI_VARIABLE_BOOT2: variables.configuration,
    types.EV_EFI_BOOT_SERVICES_APPLICATION: uefi_events.image,
    types.EV_EFI_BOOT_SERVICES_DRIVER: uefi_events.image,
    types.EV_EFI_RUNTIME_SERVICES_DRIVER: uefi_events.image,
    types.EV_EFI_GPT_EVENT: uefi_events.gpt,
    types.EV_EFI_GPT_EVENT2: uefi_events.gpt2,
    types.EV_EFI_PLATFORM_FIRMWARE_BLOB: firmware.blob,
    types.EV_EFI_PLATFORM_FIRMWARE_BLOB2: firmware.named_blob,
    types.EV_EFI_HANDOFF_TABLES: firmware.handoff_tables,
    types.EV_EFI_HANDOFF_TABLES2: firmware.named_handoff_tables,
    types.EV_EFI_VARIABLE_AUTHORITY: variables.authority,
    types.EV_EFI_SPDM_FIRMWARE_BLOB: spdm("spdm-firmware", "SPDM device firmware"),
    types.EV_EFI_SPDM_FIRMWARE_CONFIG: spdm("spdm-configuration", "SPDM device configuration"),
    types.EV_EFI_SPDM_DEVICE_POLICY: variables.device_policy,
    types.EV_EFI_SPDM_DEVICE_AUTHORITY: variables.authority,
}

_DECODERS: Final[dict[int, _Decoder]] = {
    **_STRUCTURES,
    types.EV_POST_CODE: firmware.post_code,
    types.EV_SEPARATOR: firmware.separator,
    types.EV_ACTION: plain("action"),
    types.EV_S_CRTM_CONTENTS: firmware.crtm_contents,
    types.EV_S_CRTM_VERSION: firmware.crtm_version,
    types.EV_CPU_MICROCODE: firmware.microcode,
    types.EV_PLATFORM_CONFIG_FLAGS: firmware.configuration,
    types.EV_TABLE_OF_DEVICES: firmware.table_of_devices,
    types.EV_IPL: ipl,
    types.EV_NONHOST_CODE: firmware.non_host,
    types.EV_NONHOST_CONFIG: firmware.non_host,
    types.EV_NONHOST_INFO: firmware.non_host,
    types.EV_OMIT_BOOT_DEVICE_EVENTS: plain("action"),
    types.EV_POST_CODE2: firmware.post_code,
    types.EV_EFI_ACTION: plain("action"),
    types.EV_EFI_HCRTM_EVENT: firmware.hcrtm,
}

STRUCTURED: Final = frozenset(_STRUCTURES)
"""Types whose data has a structure that must fit; that of all others is a text, or bytes of the vendor's."""
