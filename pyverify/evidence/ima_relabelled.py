"""Entries under a template that is not theirs (SPEC attack 87).

A template digest covers neither the template's name nor what its fields are called, so the data of a measured buffer
also reads as that of a file with a signature, and the reverse. What tells them apart is in the data: the digest of a
buffer is that of the bytes beside it, the digest of a file is not; and files and the kernel's buffers differ in name.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import Flag, ImaColumns

_BUFFERS: Final = Ragged.of(
    [
        b"kexec-cmdline",
        b"kernel_version",
        b"dm_table_load",
        b"dm_device_resume",
        b"dm_device_remove",
        b"dm_table_clear",
        b"dm_device_rename",
        b"dm_target_update",
        b"selinux-state",
        b"selinux-policy-hash",
        b"kexec_load",
        b"kexec_execute",
        b".builtin_trusted_keys",
        b".secondary_trusted_keys",
        b".machine",
        b".platform",
        b".blacklist",
        b".ima",
        b".evm",
        b"_ima",
        b"_evm",
    ]
)
"""What the kernel measures as buffers: critical data, command lines, keys by their ring (security/integrity/ima, device
mapper, SELinux)."""


def relabelled(columns: ImaColumns) -> npt.NDArray[np.bool_]:
    """Which entries are under a template that their name or data may not have: bool of shape [m]; never violations."""
    lists, entries = columns.lists, columns.entries
    violation = entries["flags"] & Flag.VIOLATION != 0
    buffer = entries["flags"] & Flag.BUFFER != 0
    # Files are called by their path; what is not may be a buffer, and is looked at.
    first_byte = np.zeros(len(entries), np.uint8)
    named = np.flatnonzero(entries["path_size"] > 0)
    first_byte[named] = lists.blob[lists.offsets[columns.list_of[named]] + entries["path_at"][named]]
    found = buffer & (first_byte == ord("/"))
    which = np.flatnonzero((buffer | (first_byte != ord("/"))) & ~violation)
    names = columns.pieces(which, "path")
    slots = _native.index(_BUFFERS.blob, _BUFFERS.offsets)
    known = _native.find(names.blob, names.offsets, _BUFFERS.blob, _BUFFERS.offsets, slots) != _native.NOT_FOUND
    equal = _digest_is_of_what_is_beside(columns, which)
    aggregate = entries["flags"][which] & Flag.BOOT_AGGREGATE != 0
    found[which] |= np.where(buffer[which], ~equal | aggregate, equal | known)
    result: npt.NDArray[np.bool_] = found & ~violation
    return result


def _digest_is_of_what_is_beside(columns: ImaColumns, which: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the file digest of each of these entries is that of its signature or buffer; no, without either."""
    equal = np.zeros(len(which), np.bool_)
    algorithms = columns.entries["algorithm"][which]
    sizes = columns.entries["file_digest_size"][which]
    # An empty signature is not there; an empty buffer is one.
    there = (columns.entries["signature_size"][which] > 0) | (columns.entries["flags"][which] & Flag.BUFFER != 0)
    for bank in BANKS:
        same = np.flatnonzero(there & (algorithms == _native.ima_algorithm(bank.name)) & (sizes == bank.size))
        if len(same):
            beside = columns.pieces(which[same], "signature")
            digests = columns.pieces(which[same], "file_digest").blob.reshape(len(same), bank.size)
            hashed = _native.hash_messages(bank.index, beside.blob, beside.offsets)
            equal[same] = (hashed == digests).all(axis=1)
    return equal
