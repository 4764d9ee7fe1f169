"""Edits of what a log says of Secure Boot, as an honest machine would measure it, and the answer in short forms."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import log_editor
from conftest import DATA, hash_of

from pyverify import EventLog
from pyverify.appraise.secure_boot import Allowances, secure_boot

SECURE_BOOT_LOG = (DATA / "logs" / "60_sb_first_boot.bin").read_bytes()
SHA256_LIST = bytes.fromhex("2616c4c14c509240aca941f936934328")
GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
IMAGE_SECURITY = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")
SHIM = bytes.fromhex("50ab5d6046e00043abb63dd810dd8b23")
EV_SEPARATOR, EV_ACTION, EV_IPL = 4, 5, 0xD
DRIVER_CONFIG, EFI_ACTION, AUTHORITY = 0x80000001, 0x80000007, 0x800000E0


@dataclass
class Entry:
    pcr: int
    kind: int
    data: bytes
    digests: dict[str, bytes] = field(default_factory=dict)

    def rehash(self, banks, hashed=None):
        self.digests = {bank: hash_of(bank, self.data if hashed is None else hashed) for bank in banks}
        return self

    @property
    def variable(self):
        """GUID, name and content, of UEFI_VARIABLE_DATA that fits."""
        units, size = struct.unpack_from("<QQ", self.data, 16)
        at = 32 + 2 * units
        return self.data[:16], self.data[32:at].decode("utf-16-le"), self.data[at : at + size]


def variable(guid: bytes, name: str | bytes, content: bytes) -> bytes:
    name = name if isinstance(name, bytes) else name.encode("utf-16-le")
    return guid + struct.pack("<QQ", len(name) // 2, len(content)) + name + content


class Editor:
    """A log as a list of :class:`Entry`; edits recompute the digests of what they touch, as an honest machine would."""

    def __init__(self, log: bytes) -> None:
        parsed = log_editor.Log.parse(log)
        self.header = parsed.header
        self.entries = [Entry(one.pcr, one.type, one.data, one.digests) for one in parsed]
        self.banks = list(self.entries[0].digests)

    def build(self) -> bytes:
        entries = [log_editor.Entry(one.pcr, one.kind, one.digests, one.data) for one in self.entries]
        return log_editor.Log(self.header, entries).bytes()

    def find(self, name: str, kind: int = DRIVER_CONFIG) -> int:
        """Place of the first event of PCR 7 that measured a variable of this name."""
        return next(at for at, e in enumerate(self.entries) if (e.pcr, e.kind) == (7, kind) and e.variable[1] == name)

    def separator(self) -> int:
        """Place of PCR 7's separator."""
        return next(at for at, e in enumerate(self.entries) if (e.pcr, e.kind) == (7, EV_SEPARATOR))

    def set(self, at: int, data: bytes) -> Editor:
        self.entries[at].data = data
        self.entries[at].rehash(self.banks)
        return self

    def content(self, name: str, content: bytes, kind: int = DRIVER_CONFIG) -> Editor:
        """Gives a measured variable another content."""
        at = self.find(name, kind)
        guid, _, _ = self.entries[at].variable
        return self.set(at, variable(guid, name, content))

    def insert(self, at: int, kind: int, data: bytes, pcr: int = 7) -> Editor:
        self.entries.insert(at, Entry(pcr, kind, data).rehash(self.banks))
        return self

    def remove(self, at: int) -> Editor:
        del self.entries[at]
        return self

    def move(self, at: int, to: int) -> Editor:
        self.entries.insert(to, self.entries.pop(at))
        return self


_PREFIXES = (b"grub_cmd: ", b"kernel_cmdline: ", b"module_cmdline: ", b"grub_cmd ", b"grub_kernel_cmdline ")


def verified(log) -> list[int]:
    """What the check of data against digests says, by hashlib: whole data, or the text after a prefix of GRUB's."""
    flags = []
    for event in log:
        forms = [event.data]
        if (event.pcr, event.type_hint) == (8, EV_IPL):
            texts = [event.data.removeprefix(prefix) for prefix in _PREFIXES if event.data.startswith(prefix)]
            forms += [*texts, *(text.removesuffix(b"\0") for text in texts)]
        right = any(all(hash_of(bank, form) == digest for bank, digest in event.digests.items()) for form in forms)
        flags.append(int(right))
    return flags


def judged(data: bytes, **allow: bool):
    log = EventLog.parse(data)
    return secure_boot(log, verified(log), Allowances(**allow))


def codes(boot, severity: str = "high") -> set[str]:
    return {finding.code for finding in boot.findings if finding.severity == severity}


def hashes(*digests: bytes, header: bytes = b"") -> bytes:
    """An EFI_SIGNATURE_LIST of SHA-256 hashes."""
    size = 28 + len(header) + 48 * len(digests)
    body = b"".join(bytes(16) + digest for digest in digests)
    return SHA256_LIST + struct.pack("<III", size, len(header), 48) + header + body
