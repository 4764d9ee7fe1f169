"""A live TPM in software: a quote made now, over a nonce of now, by an AK under an EK, verified by the command."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time

import pytest

from pyverify.cli.main import main

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("swtpm", "swtpm_setup", "tpm2_quote"))), reason="no swtpm or tpm2-tools"
)


def _free_ports():
    """Two ports on loopback, one after the other: the TPM's, and that of its control channel."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise RuntimeError("no two free ports")


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    """A function that runs a tool of tpm2-tools against a TPM of this test's own, in a folder of its own."""
    folder = tmp_path_factory.mktemp("swtpm")
    port = _free_ports()
    state = ["--tpmstate", f"dir={folder}"]
    make = ["swtpm_setup", "--tpm2", "--tpmstate", str(folder), "--pcr-banks", "sha1,sha256,sha384"]
    if os.geteuid() == 0:
        make += ["--runas", "0"]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    server = ["--server", f"type=tcp,port={port},bindaddr=127.0.0.1"]
    control = ["--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"]
    flags = ["--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(["swtpm", "socket", "--tpm2", *state, *server, *control, *flags])
    environment = os.environ | {"TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}"}

    def call(tool, *args):
        options = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": 60}
        run = subprocess.run([f"tpm2_{tool}", *map(str, args)], check=False, **options)
        assert run.returncode == 0, f"tpm2_{tool}: {run.stderr}"
        # There is no resource manager: what a tool leaves in the TPM is taken out after it.
        subprocess.run(["tpm2_flushcontext", "-t"], check=True, **options)
        return run.stdout

    try:
        for _ in range(100):
            try:
                call("getrandom", 4, "--hex")
                break
            except AssertionError:
                time.sleep(0.05)
        call.folder = folder
        yield call
    finally:
        process.terminate()
        process.wait(10)


KINDS = [
    ("rsa", "rsassa", "sha256"),
    ("rsa", "rsapss", "sha256"),
    ("ecc", "ecdsa", "sha256"),
    ("ecc384", "ecdsa", "sha384"),
]


@pytest.mark.parametrize(("kind", "scheme", "hash_name"), KINDS)
def test_a_live_quote_is_a_yes_for_its_nonce_and_pcrs_alone(tpm, capfd, kind, scheme, hash_name):
    name = f"{kind}_{scheme}"
    ek = "rsa" if kind == "rsa" else "ecc"
    tpm("createek", "-G", ek, "-c", f"{name}.ek", "-u", f"{name}.ek.pub")
    form = ["-G", kind, "-g", hash_name, "-s", scheme]
    tpm("createak", "-C", f"{name}.ek", "-c", f"{name}.ak", *form, "-u", f"{name}.pub")
    tpm("readpublic", "-c", f"{name}.ak", "-f", "pem", "-o", f"{name}.pem")
    for pcr in (0, 7, 16):
        tpm("pcrextend", f"{pcr}:sha256={secrets.token_hex(32)},sha384={secrets.token_hex(48)}")
    nonce = secrets.token_hex(20)
    chosen = "sha256:0,7,16+sha384:0,7"
    files = ["-m", f"{name}.msg", "-s", f"{name}.sig", "-o", f"{name}.pcrs"]
    tpm("quote", "-c", f"{name}.ak", "-l", chosen, "-q", nonce, "-g", hash_name, "--scheme", scheme, *files)

    def verify(*changes, key="pub"):
        paths = {flag: str(tpm.folder / f"{name}.{end}") for flag, end in (("-u", key), ("-m", "msg"), ("-s", "sig"))}
        given = paths | {"-f": str(tpm.folder / f"{name}.pcrs"), "-q": nonce, "-l": chosen, "-g": hash_name}
        given |= dict(changes)
        code = main(["quote", "verify", *(word for pair in given.items() for word in pair)])
        return code, capfd.readouterr().out

    code, out = verify()
    assert code == 0 and out.startswith("yes"), out
    assert verify(key="pem")[0] == 0
    assert verify(("-q", secrets.token_hex(20)))[0] == 1
    assert verify(("-q", nonce[:-2]))[0] == 1
    assert verify(("-l", "sha256:0,7,16"))[0] == 1
    # the values of a moment later are not those that were quoted
    tpm("pcrextend", f"7:sha256={secrets.token_hex(32)}")
    later = tpm.folder / f"{name}.later"
    later.write_text(tpm("pcrread", chosen))
    assert verify(("-f", str(later)))[0] == 1
    again = ["-m", f"{name}.2.msg", "-s", f"{name}.2.sig"]
    tpm("quote", "-c", f"{name}.ak", "-l", chosen, "-q", nonce, "-g", hash_name, "--scheme", scheme, *again)
    second = [("-m", str(tpm.folder / f"{name}.2.msg")), ("-s", str(tpm.folder / f"{name}.2.sig"))]
    assert verify(*second)[0] == 1  # with the values of before
    assert verify(*second, ("-f", str(later)))[0] == 0
    assert verify(second[0], ("-f", str(later)))[0] == 1  # with the signature of before
