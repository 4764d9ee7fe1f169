"""Every limit on what an archive may hold, each with its reason (SPEC section 10.1 rows 27-29)."""

from __future__ import annotations

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

MEMBER_BYTES: Final[dict[str, int]] = {
    # Firmware reserves 64 KiB to 1 MiB for its log; 64 MiB leaves room for a log that the OS keeps extending.
    "event_log": 64 * MIB,
    "userspace_log": 64 * MIB,
    # Some 300 bytes an entry: about 900,000 measured files.
    "ima": 256 * MIB,
    # TPM structures carry 16-bit sizes, so no part of a quote can be longer.
    "quotes": 64 * KIB,
    # A TPM's NV index, where EK certificates live, holds a few KiB.
    "ak_cert": 64 * KIB,
    "ek_cert": 64 * KIB,
    # Two short values and what a collector adds for itself.
    "evidence": 64 * KIB,
}
"""Longest member by the column it goes to."""

BOOT_BYTES: Final = 512 * MIB
"""All members of one boot: the memory that a single machine may claim."""

QUOTES: Final = 16
"""Quotes of one boot: one a bank and a few selections are usual."""

IMA_LISTS: Final = 16
"""IMA lists of one boot: one a bank, in binary and in ASCII, are 12."""

MEMBERS: Final = 10_000_000
"""Members of one tar or zip: some two million boots; past that Parquet is the form to use."""

MEMBER_RATIO: Final = 1000
"""Bytes out for a byte in of one zip member. DEFLATE ends at 1032, which only runs of one byte come near."""

MEMBER_RATIO_FROM: Final = MIB
"""Members up to this size may expand as they like."""

TOTAL_RATIO: Final = 200
"""Bytes out for a byte in of a whole archive: logs of like machines reach some 50."""

TOTAL_RATIO_FROM: Final = GIB
"""Archives up to this size may expand as they like."""

XZ_MEMORY: Final = 256 * MIB
"""Memory of the xz decoder: ``xz -9`` needs 65 MiB."""

ZIP_DIRECTORY: Final = 64 * MIB
"""The central directory of a zip, which is held in memory: some 600,000 members."""

TAR_HEADER: Final = 64 * KIB
"""An extended tar header (long names, pax records); paths end at 4 KiB on Linux."""

FOLDER_DEPTH: Final = 8
"""Folders below the one given: ``<machine>/<boot>`` and some levels of the operator's own above them."""
