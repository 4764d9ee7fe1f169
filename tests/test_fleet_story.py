"""A fleet's year as a story, told by recorded boots: learn, reboot, upgrade, tamper, approve, go back.

Nobody's word counts but the commands': each step is one command on evidence of that moment, and each test looks at one
step. The machines of the fleet are four copies of one recorded machine, so that what is cohort-wide shows as such.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from ima_by_hand import a_digest, data_of, entry

from pyverify.cli.demo import SAMPLE
from pyverify.cli.main import main

FLEET = ("a1", "a2", "a3", "a4")
LOG, IMA = "binary_bios_measurements", "binary_runtime_measurements"
PROGRAM = "/usr/local/bin/backup"


def program(version: int) -> bytes:
    """The entry of an IMA list for one more program."""
    return entry(data_of(PROGRAM, a_digest(version), b""), "ima-sig")


class Story:
    """The steps, made once in their order."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.store = folder, folder / "s.db"
        with tarfile.open(SAMPLE) as tar:
            tar.extractall(folder / "sample", filter="data")
        self.at = 0

    def boots(self, boots: dict[str, str], extra: bytes = b"") -> Path:
        """An archive of one boot a machine: of which of the sample's, with what more in its IMA list."""
        self.at += 1
        archive = self.folder / f"boots-{self.at}"
        for machine, of in boots.items():
            place = archive / machine / f"boot-{self.at}"
            place.mkdir(parents=True)
            source = self.folder / "sample" / of
            shutil.copy(source / LOG, place)
            (place / IMA).write_bytes((source / IMA).read_bytes() + extra)
            (place / "evidence.json").write_text(json.dumps({"boot_seq": self.at}))
        return archive

    def run(self, *words: object) -> tuple[int, str]:
        """Exit code and output of a command on the story's store."""
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        with contextlib.redirect_stdout(out):
            code = main([*map(str, words), "--store", str(self.store)])
        return code, out.buffer.getvalue().decode()

    def verify(self, archive: Path) -> dict[str, tuple[str, list[str]]]:
        """What each machine's boot is, and the codes of what is high."""
        code, out = self.run("verify", archive, "--policy", "log-only", "--format", "jsonl")
        rows = [json.loads(line) for line in out.splitlines()]
        outcomes = {row["verdict"] for row in rows}
        assert code == (1 if "untrusted" in outcomes else 0 if outcomes == {"trusted"} else 3)
        return {
            row["machine"]: (
                row["verdict"],
                sorted({f["code"].removeprefix("baseline.") for f in row["findings"] if f["severity"] == "high"}),
            )
            for row in rows
        }

    def offers(self, archive: Path) -> list[dict]:
        return json.loads(self.run("baseline", "approve", archive, "--policy", "log-only", "--format", "json")[1])

    def approve(self, archive: Path, *words: object) -> dict[str, tuple[str, str]]:
        """What an approval made of the same evidence: outcome before and after."""
        words = ("baseline", "approve", archive, *words, "--policy", "log-only", "--who", "ops", "--format", "json")
        return {row["machine"]: (row["before"], row["after"]) for row in json.loads(self.run(*words)[1])}


def everyone(boot: str) -> dict[str, str]:
    return dict.fromkeys(FLEET, boot)


GOOD = ("trusted", [])


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """{step: what it came to}."""
    story, told = Story(tmp_path_factory.mktemp("story")), {}
    first = story.boots(everyone("web-1/boot-1"), program(1))
    told["learn"] = story.run("learn", first, "--policy", "log-only")[0]
    told["pending"] = story.verify(first)
    told["activate"] = story.run("baseline", "approve", "--pending", "--all", "--reason", "looked at")[0]
    told["reboot"] = story.verify(story.boots(everyone("web-1/boot-2"), program(1)))

    kernel = story.boots(everyone("web-1/boot-3") | {"a4": "web-1/boot-5"}, program(1))
    told["upgraded"] = story.verify(kernel)
    told["offered"] = offered = story.offers(kernel)
    wide = next(offer for offer in offered if len(offer["machines"]) == 3)
    told["approved"] = story.approve(kernel, wide["id"], "--all", "--reason", "kernel of November")
    told["all on the new one"] = story.verify(story.boots(everyone("web-1/boot-3"), program(1)))
    back = story.boots(everyone("web-1/boot-3") | {"a2": "web-1/boot-2"}, program(1))
    told["the old kernel again"] = story.verify(back)
    told["offered of the old kernel"] = story.offers(back)
    told["tampered loader again"] = story.verify(story.boots({"a4": "web-1/boot-5"}))

    told["tampered program"] = story.verify(story.boots(everyone("web-1/boot-3"), program(2)))
    told["one more program"] = story.verify(
        story.boots({"a1": "web-1/boot-3"}, entry(data_of("/usr/bin/dropper", a_digest(9), b""), "ima-sig"))
    )
    told["known program not run"] = story.verify(story.boots(everyone("web-1/boot-3")))
    told["rollback"] = story.run("baseline", "rollback", "a3", "--to", "1", "--reason", "it crashes")[0]
    told["after the rollback"] = story.verify(story.boots({"a3": "web-1/boot-2"}, program(1)))
    told["withdrawn"] = story.verify(story.boots({"a3": "web-1/boot-3", "a1": "web-1/boot-3"}, program(1)))
    told["history"] = json.loads(story.run("baseline", "history", "a3", "--format", "json")[1])
    told["ignore"] = story.run("baseline", "ignore", "a4", "--until", "2999-01-01", "--reason", "being repaired")[0]
    told["ignored"] = story.verify(story.boots({"a4": "web-1/boot-5"}))
    told["list"] = json.loads(story.run("baseline", "list", "--format", "json")[1])
    return told


def test_a_first_boot_is_learned_and_waits(told):
    assert told["learn"] == 0
    assert told["pending"] == everyone_is(("unmeasured", []))


def test_a_reboot_is_trusted(told):
    assert told["activate"] == 0
    assert told["reboot"] == everyone_is(GOOD)


def test_an_upgraded_kernel_is_untrusted_until_it_is_approved(told):
    changed = ("untrusted", ["event-changed", "ima.changed"])
    assert told["upgraded"] == everyone_is(changed) | {"a4": ("untrusted", ["event-changed"])}


def test_the_upgrade_is_offered_once_for_all_and_the_tampered_loader_apart(told):
    wide, narrow = told["offered"]
    assert wide["machines"] == ["a1", "a2", "a3"]
    assert {edit["pcr"] for edit in wide["edits"]} == {8, 9}
    assert any("/vmlinuz-6.1.0-56-amd64" in event["text"] for edit in wide["edits"] for event in edit["added"])
    assert {file["path"].startswith("/lib/modules/") for file in wide["files"]} == {True}
    assert narrow["machines"] == ["a4"]
    (edit,) = narrow["edits"]
    assert (edit["pcr"], edit["removed"][0]["text"]) == (4, edit["added"][0]["text"])
    assert "grubx64.efi" in edit["added"][0]["text"]


def test_once_approved_all_but_the_tampered_machine_turn_trusted(told):
    assert told["approved"] == {
        "a1": ("untrusted", "trusted"),
        "a2": ("untrusted", "trusted"),
        "a3": ("untrusted", "trusted"),
        "a4": ("untrusted", "untrusted"),
    }
    assert told["all on the new one"] == everyone_is(GOOD)


def test_the_old_kernel_again_is_a_step_back(told):
    assert told["the old kernel again"]["a2"][0] == "untrusted"
    assert "rolled-back" in told["the old kernel again"]["a2"][1]
    assert {machine for machine, found in told["the old kernel again"].items() if found == GOOD} == {"a1", "a3", "a4"}


def test_a_step_back_is_not_offered_for_approval(told):
    assert told["offered of the old kernel"] == []


def test_the_tampered_loader_stays_untrusted(told):
    assert told["tampered loader again"]["a4"][0] == "untrusted"


def test_a_tampered_program_is_found(told):
    assert told["tampered program"] == everyone_is(("untrusted", ["ima.changed"]))
    assert told["one more program"] == {"a1": ("untrusted", ["ima.added"])}
    assert told["known program not run"] == everyone_is(GOOD)


def test_a_rollback_allows_the_old_and_refuses_the_new_for_that_machine_only(told):
    assert told["rollback"] == 0
    assert told["after the rollback"] == {"a3": GOOD}
    assert told["withdrawn"]["a1"] == GOOD
    assert told["withdrawn"]["a3"][0] == "untrusted"
    assert "expired" in told["withdrawn"]["a3"][1]


def test_the_history_tells_who_did_what_and_why(told):
    steps = [(step["action"], step["who"] or "", step["reason"]) for step in told["history"]]
    assert [action for action, _, _ in steps] == ["learn", "activate", "approve", "booted", "rollback", "rollback"]
    assert steps[2] == ("approve", "ops", "kernel of November")
    assert steps[4][2] == "it crashes"
    assert [step["what"].split(",")[0] for step in told["history"]][-2:] == ["version 2 is revoked", "version 3"]


def test_an_ignored_machine_is_told_apart_and_stays_untrusted(told):
    assert told["ignore"] == 0
    assert told["ignored"]["a4"][0] == "untrusted"
    assert "ignored" in told["ignored"]["a4"][1]


def test_first_seen_and_approved_baselines_are_told_apart(told):
    assert {(one["id"], one["version"], one["origin"]) for one in told["list"]} == {
        ("a1", 2, "approved"),
        ("a2", 2, "approved"),
        ("a3", 3, "approved"),
        ("a4", 2, "approved"),
    }


def everyone_is(found):
    return dict.fromkeys(FLEET, found)


# A package upgrade on a whole Debian, approved as one change; and the tampered file of a package.


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    story = Story(tmp_path_factory.mktemp("packages"))
    story.run("learn", story.boots({"full": "app-1/boot-1"}), "--policy", "log-only", "--activate")
    upgraded = story.boots({"full": "app-1/boot-3"})
    told = {"upgraded": story.verify(upgraded), "offered": story.offers(upgraded)}
    (offer,) = told["offered"]
    told["approved"] = story.approve(upgraded, offer["id"], "--machine", "full", "--now", "--reason", "point release")
    told["after"] = story.verify(story.boots({"full": "app-1/boot-3"}))
    told["old files again"] = story.verify(story.boots({"full": "app-1/boot-1"}))
    name = offer["files"][0]["path"]
    evil = entry(data_of(name, a_digest(666), b""), "ima-sig")
    told["tampered"] = story.verify(story.boots({"full": "app-1/boot-3"}, evil))
    return told


def test_a_package_upgrade_is_one_change(packages):
    assert packages["upgraded"] == {"full": ("untrusted", ["ima.changed"])}
    (offer,) = packages["offered"]
    assert offer["edits"] == []
    assert len(offer["files"]) == 12
    assert packages["approved"] == {"full": ("untrusted", "trusted")}
    assert packages["after"] == {"full": GOOD}


def test_replaced_files_are_refused_where_they_were_replaced_at_once(packages):
    assert packages["old files again"] == {"full": ("untrusted", ["ima.changed"])}


def test_a_tampered_file_of_a_package_is_found_after_the_approval_too(packages):
    assert packages["tampered"] == {"full": ("untrusted", ["ima.changed"])}


def test_some_files_are_approved_by_their_names(tmp_path):
    story = Story(tmp_path / "some")
    story.run("learn", story.boots({"full": "app-1/boot-1"}), "--policy", "log-only", "--activate")
    upgraded = story.boots({"full": "app-1/boot-3"})
    (offer,) = story.offers(upgraded)
    paths = [file["path"] for file in offer["files"]]
    words = ("baseline", "approve", upgraded, offer["id"], "--all", "--reason", "x", "--policy", "log-only")
    assert story.run(*words, "--path", "/usr/bin/absent")[0] == 2
    assert story.run(*words, *(word for path in paths[:2] for word in ("--path", path)))[0] == 0
    left = story.offers(upgraded)
    assert [file["path"] for offer in left for file in offer["files"]] == paths[2:]


# What simpler schemes would trust.


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    story = Story(tmp_path_factory.mktemp("simple"))
    first = story.boots({"a1": "web-1/boot-1", "a2": "web-1/boot-1"})
    story.run("learn", first, "--policy", "log-only", "--activate")
    return story


def test_learning_again_blesses_nothing(simple):
    """A scheme that relearns would make the tampered boot the machine's baseline."""
    tampered = simple.boots({"a1": "web-1/boot-5"})
    assert simple.run("learn", tampered, "--policy", "log-only", "--activate")[0] == 0
    assert simple.verify(tampered)["a1"][0] == "untrusted"


def test_the_approval_of_one_machine_is_not_that_of_another(simple):
    changed = simple.boots({"a1": "web-1/boot-3", "a2": "web-1/boot-3"})
    (offer,) = simple.offers(changed)
    simple.approve(changed, offer["id"], "--machine", "a1", "--reason", "canary")
    assert {machine: verdict for machine, (verdict, _) in simple.verify(changed).items()} == {
        "a1": "trusted",
        "a2": "untrusted",
    }


def test_a_boot_that_something_else_speaks_against_cannot_be_approved(simple, capsys):
    """An approval of the whole boot would bless the attack that came with the change."""
    changed = simple.boots({"a2": "web-1/boot-3"})
    log = changed / "a2" / f"boot-{simple.at}" / LOG
    data = bytearray(log.read_bytes())
    data[data.index(b"vmlinuz")] ^= 1  # what the log says is not what was measured
    log.write_bytes(bytes(data))
    assert simple.offers(changed) == []
    words = ("--boot", f"a2/boot-{simple.at}", "--reason", "x")
    assert simple.run("baseline", "approve", changed, *words, "--policy", "log-only")[0] == 2
    assert "event.data-mismatch" in capsys.readouterr().err


def test_a_whole_boot_is_approved_for_its_machine(simple):
    changed = simple.boots({"a2": "web-1/boot-4"})
    assert simple.verify(changed)["a2"][0] == "untrusted"
    assert simple.approve(changed, "--boot", f"a2/boot-{simple.at}", "--reason", "new command line") == {
        "a2": ("untrusted", "trusted")
    }
    assert simple.verify(simple.boots({"a2": "web-1/boot-4", "a1": "web-1/boot-4"}))["a1"][0] == "untrusted"


# The same with signed quotes, of one machine.


@pytest.fixture(scope="module")
def quoted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quoted")
    with tarfile.open(SAMPLE) as tar:
        tar.extractall(folder / "sample", filter="data")
    for number in (1, 2, 3, 5):
        shutil.copytree(
            folder / "sample" / "web-1" / f"boot-{number}", folder / str(number) / "web-1" / f"boot-{number}"
        )
    story = Story(folder / "told")
    story.run("enroll", "web-1", folder / "1" / "web-1" / "boot-1" / "ak.pub")
    story.run("learn", folder / "1", "--policy", "archive", "--activate")
    return story, folder


def test_a_quoted_change_is_approved_and_a_quoted_step_back_is_seen(quoted):
    story, folder = quoted

    def outcome(boot):
        out = story.run("verify", folder / str(boot), "--policy", "archive", "--format", "jsonl")[1]
        (row,) = map(json.loads, out.splitlines())
        return row["verdict"], row["attested"], {f["code"] for f in row["findings"] if f["severity"] == "high"}

    assert outcome(2)[:2] == ("trusted", "quote-unfresh")
    assert outcome(3)[0] == "untrusted"
    words = ("baseline", "approve", folder / "3", "--policy", "archive", "--format", "json")
    (offer,) = json.loads(story.run(*words)[1])
    story.run(*words, offer["id"], "--machine", "web-1", "--reason", "kernel of November")
    assert outcome(3) == ("trusted", "quote-unfresh", set())
    assert outcome(5)[0] == "untrusted"
    assert outcome(2) == ("trusted", "quote-unfresh", set())  # it came before, and may be looked at again


def test_nothing_is_offered_of_a_log_that_the_quote_contradicts(quoted):
    """The log of the new kernel with the quote of the old one: the TPM does not stand behind that change."""
    story, folder = quoted
    mixed = folder / "mixed" / "web-1" / "boot-9"
    shutil.copytree(folder / "2" / "web-1" / "boot-2", mixed)
    shutil.copy(folder / "5" / "web-1" / "boot-5" / LOG, mixed)
    words = ("baseline", "approve", folder / "mixed", "--policy", "archive")
    assert json.loads(story.run(*words, "--format", "json")[1]) == []
    assert "replay.mismatch" in story.run(*words)[1]
    assert story.run(*words, "--boot", "web-1/boot-9", "--reason", "x")[0] == 2
