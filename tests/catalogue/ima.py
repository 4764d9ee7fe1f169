"""85 to 99: IMA lists, each beside a quote of PCR 10, of what the machine had measured when it was quoted."""

from __future__ import annotations

from collections.abc import Iterator

from attested_machine import ALL_PCRS, ARCHIVE, DEFAULT, HOUR, LOG_ONLY, NOW, Machine
from conftest import hash_of, replay_by_hand, small_log
from ima_by_hand import a_digest, data_of, replay
from ima_by_hand import entry as ima_entry
from ima_evidence import set_of
from learning import ran_in
from test_runtime_policy_verdicts import digests_of, keylime, policy_by

from catalogue.scenarios import Answer, Passed, entry, judged, of_job, passes, refused
from pyverify import Evidence, Policy, References
from pyverify.evidence.bundle import ImaList

LOG = small_log(["sha256"])
START = ran_in(LOG)
FILES = [
    ima_entry(data_of("/bin/a", a_digest(1))),
    ima_entry(data_of("/bin/b", a_digest(2), b"\3\2signature"), "ima-sig"),
    ima_entry(data_of("/bin/c", a_digest(3))),
]
HONEST = START + b"".join(FILES)
EVIL = ima_entry(data_of("/bin/evil", a_digest(9)))
COMMAND_LINE = ima_entry(data_of("kexec-cmdline", hash_of("sha256", b"quiet"), b"quiet"), "ima-buf")


def quoted(data: bytes, sent: bytes | ImaList | None, *, pcr_11: bytes = b"", **changes) -> Evidence:
    """Evidence of a machine that has measured ``data`` and sends ``sent``."""
    machine = Machine(log=LOG)
    machine.tpm.clock = changes.pop("clock", machine.tpm.clock)
    machine.tpm.pcrs["sha256"][10] = changes.pop("value", replay(data, "sha256"))
    if pcr_11:
        machine.tpm.pcrs["sha256"][11] = replay(pcr_11, "sha256", pcr=11)
    lists = None if sent is None else [sent if isinstance(sent, ImaList) else ImaList("binary", sent)]
    selected = [("sha256", changes.pop("pcrs", ALL_PCRS))]
    return machine.evidence(machine.quote(selected, changes.pop("nonce", None)), ima=lists, **changes)


def ran(*lists: bytes) -> list[Evidence]:
    """Evidence of machines that ran what they say."""
    return [quoted(data, data) for data in lists]


def known(data: bytes = HONEST, **changes) -> References:
    machine = Machine(log=LOG)
    return machine.references(baselines=[machine.baseline(ima=set_of(data))], **changes)


def held(*attacks: Evidence, policy: Policy = DEFAULT, learned: bytes = HONEST) -> Iterator[Answer | Passed]:
    return judged(
        Machine(log=LOG), *attacks, policy=policy, references=known(learned), honest=[quoted(learned, learned)]
    )


@entry(85)
def template_digest_or_data():
    other_digest = START + ima_entry(data_of("/bin/a", a_digest(1)), shown=hash_of("sha1", b"x")) + FILES[1] + FILES[2]
    other_data = HONEST.replace(b"/bin/a", b"/bin/x")
    other_file = START + FILES[0].replace(a_digest(1), a_digest(9)) + FILES[1] + FILES[2]
    sent = [quoted(HONEST, data) for data in (other_digest, other_data, other_file)]
    yield from held(*sent, *ran(other_data, other_file))


@entry(86)
def fake_violations():
    fake = START + ima_entry(data_of("/bin/a", a_digest(1)), shown=bytes(20)) + FILES[1] + FILES[2]
    evil = HONEST + ima_entry(data_of("/bin/evil", a_digest(9)), shown=bytes(20))
    yield from held(quoted(HONEST, fake), quoted(HONEST + EVIL, evil), *ran(evil))


@entry(87)
def relabelled_templates():
    """The name of a template is in no digest: PCR 10 agrees."""
    as_buffer = HONEST.replace(b"ima-sig", b"ima-buf")
    as_file = HONEST + COMMAND_LINE.replace(b"ima-buf", b"ima-sig")
    assert replay(as_buffer, "sha256") == replay(HONEST, "sha256")
    yield from held(quoted(HONEST, as_buffer), quoted(HONEST + COMMAND_LINE, as_file))


@entry(88)
def entries_of_another_pcr():
    moved = ima_entry(data_of("/bin/evil", a_digest(9)), pcr=11)
    without_11 = [pcr for pcr in ALL_PCRS if pcr != 11]
    yield from held(
        quoted(HONEST + EVIL, HONEST + moved),
        quoted(HONEST, HONEST + moved),
        quoted(HONEST, HONEST + moved, pcrs=without_11),
        quoted(HONEST, HONEST + moved, pcr_11=moved),
    )


@entry(89)
def head_or_middle_cut_off():
    lists = [HONEST[len(START) :], START + FILES[1] + FILES[2], START + FILES[0] + FILES[2], START + FILES[2]]
    yield from held(*(quoted(HONEST, data) for data in lists))


@entry(90)
def tail_cut_off():
    """Under a quote of now the tail is missed; an older quote, of fewer entries, answers no challenge.

    Where nothing is signed, and where a TPM was put back, the samples of a boot tell.
    """
    shorter = HONEST[: -len(FILES[2])]
    now = [quoted(HONEST + EVIL, data) for data in (HONEST, shorter)]
    before = [quoted(data, data, nonce=bytes(32)) for data in (HONEST, shorter)]
    yield from held(*now, *before)
    machine = Machine(log=LOG)
    bare = [
        machine.evidence(quotes=None, ima=[ImaList("binary", data)], collected_at=NOW + hours * HOUR)
        for hours, data in enumerate((shorter, HONEST, shorter))
    ]
    put_back = [
        quoted(data, data, nonce=bytes([clock]) * 32, clock=clock, boot=f"b{clock}")
        for clock, data in enumerate((shorter, HONEST, shorter), start=100)
    ]
    for policy, samples in ((LOG_ONLY, bare), (ARCHIVE, put_back)):
        first, longer, again = of_job(samples, known(challenges=[]), policy)
        yield from map(passes, (first, longer))
        yield again


@entry(91)
def empty_lists():
    reset = {"value": bytes(32)}
    empty = [quoted(b"", sent, **reset) for sent in (b"", None, HONEST)]
    yield from held(*empty, *(quoted(HONEST, sent) for sent in (b"", None)))


@entry(92)
def tails():
    again = ima_entry(data_of("/bin/a", a_digest(1), b""), "ima-sig")
    yield from held(quoted(HONEST, HONEST + again), quoted(HONEST, HONEST + EVIL))


@entry(93)
def line_breaks_in_names():
    def line(data: bytes, template: str, name: bytes, digest: bytes) -> bytes:
        return b"10 %s %s sha256:%s %s\n" % (
            hash_of("sha1", data).hex().encode(),
            template.encode(),
            digest.hex().encode(),
            name,
        )

    values = replay_by_hand(LOG)["sha256"]
    aggregate = hash_of("sha256", b"".join(values[pcr] for pcr in range(10)))
    entries = [(b"boot_aggregate", aggregate), (b"/bin/a", a_digest(1)), (b"/bin/c", a_digest(3))]
    binary = b"".join(ima_entry(data_of(name, digest)) for name, digest in entries)
    text = b"".join(line(data_of(name, digest), "ima-ng", name, digest) for name, digest in entries)
    injected = b"/bin/a\n" + line(data_of("/bin/c", a_digest(3)), "ima-ng", b"/bin/c", a_digest(3)).rstrip(b"\n")
    measured = START + ima_entry(data_of(injected, a_digest(9)))
    broken = line(data_of(injected, a_digest(9)), "ima-ng", injected, a_digest(9))
    first = text[: text.index(b"\n") + 1]
    raw = first + line(data_of("/bin/a", a_digest(1)), "ima-ng", b"/bin/a\nx", a_digest(1))
    yield from judged(
        Machine(log=LOG),
        quoted(measured, ImaList("ascii", first + broken)),
        quoted(measured, measured),
        quoted(binary, ImaList("ascii", raw)),
        references=known(binary),
        honest=[quoted(binary, ImaList("ascii", text)), quoted(binary, binary)],
    )


@entry(94)
def names_that_are_excluded(tmp_path):
    called_so = HONEST + ima_entry(data_of("boot_aggregate", a_digest(9)))
    yield from held(*ran(called_so))
    temporary = HONEST + ima_entry(data_of("/tmp.evil/x", a_digest(9)))
    policies = []
    for number, excludes in enumerate((["/tmp/.*"], ["/tmp"], ["mp.evil/x"], [])):
        folder = tmp_path / str(number)
        folder.mkdir()
        policies.append(policy_by(folder, keylime(digests_of(HONEST), excludes=excludes), quote="fresh"))
    for policy in policies:
        yield from held(*ran(temporary), policy=policy)


@entry(95)
def boot_aggregates():
    other = ima_entry(data_of("boot_aggregate", a_digest(9)))
    zeros = ima_entry(data_of("boot_aggregate", bytes(32)))
    files = b"".join(FILES)
    yield from held(*ran(files, FILES[0] + START + FILES[1], other + files, zeros + files))


@entry(96)
def digests_of_files():
    short = START + ima_entry(data_of("/bin/a", a_digest(1)[:20]))
    weak = [START + ima_entry(data_of("/bin/a", a_digest(1, name), algorithm=name)) for name in ("md5", "sha1")]
    yield from held(*ran(short, *weak))


@entry(97)
def padded_digests():
    padded = quoted(HONEST, HONEST, value=replay(HONEST, "sha256", padded=True))
    yield from held(padded, quoted(HONEST, HONEST + EVIL, value=replay(HONEST + EVIL, "sha256", padded=True)))


@entry(98)
def another_kernel():
    buffer = ima_entry(data_of("kexec_load", hash_of("sha256", b"x"), b"x"), "ima-buf")
    yield from held(*ran(HONEST + buffer, HONEST + START, HONEST + START + FILES[0]))


@entry(99)
def signatures_by_unknown_keys():
    """A signature makes no file known: none is verified, and a policy that asks for it is refused."""
    signed = [
        ima_entry(data_of("/bin/evil", a_digest(9), sig), "ima-sig")
        for sig in (b"\3\2\4\xde\xad\xbe\xef\1\0" + bytes(256), b"\3\2\4\0\0\0\0\0\0", b"\5\2signature", b"")
    ]
    other = START + ima_entry(data_of("/bin/b", a_digest(9), b"\3\2signature"), "ima-sig")
    yield from held(*ran(*(HONEST + one for one in signed), other))
    text = '[policy]\nname = "site"\n[ima]\nsignature_keys = ["file"]\n'
    yield refused(lambda: Policy.read(text))
