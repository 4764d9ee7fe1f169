"""What the commands that have a store share: how it is opened, and its head in words."""

from __future__ import annotations

import argparse

from pyverify.baseline.heads import Head
from pyverify.baseline.store import Store


def open_store(args: argparse.Namespace, *, create: bool = False) -> Store:
    """The store that ``--store``, ``--store-key`` and ``--anchor`` name."""
    return Store.open(args.store, create=create, key_file=args.store_key, anchor_file=args.anchor)


def head_words(head: Head) -> str:
    """A head for the summary of a run: enough of it for ``baseline verify-store --head``."""
    return f"store head {head.number:,}: {head.digest.hex()[:16]}"
