"""Reads the text of a policy: strict TOML, in which every key is known and has an effect (DESIGN section 11)."""

from __future__ import annotations

import datetime
import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from pyverify.algorithms import BY_NAME, PCRS
from pyverify.appraise.ima_rules import NamedRuntimePolicy
from pyverify.appraise.policy_keys import KEYS, UNITS, Key
from pyverify.appraise.secure_boot_rules import Allowances, MinimumDbx, SecureBootRules
from pyverify.errors import UsageError
from pyverify.evidence.decoded import Undecodable
from pyverify.evidence.runtime_policy import MAX_SIZE, read_runtime_policy
from pyverify.evidence.sbat import SbatRow
from pyverify.evidence.signature_databases import signatures
from pyverify.evidence.text import escape

MAX_BYTES: Final = 1 << 16
"""Of a policy's text: some ten times what all keys take with their comments."""

MAX_DBX_BYTES: Final = 1 << 20
"""Of a file of signature lists: some forty times the largest dbx that is published."""

_PRESETS_FOLDER: Final = Path(__file__).with_name("presets")
_SHOWN: Final = 60
_LARGE: Final = 10**12

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SBAT_ROW: Final = re.compile(r"([!-+\--~]{1,64}),([1-9][0-9]{0,4})")  # shim's form, see evidence/sbat.py
_MAX_GENERATION: Final = 0xFFFF

_LATER: Final = {"[ima] signature_keys": "signatures of IMA entries are not judged by this version"}
"""Keys that are known by name and have no effect yet."""

Fields = dict[str, Any]
"""What a policy is made of, by the names of its attributes."""


class _Unfit(Exception):
    """A value that is not allowed, and why where that is not plain from what is."""


@cache
def _preset(name: str) -> Fields:
    text = (_PRESETS_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    return _fields(_parse(text), None, None)


def read_preset(name: str) -> Fields:
    """The fields of a preset. Its text leaves nothing out."""
    return _nested(_preset(name))


def read_policy(source: str | Path) -> Fields:
    """The fields of a policy from its text or file.

    Raises:
        UsageError: it cannot be read, or says what no policy may. It does not say of which policy: see :func:`place`.
    """
    if isinstance(source, str):
        return _nested(_fields(_parse(source), None, _preset("default")))
    try:
        text = _bytes(source, MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"it is not UTF-8 (at byte {error.start})") from None
    return _nested(_fields(_parse(text), source.parent, _preset("default")))


def place(source: str | Path) -> str:
    """What messages call a policy."""
    return "the policy's text" if isinstance(source, str) else f"policy {escape(str(source))}"


def _parse(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise UsageError(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError("it is nested deeper than any policy") from None
    except ValueError as error:  # TOMLDecodeError, and what Python says of numbers and dates without an end
        raise UsageError(f"it is no TOML: {escape(str(error))}") from None


def _fields(sections: dict[str, Any], folder: Path | None, default: Fields | None) -> Fields:
    """A value for the field of each key: what a text gives, and of ``default`` what it leaves out; without one it must
    give all."""
    _refuse_unknown(sections)
    fields: Fields = {}
    for key in KEYS:
        given = key.name in sections.get(key.section, {})
        other, values = key.counts_with or (None, ())
        counts = other is None or fields[other] in values
        if given and not counts:
            depends = next(of for of in KEYS if of.field == other)
            raise UsageError(f"{key}: it has no effect with {depends} = {_shown(fields[depends.field])}; leave it out")
        if given:
            fields[key.field] = _value(key, sections[key.section][key.name], folder)
        elif not counts:
            fields[key.field] = _WITHOUT_EFFECT[key.field]
        elif key.field in _UNSET:
            fields[key.field] = _UNSET[key.field]
        elif default is None or key.field == "name":
            raise UsageError(f"{key} is missing; it is {key.allowed}")
        else:
            fields[key.field] = default[key.field]
    return fields


_UNSET: Final[Fields] = {"secure_boot.minimum_dbx": None, "secure_boot.minimum_sbat": (), "ima_runtime_policy": None}
"""Keys that a text has only where it asks for more than ``default``, which does not have them."""

_WITHOUT_EFFECT: Final[Fields] = {
    "key": "none",
    "max_age": None,
    "ima_runtime_policy": None,
    "ima_added": "high",
    "ima_violations": "as-learned",
    "kexec": False,
}
"""What a policy has where these keys have no effect."""


def _nested(fields: Fields) -> Fields:
    """The fields with those of Secure Boot as rules."""
    fields = dict(fields)
    allow = Allowances(
        empty_dbx=fields.pop("secure_boot.allow.empty_dbx"),
        dma_protection_off=fields.pop("secure_boot.allow.dma_protection_off"),
    )
    rules = SecureBootRules(
        required=fields.pop("secure_boot.required"),
        minimum_dbx=fields.pop("secure_boot.minimum_dbx"),
        minimum_sbat=fields.pop("secure_boot.minimum_sbat"),
        allow=allow,
    )
    return {**fields, "secure_boot": rules}


def _refuse_unknown(sections: dict[str, Any]) -> None:
    known: dict[str, list[str]] = {}
    for key in KEYS:
        known.setdefault(key.section, []).append(key.name)
    for section, content in sections.items():
        if section not in known:
            there = ", ".join(f"[{name}]" for name in known)
            raise UsageError(f"unknown section [{escape(section, _SHOWN)}]; there is {there}")
        if not isinstance(content, dict):
            raise UsageError(f"[{section}] is a section of its own, and here it is {_shown(content)}")
        for name in content:
            if name not in known[section]:
                unknown = f"[{section}] {escape(name, _SHOWN)}"
                there = _LATER.get(unknown, f"there is {', '.join(known[section])}")
                raise UsageError(f"unknown key {unknown}; {there}")


def _value(key: Key, raw: Any, folder: Path | None) -> Any:
    read: Callable[..., Any] = _READERS[key.field]
    try:
        return read(raw, folder) if read in (_minimum_dbx, _runtime_policy) else read(raw)
    except _Unfit as unfit:
        why = f" {unfit};" if str(unfit) else ""
        raise UsageError(f"{key} = {_shown(raw)}:{why} allowed is {key.allowed}") from None


def _shown(raw: Any) -> str:
    """A value as the text may have had it, cut short: it may be nested, or a number, beyond what can be written."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, str):
        return f'"{escape(raw, _SHOWN)}"'
    if isinstance(raw, list) and not any(isinstance(item, dict | list) for item in raw):
        return escape(f"[{', '.join(_shown(item) for item in raw[:_SHOWN])}]", _SHOWN)
    if isinstance(raw, dict | list):
        return "a table" if isinstance(raw, dict) else "a list of lists or tables"
    if isinstance(raw, int) and abs(raw) > _LARGE:
        return "a large number"
    return str(raw)


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(raw: Any) -> str:
        if not isinstance(raw, str) or raw not in allowed:
            raise _Unfit
        return raw

    return read


def _switch(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise _Unfit
    return raw


def _name(raw: Any) -> str:
    if not isinstance(raw, str) or not _NAME.fullmatch(raw):
        raise _Unfit
    return raw


def _duration(raw: Any) -> datetime.timedelta:
    match = _DURATION.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        raise _Unfit
    return datetime.timedelta(seconds=int(match[1]) * UNITS[match[2]])


def _list(raw: Any, kind: type) -> list[Any]:
    """A list of one type, in which nothing stands twice."""
    if not isinstance(raw, list) or any(type(item) is not kind for item in raw):
        raise _Unfit
    if twice := [item for item, count in Counter(raw).items() if count > 1]:
        raise _Unfit(f"{_shown(twice[0])} stands twice")
    return raw


def _banks(raw: Any) -> tuple[str, ...]:
    named = _list(raw, str)
    if unknown := [bank for bank in named if bank not in BY_NAME]:
        raise _Unfit(f"{_shown(unknown[0])} is no bank")
    return tuple(bank for bank in BY_NAME if bank in named)


def _required_banks(raw: Any) -> tuple[str, ...] | None:
    return None if raw == "baseline" else _banks(raw)


def _pcrs(raw: Any) -> tuple[int, ...]:
    pcrs = _list(raw, int)
    if unknown := [pcr for pcr in pcrs if pcr not in range(PCRS)]:
        raise _Unfit(f"there is no PCR {_shown(unknown[0])}")
    return tuple(sorted(pcrs))


def _minimum_sbat(raw: Any) -> tuple[SbatRow, ...]:
    rows = []
    for item in _list([raw] if isinstance(raw, str) else raw, str):
        match = _SBAT_ROW.fullmatch(item)
        if match is None or int(match[2]) > _MAX_GENERATION:
            raise _Unfit(f"{_shown(item)} is no component and generation")
        rows.append(SbatRow(match[1], int(match[2])))
    components = [row.component for row in rows]
    if not rows or len(set(components)) != len(rows):
        raise _Unfit("one component, one generation" if rows else "an empty list asks for nothing")
    return tuple(sorted(rows))


def _minimum_dbx(raw: Any, folder: Path | None) -> MinimumDbx:
    try:
        entries = frozenset(signatures(_named(raw, folder, MAX_DBX_BYTES)))
    except Undecodable as fault:
        words = "strip what is before the lists: the signature of an update, the four bytes of efivarfs"
        raise _Unfit(f"{fault}; {words}") from None
    if not entries:
        raise _Unfit("it revokes nothing")
    return MinimumDbx(entries, raw)


def _runtime_policy(raw: Any, folder: Path | None) -> NamedRuntimePolicy:
    data = _named(raw, folder, MAX_SIZE)
    try:
        return NamedRuntimePolicy(hashlib.sha256(data).digest(), read_runtime_policy(data), raw)
    except UsageError as error:
        raise _Unfit(escape(str(error))) from None


def _named(raw: Any, folder: Path | None, most: int) -> bytes:
    """The contents of a file that a policy in this folder names."""
    if not isinstance(raw, str) or not raw or not raw.isprintable():
        raise _Unfit
    if folder is None:
        raise _Unfit("only a policy that is a file can name another")
    try:
        return _bytes(folder / raw, most)
    except UsageError as error:
        raise _Unfit(str(error)) from None


def _bytes(path: Path, most: int) -> bytes:
    """The contents of a regular file, of which never more than ``most`` bytes are read."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError("it is no regular file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > most:
        raise UsageError(f"it is larger than {most:,} bytes")
    return data


_READERS: Final[dict[str, Callable[..., Any]]] = {
    "name": _name,
    "quote": _one_of("fresh", "any", "no"),
    "key": _one_of("certified", "activated", "enrolled", "first-use"),
    "max_age": _duration,
    "banks_allowed": _banks,
    "banks_required": _required_banks,
    "pcrs_compare": _pcrs,
    "pcrs_report": _pcrs,
    "secure_boot.required": _switch,
    "secure_boot.minimum_dbx": _minimum_dbx,
    "secure_boot.minimum_sbat": _minimum_sbat,
    "secure_boot.allow.empty_dbx": _switch,
    "secure_boot.allow.dma_protection_off": _switch,
    "ima": _one_of("baseline", "runtime-policy", "no"),
    "ima_runtime_policy": _runtime_policy,
    "ima_added": _one_of("high", "warning", "info"),
    "ima_violations": _one_of("as-learned", "high", "warning"),
    "kexec": _switch,
}
