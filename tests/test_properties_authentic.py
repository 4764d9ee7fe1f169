"""No cut of evidence and no change of a byte that somebody stands for is ever trusted."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest
from attested_machine import ARCHIVE, DEFAULT, Machine, codes, references_of, rows_of
from authentic_bytes import authentic_bytes
from conftest import DATA, entry, grub_text, no_action, small_log
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import a_digest, data_of, replay
from ima_by_hand import entry as ima_entry
from ima_evidence import set_of
from learning import ran_in
from test_event_data import gpt, variable
from tpm_in_python import KINDS

from pyverify.evidence.bundle import ImaList

BOTH = ["sha256", "sm3_256"]
RECORDED = ("01_m1_first_boot", "60_sb_first_boot", "70_uki", "80_sm3_all_banks")
POLICIES = pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda policy: policy.name)
STEADY = settings(derandomize=True, deadline=None, max_examples=25)


@cache
def every_sort() -> Machine:
    """A machine with two banks whose log has an event of each sort."""
    extra = no_action(0, b"a note", BOTH) + entry(1, 0x80000002, variable("BootOrder", b"\1\0"), BOTH)
    extra += entry(1, 0x80000001, variable("Setup", b"\1"), BOTH) + entry(5, 0x80000006, gpt(1, 1), BOTH)
    extra += entry(4, 0x80000007, b"Calling EFI Application from Boot Option", BOTH)
    extra += grub_text(b"grub_cmd: ", b"boot", BOTH) + entry(9, 0xD, b"(hd0)/vmlinuz\0", BOTH)
    return Machine("sorts", banks=tuple(BOTH), log=small_log(BOTH, extra=extra))


@cache
def recorded(name: str) -> Machine:
    return Machine(name.replace("_", "-"), log=(DATA / "logs" / f"{name}.bin").read_bytes())


def none_is_trusted(machine, evidence, policy=DEFAULT, references=None, honest=None, unless=frozenset()):
    """Judges changed evidence between honest rows; ``unless`` are codes with which a row may be trusted."""
    sound = machine.evidence() if honest is None else honest
    known = machine.references() if references is None else references
    first, *rows, last = rows_of([sound, *evidence, sound], known, policy)
    assert first["verdict"] == last["verdict"] == "trusted"
    for number, row in enumerate(rows):
        assert row["verdict"] != "trusted" or codes(row) & unless, number
    return rows


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


@POLICIES
def test_any_bit_of_what_is_authentic_in_a_log(policy):
    machine = every_sort()
    places = list(authentic_bytes(machine.log, machine.banks))
    assert len(places) > len(machine.log) // 2
    bits = range(8) if policy is DEFAULT else (0,)
    logs = [flipped(machine.log, place, bit) for place in places for bit in bits]
    none_is_trusted(machine, [machine.evidence(event_log=log) for log in logs], policy)


def test_what_is_not_authentic_may_be_written_by_anybody():
    """The list is as long as it must be: of each sort of byte that it leaves out some change is trusted."""
    machine = every_sort()
    log, authentic = machine.log, set(authentic_bytes(machine.log, machine.banks))
    free = [place for place in range(len(log)) if place not in authentic]
    changed = [flipped(log, place, bit) for place in free for bit in range(8)]
    rows = rows_of([machine.evidence(event_log=one) for one in changed], machine.references())
    trusted = {free[number // 8] for number, row in enumerate(rows) if row["verdict"] == "trusted"}
    header = 32 + int.from_bytes(log[28:32], "little")
    image, note, file = (log.index(text) for text in ("\\loader".encode("utf-16-le"), b"a note", b"(hd0)/vmlinuz"))
    assert any(place < header for place in trusted)
    assert {image, note, file, log.index(b"grub_cmd: ")} <= trusted


@STEADY
@given(st.sampled_from(RECORDED), st.integers(0, 2**32), st.sampled_from([DEFAULT, ARCHIVE]))
def test_bits_of_recorded_logs(name, seed, policy):
    machine, chance = recorded(name), random.Random(seed)
    places = chance.sample(list(authentic_bytes(machine.log, machine.banks)), 40)
    logs = [flipped(machine.log, place, chance.randrange(8)) for place in places]
    none_is_trusted(machine, [machine.evidence(event_log=log) for log in logs], policy)


@STEADY
@given(st.sampled_from(RECORDED), st.integers(0, 2**32))
def test_events_of_recorded_logs_cut_out_or_doubled(name, seed):
    """Whatever is spliced: a piece of the log in another place, or bytes from nowhere over what is authentic."""
    machine, chance = recorded(name), random.Random(seed)
    log, logs = machine.log, []
    for place in chance.sample(list(authentic_bytes(log, machine.banks)), 20):
        size, other = chance.randrange(1, 200), chance.randrange(len(log))
        patch = chance.choice([log[other : other + size], chance.randbytes(size), b""])
        end = place + chance.choice([size, len(patch)])
        if log[:place] + patch + log[end:] != log and patch[:1] != log[place : place + 1]:
            logs.append(log[:place] + patch + log[end:])
    none_is_trusted(machine, [machine.evidence(event_log=one) for one in logs])


@POLICIES
def test_any_cut_of_a_log(policy):
    """A log that lacks what firmware says at ExitBootServices, and no more, is a prefix, and says so (SPEC 0.4)."""
    for machine in (every_sort(), *map(recorded, RECORDED)):
        log = machine.log
        sizes = range(len(log)) if len(log) < 4_000 else random.Random(1).sample(range(len(log)), 300)
        rows = none_is_trusted(
            machine, [machine.evidence(event_log=log[:size]) for size in sizes], policy, unless={"replay.prefix"}
        )
        assert sum(row["verdict"] == "trusted" for row in rows) <= 2


@POLICIES
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["msg", "sig", "ak_pub", "pcrs"])
def test_any_cut_of_a_quote(kind, part, policy):
    machine = Machine(kind=kind)
    machine.tpm.extend(23, b"so that the values are needed")
    quote = machine.quote()
    data = getattr(quote, part)
    sizes = range(len(data)) if part != "pcrs" else range(0, len(data), 7)
    cut = [replace(quote, **{part: data[:size]}) for size in sizes]
    longer = [replace(quote, **{part: data + more}) for more in (b"\0", b"\xff", data)]
    if part == "pcrs":  # the last of 24 values in three lists of eight has room behind it, which nobody signs
        end = 136 + 2 * (4 + 8 * 66) + 4 + 7 * 66 + 2 + 32
        cut, longer = [one for one, size in zip(cut, sizes, strict=True) if size < end], []
    none_is_trusted(machine, map(machine.evidence, cut + longer), policy)


@STEADY
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(["msg", "sig", "ak_pub"]), st.integers(0, 2**32))
def test_bytes_of_quotes_from_nowhere(kind, part, seed):
    machine, chance = Machine(kind=kind), random.Random(seed)
    quote = machine.quote()
    data, forged = getattr(quote, part), []
    for _ in range(30):
        place, size = chance.randrange(len(data)), chance.randrange(1, 20)
        patch = chance.choice([chance.randbytes(size), bytes(size), data[place + size : place + 2 * size]])
        changed = data[:place] + patch + data[place + chance.choice([size, len(patch)]) :]
        if changed != data:
            forged.append(replace(quote, **{part: changed}))
    none_is_trusted(machine, map(machine.evidence, forged))


@cache
def listed() -> tuple[Machine, bytes]:
    """A machine with an IMA list that its quote proves to the end."""
    machine = Machine("listed")
    files = [
        ima_entry(data_of("/bin/a", a_digest(1))),
        ima_entry(data_of("/bin/b", a_digest(2), b"\3\2sig"), "ima-sig"),
    ]
    data = ran_in(machine.log, *files, ima_entry(data_of("/bin/c", a_digest(3))))
    machine.tpm.pcrs["sha256"][10] = replay(data, "sha256")
    return machine, data


@POLICIES
def test_any_bit_and_any_cut_of_a_list_that_is_quoted(policy):
    """The template's name is in no digest, and no bit of it makes another name that there is."""
    machine, data = listed()
    references = references_of(machine, baselines=[machine.baseline(ima=set_of(data))])
    changed = [flipped(data, place, bit) for place in range(len(data)) for bit in range(8)]
    changed += [data[:size] for size in range(len(data))]
    quote = machine.quote()
    evidence = [machine.evidence(quote, ima=[ImaList("binary", one)]) for one in changed]
    honest = machine.evidence(quote, ima=[ImaList("binary", data)])
    none_is_trusted(machine, evidence, policy, references, honest)
