"""``demo``: the main job on a sample fleet, with what a newcomer should see in it.

The sample is made of recorded boots of real virtual machines (``tests/make_sample.py`` says which).
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Final

from pyverify.appraise.policy import Policy
from pyverify.baseline.store import Store
from pyverify.cli.main import main
from pyverify.fleet.job import Summary, run
from pyverify.fleet.sources import open_source

SAMPLE: Final = Path(__file__).with_name("sample.tar.xz")

EXPECTED: Final[dict[tuple[str, str], tuple[str, str | None, str]]] = {
    ("db-1", "boot-2"): ("trusted", None, "Secure Boot is on; rebooted, nothing changed"),
    ("db-1", "boot-3"): (
        "untrusted",
        "baseline.event-changed",
        "an entry was added to dbx, the revocation list: PCR 7",
    ),
    ("edge-1", "boot-2"): ("trusted", None, "a machine whose TPM has only the SM3 bank"),
    ("edge-1", "boot-3"): ("untrusted", "baseline.event-changed", "its kernel command line was changed: PCR 8"),
    ("uki-1", "boot-2"): ("untrusted", "baseline.event-changed", "a unified kernel image was upgraded: PCRs 4, 9, 11"),
    ("web-1", "boot-2"): ("trusted", None, "rebooted, nothing changed"),
    ("web-1", "boot-3"): ("trusted", None, "rebooted, nothing changed"),
    ("web-2", "boot-2"): ("untrusted", "baseline.event-changed", "somebody tampered with the boot loader, GRUB: PCR 4"),
    ("web-3", "boot-2"): ("untrusted", "baseline.event-changed", "its kernel command line was changed: PCR 8"),
    ("web-4", "boot-2"): ("untrusted", "baseline.event-changed", "its kernel was upgraded: PCRs 8 and 9"),
    ("web-5", "boot-2"): ("error", "log.truncated", "its log is broken: it ends in the middle of an event"),
    ("web-6", "boot-2"): ("unmeasured", "log.absent", "it sent an empty log, and it used to send one"),
}
"""What becomes of each boot but the first ones: verdict, a code among its reasons, the story."""


def demo(args: argparse.Namespace) -> int:
    """Runs ``learn`` and ``verify`` on the sample; 0 when every outcome is the expected one, else 1."""
    del args
    folder = Path(tempfile.mkdtemp(prefix="pyverify-demo-"))
    store = str(folder / "demo.db")
    common = [str(SAMPLE), "--policy", "log-only", "--store", store]
    print("A sample fleet: nine machines, each with a first boot that is learned and later boots that are judged.\n")
    for words, command in (
        (
            "Learn what each machine measured at its first boot, and take that as its baseline:",
            ["learn", *common, "--activate"],
        ),
        ("Give every boot a verdict. It exits with 1, because machines are not trusted:", ["verify", *common]),
    ):
        print(f"{words}\n\n$ pyverify {shlex.join(command)}", flush=True)
        main(command)
        sys.stderr.flush()
        print(flush=True)
    wrong = _unexpected(store)
    print("What to see in it:\n")
    for (machine, boot), (verdict, _, story) in EXPECTED.items():
        print(f"  {machine:<7} {boot}  {verdict:<10}  {story}")
    print(
        f"\nThe first boots are trusted, since they are the baseline. Every detail of one machine:\n\n$ pyverify "
        f"{shlex.join(['explain', *common, 'web-2'])}\n\nThe store is kept in {folder}; remove it when you are done."
    )
    for line in wrong:
        print(f"NOT AS EXPECTED: {line}")
    print(
        "\nEvery outcome is the expected one." if not wrong else f"\n{len(wrong)} outcomes are not the expected ones."
    )
    return 1 if wrong else 0


def _unexpected(store_path: str) -> list[str]:
    """Where the verdicts differ from what they should be."""
    policy, now = Policy.preset("log-only"), datetime.datetime.now(datetime.UTC)
    with Store.open(store_path) as store:
        references = store.references()
    summary = Summary(policy.name, references.id, now)
    got = {}
    for batch in run(
        open_source(str(SAMPLE)), references=references, policy=policy, as_of=now, jobs=1, summary=summary
    ):
        for row in batch.to_pylist():
            got[row["machine"], row["boot"]] = row["verdict"], {finding["code"] for finding in row["findings"]}
    wrong = []
    for key, (verdict, codes) in got.items():
        want, code, _ = EXPECTED.get(key, ("trusted", "baseline.learned-here", ""))
        if verdict != want or (code is not None and code not in codes):
            wrong.append(f"{' '.join(key)} is {verdict} for {', '.join(sorted(codes)) or 'no reason'}, expected {want}")
    wrong += [f"{' '.join(key)} has no verdict" for key in EXPECTED.keys() - got.keys()]
    return wrong
