"""``quote verify``: one quote, with the flags of tpm2_checkquote."""

from __future__ import annotations

import argparse
import hmac
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from pyverify import _native
from pyverify.algorithms import BANKS, PCRS, bank, pcr_mask
from pyverify.appraise.proof import BESIDE, ProofPolicy, Proofs, prove
from pyverify.cli.views import Table
from pyverify.cli.views import quote as quote_view
from pyverify.cli.views.key import KeyView
from pyverify.cli.views.quote import QuoteView
from pyverify.cli.views.table import lines
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.quote import Quotes
from pyverify.evidence.quote_faults import fault_words
from pyverify.evidence.text import escape

_LIMIT: Final = 1 << 20  # bytes of a file; no honest one has a twentieth of it
_ALL: Final = (1 << PCRS) - 1


def verify(args: argparse.Namespace) -> int:
    """Prints what was signed and what holds; 0 where all that was asked for does, 1 where something does not."""
    nonce, selection = _nonce(args.nonce), _selection(args.pcr_list)
    hash_name = _hash(args.hash)
    files = [_read(args.message), _read(args.signature), _read(args.public)]
    values = None if args.pcrs is None else _read(args.pcrs)
    message, signature, public = (Ragged.of([data]) for data in files)
    quotes = Quotes.of(message, signature, public, Ragged.of([values]), hash_name=hash_name or "sha256")
    _check_readable(quotes, (args.message, args.signature, args.public))
    hashes = ProofPolicy().hashes if hash_name is None else (hash_name,)
    proofs = prove(quotes, policy=ProofPolicy(hashes=hashes, sm2_mode=args.sm2_mode, bare_keys=True))
    checks = _checks(quotes, proofs, nonce, selection, values is not None)
    answer = all(check["ok"] is not False for check in checks)
    quote, key = QuoteView(files[0]), KeyView(files[2])
    document = {
        "answer": answer,
        "checks": checks,
        "signed": quote.document(),
        "key": key.document(),
        "pcrs": _proven(proofs),
    }
    if args.format == "json":
        json.dump(document, sys.stdout, indent=1)
        print()
    else:
        _print(document, lines(Table((), frozenset(), [*quote.table().rows, *key.table().rows])))
    return 0 if answer else 1


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise EvidenceError("evidence.unreadable", f"{path}: {error.strerror}") from error
    if len(data) > _LIMIT:
        raise EvidenceError("evidence.unreadable", f"{path}: more than {_LIMIT} bytes are no part of a quote")
    return data


def _nonce(text: str | None) -> bytes | None:
    try:
        return None if text is None else bytes.fromhex(text)
    except ValueError as error:
        raise UsageError(f"-q {text!r}: the nonce is given in hex") from error


def _hash(name: str | None) -> str | None:
    try:
        return None if name is None else bank(name).name
    except KeyError as error:
        raise UsageError(f"-g {name!r}: unknown hash; there is {', '.join(b.name for b in BANKS)}") from error


def _selection(text: str | None) -> dict[str, int] | None:
    """``sha256:0,1,7+sm3_256:all`` as a mask a bank."""
    if text is None:
        return None
    masks: dict[str, int] = {}
    for part in text.split("+"):
        name, colon, numbers = part.partition(":")
        try:
            key = bank(name).name
            pcrs = [int(number) for number in numbers.split(",")] if numbers != "all" else []
            mask = _ALL if numbers == "all" else pcr_mask(pcrs)
        except (KeyError, ValueError) as error:
            raise UsageError(f"-l {text!r} is no list such as sha256:0,1,7+sm3_256:0") from error
        if not colon or key in masks or any(not 0 <= pcr < PCRS for pcr in pcrs):
            raise UsageError(f"-l {text!r}: a bank stands there twice, or a PCR is above {PCRS - 1}")
        masks[key] = mask
    return masks


def _check_readable(quotes: Quotes, paths: tuple[str, str, str]) -> None:
    """A file that is none of its kind is unreadable; one that is of another attest type is a no."""
    rows = (quotes.attests[0], quotes.signature_rows[0], quotes.keys.rows[0])
    for path, row in zip(paths, rows, strict=True):
        code = _native.quote_fault_code(int(row["fault"]))
        if code == "quote.format":
            where = int(row["fault_at"])
            raise EvidenceError(
                code, f"{path}: {fault_words(int(row['fault']))}, at byte {where} ({code})", offset=where
            )


def _check(name: str, ok: bool | None, hint: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "hint": hint}


def _checks(
    quotes: Quotes, proofs: Proofs, nonce: bytes | None, selection: dict[str, int] | None, values: bool
) -> list[dict[str, Any]]:
    found = [finding for _, finding in proofs.findings if values or finding.code != "quote.digest"]
    hints = [_check(finding.code, False, finding.hint) for finding in found]
    if not hints:
        hints = [_check("signature", True, "good, and nothing is wrong with the key")]
    if quotes.keys.bare[0]:
        hint = "not checked: a bare key has no attributes; that a TPM holds it must be known from elsewhere"
        hints.append(_check("key attributes", None, hint))
    if quotes.attests["fault"][0]:
        return hints
    if nonce is None:
        hints.append(_check("nonce", None, "not checked (-q)"))
    else:
        same = hmac.compare_digest(quotes.nonce(0), nonce)
        hints.append(_check("nonce", same, "as expected" if same else f"expected {nonce.hex() or '(none)'}"))
    if selection is not None:
        signed = {b.name: int(quotes.attests["selected"][0, b.index]) for b in BANKS}
        same = {name: mask for name, mask in signed.items() if mask} == {n: m for n, m in selection.items() if m}
        wanted = "+".join(f"{name}:{quote_view.mask_ranges(mask)}" for name, mask in selection.items())
        hints.append(_check("selection", same, "as expected" if same else f"expected {wanted}"))
    if values and proofs.origin[0] == BESIDE:
        hints.append(_check("PCR values", True, "are those that were signed"))
    elif not values:
        hints.append(_check("PCR values", None, "not checked (-f)"))
    return hints


def _proven(proofs: Proofs) -> dict[str, dict[str, str]]:
    """The authentic values, by bank and PCR."""
    pcrs = {}
    for b in BANKS:
        mask = int(proofs.proven[0, b.index])
        if mask:
            column = proofs.values[b.name][0]
            numbers = np.flatnonzero([mask >> pcr & 1 for pcr in range(PCRS)]).tolist()
            pcrs[b.name] = {str(pcr): column[pcr].tobytes().hex() for pcr in numbers}
    return pcrs


def _print(document: dict[str, Any], lines: list[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text("yes" if document["answer"] else "no", "bold green" if document["answer"] else "bold red"))
    styles = {True: ("●", "green"), False: ("✖", "bold red"), None: ("○", "dim")}
    for check in document["checks"]:
        line = Text("  ").append(*styles[check["ok"]]).append(f" {check['name']}: {escape(check['hint'], 1000)}")
        console.print(line)
    console.print()
    for words in lines:
        console.print(Text(f"  {escape(words, 1000)}"))
    for name, pcrs in document["pcrs"].items():
        console.print(Text(f"\n  {name}, as signed", "bold"))
        for pcr, value in pcrs.items():
            console.print(Text(f"    {pcr:>2}  {value}"))
