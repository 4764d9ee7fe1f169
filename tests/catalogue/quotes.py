"""61 to 70, 79 to 81 and 84: what was signed, when, over which PCRs, and by whose key."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

from attested_machine import (
    ALL_PCRS,
    ARCHIVE,
    DEFAULT,
    HOUR,
    LOG_ONLY,
    NOW,
    Machine,
    Rows,
    booted_evil,
    job,
    references_of,
    store_of,
    text_of,
)
from conftest import DATA, hash_of
from ima_by_hand import a_digest, data_of, replay
from ima_by_hand import entry as ima_entry
from ima_evidence import set_of
from learning import ran_in
from test_attacks_freshness import WRONG_NONCES
from test_attacks_keys import UNFIT, with_attributes
from test_attacks_order import BACKWARDS, START, in_turn
from tpm_in_python import KINDS, RESTRICTED, Key, Tpm, key, marshalled

from catalogue.scenarios import entry, judged, passes
from pyverify.evidence.bundle import ImaList
from pyverify.fleet.learn import learn

SHA256 = ("sha256",)


@entry(61)
def nonces():
    machine = Machine()
    wrong = [one(machine.nonce) if callable(one) else one for one in WRONG_NONCES.values()]
    yield from judged(machine, *(machine.evidence(machine.quote(nonce=nonce[:64])) for nonce in wrong))


@entry(62)
def nonce_used_twice(tmp_path):
    machine = Machine()
    first = machine.evidence(boot="1")
    machine.tpm.clock += 5_000
    second = machine.evidence(boot="2")
    with store_of(tmp_path / "s", machine) as store:
        one, two, again = job(store, first, second, replace(first, boot="3"))
        yield from (passes(one), two, passes(again))
        later, retry = job(store, second, first)  # as of a store that knows what was spent
        yield from (later, passes(retry))


@entry(63)
def selections():
    machine = Machine()
    values = text_of({"sha256": machine.tpm.pcrs["sha256"]})
    fewer = [[("sha256", [pcr for pcr in ALL_PCRS if pcr != left])] for left in (0, 4, 7, 8, 14)]
    quotes = [machine.quote(selection) for selection in fewer]
    nothing = {"listed": marshalled([]), "digest": hash_of("sha256", b"")}
    quotes += [machine.quote(**nothing), machine.quote(**(nothing | {"listed": marshalled([("sha256", ())])}))]
    attacks = [replace(quote, pcrs=beside) for quote in quotes for beside in (values, None, machine.quote().pcrs)]
    yield from judged(machine, *(machine.evidence(quote) for quote in attacks))


@entry(64)
def resettable_pcrs_for_others():
    machine = Machine()
    honest, golden = machine.evidence(), dict(machine.tpm.pcrs["sha256"])
    log, references = booted_evil(machine)
    machine.tpm.pcrs["sha256"][16], machine.tpm.pcrs["sha256"][23] = golden[4], golden[8]
    moved = [("sha256", [pcr for pcr in ALL_PCRS if pcr not in (4, 8)])]
    quotes = [machine.quote(moved), machine.quote([("sha256", (16, 23))]), machine.quote()]
    labels = (text_of({"sha256": golden}), quotes[0].pcrs, None)
    attacks = [
        machine.evidence(replace(quote, pcrs=beside), event_log=sent)
        for quote in quotes[:2]
        for beside in labels
        for sent in (log, honest.event_log)
    ]
    attacks.append(machine.evidence(replace(quotes[2], pcrs=labels[0]), event_log=honest.event_log))
    yield from judged(machine, *attacks, references=references, honest=[honest])


@entry(65)
def bank_of_the_same_size():
    machine = Machine(banks=("sha256", "sm3_256"), quoted_banks=SHA256)
    of_sm3 = machine.quote([("sm3_256", ALL_PCRS)])
    attacks = [
        replace(of_sm3, pcrs=text_of({named: machine.tpm.pcrs[bank]}))
        for bank in ("sm3_256", "sha256")
        for named in ("sm3_256", "sha256")
    ]
    signed = machine.quote().msg
    relabelled = signed.replace(marshalled([("sha256", ALL_PCRS)]), marshalled([("sm3_256", ALL_PCRS)]))
    assert relabelled != signed
    attacks.append(replace(machine.quote(), msg=relabelled))
    yield from judged(machine, *map(machine.evidence, attacks))


@entry(66)
def attests_that_are_no_quotes():
    machine = Machine()
    parts = [{"kind": kind} for kind in (0x8014, 0x8017, 0x8019, 0x801A, 0)]
    parts += [{"magic": magic} for magic in (0, 0xFF544348, 0x474354FF)]
    messages = [machine.tpm.attest(machine.selection, machine.nonce, machine.key, **part) for part in parts]
    folder = DATA / "quotes" / "other_types"
    messages += [(folder / f"{name}.msg").read_bytes() for name in ("certify", "creation", "gettime", "nv")]
    forged = [replace(machine.quote(), msg=message, sig=machine.key.sign(message)) for message in messages]
    yield from judged(machine, *map(machine.evidence, forged))


@entry(67)
def keys_that_may_sign_anything():
    machine = Machine()
    honest = machine.evidence()
    for attributes in UNFIT.values():
        unfit = Machine(own_key=with_attributes(machine.key, attributes))  # enrolled past every check
        yield unfit.judge()
    log, references = booted_evil(machine)
    soft = key("ecdsa_p256", "somebody at a keyboard")
    forged = Tpm.booted(honest.event_log).quote(machine.selection, machine.nonce, soft)
    attacks = [machine.evidence(forged, event_log=honest.event_log)]
    attacks += [machine.evidence(replace(forged, ak_pub=machine.key.public), event_log=sent) for sent in (log,)]
    yield from judged(machine, *attacks, references=references, honest=[honest])
    folder = DATA / "quotes" / "other_types"
    public = (folder / "ak_unrestricted.tpm2b").read_bytes()[2:]
    message, sig = ((folder / f"forged_quote.{part}").read_bytes() for part in ("msg", "sig"))
    by_a_tpm = Machine(own_key=Key("rsassa", public, None))
    yield by_a_tpm.judge(replace(Machine().quote(), msg=message, sig=sig, ak_pub=public))


@entry(68)
def other_attributes_of_the_same_key():
    machine = Machine()
    areas = [with_attributes(machine.key, RESTRICTED ^ 1 << bit).public for bit in range(32)]
    yield from judged(machine, *(machine.evidence(replace(machine.quote(), ak_pub=area)) for area in areas))


@entry(69)
def schemes_of_other_keys():
    for kind in KINDS:
        machine = Machine(kind=kind)
        quote = machine.quote()
        scheme, hash_id = struct.unpack_from(">HH", quote.sig)
        heads = [(other, hash_id) for other in {0x14, 0x16, 0x18, 0x1A, 0x1B, 0x05, 0x10, 0} - {scheme}]
        heads += [(scheme, other) for other in {0x4, 0xB, 0xC, 0xD, 0x12, 0x10, 0} - {hash_id}]
        yield from judged(
            machine,
            *(machine.evidence(replace(quote, sig=struct.pack(">HH", *head) + quote.sig[4:])) for head in heads),
        )


@entry(70)
def sha1():
    strong = key("rsassa")
    bound = struct.pack(">HH", 0x14, 0xB)
    weak = replace(strong, public=strong.public.replace(bound, struct.pack(">HH", 0x14, 0x4), 1))
    signer = Machine(own_key=weak)
    values = b"".join(signer.tpm.values(signer.selection))
    message = signer.tpm.attest(signer.selection, signer.nonce, weak, digest=hash_of("sha1", values))
    yield signer.judge(replace(signer.quote(), msg=message, sig=weak.sign(message, hash_name="sha1")))
    machine = Machine(banks=("sha1", "sha256"), quoted_banks=SHA256)
    yield from judged(machine, machine.evidence(machine.quote([("sha1", ALL_PCRS)])))
    machine = Machine(kind="rsassa", banks=("sha1",))
    yield passes(machine.judge(policy=LOG_ONLY, quotes=None))
    yield machine.judge()


@entry(79)
def clocks_and_counters_that_go_back(tmp_path):
    machines = [Machine(f"m{number}") for number in range(len(BACKWARDS))]
    later = {"clock": 10_000, "reset_count": 9, "restart_count": 0, "safe": 1}
    evidence = [
        one
        for machine, changes in zip(machines, BACKWARDS.values(), strict=True)
        for one in in_turn(machine, START, changes, later)
    ]
    with store_of(tmp_path / "s", *machines) as store:
        for number, row in enumerate(job(store, *evidence, policy=ARCHIVE)):
            yield row if number % 3 == 1 else passes(row)


@entry(80)
def quote_and_log_of_two_boots():
    """The firmware is the same, so PCR 0 to 7 are equal: what ran after it, by log or by IMA list, is not."""
    machine = Machine()
    ran = [ran_in(machine.log, ima_entry(data_of(path, a_digest(1)))) for path in ("/bin/a", "/bin/b")]
    known = machine.references(baselines=[machine.baseline(ima=set_of(ran[0] + ran[1][len(ran_in(machine.log)) :]))])
    quotes = []
    for data in ran:
        machine.tpm.pcrs["sha256"][10] = replay(data, "sha256")
        quotes.append(machine.quote())
    sent = [[ImaList("binary", data)] for data in ran]
    sound = [machine.evidence(quote, ima=data) for quote, data in zip(quotes, sent, strict=True)]
    crossed = [machine.evidence(quotes[0], ima=sent[1]), machine.evidence(quotes[1], ima=sent[0])]
    yield from judged(machine, *crossed, references=known, honest=sound)
    machine = Machine()
    honest, golden = machine.evidence(), machine.quote()
    log, references = booted_evil(machine)
    crossed = [machine.evidence(golden, event_log=log), machine.evidence(event_log=honest.event_log)]
    yield from judged(machine, *crossed, references=references, honest=[honest])


@entry(81)
def relayed_to_another_machine():
    """A TPM that is carried over, or asked over a wire under its own machine's name, cannot be told from here."""
    sick, healthy = Machine("sick"), Machine("healthy", nonce=hashlib.sha256(b"healthy").digest())
    references = references_of(sick, healthy)
    relayed = [healthy.quote(nonce=nonce) for nonce in (sick.nonce, healthy.nonce, bytes(32))]
    attacks = [sick.evidence(quote) for quote in relayed]
    attacks.append(sick.evidence(sick.quote(), healthy.quote()))
    yield from judged(sick, *attacks, references=references, honest=[sick.evidence(), healthy.evidence()])


@entry(84)
def evidence_enrols_nobody(tmp_path):
    """Who may call ``enroll`` is outside of the core, as is who may write to the store."""
    machine, stranger = Machine(), Machine("stranger")
    with store_of(tmp_path / "s", machine) as store:
        for _ in range(2):
            own, other, under_its_name = job(
                store, machine.evidence(), stranger.evidence(), stranger.evidence(machine="m"), policy=DEFAULT
            )
            yield from (passes(own), other, under_its_name)
        (learned,) = learn(Rows([stranger.evidence()]), store, policy=DEFAULT, activate=True, as_of=NOW + HOUR)
        assert learned.state is None and store.machines() == {"m"}
