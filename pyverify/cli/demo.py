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
    ("app-1", "boot-2"): ("trusted", None, "a whole distribution rebooted: the same programs in another order"),
    ("app-1", "boot-3"): (
        "untrusted",
        "ima.changed",
        "packages were upgraded: what runs is not what it was",
    ),
    ("db-1", "boot-2"): ("trusted", None, "Secure Boot is on; rebooted, nothing changed"),
    ("db-1", "boot-3"): (
        "untrusted",
        "baseline.event-changed",
        "an entry was added to dbx, the revocation list: PCR 7",
    ),
    ("edge-1", "boot-2"): ("trusted", None, "an SM3 bank, quoted with an SM2 key"),
    ("edge-1", "boot-3"): ("untrusted", "baseline.event-changed", "its kernel command line was changed: PCR 8"),
    ("uki-1", "boot-2"): ("untrusted", "baseline.event-changed", "a unified kernel image was upgraded: PCRs 4, 9, 11"),
    ("web-1", "boot-2"): ("trusted", None, "rebooted, nothing changed"),
    ("web-1", "boot-3"): ("untrusted", "baseline.event-changed", "its kernel was upgraded: PCRs 8 and 9"),
    ("web-1", "boot-4"): ("untrusted", "baseline.event-changed", "its kernel command line was changed: PCR 8"),
    ("web-1", "boot-5"): ("untrusted", "baseline.event-changed", "somebody tampered with the boot loader, GRUB: PCR 4"),
    ("web-1", "boot-6"): ("unmeasured", "log.absent", "it sent an empty log, and it used to send one"),
    ("web-1", "boot-7"): ("untrusted", "ima.added", "a program ran that nobody knows"),
    ("web-1", "boot-8"): ("untrusted", "replay.mismatch", "its TPM signed another PCR 4 than its log leads to"),
    ("web-1", "boot-9"): ("error", "log.truncated", "its log is broken: it ends in the middle of an event"),
    ("web-2", "boot-2"): ("trusted", None, "rebooted, nothing changed"),
    ("web-2", "boot-3"): ("untrusted", "key.unknown", "another TPM answers for it"),
}
"""What becomes of each boot but the first ones: verdict, a code among its reasons, the story."""


def demo(args: argparse.Namespace) -> int:
    """Runs ``enroll``, ``learn`` and ``verify`` on the sample; 0 when every outcome is the expected one, else 1."""
    del args
    folder = Path(tempfile.mkdtemp(prefix="pyverify-demo-"))
    store = str(folder / "demo.db")
    common = [str(SAMPLE), "--policy", "archive", "--store", store]
    keys = _keys_of_first_boots(folder)
    print("A sample fleet: six machines, each with a first boot that is learned and later boots that are judged.\n")
    _tell("Say whose the attestation keys are; a quote by any other key is nobody's:")
    for machine, key in keys.items():
        _run(["enroll", machine, str(key), "--store", store])
    _tell("\nLearn what each machine measured at its first boot, and take that as its baseline:")
    _run(["learn", *common, "--activate"])
    _tell("\nGive every boot a verdict. It exits with 1, because machines are not trusted:")
    _run(["verify", *common])
    wrong = _unexpected(store)
    print("\nWhat to see in it:\n")
    for (machine, boot), (verdict, _, story) in EXPECTED.items():
        print(f"  {machine:<7} {boot}  {verdict:<10}  {story}")
    archive, *options = common
    print(
        "\nThe first boots are trusted, since they are the baseline. Every detail of one machine:\n\n"
        f"$ pyverify {shlex.join(['explain', archive, 'web-1', *options])}\n\n"
        f"The store is kept in {folder}; remove it when you are done."
    )
    for line in wrong:
        print(f"NOT AS EXPECTED: {line}")
    print(
        "\nEvery outcome is the expected one." if not wrong else f"\n{len(wrong)} outcomes are not the expected ones."
    )
    return 1 if wrong else 0


def _tell(words: str) -> None:
    print(f"{words}\n", flush=True)


def _run(command: list[str]) -> None:
    print(f"$ pyverify {shlex.join(command)}", flush=True)
    main(command)
    sys.stderr.flush()
    sys.stdout.flush()


def _keys_of_first_boots(folder: Path) -> dict[str, Path]:
    """The public area of each machine's key, as its operator would have it, in a file of its own."""
    keys = {}
    for batch in open_source(str(SAMPLE)).batches():
        for machine, boot, quotes in zip(
            *(batch.column(n).to_pylist() for n in ("machine", "boot", "quotes")), strict=True
        ):
            if boot == "boot-1":
                keys[machine] = folder / f"{machine}.pub"
                keys[machine].write_bytes(quotes[0]["ak_pub"])
    return keys


def _unexpected(store_path: str) -> list[str]:
    """Where the verdicts differ from what they should be."""
    policy, now = Policy.preset("archive"), datetime.datetime.now(datetime.UTC)
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
