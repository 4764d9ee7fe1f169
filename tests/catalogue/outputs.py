"""109 to 112: policies that take time, addresses in evidence, clocks, and results that are shown to others."""

from __future__ import annotations

import base64
import datetime
import json
import socket
import time

from attested_machine import ARCHIVE, HOUR, LOG_ONLY, NOW, Machine, job, rows_of, store_of
from conftest import no_action, small_log
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from ima_by_hand import a_digest, data_of
from ima_by_hand import entry as ima_entry
from ima_evidence import HONEST
from ima_evidence import judge as judge_list
from test_decode import locators
from test_runtime_policy_verdicts import digests_of, keylime, policy_by

from catalogue.scenarios import entry, judged, passes, refused
from pyverify import EventLog, PyverifyError
from pyverify.baseline.edits import edits
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import event_sequences
from pyverify.baseline.selection import Selection
from pyverify.baseline.supersede import Old
from pyverify.output.ear import ear, signer


@entry(109)
def patterns_that_take_time(tmp_path):
    bombs = ["(a+)+b", "(/?a*)*b", "(a|aa)+$b", "(.*a){12}b"]
    policy = policy_by(tmp_path, keylime(digests_of(HONEST), excludes=bombs))
    long = HONEST + ima_entry(data_of("/" + "a" * 4_000, a_digest(9)))
    start = time.process_time()
    yield passes(judge_list(HONEST, policy=policy))
    yield judge_list(long, policy=policy)
    assert time.process_time() - start < 5
    for pattern in (r"(a)\1", "(?=a)b", "(" * 2_000, "a{1000}{1000}"):
        yield refused(lambda p=pattern: policy_by(tmp_path, keylime(digests_of(HONEST), excludes=[p]), name="bad"))


@entry(110)
def addresses_in_evidence(monkeypatch):
    machine = Machine()
    uri = b"http://169.254.169.254/latest/rim\0"
    places = (locators((1, uri), (1, b"file:///etc/passwd\0")), locators((2, uri), (9, uri)))
    told = [machine.evidence(event_log=machine.log + no_action(0, place, ["sha256"])) for place in places]

    def nobody_calls(*args, **kwargs):
        raise AssertionError("the network was used")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, nobody_calls)
    yield from judged(machine, *told)


@entry(111)
def time_is_the_callers(tmp_path, monkeypatch):
    machine = Machine()
    sent = machine.evidence()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for at in (NOW, NOW + 22 * HOUR):
        verdict = machine.judge(at=at)
        assert verdict.as_of == at
        yield passes(verdict)
    for at in (NOW + 24 * HOUR, NOW - 2 * HOUR):  # too late, and before it was asked
        yield machine.judge(at=at)
    new = small_log(["sha256"], command_line=b"quiet splash")
    before, after = (event_sequences(EventLog.parse(log))[8] for log in (machine.log, new))
    with store_of(tmp_path / "s", machine) as store:
        old = Old(NOW + 24 * HOUR)
        who = {"who": "ops", "reason": "update"}
        Lifecycle(store).approve(Selection(everyone=True), edits(8, before, after), at=NOW, old=old, **who)
        yield passes(job(store, sent, policy=LOG_ONLY, at=NOW + 23 * HOUR)[0])
        yield job(store, sent, policy=LOG_ONLY, at=NOW + 24 * HOUR)[0]


@entry(112)
def results_used_again(tmp_path):
    """A result names one device, one piece of evidence and the nonce that it answers, is of a time, and ends."""
    import jwt

    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    sign, public = signer(str(tmp_path / "key.pem")), private.public_key()
    machine = Machine()
    quotes = [machine.quote(), machine.quote(nonce=bytes(32))]
    rows = [rows_of([machine.evidence(quote)], machine.references(challenges=[]), ARCHIVE)[0] for quote in quotes]
    yield from map(passes, rows)
    now = NOW.timestamp()
    claims = [ear(row) for row in rows]
    assert list(claims[0]["submods"]) == ["m"]
    assert (claims[0]["iat"], claims[0]["exp"]) == (now, now + 24 * 3600)
    of_evidence = [one["submods"]["m"]["pyverify"]["evidence_id"] for one in claims]
    assert of_evidence == [row["evidence_id"].hex() for row in rows] and len(set(of_evidence)) == 2
    answered = [base64.urlsafe_b64decode(one["eat_nonce"] + "=") for one in claims]
    assert answered == [machine.nonce, bytes(32)] == [row["nonce"] for row in rows]
    token = sign(claims[0])
    assert token != sign(claims[1])
    header, _, signature = token.split(".")
    whole = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(token, public, ["EdDSA"], options=whole) == claims[0]
    for change in (
        {"submods": {"other": claims[0]["submods"]["m"]}},
        {"submods": claims[1]["submods"]},
        {"eat_nonce": claims[1]["eat_nonce"]},
        {"exp": claims[0]["exp"] + 10**9},
    ):
        other = base64.urlsafe_b64encode(json.dumps(claims[0] | change).encode()).rstrip(b"=").decode()
        yield _refused_by_jwt(lambda o=other: jwt.decode(f"{header}.{o}.{signature}", public, ["EdDSA"], options=whole))
    late = datetime.datetime.now(datetime.UTC).timestamp()
    old = sign(ear(rows[0] | {"as_of": datetime.datetime.fromtimestamp(late - 25 * 3600, datetime.UTC)}))
    yield _refused_by_jwt(lambda: jwt.decode(old, public, ["EdDSA"]))


def _refused_by_jwt(call) -> PyverifyError:
    """The relying party is another program: PyJWT."""
    import jwt

    try:
        call()
    except (jwt.InvalidSignatureError, jwt.ExpiredSignatureError) as error:
        return PyverifyError(type(error).__name__)
    raise AssertionError("a result was taken for another")
