"""An IMA list: one line an entry. All text of the list is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify.algorithms import BANKS, PCRS
from pyverify.cli.evidence_file import ima_format
from pyverify.cli.views import DIGEST_DIGITS, MARKS, Asked, Table, Words, findings
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.ima import Flag
from pyverify.evidence.ima_list import ImaEntry, ImaList
from pyverify.evidence.ima_relabelled import relabelled
from pyverify.evidence.text import escape
from pyverify.findings import Finding, Severity

_PATH_LIMIT: Final = 4096  # PATH_MAX

_NOTES: Final = (
    (Flag.VIOLATION, "violation: name and digest are not proven"),
    (Flag.KEXEC, "kexec"),
    (Flag.WEAK_HASH, "weak hash"),
    (Flag.DIGEST_LENGTH, "digest of a wrong length"),
    (Flag.UNKNOWN_ALGORITHM, "unknown algorithm"),
)


def view(data: bytes, asked: Asked) -> ImaView:
    """A list in any format: what the file's name says it is, or what it looks like."""
    form = ima_format(asked.name, data)
    return ImaView(ImaList.read(data, form), form, asked)


class ImaView:
    """Every entry up to the end of the list or its fault, of those that were asked for."""

    def __init__(self, found: ImaList, form: str, asked: Asked) -> None:
        self._list = found
        self._form = form
        self._name = asked.name
        pcrs = [_pcr(word) for word in asked.registers]
        entries = found.columns.entries
        self._shown: npt.NDArray[np.bool_] = np.isin(entries["pcr"], pcrs) if pcrs else np.ones(len(entries), np.bool_)

    def _entries(self) -> list[ImaEntry]:
        return [self._list[number] for number in np.flatnonzero(self._shown).tolist()]

    @property
    def title(self) -> str:
        """Format, how many entries of how many are shown."""
        n, shown = len(self._list), int(np.count_nonzero(self._shown))
        some = "" if shown == n else f"{shown} of "
        form = self._form.replace("_", " ", 1)
        return f"{escape(self._name)}: IMA list, {form}, {some}{n} entries, template digests {self._bank()}"

    def _bank(self) -> str:
        return BANKS[int(self._list.columns.rows["bank"][0])].name

    def document(self) -> dict[str, Any]:
        """As DESIGN section 9 has it."""
        return {
            "kind": "ima",
            "format": self._form,
            "banks": [self._bank()],
            "events": [
                {
                    "number": entry.number,
                    "pcr": entry.pcr,
                    "template": escape(entry.template),
                    "path": _text(entry.path),
                    "digest": escape(entry.digest_text),
                    "data_verified": entry.data_verified,
                }
                for entry in self._entries()
            ],
            "findings": findings.documents(self.findings(), self.fault),
        }

    def table(self) -> Table:
        """One line an entry: number, PCR, template, digest, name, and what is wrong with it."""
        rows: list[tuple[Sequence[str], Words]] = []
        for entry in self._entries():
            kind, _, digits = entry.digest_text.rpartition(":")
            digest = f"{kind}:{digits[:DIGEST_DIGITS]}" if kind else ""
            cells = (
                str(entry.number),
                str(entry.pcr),
                escape(entry.template),
                MARKS[entry.data_verified],
                escape(digest),
            )
            rows.append((cells, _words(entry)))
        headers = ("#", "PCR", "template", "✓", "digest", "the list says (✓ as measured, ✗ not; dim: unproven)")
        return Table(headers, frozenset([0, 1]), rows)

    def findings(self) -> list[Finding]:
        """One a reason: how many of the entries shown have it, and which is the first."""
        flags = self._list.columns.entries["flags"]
        weak = flags & (Flag.WEAK_HASH | Flag.DIGEST_LENGTH) != 0
        without_aggregate = np.zeros(len(flags), np.bool_)
        without_aggregate[:1] = flags[:1] & Flag.BOOT_AGGREGATE == 0
        reasons = (
            ("ima.template-mismatch", Severity.HIGH, self._list.replayed.mismatches(), "data is not what was measured"),
            ("ima.relabelled", Severity.HIGH, relabelled(self._list.columns), "its name may not have this template"),
            ("ima.kexec", Severity.HIGH, flags & Flag.KEXEC != 0, "another kernel was started without a reboot"),
            ("ima.boot-aggregate", Severity.HIGH, without_aggregate, "the first entry is not the boot_aggregate"),
            ("ima.violation", Severity.WARNING, flags & Flag.VIOLATION != 0, "changed while it was measured"),
            ("ima.weak-hash", Severity.WARNING, weak, "a digest by a weak hash, or of a wrong length"),
        )
        found = []
        for code, severity, mask, hint in reasons:
            if len(which := np.flatnonzero(mask & self._shown)):
                more = f"; {len(which)} entries are like it" if len(which) > 1 else ""
                pcr = int(self._list.columns.entries["pcr"][which[0]])
                found.append(Finding(code, severity, f"{hint}{more}", pcr=pcr, event=int(which[0])))
        return found

    @property
    def fault(self) -> EvidenceError | None:
        """What keeps the list from being read to its end."""
        if (fault := self._list.fault) is not None:
            return EvidenceError(fault.code, str(fault), offset=fault.offset, event=fault.event)
        return None if len(self._list) else EvidenceError("ima.empty", "ima.empty the list has no entries")


def _pcr(word: str) -> int:
    if not word.isdecimal() or int(word) >= PCRS:
        raise UsageError(f"--pcr {escape(word)}: PCRs are 0 to {PCRS - 1}, such as 10,11")
    return int(word)


def _text(path: bytes) -> str:
    return escape(path.decode("utf-8", "surrogateescape"), _PATH_LIMIT)


def _words(entry: ImaEntry) -> Words:
    """The name of an entry, dim where its digest does not vouch for it, and what is to be known of it."""
    notes = [words for flag, words in _NOTES if entry.flags & flag]
    if entry.data_verified is False:
        notes.insert(0, "data does not fit its template digest")
    path = _text(entry.path)
    text = f"{path}  [{'; '.join(notes)}]" if notes else path
    return Words(text, () if entry.data_verified else ((0, len(path)),))
