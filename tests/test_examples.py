"""The example services, over real sockets: they ask, appraise, spend, and answer whatever they are sent."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from attested_machine import Machine
from conftest import small_log

from pyverify import Policy, Store
from pyverify.baseline.enrollment import Enrollment
from pyverify.examples import asynchronous, threaded
from pyverify.examples.verifier import Verifier


def add(store: Store, *machines: Machine) -> None:
    store.add([machine.baseline() for machine in machines], action="learn")
    for machine in machines:
        Enrollment(store).enroll(machine.name, machine.key.public, at=datetime.datetime.now(datetime.UTC))


@contextlib.contextmanager
def by_threads(verifier):
    with threaded.Server(("127.0.0.1", 0), verifier) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def by_asyncio(verifier):
    ready: list = []
    started = threading.Event()

    async def serve():
        stop = asyncio.Event()
        async with asynchronous.serving(verifier) as server:
            ready.extend((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(30)
    port, loop, stop = ready
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        yield store


@pytest.fixture(params=[by_threads, by_asyncio])
def service(request, store):
    """The port of a running service over a store that knows ``web-1``."""
    add(store, Machine("web-1"))
    with request.param(Verifier(store, Policy.preset("default"))) as port:
        yield port


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._file = self._socket.makefile("rwb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()

    def say(self, line: bytes) -> dict | None:
        self._file.write(line)
        self._file.flush()
        answer = self._file.readline()
        return json.loads(answer) if answer else None

    def ask(self, **message) -> dict:
        return self.say(json.dumps(message).encode() + b"\n")

    def nonce(self, machine: Machine) -> bytes:
        return base64.b64decode(self.ask(challenge=machine.name)["nonces"][machine.key.name.hex()])

    def send(self, machine: Machine, quote, log: bytes = b"", boot: str = "b") -> dict:
        parts = {name: base64.b64encode(getattr(quote, name)).decode() for name in ("msg", "sig", "ak_pub", "pcrs")}
        log_text = base64.b64encode(log or machine.log).decode()
        return self.ask(machine=machine.name, boot=boot, event_log=log_text, quotes=[parts])


def codes(answer):
    return {finding["code"] for finding in answer["findings"]}


def test_a_machine_that_was_asked_is_trusted_and_its_nonce_is_good_once(service):
    machine = Machine("web-1")
    with Client(service) as client:
        nonce = client.nonce(machine)
        quote = machine.quote(nonce=nonce)
        answer = client.send(machine, quote)
        assert answer == {"verdict": "trusted", "attested": "quote", "key": "enrolled", "findings": []}
        assert client.send(machine, quote) == answer  # a retry
        machine.tpm.clock += 1
        answer = client.send(machine, machine.quote(nonce=nonce))
        assert answer["verdict"] == "untrusted" and "quote.replayed" in codes(answer)
        answer = client.send(machine, machine.quote(nonce=bytes(32)))
        assert answer["verdict"] == "untrusted" and "quote.nonce" in codes(answer)
        answer = client.send(machine, machine.quote(nonce=client.nonce(machine)), small_log(["sha256"], extra=b""))
        assert answer["verdict"] == "trusted"
        evil = small_log(["sha256"], command_line=b"init=/bin/sh")
        answer = client.send(machine, machine.quote(nonce=client.nonce(machine)), evil)
        assert answer["verdict"] == "untrusted" and "replay.mismatch" in codes(answer)


def test_what_others_change_in_the_store_counts_from_the_next_message_on(service, tmp_path):
    machine = Machine("web-2")
    with Client(service) as client:
        assert client.ask(challenge="web-2") == {"error": "no key is enrolled for this machine"}
        with Store.open(str(tmp_path / "s.db")) as other:
            add(other, machine)
        nonce = client.nonce(machine)
        assert client.send(machine, machine.quote(nonce=nonce))["verdict"] == "trusted"
        nonce = client.nonce(machine)
        with Store.open(str(tmp_path / "s.db")) as other:
            soon = datetime.datetime.now(datetime.UTC)
            Enrollment(other).enroll(machine.name, machine.key.public, at=soon, until=soon)
        answer = client.send(machine, machine.quote(nonce=nonce))
        assert answer["verdict"] == "untrusted" and "key.unknown" in codes(answer)


def test_of_quotes_that_compete_for_a_nonce_one_stands(service):
    machine = Machine("web-1")
    with Client(service) as client:
        nonce = client.nonce(machine)
    quotes = []
    for _ in range(6):
        machine.tpm.clock += 1
        quotes.append(machine.quote(nonce=nonce))

    def send(quote):
        with Client(service) as client:
            return client.send(machine, quote)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, quotes))
    assert sorted(answer["verdict"] for answer in answers) == ["trusted"] + ["untrusted"] * 5
    assert all("quote.replayed" in codes(answer) for answer in answers if answer["verdict"] == "untrusted")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"challenge": 7}\n',
        b'{"challenge": "../web-1"}\n',
        b'{"machine": "web-1"}\n',
        b'{"machine": "web-1", "boot": "b", "event_log": "%%"}\n',
        b'{"machine": "web-1", "boot": "b", "event_log": "\xc3\xa9"}\n',
        b'{"machine": "web-1", "boot": "b", "quotes": [7]}\n',
        b'{"machine": "web-1", "boot": "b", "quotes": {"msg": ""}}\n',
        b'{"machine": "web-1", "boot": "b", "ima": [{"data": ""}]}\n',
        b'{"machine": "web-1", "boot": "b", "policy": "log-only"}\n',
        b'{"machine": "\\ud800", "boot": "b"}\n',
        b'{"challenge": "\\ud800"}\n',
        b'{"machine": "web-1", "boot": "b", "quotes": [{}]}\n',
        b'{"machine": "web-1", "boot": "b", "event_log": "AAAA", "ima": [{"format": "new", "data": "AAAA"}]}\n',
    ],
)
def test_whatever_is_sent_is_answered_and_never_trusted(service, line):
    with Client(service) as client:
        answer = client.say(line)
        assert set(answer) == {"error"} or answer["verdict"] in ("untrusted", "error", "unmeasured"), answer
        assert len(client.ask(challenge="web-1")["nonces"]) == 1


def test_a_message_without_an_end_is_not_kept(service, monkeypatch):
    machine = Machine("web-1")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", service), timeout=30) as connection:
        for _ in range(40):
            connection.sendall(b"x" * (1 << 20))
        assert connection.recv(100) == b""
    with Client(service) as client:
        assert len(client.nonce(machine)) == 32
