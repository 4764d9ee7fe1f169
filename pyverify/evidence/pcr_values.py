"""PCR values beside quotes. They are authentic only when the signed pcrDigest matches them (DESIGN section 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS, bank, banks_of, pcrs_of
from pyverify.errors import EvidenceError
from pyverify.evidence.gather import distinct_rows
from pyverify.evidence.quote import Quotes
from pyverify.evidence.strict_json import decode

PcrValues: TypeAlias = dict[str, dict[int, bytes]]
BankColumns: TypeAlias = Mapping[str, npt.NDArray[np.uint8]]
"""By bank uint8 of shape [n, 24, digest size]."""

TEXT_LIMIT: Final = 1 << 20

_BANK: Final = re.compile(r"\s*([A-Za-z0-9_-]+)\s*:\s*")
_VALUE: Final = re.compile(r"\s*(\d{1,2})\s*:\s*(?:0x)?([0-9A-Fa-f]+)\s*", re.ASCII)
_LINE: Final = re.compile(r"\s*([A-Za-z0-9_-]+)[\s:]+(\d{1,2})[\s:]+(?:0x)?([0-9A-Fa-f]+)\s*", re.ASCII)


def parse_pcr_text(data: bytes, where: str) -> PcrValues:
    """PCR values by bank and number, of tpm2_pcrread's YAML, of lines of bank, PCR and value, or of our own JSON.

    ``where`` names the input in error messages.

    Raises:
        EvidenceError: it is none of these, a value has the wrong length, or stands there twice.
    """
    if len(data) > TEXT_LIMIT:
        raise EvidenceError("evidence.unreadable", f"{where}: more than {TEXT_LIMIT} bytes cannot be PCR values")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise EvidenceError("evidence.unreadable", f"{where}: cannot be read as PCR values: {error}") from error
    entries = _json_entries(text, where) if text.lstrip().startswith("{") else _text_entries(text, where)
    values: PcrValues = {}
    for place, bank_name, pcr, digits in entries:
        try:
            algorithm = bank(bank_name)
            value = bytes.fromhex(digits)
        except (KeyError, ValueError) as error:
            raise EvidenceError(
                "evidence.unreadable", f"{where}: {place}: unknown bank or odd value: {error}"
            ) from error
        if not 0 <= pcr < PCRS or len(value) != algorithm.size or pcr in values.setdefault(algorithm.name, {}):
            what = f"PCR {pcr} of {algorithm.name} with {len(value)} bytes"
            raise EvidenceError("evidence.unreadable", f"{where}: {place}: {what} cannot be, or stands here twice")
        values[algorithm.name][pcr] = value
    if not values:
        raise EvidenceError("evidence.unreadable", f"{where}: no PCR values in it")
    return values


def _json_entries(text: str, where: str) -> list[tuple[str, str, int, str]]:
    """``{bank: {pcr: hex}}``, or what ``replay --format json`` prints of one log."""
    try:
        banks = decode(text.encode())
        if len(banks) == 1 and "banks" in (replayed := next(iter(banks.values()))):
            banks = replayed["banks"]
        return [("JSON", b, int(pcr), str(value)) for b, values in banks.items() for pcr, value in values.items()]
    except (ValueError, TypeError, AttributeError) as error:
        raise EvidenceError("evidence.unreadable", f"{where}: no JSON of bank, PCR and hex: {error}") from error


def _text_entries(text: str, where: str) -> list[tuple[str, str, int, str]]:
    entries: list[tuple[str, str, int, str]] = []
    current: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.strip() == "pcrs:":
            continue
        if match := _BANK.fullmatch(line):
            current = match[1]
        elif (match := _VALUE.fullmatch(line)) and current is not None:
            entries.append((f"line {number}", current, int(match[1]), match[2]))
        elif match := _LINE.fullmatch(line):
            entries.append((f"line {number}", match[1], int(match[2]), match[3]))
        else:
            raise EvidenceError("evidence.unreadable", f"{where}: line {number} is no PCR value: {line[:80]!r}")
    return entries


def laid_out(quotes: Quotes) -> tuple[npt.NDArray[np.bool_], dict[str, npt.NDArray[np.uint8]]]:
    """The values beside the quotes by bank and PCR, as each quote's signed selection assigns them.

    What is read are tpm2_quote's two formats, and text as :func:`parse_pcr_text` reads it, whose values are taken only
    where the selection asks for them. Nothing of this is authentic yet.

    Returns:
        Which quotes have a value for every selected PCR, bool of shape [n]; and the values, zeros elsewhere.
    """
    complete, values = _native.decode_values(quotes.values.blob, quotes.values.offsets, quotes.attests)
    for i in np.flatnonzero(~complete & quotes.values.present & (quotes.attests["fault"] == 0)).tolist():
        item = quotes.values[i]
        if item and len(item) <= TEXT_LIMIT and item.isascii():
            complete[i] = _lay_text_out(item, quotes.attests[i], values, i)
    return complete, values


def _lay_text_out(item: bytes, attest: npt.NDArray[Any], values: dict[str, npt.NDArray[np.uint8]], row: int) -> bool:
    try:
        given = parse_pcr_text(item, "PCR values")
    except EvidenceError:
        return False
    wanted = [(b.name, pcr) for b in BANKS for pcr in pcrs_of(int(attest["selected"][b.index]))]
    if not wanted or any(pcr not in given.get(name, {}) for name, pcr in wanted):
        return False
    for name, pcr in wanted:
        values[name][row, pcr] = np.frombuffer(given[name][pcr], np.uint8)
    return True


def selection_digests(
    quotes: Quotes, values: BankColumns, which: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
    """What pcrDigest would be if the PCRs held these values: the hash over the selected ones in the selection's order.

    Args:
        quotes: the quotes, whose signature says which hash it is (SPEC 8.1).
        values: one row a quote; a bank that is selected but missing here has no digest.
        which: the quotes that are asked for, bool of shape [n].

    Returns:
        For which quotes there is one, bool of shape [n], and the digests at the start of rows of zeros, uint8 [n, 64].
    """
    attests, banks = quotes.attests, quotes.hash_bank
    known = (attests["mask"] == 0) | ((attests["bank"] >= 0) & (attests["mask"] >> PCRS == 0))
    can = which & (attests["fault"] == 0) & (attests["empty"] == 0) & np.all(known, axis=1) & (banks >= 0)
    missing = [b.index for b in BANKS if b.name not in values]
    can &= ~np.any(attests["selected"][:, missing] != 0, axis=1)
    digests = np.zeros((len(quotes), _native.DIGEST_ROOM), np.uint8)
    rows = np.flatnonzero(can)
    if not len(rows):
        return can, digests
    # Quotes of one kind, with the same hash and selections, are done together; most of a fleet is of one.
    width = int(attests["n_selections"][rows].max())
    kinds = np.column_stack([banks, attests["bank"][:, :width], attests["mask"][:, :width]])[rows]
    examples, kind_of = distinct_rows(kinds)
    for number, kind in enumerate(kinds[examples]):
        chosen = rows[kind_of == number]
        parts = [
            values[BANKS[b].name][chosen[:, None], list(pcrs_of(int(mask)))].reshape(len(chosen), -1)
            for b, mask in zip(kind[1 : 1 + width], kind[1 + width :], strict=True)
            if mask
        ]
        blob = np.concatenate(parts, axis=1)
        offsets = np.arange(len(chosen) + 1, dtype=np.int64) * blob.shape[1]
        bank_index = int(kind[0])
        digests[chosen, : BANKS[bank_index].size] = _native.hash_messages(bank_index, blob.reshape(-1), offsets)
    return can, digests


def digest_matches(quotes: Quotes, values: BankColumns, which: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """For which quotes of a mask the signed pcrDigest is that of these values: bool of shape [n].

    It makes the selected values as authentic as the quote; whether its signature holds is for the caller to know.
    """
    can, digests = selection_digests(quotes, values, which)
    sizes = np.array([b.size for b in BANKS])[np.maximum(quotes.hash_bank, 0)]
    same: npt.NDArray[np.bool_] = can & (quotes.attests["digest_size"] == sizes)
    same &= np.all(digests == quotes.pcr_digests(), axis=1)
    return same


def authentic_values(quotes: Quotes, i: int) -> dict[str, tuple[int, npt.NDArray[np.uint8]]] | None:
    """The values beside one quote where its pcrDigest matches them: by bank the PCR mask and uint8 of shape [24, size].

    None where they do not match, or were not sent. They are as authentic as the quote's signature is.
    """
    complete, values = laid_out(quotes)
    which = complete & (np.arange(len(quotes)) == i)
    if not digest_matches(quotes, values, which)[i]:
        return None
    selected = quotes.attests["selected"][i]
    names = banks_of(sum(1 << b.index for b in BANKS if selected[b.index]))
    return {name: (int(selected[BY_NAME[name].index]), values[name][i]) for name in names}
