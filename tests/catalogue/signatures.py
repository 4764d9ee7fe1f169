"""71 to 78, 82 and 83: weak keys, and encodings of keys, signatures and attests that are not strict."""

from __future__ import annotations

import datetime
import struct
from dataclasses import replace

from attested_machine import ALL_PCRS, ARCHIVE, DEFAULT, NOW, Machine, job, references_of, store_of
from quote_data import ecc_public, rsa_public, signature, sized
from test_attacks_keys import CHAINS
from test_attacks_selection import MALFORMED
from test_attacks_signatures import ORDERS, der, minimal, numbers_of, pkcs1
from test_certificates import AK as AK_PURPOSE
from test_certificates import MIDDLE, ROOT, leaf
from tpm_in_python import KINDS, Key, key, rsa_key
from weak_keys import weak_key

from catalogue.scenarios import entry, judged, passes, refused
from pyverify import Store
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Sm2Mode

ECC = tuple(ORDERS)


@entry(71)
def weak_rsa():
    machine = Machine(kind="rsassa")
    for weak in (rsa_key("rsassa", 1024), rsa_key("rsapss", 1024), rsa_key("rsassa", 2048, 3)):
        yield Machine(own_key=weak).judge()
    anybody = Key("rsassa", rsa_public((1 << 2047 | 1).to_bytes(256), exponent=1), None)
    by_anybody = Machine(own_key=anybody)
    message = by_anybody.tpm.attest(machine.selection, machine.nonce, key("rsassa"))
    forged = replace(machine.quote(), msg=message, sig=signature(0x14, 0xB, pkcs1(message)), ak_pub=anybody.public)
    yield by_anybody.judge(forged)
    quote, modulus = machine.quote(), machine.key.private.public_key().public_numbers().n
    beyond = [
        (int.from_bytes(quote.sig[6:]) + modulus).to_bytes(257),
        b"\0" + quote.sig[6:],
        modulus.to_bytes(256),
        b"",
    ]
    yield from judged(machine, *(machine.evidence(replace(quote, sig=signature(0x14, 0xB, raw))) for raw in beyond))


@entry(72)
def padding():
    machine = Machine(kind="rsassa")
    quote, private = machine.quote(), machine.key.private.private_numbers()
    right = pkcs1(quote.msg)
    blocks = [
        b"\0\1" + b"\xff" * 8 + b"\0" + right[-51:] + bytes(256 - 11 - 51),
        right[:100] + b"\xfe" + right[101:],
        b"\0\2" + right[2:],
        b"\0\1" + b"\xff" * (253 - 32) + b"\0" + right[-32:],
    ]
    numbers = [pow(int.from_bytes(block), private.d, private.public_numbers.n).to_bytes(256) for block in blocks]
    yield from judged(machine, *(machine.evidence(replace(quote, sig=signature(0x14, 0xB, one))) for one in numbers))
    for kind, other in (("rsassa", 0x16), ("rsapss", 0x14)):
        machine = Machine(kind=kind)
        quote = machine.quote()
        sig = machine.key.sign(quote.msg, scheme=other)
        own = struct.pack(">H", KINDS[kind][0]) + sig[2:]
        yield from judged(machine, *(machine.evidence(replace(quote, sig=one)) for one in (sig, own, sig[6:])))


@entry(73)
def numbers_out_of_range_and_loose_encodings():
    for kind in ECC:
        machine = Machine(kind=kind)
        quote, (n, size) = machine.quote(), ORDERS[kind]
        (r, s), head = numbers_of(quote.sig), struct.unpack_from(">HH", quote.sig)
        pairs = [(0, s), (r, 0), (n, s), (r, n), (n + 1, s), (r + n, s), (r, s + n), (s, r), ((1 << 8 * size) - 1, s)]
        sigs = []
        for pair in pairs:
            room = max(size, (max(pair).bit_length() + 7) // 8)
            sigs += [signature(*head, *(one.to_bytes(room) for one in pair)), der(*map(minimal, pair))]
        good = der(minimal(r), minimal(s))
        sigs += [
            signature(*head, r.to_bytes(size + 1), s.to_bytes(size)),
            quote.sig + b"\0",
            quote.sig[:-1],
            good + b"\0",
            der(b"\0" + minimal(r), minimal(s)),
            der((-r).to_bytes(size + 1, signed=True), minimal(s)),
            b"\x30\x80" + good[2:] + b"\0\0",
        ]
        sound = [machine.evidence(), machine.evidence(replace(quote, sig=good))]
        attacks = [machine.evidence(replace(quote, sig=sig)) for sig in sigs]
        yield from judged(machine, *attacks, honest=sound)


@entry(74)
def twins(tmp_path):
    machine = Machine()
    quote, (n, size) = machine.quote(), ORDERS["ecdsa_p256"]
    r, s = numbers_of(quote.sig)
    twin = replace(quote, sig=quote.sig[:4] + sized(r.to_bytes(size)) + sized((n - s).to_bytes(size)))
    machine.tpm.clock += 1
    sent = [machine.evidence(one, boot=str(i)) for i, one in enumerate((quote, twin, machine.quote(), twin))]
    with store_of(tmp_path / "s", machine) as store:
        first, second, other, again = job(store, *sent)
        yield from (passes(first), second, other, again)
    sm2 = Machine(kind="sm2")
    quote, (n, size) = sm2.quote(), ORDERS["sm2"]
    r, s = numbers_of(quote.sig)
    forged = quote.sig[:4] + sized(r.to_bytes(size)) + sized((n - s).to_bytes(size))
    yield from judged(sm2, sm2.evidence(replace(quote, sig=forged)))


@entry(75)
def points_off_their_curves():
    for kind in ECC:
        machine = Machine(kind=kind)
        public, size = machine.key.public, ORDERS[kind][1]
        head, x, y = public[: -2 * size - 4], public[-2 * size - 2 :][:size], public[-size:]
        points = [(x, y[:-1] + bytes([y[-1] ^ 1])), (y, x), (bytes(size),) * 2, (b"", b""), (b"\xff" * size,) * 2]
        yield passes(machine.judge())
        for point in points:
            area = head + b"".join(map(sized, point))
            yield Machine(own_key=replace(machine.key, public=area)).judge()
    p256 = key("ecdsa_p256")
    for curve, scheme in ((0x20, (0x1B, 0x12)), (0x20, (0x18, 0xB))):
        area = ecc_public(p256.public[-66:-34], p256.public[-32:], curve=curve, scheme=struct.pack(">HH", *scheme))
        yield Machine(own_key=replace(p256, public=area)).judge()


@entry(76)
def sm2_modes():
    for mode, other in (("digest", "za"), ("za", "digest")):
        machine = Machine(kind="sm2", sm2_mode=Sm2Mode(mode))
        quotes = {name: machine.quote() for name in ("digest", "za")}
        quotes["za"] = replace(quotes["za"], sig=machine.key.sign_za(quotes["za"].msg))
        user = replace(quotes["za"], sig=machine.key.sign_za(quotes["za"].msg, identity=b"ALICE123@YAHOO.COM"))
        attacks = [machine.evidence(quotes[other]), machine.evidence(user)]
        yield from judged(machine, *attacks, honest=[machine.evidence(quotes[mode])])


@entry(77)
def attests_not_exactly_consumed():
    machine = Machine()
    quote = machine.quote()
    forged = [machine.quote(**parts) for parts in MALFORMED.values()]
    sizes = (0, len(quote.msg) - 1, len(quote.msg) + 1, 0xFFFF)
    forged += [replace(quote, msg=struct.pack(">H", size) + quote.msg) for size in sizes]
    sound = [machine.evidence(), machine.evidence(replace(quote, msg=sized(quote.msg)))]
    yield from judged(machine, *map(machine.evidence, forged), honest=sound)


@entry(78)
def bank_twice():
    machine = Machine()
    pairs = [(ALL_PCRS, ALL_PCRS), (ALL_PCRS, (8,)), ((0, 2, 3, 4, 7), (8, 9, 11, 12, 13, 14)), ((), ALL_PCRS)]
    twice = [machine.quote([("sha256", first), ("sha256", second)]) for first, second in pairs]
    yield from judged(machine, *map(machine.evidence, twice))


@entry(82)
def certificates(tmp_path):
    """They count at enrolment: what is refused there makes no key certified, nor do those that come as evidence."""
    certified = replace(ARCHIVE, key="certified")
    at = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
    chains = {"good": None, **CHAINS}
    machines = [Machine(name.replace(" ", "-")) for name in chains]
    with store_of(tmp_path / "s", *machines) as store:
        enrollment = Enrollment(store)
        enrollment.pin([ROOT.der])
        for machine, chain in zip(machines, chains.values(), strict=True):
            good = leaf(MIDDLE, key=machine.key.private, oids=(AK_PURPOSE,))
            made = chain(machine.key.private) if chain else good
            facts = {"at": at, "ak_certificates": [made.der, MIDDLE.der]}
            if chain:
                yield refused(lambda m=machine, f=facts: enrollment.enroll(m.name, m.key.public, **f))
            else:
                enrollment.enroll(machine.name, machine.key.public, **facts)
            (row,) = job(store, machine.evidence(ak_cert=good.der, ek_cert=good.der), policy=certified)
            yield row if chain else passes(row)


@entry(83)
def denied_models(tmp_path):
    """Keys of ROCA are known by themselves. Any other list is the operator's: a rule of the policy, here by Name and
    by the EK's certificate."""
    yield Machine(own_key=weak_key()).judge()  # although it is enrolled
    with Store.open(str(tmp_path / "s"), create=True) as store:
        yield refused(lambda: Enrollment(store).enroll("m", weak_key().public, at=NOW))
    machine, denied = Machine(kind="rsassa"), Machine("weak", kind="rsassa")
    listed = leaf(None, key=denied.key.private).der

    def on_the_list(evidence, verdicts):
        names, certificates = verdicts.column("ak_name").to_pylist(), evidence.column("ek_cert").to_pylist()
        for row, (name, certificate) in enumerate(zip(names, certificates, strict=True)):
            if name == denied.key.name or certificate == listed:
                yield row, "its TPM is of a model with weak keys"

    policy = DEFAULT.with_rule("models", on_the_list)
    attacks = [denied.evidence(), machine.evidence(ek_cert=listed)]
    yield passes(denied.judge())
    yield from judged(machine, *attacks, policy=policy, references=references_of(machine, denied))
