"""The part of a verifier service that is the same whatever carries its messages: ask, appraise, spend, answer.

It may be called from many threads. A message is one JSON object a line, bytes as base64::

    {"challenge": "web-1"}                              → {"nonces": {"<Name of the key, hex>": "<nonce>"}}
    {"machine": "web-1", "boot": "7", "event_log": …,   → {"verdict": "trusted", "attested": "quote", "key": "enrolled",
     "ima": [{"format", "data"}], "quotes":                "findings": [{"code", "severity", "hint"}]}
     [{"msg", "sig", "ak_pub", "pcrs"}]}

and what cannot be answered is {"error": "…"}. Who may speak to the service, and encryption, are for what stands before
it: anybody may ask for a challenge here, and only a machine's newest one is fresh.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pyverify import Evidence, Policy, PyverifyError, Store, UsageError, Verdict, verify
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.live import LiveReferences
from pyverify.evidence.bundle import ImaList, Quote

MAX_LINE: Final = 16 << 20
"""Bytes of a message: an IMA list of 50,000 entries is some 6 MB in base64."""

_BYTES: Final = ("event_log", "userspace_log", "ak_cert", "ek_cert")
_QUOTE: Final = ("msg", "sig", "ak_pub", "pcrs")
_KNOWN: Final = frozenset({"machine", "boot", "ima", "quotes", *_BYTES})

_Built = TypeVar("_Built")


class Verifier:
    """Appraises evidence of one boot at a time against a store, at the time when it comes."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._policy, self._ledger, self._live = policy, Ledger(store), LiveReferences(store)

    def challenge(self, machine: str) -> dict[str, bytes]:
        """A nonce for each key that is the machine's now, by the key's Name in hex. It is good once, and for a day.

        Raises:
            UsageError: no key is enrolled for it.
        """
        now = datetime.datetime.now(datetime.UTC)
        keys = [key.ak_name for key in self._live.of(machine).identity.ak_of(machine) if key.holds_at(now)]
        if not keys:
            raise UsageError("no key is enrolled for this machine")
        return {one.ak_name.hex(): one.nonce for one in self._ledger.issue(machine, keys, at=now)}

    def appraise(self, evidence: Evidence) -> Verdict:
        """The verdict that stands: its nonce is spent, and whoever sends the same nonce with another quote is refused.

        Under a policy that asks for no fresh quote nothing is spent.
        """
        now = datetime.datetime.now(datetime.UTC)
        verdict = verify(evidence, references=self._live.of(evidence.machine), policy=self._policy, as_of=now)
        standing: Verdict = self._ledger.consume(verdict, at=now)
        return standing

    def answer(self, line: bytes) -> bytes:
        """The answer to one message, whatever it is."""
        try:
            answer = self._answer(_message(line))
        except PyverifyError as error:
            answer = {"error": str(error)}
        return json.dumps(answer).encode() + b"\n"

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if set(message) == {"challenge"}:
            nonces = self.challenge(_text(message["challenge"]))
            return {"nonces": {name: base64.b64encode(nonce).decode() for name, nonce in nonces.items()}}
        verdict = self.appraise(_evidence(message))
        findings = [{"code": f.code, "severity": str(f.severity), "hint": f.hint} for f in verdict.findings]
        facts = {"verdict": str(verdict.outcome), "attested": verdict.attested, "key": verdict.key}
        return {**facts, "findings": findings}


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("the message is no JSON") from error
    if not isinstance(message, dict):
        raise UsageError("the message is no JSON object")
    return message


def _evidence(message: dict[str, Any]) -> Evidence:
    if unknown := set(message) - _KNOWN:
        raise UsageError(f"unknown: {sorted(unknown)[0]!r:.60}")
    event_log, userspace_log, ak_cert, ek_cert = (_bytes(message.get(name)) for name in _BYTES)
    return Evidence(
        _text(message.get("machine")),
        _text(message.get("boot")),
        event_log=event_log,
        userspace_log=userspace_log,
        ak_cert=ak_cert,
        ek_cert=ek_cert,
        ima=_list(message.get("ima"), lambda one: ImaList(_text(one.get("format")), _bytes(one.get("data")) or b"")),
        quotes=_list(message.get("quotes"), _quote),
    )


def _quote(parts: dict[str, Any]) -> Quote:
    msg, sig, ak_pub, pcrs = (_bytes(parts.get(name)) for name in _QUOTE)
    return Quote(msg or b"", sig or b"", ak_pub, pcrs)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise UsageError("a name is missing, or no text that can be printed")
    return value


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("a value is not base64") from error


def _list(value: Any, build: Callable[[dict[str, Any]], _Built]) -> list[_Built] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UsageError("quotes and ima are lists of objects")
    return [build(one) for one in value]
