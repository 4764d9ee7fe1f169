"""What is printed of evidence and policies reads as what it was printed from, and prints the same again."""

from __future__ import annotations

import json

from cel_writers import cel_json, cel_tlv
from conftest import ALGORITHMS, entry, hash_of, no_action, spec_id
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import data_of
from ima_by_hand import entry as ima_entry
from log_editor import events_of

from pyverify import Policy, UsageError
from pyverify.cli.views import Asked, event_log, ima_list
from pyverify.evidence import event_types

STEADY = settings(derandomize=True, deadline=None, max_examples=40)
NUMBERS = {name: value for name, value in vars(event_types).items() if name.startswith("EV_")}
TYPES = [*sorted(set(NUMBERS.values()) - {0, event_types.EV_NO_ACTION}), 0x7777, 0x90000001]

banks = st.lists(st.sampled_from(sorted(ALGORITHMS)), min_size=1, max_size=3, unique=True)
banks = banks.map(lambda names: [bank for bank in ALGORITHMS if bank in names])  # in the order of a printed event
events = st.lists(
    st.tuples(st.integers(0, 23), st.sampled_from(TYPES), st.binary(max_size=60)), min_size=1, max_size=12
)


def printed(data: bytes, kind: str, view=event_log.view) -> dict:
    """What ``inspect --format json`` prints, as a reader has it."""
    return json.loads(json.dumps(view(data, Asked("file", kind)).document()))


def as_written(event: dict) -> tuple[int, int, dict[str, bytes], bytes]:
    name = event["type_hint"]
    kind = NUMBERS[name] if name in NUMBERS else int(name, 16)
    digests = {bank: bytes.fromhex(digest) for bank, digest in event["digests"].items()}
    if event["number"] == 0:
        digests = {"sha1": bytes(20)}  # of a header, whose digest is of no bank
    return event["pcr"], kind, digests, bytes.fromhex(event["data"])


@STEADY
@given(banks, events, st.booleans())
def test_a_log_goes_through_its_printed_form(names, measured, noted):
    log = spec_id(names) + (no_action(0, b"a note", names) if noted else b"")
    log += b"".join(entry(pcr, kind, data, names) for pcr, kind, data in measured)
    shown = printed(log, "tcg")
    assert [as_written(event) for event in shown["events"]] == events_of(log)
    read = [as_written(event) for event in shown["events"][1:]]
    again = spec_id(names) + b"".join(entry(pcr, kind, data, names, digests) for pcr, kind, digests, data in read)
    assert again == log
    whole = [as_written(event) for event in shown["events"]]
    for kind, write in (("cel-tlv", cel_tlv), ("cel-json", cel_json)):
        canonical = printed(write(whole), kind)
        assert canonical["events"] == shown["events"], kind
        assert printed(write([as_written(event) for event in canonical["events"]]), kind) == canonical


paths = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\"), min_size=1, max_size=30)
files = st.lists(st.tuples(paths, st.sampled_from(["sha1", "sha256", "sha512"]), st.binary(max_size=9)), max_size=8)


@STEADY
@given(files)
def test_a_list_goes_through_its_printed_form(measured):
    measured = [("boot_aggregate", "sha256", b""), *measured]
    entries = [(path, name, hash_of(name, content)) for path, name, content in measured]
    binary = b"".join(ima_entry(data_of(path, digest, algorithm=name)) for path, name, digest in entries)
    text = b""
    for path, name, digest in entries:
        shown = hash_of("sha1", data_of(path, digest, algorithm=name)).hex()
        text += f"10 {shown} ima-ng {name}:{digest.hex()} {path}\n".encode()
    document = printed(binary, "ima", ima_list.view)
    assert document["entries" if "entries" in document else "events"] == in_text(text)
    again = []
    for one in in_text(text):
        name, digest = one["digest"].split(":")
        again.append(ima_entry(data_of(one["path"], bytes.fromhex(digest), algorithm=name)))
    assert b"".join(again) == binary


def in_text(text: bytes) -> list[dict]:
    document = printed(text, "ima", ima_list.view)
    return document["entries" if "entries" in document else "events"]


some_banks = st.lists(st.sampled_from(sorted(ALGORITHMS)), min_size=1, max_size=4, unique=True)
some_pcrs = st.lists(st.integers(0, 23), max_size=12, unique=True)
RULES = {
    "policy": {"name": st.text("abcxyz-._019", min_size=1, max_size=20)},
    "evidence": {
        "quote": st.sampled_from(["fresh", "any", "no"]),
        "key": st.sampled_from(["certified", "activated", "enrolled", "first-use"]),
        "max_age": st.sampled_from(["24h", "90m", "7d", "1440m"]),
    },
    "banks": {"allowed": some_banks, "required": st.just("baseline") | some_banks},
    "pcrs": {"compare": some_pcrs, "report": some_pcrs},
    "secure_boot": {
        "required": st.booleans(),
        "minimum_sbat": st.sampled_from(["shim,4", ["shim,4", "grub,5"]]),
        "allow_empty_dbx": st.booleans(),
    },
    "ima": {
        "judge": st.sampled_from(["baseline", "no"]),
        "added": st.sampled_from(["high", "warning", "info"]),
        "violations": st.sampled_from(["as-learned", "high", "warning"]),
        "kexec": st.booleans(),
    },
}
rules = st.fixed_dictionaries({"policy": st.fixed_dictionaries(RULES["policy"])}, optional={
    section: st.fixed_dictionaries({}, optional=keys) for section, keys in RULES.items() if section != "policy"
})  # fmt: skip


def toml(sections: dict[str, dict]) -> str:
    """A text of these rules; JSON writes what there is of values as TOML does."""
    lines = []
    for section, keys in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines)


def test_policies_go_through_their_text():
    made = set()

    @settings(STEADY, max_examples=300)
    @given(rules)
    def check(sections):
        try:
            policy = Policy.read(toml(sections))
        except UsageError:
            return  # rules that contradict each other
        text = policy.to_toml()
        again = Policy.read(text)
        assert (again, again.id, again.to_toml()) == (policy, policy.id, text)
        made.add(policy.id)

    check()
    assert len(made) > 60
