"""Credential activation against a real software TPM (swtpm through tpm2-tools): the TPM is the oracle."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest

from pyverify.evidence.credential import make_credential
from pyverify.evidence.public_area import attestation_key_faults, parse

TOOLS = (
    "swtpm",
    "swtpm_setup",
    "swtpm_localca",
    "certtool",
    "tpm2_createek",
    "tpm2_createak",
    "tpm2_activatecredential",
)
SECRET = bytes(range(32))

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in TOOLS), reason="swtpm and tpm2-tools are not installed"
)


def _free_ports():
    """Two neighbouring ports of the loopback: the TCTI expects the control channel one above the data channel."""
    for port in range(23210, 24210, 2):
        with socket.socket() as data, socket.socket() as control:
            try:
                data.bind(("127.0.0.1", port))
                control.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    pytest.skip("no free ports on the loopback")


class RefusedError(Exception):
    """What the tool said on standard error."""


class Tpm:
    """A software TPM in a folder, and tpm2-tools that talk to it."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        port = _free_ports()
        # A certificate authority of its own, in its folder: see swtpm_setup.conf(5), swtpm-localca.conf(8).
        (folder / "ca").mkdir()
        tool = f"create_certs_tool={shutil.which('swtpm_localca')}\ncreate_certs_tool_config={folder}/ca.conf\n"
        (folder / "setup.conf").write_text(f"{tool}create_certs_tool_options={folder}/options\n")
        (folder / "options").write_text("")
        names = {"signingkey": "signkey.pem", "issuercert": "issuercert.pem", "certserial": "serial"}
        places = "".join(f"{name} = {folder}/ca/{file}\n" for name, file in names.items())
        (folder / "ca.conf").write_text(f"statedir = {folder}/ca\n{places}")
        setup = ["swtpm_setup", "--tpm2", "--tpmstate", str(folder), "--config", str(folder / "setup.conf")]
        subprocess.run([*setup, "--create-ek-cert", "--vmid", "m"], check=True, capture_output=True)
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "startup-clear"]
        command += ["--server", f"type=tcp,port={port},bindaddr=127.0.0.1"]
        command += ["--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.environment = os.environ | {"TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}"}
        for _ in range(100):
            try:
                self.run("tpm2_getcap", "properties-fixed")
                return
            except RefusedError:
                time.sleep(0.05)
        self.stop()
        pytest.skip("swtpm does not answer")

    def run(self, *command):
        """A tool's standard output; afterwards the TPM's few slots are free again, as there is no resource manager."""
        done = self._run(*command)
        self._run("tpm2_flushcontext", "-t")
        if done.returncode:
            raise RefusedError(done.stderr.decode())
        return done.stdout

    def _run(self, *command):
        options = {"cwd": self.folder, "env": self.environment, "capture_output": True, "timeout": 120}
        return subprocess.run(command, check=False, **options)

    def keys(self, kind):
        """Makes an EK and an AK under it; their public areas."""
        self.run("tpm2_createek", "-c", "ek.ctx", "-G", kind, "-u", "ek.pub")  # from the seed: always the same one
        self.run("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "rsa", "-u", "ak.pub", "-n", "ak.name")
        return (self.folder / "ek.pub").read_bytes(), (self.folder / "ak.pub").read_bytes()

    def activate(self, blob, *, with_policy=True):
        """The secret that the TPM returns; raises where it refuses.

        EKs of the low range (RSA 2048, P-256) want a policy session; those of the high range take an empty password.
        """
        (self.folder / "blob").write_bytes(blob)
        command = ["tpm2_activatecredential", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "blob", "-o", "answer"]
        if not with_policy:
            self.run(*command)
            return (self.folder / "answer").read_bytes()
        self.run("tpm2_startauthsession", "--policy-session", "-S", "session.ctx")
        try:
            self.run("tpm2_policysecret", "-S", "session.ctx", "-c", "e")
            self.run(*command, "-P", "session:session.ctx")
        finally:
            self.run("tpm2_flushcontext", "session.ctx")
        return (self.folder / "answer").read_bytes()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    tpm = Tpm(tmp_path_factory.mktemp("tpm") / "one")
    yield tpm
    tpm.stop()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    tpm = Tpm(tmp_path_factory.mktemp("tpm") / "two")
    yield tpm
    tpm.stop()


@pytest.mark.parametrize(("kind", "with_policy"), [("rsa", True), ("ecc", True), ("rsa3072", False), ("ecc384", False)])
def test_a_tpm_returns_the_secret_that_was_made_for_it(tpm, kind, with_policy):
    ek, ak = tpm.keys(kind)
    area = parse(ak)
    assert attestation_key_faults(area) == []
    assert area.name == (tpm.folder / "ak.name").read_bytes()
    assert tpm.activate(make_credential(ek, area.name, SECRET), with_policy=with_policy) == SECRET
    assert tpm.activate(make_credential(ek, area.name, b"x"), with_policy=with_policy) == b"x"


def test_no_other_key_and_no_other_tpm_returns_the_secret(tpm, other):
    ek, ak = tpm.keys("rsa")
    name = parse(ak).name
    blob = make_credential(ek, name[:-1] + bytes([name[-1] ^ 1]), SECRET)
    with pytest.raises(RefusedError):  # the EK is there, a key of that Name is not
        tpm.activate(blob)
    other.keys("rsa")
    with pytest.raises(RefusedError):
        other.activate(make_credential(ek, name, SECRET))
    assert tpm.activate(make_credential(ek, name, SECRET)) == SECRET


def test_from_enrolment_to_a_certified_key_by_command_line(tpm, other, tmp_path, monkeypatch, capfd):
    """The whole way, as an operator goes it: EK certificate off the TPM, root pinned, credential, answer."""
    from pyverify.cli.main import main

    monkeypatch.chdir(tmp_path)
    ca = tpm.folder / "ca"
    (tmp_path / "ek.crt").write_bytes(tpm.run("tpm2_nvread", "0x1c00002"))
    tpm.keys("rsa")
    files = {name: str(tpm.folder / name) for name in ("ek.pub", "ak.pub")}
    with pytest.raises(AssertionError, match=r"key\.certificate"):
        _run(main, capfd, "enroll", "m", files["ak.pub"], "--ek-cert", "ek.crt")
    _run(
        main, capfd, "enroll", "--root", str(ca / "swtpm-localca-rootca-cert.pem"), "--root", str(ca / "issuercert.pem")
    )
    assert "enrolled" in _run(main, capfd, "enroll", "m", files["ak.pub"], "--ek-cert", "ek.crt")
    _run(main, capfd, "challenge", "new", "--activate", "m", files["ek.pub"], files["ak.pub"], "-o", "blob")
    (tmp_path / "secret").write_bytes(tpm.activate((tmp_path / "blob").read_bytes()))
    assert "certified" in _run(main, capfd, "challenge", "check", "m", "secret")
    foreign, _ = other.keys("rsa")
    (tmp_path / "foreign.pub").write_bytes(foreign)
    with pytest.raises(AssertionError, match="another key"):
        _run(main, capfd, "challenge", "new", "--activate", "m", "foreign.pub", files["ak.pub"], "-o", "blob")
    nonce = _run(main, capfd, "challenge", "new", "m").strip()
    tpm.run("tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0", "-q", nonce, "-m", "quote.msg", "-s", "quote.sig")
    assert bytes.fromhex(nonce) in (tpm.folder / "quote.msg").read_bytes()


def _run(main, capfd, *arguments):
    code = main(list(arguments))
    out, err = capfd.readouterr()
    assert code == 0, err
    return out
