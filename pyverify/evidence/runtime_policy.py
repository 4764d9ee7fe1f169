"""Lists of allowed files that others keep: Keylime's runtime policy and plain ``HASH  PATH`` lines (SPEC section 9.4).

Their digests name no algorithm. By its length one is SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512, and of 32 bytes never
SM3 unless the caller says so: the bytes of one algorithm never pass for those of another (SPEC attack 103).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify.errors import UsageError
from pyverify.evidence.ima import Flag, ImaColumns
from pyverify.evidence.ima_set import ADDED, CHANGED, NOT_JUDGED, ImaSet, Member, kind_of
from pyverify.evidence.strict_json import StrictJsonError, decode

MAX_SIZE: Final = 256 << 20
"""Bytes of a policy; a whole distribution's is some 30 MB."""
MAX_EXCLUDES: Final = 1_000
MAX_PATTERN: Final = 4_096
"""Characters of one exclude, and how many there may be."""

_BY_LENGTH: Final = {40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_HEX: Final = re.compile(r"[0-9a-f]{40,128}", re.ASCII)
_LINE: Final = re.compile(rb"(?P<digest>[0-9a-z_:-]+) (?:[ *])?(?P<path>[^ ].*)")
_BOOT_AGGREGATE: Final = b"boot_aggregate"  # is entry 0, and never good by its name (SPEC attack 94)
_PATTERN_MEMORY: Final = 8 << 20  # of the automaton that all excludes make

_KEYS: Final[dict[str, type]] = {
    "meta": dict,
    "release": int,
    "digests": dict,
    "excludes": list,
    "keyrings": dict,
    "ima": dict,
    "ima-buf": dict,
    "verification-keys": str,
}
_META: Final[dict[str, type]] = {"version": int, "generator": int, "timestamp": str}
_IMA: Final[dict[str, type]] = {"ignored_keyrings": list, "log_hash_alg": str, "dm_policy": type(None)}
_LOG_HASHES: Final = frozenset({"sha1", "sha256", "sha384", "sha512"})


@dataclass(frozen=True, slots=True)
class RuntimePolicy:
    """What may run, by somebody else's list.

    ``allowed`` has files, and buffers and keys as members of the buffer kind. ``excludes`` are patterns of names that
    are not judged, matched as a whole; ``ignored_keyrings`` names of key rings that are not (``*``: any, which are the
    buffers whose name begins with a dot or an underscore). ``verification_keys`` is carried along, not used.
    """

    allowed: ImaSet
    excludes: tuple[str, ...] = ()
    ignored_keyrings: frozenset[str] = frozenset()
    log_hash_alg: str = "sha1"
    verification_keys: str = ""
    _pattern: Any = field(default=None, repr=False, compare=False)

    def check(self, columns: ImaColumns, first: int = 0, last: int | None = None) -> npt.NDArray[np.uint8]:
        """Holds entries against the policy as :meth:`ImaSet.check` does; what is excluded is NOT_JUDGED."""
        outcomes = self.allowed.check(columns, first, last)
        if self._pattern is None and not self.ignored_keyrings:
            return outcomes
        begin = int(columns.rows["first_entry"][first]) if len(outcomes) else 0
        which = np.flatnonzero((outcomes == CHANGED) | (outcomes == ADDED))
        paths = columns.pieces(begin + which, "path")
        data = paths.blob.tobytes()
        buffers = (columns.entries["flags"][begin + which] & Flag.BUFFER != 0).tolist()
        known: dict[tuple[bytes, bool], bool] = {}
        unjudged = np.zeros(len(which), np.bool_)
        for at, ((start, end), is_buffer) in enumerate(zip(pairwise(paths.offsets.tolist()), buffers, strict=True)):
            name = data[start:end], is_buffer
            if name not in known:
                known[name] = self._is_ignored(name[0]) if is_buffer else self._is_excluded(name[0])
            unjudged[at] = known[name]
        outcomes[which[unjudged]] = NOT_JUDGED
        return outcomes

    def _is_excluded(self, path: bytes) -> bool:
        return self._pattern is not None and self._pattern.fullmatch(path) is not None

    def _is_ignored(self, name: bytes) -> bool:
        if "*" in self.ignored_keyrings and name[:1] in (b".", b"_"):
            return True
        return any(name == ring.encode() for ring in self.ignored_keyrings if ring != "*")


def read_runtime_policy(data: bytes, *, sm3: bool = False) -> RuntimePolicy:
    """Reads a Keylime runtime policy (version 1, JSON) or lines of ``HASH  PATH``; a hash may be ``algorithm:hex``.

    Blanks in names become ``_``, as the kernel writes them.

    Args:
        data: the policy.
        sm3: whether digests of 32 bytes that name no algorithm are SM3 instead of SHA-256.

    Raises:
        UsageError: it is no such policy, strictly read, or needs what is not supported: a signed envelope, a device
            mapper policy, a pattern that is no RE2.
    """
    if len(data) > MAX_SIZE:
        raise UsageError(f"a runtime policy has at most {MAX_SIZE} bytes, not {len(data)}")
    by_length = {**_BY_LENGTH, **({64: "sm3"} if sm3 else {})}
    if data.lstrip()[:1] in (b"{", b"["):
        return _read_json(data, by_length)
    return RuntimePolicy(ImaSet(_read_lines(data, by_length)))


def _read_lines(data: bytes, by_length: Mapping[int, str]) -> Iterator[Member]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"line {number} of the list is not HASH  PATH")
        path = match["path"].replace(b" ", b"_")
        member = _member(path, match["digest"].decode(), by_length, buffer=False, where=f"line {number}")
        if path != _BOOT_AGGREGATE:
            yield member


def _member(path: bytes, text: str, by_length: Mapping[int, str], *, buffer: bool, where: str) -> Member:
    """A digest as policies write it, with or without its algorithm."""
    algorithm, colon, digest = text.rpartition(":")
    if not _HEX.fullmatch(digest) or len(digest) % 2 or (not colon and len(digest) not in by_length):
        raise UsageError(f"{where}: {text[:140]!r} is not a digest in lower-case hexadecimal digits")
    return Member(path, kind_of(algorithm if colon else by_length[len(digest)], buffer=buffer), bytes.fromhex(digest))


def _read_json(data: bytes, by_length: Mapping[int, str]) -> RuntimePolicy:
    try:
        policy = decode(data)
    except StrictJsonError as error:
        raise UsageError(f"the runtime policy is not strict JSON: {error}") from error
    if isinstance(policy, dict) and "payloadType" in policy:
        raise UsageError("the runtime policy is in a signed envelope (DSSE): verify it and give its payload")
    _check_keys(policy, _KEYS, "the runtime policy", required=("meta", "digests"))
    _check_keys(policy["meta"], _META, "meta", required=("version",))
    ima = policy.get("ima", {})
    _check_keys(ima, _IMA, "ima")
    if policy["meta"]["version"] != 1:
        raise UsageError(f"runtime policy version {policy['meta']['version']} is not known; 1 is")
    log_hash_alg = ima.get("log_hash_alg", "sha1")
    if log_hash_alg not in _LOG_HASHES:
        raise UsageError(f"log_hash_alg {log_hash_alg!r} is not one of {', '.join(sorted(_LOG_HASHES))}")
    members = [
        member
        for key, buffer in (("digests", False), ("keyrings", True), ("ima-buf", True))
        for member in _read_digests(policy.get(key, {}), key, by_length, buffer=buffer)
    ]
    excludes = _strings(policy.get("excludes", []), "excludes")
    return RuntimePolicy(
        ImaSet(members),
        tuple(excludes),
        frozenset(_strings(ima.get("ignored_keyrings", []), "ima.ignored_keyrings")),
        log_hash_alg,
        policy.get("verification-keys", ""),
        _compile(excludes),
    )


def _read_digests(
    table: Mapping[str, Any], key: str, by_length: Mapping[int, str], *, buffer: bool
) -> Iterator[Member]:
    for name, digests in table.items():
        where = f"{key} {name[:140]!r}"
        path = _encoded(name).replace(b" ", b"_")
        for text in _strings(digests, where):
            member = _member(path, text, by_length, buffer=buffer, where=where)
            if path != _BOOT_AGGREGATE:
                yield member


def _encoded(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"name {name[:140]!r} cannot be that of a file") from error


def _compile(excludes: Sequence[str]) -> Any:
    """One automaton for all patterns: RE2 takes time in proportion to the name, whatever the pattern."""
    if not excludes:
        return None
    if len(excludes) > MAX_EXCLUDES or any(len(pattern) > MAX_PATTERN for pattern in excludes):
        raise UsageError(f"a runtime policy has at most {MAX_EXCLUDES} excludes of {MAX_PATTERN} characters each")
    try:
        import re2
    except ImportError as error:
        words = "the excludes of a runtime policy need the package google-re2: pip install 'pyverify[excludes]'"
        raise UsageError(words) from error
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        for pattern in excludes:
            re2.compile(_encoded(pattern), options)
        return re2.compile(b"|".join(b"(?:" + _encoded(pattern) + b")" for pattern in excludes), options)
    except re2.error as error:
        raise UsageError(f"an exclude is not a pattern that RE2 knows: {error}") from error


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where} must be a list of strings")
    return value


def _check_keys(value: object, known: Mapping[str, type], where: str, *, required: Sequence[str] = ()) -> None:
    """Whether a JSON object has only these keys, of exactly these types: true is no number (SPEC attack 30)."""
    if not isinstance(value, dict):
        raise UsageError(f"{where} must be an object")
    for key, item in value.items():
        if key not in known:
            raise UsageError(f"{where} has an unknown key {key[:140]!r}")
        if type(item) is not known[key]:
            raise UsageError(f"{key} in {where} is a {type(item).__name__}, not a {known[key].__name__}")
    if missing := [key for key in required if key not in value]:
        raise UsageError(f"{where} lacks {', '.join(missing)}")
