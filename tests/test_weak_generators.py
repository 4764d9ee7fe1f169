"""Keys that can be broken for who made them are known by their modulus, whoever enrolled them (attack 83)."""

from __future__ import annotations

import math
import random
import time
from fractions import Fraction

import numpy as np
import pytest
from attested_machine import ARCHIVE, DEFAULT, NOW, Machine, references_of, refused, rows_of, trusted
from conftest import shared
from tpm_in_python import key, rsa_key
from weak_keys import EXPONENT, PRIMES, weak_key, weak_prime

from pyverify import Store, UsageError
from pyverify.baseline.enrollment import Enrollment
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys
from pyverify.evidence.weak_generators import weakly_generated


def matrix(*moduli: int, size: int = 256) -> np.ndarray:
    return np.frombuffer(b"".join(n.to_bytes(size) for n in moduli), np.uint8).reshape(-1, size)


@pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda policy: policy.name)
@pytest.mark.parametrize("kind", ["rsassa", "rsapss"])
def test_a_weak_key_is_refused_although_it_is_enrolled_and_signs_well(kind, policy):
    assert trusted(Machine(kind=kind).judge(policy=policy))
    verdict = Machine(own_key=weak_key(kind)).judge(policy=policy)
    assert refused(verdict, "key.denied")
    assert {f.code for f in verdict.findings} == {"key.denied"}


def test_a_weak_key_is_not_enrolled(tmp_path):
    with Store.open(str(tmp_path / "s"), create=True) as store:
        with pytest.raises(UsageError, match=r"^key\.denied: .*CVE-2017-15361"):
            Enrollment(store).enroll("m", weak_key().public, at=NOW)
        assert Enrollment(store).enroll("m", key("rsassa").public, at=NOW).key.machine == "m"


def test_weak_keys_of_a_batch_are_told_from_others_and_from_their_copies():
    weak, machines = weak_key(), [Machine(kind=kind) for kind in ("rsassa", "ecdsa_p256", "sm2")]
    own = Machine("weak", own_key=weak)
    evidence = [own.evidence(), machines[0].evidence(), own.evidence(boot="b3")]
    rows = rows_of(evidence, references_of(own, machines[0]))
    assert [row["verdict"] for row in rows] == ["untrusted", "trusted", "untrusted"]
    keys = Keys.of(Ragged.of([*(m.key.public for m in machines), weak.public, None, b"x", weak.public]))
    assert keys.weakly_generated().tolist() == [False, False, False, True, False, False, True]


def test_the_residues_are_as_python_has_them():
    """The oracle is arithmetic on whole numbers: a modulus is weak iff it is a power of 65537 modulo each prime."""
    powers = {p: {pow(EXPONENT, a, p) for a in range(p)} for p in PRIMES}
    chance = random.Random(7)
    product = math.prod(PRIMES)
    numbers = [weak_prime(chance) * weak_prime(chance), rsa_key("rsassa", 2048).private.public_key().public_numbers().n]
    for p in (11, 19, 701, 13, 127):  # powers modulo all primes but one
        rest = next(r for r in range(1, p) if r not in powers[p]) if len(powers[p]) < p - 1 else 0
        others = product // p
        step = (rest - numbers[0]) * pow(others, -1, p) % p
        numbers.append(numbers[0] + step * others)
    expected = [all(n % p in powers[p] for p in PRIMES) for n in numbers]
    assert expected == [True] + [False] * 6
    assert weakly_generated(matrix(*numbers)).tolist() == expected
    assert weakly_generated(matrix(*numbers, size=384)).tolist() == expected


def test_no_honest_key_is_weak_by_chance():
    by_chance = Fraction(1)
    for p in PRIMES[1:]:
        by_chance *= Fraction(len({pow(EXPONENT, a, p) for a in range(p)}), p - 1)
    assert by_chance < Fraction(1, 2**100)
    moduli = np.random.default_rng(83).integers(0, 256, (20_000, 256), np.uint8)
    moduli[:, -1] |= 1
    start = time.process_time()
    assert not weakly_generated(moduli).any()
    assert time.process_time() - start < 1


def test_recorded_keys_are_not_weak():
    names = sorted(shared("recordings").glob("*/ak/*rsa*.tpm2b"))
    publics = [path.read_bytes() for path in names]
    assert len(publics) > 10
    assert not Keys.of(Ragged.of(publics)).weakly_generated().any()
