"""``python -m bench``: runs benches and prints what they find, or draws plots."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench.approval import approval
from bench.extend import extend
from bench.hashing import hash_
from bench.hunt import hunt_
from bench.ima import ima
from bench.inspect_log import inspect
from bench.million import million
from bench.output import print_json, print_markdown, print_table
from bench.plan import Plan
from bench.plots import draw
from bench.quotes import quotes
from bench.results import Line, Note
from bench.scan import scan
from bench.service import service
from bench.verify_memory import verify_memory
from bench.verify_parquet import verify_parquet

Bench = Callable[[Plan], Iterator[Line | Note]]

BENCHES: Final[dict[str, Bench]] = {
    "approval": approval,
    "extend": extend,
    "hash": hash_,
    "scan": scan,
    "hunt": hunt_,
    "ima": ima,
    "inspect": inspect,
    "million": million,
    "quotes": quotes,
    "service": service,
    "verify_memory": verify_memory,
    "verify_parquet": verify_parquet,
}


def main() -> None:
    """Runs what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the names of the benches")
    parser.add_argument("--only", action="append", choices=list(BENCHES), metavar="BENCH", help="run this bench only")
    parser.add_argument("--quick", action="store_true", help="1,000 boots, fewer samples, without the longest cases")
    parser.add_argument("--boots", type=int, metavar="N", help="boots of the fleet, instead of 10,000")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--markdown", action="store_true", help="a table to be pasted into a document")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw plots into a folder, instead of the benches")
    args = parser.parse_args()
    if args.boots is not None and args.boots < 4:
        parser.error("a fleet has at least 4 boots")
    if args.json and args.markdown:
        parser.error("--json or --markdown, not both")
    if args.list:
        print("\n".join(BENCHES))
        return
    plan = Plan.of(quick=args.quick, boots=args.boots)
    if args.plots:
        for path in draw(plan, args.plots):
            print(path)
        return
    names = list(dict.fromkeys(args.only or BENCHES))
    show = print_json if args.json else print_markdown if args.markdown else print_table
    show(line for name in names for line in BENCHES[name](plan))


if __name__ == "__main__":
    main()
