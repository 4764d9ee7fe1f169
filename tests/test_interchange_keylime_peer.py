"""Reference states against Keylime itself, where it is installed: it makes the same ones and is satisfied by ours."""

from __future__ import annotations

import logging
import shutil
import subprocess
import warnings

import pytest
import yaml
from conftest import DATA, shared

from pyverify import EventLog, UsageError
from pyverify.baseline.interchange import keylime_check, keylime_refstate


@pytest.fixture(scope="module")
def keylime():
    if shutil.which("tpm2_eventlog") is None:
        pytest.skip("tpm2_eventlog is not installed")
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = pytest.importorskip("keylime.mba.elchecking.example")
        from keylime.mba.elparsing import tpm2_tools_elparser
        from keylime.policy import create_mb_policy
    yield example.Example(), create_mb_policy, vars(tpm2_tools_elparser)["__unescape_eventlog"]
    logging.disable(logging.NOTSET)


def logs():
    paths = sorted(shared("recordings").glob("*/binary_bios_measurements"))
    return [path for path in paths if path.stat().st_size] + sorted((DATA / "logs").glob("*.bin"))


def parsed(path, unescape):
    command = ["tpm2_eventlog", "--eventlog-version=2", str(path)]
    log = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    unescape(log)
    return log


def its_own(tool, events):
    secure = tool.secureboot_enabled(events)
    return {
        "has_secureboot": secure,
        "scrtm_and_bios": [{**tool.get_s_crtm(events), **tool.get_platform_firmware(events)}],
        **tool.get_keys(events),
        **tool.get_mok(events),
        **tool.get_kernel(events, secure),
    }


def test_keylime_makes_the_same_reference_states_and_is_satisfied_by_ours(keylime):
    policy, tool, unescape = keylime
    made = 0
    for path in logs():
        log = EventLog.parse(path.read_bytes())
        try:
            ours = keylime_check.export(log)
        except UsageError:
            continue
        theirs = parsed(path, unescape)
        assert policy.refstate_to_test(dict(ours)).why_not({}, theirs) == "", path
        own = its_own(tool, theirs["events"])
        for name, value in own.items():
            by_owner = sorted(value, key=str) if name in ("pk", "kek", "db", "dbx") else value
            assert (sorted(ours[name], key=str) if name in ("pk", "kek", "db", "dbx") else ours[name]) == by_owner, path
        assert keylime_check.check(keylime_refstate.parse(own), log).satisfied, path
        made += 1
    assert made > 50


def test_keylime_too_refuses_what_was_done_to_recorded_boots(keylime):
    policy, _, unescape = keylime
    folder = shared("recordings")
    first = EventLog.parse((folder / "01_m1_first_boot" / "binary_bios_measurements").read_bytes())
    refstate = keylime_check.export(first)
    for name in ("14_cmdline_changed", "16_initrd_tampered", "19_shim_modified", "20_grub_modified", "02_m1_reboot"):
        path = folder / name / "binary_bios_measurements"
        satisfied = policy.refstate_to_test(dict(refstate)).why_not({}, parsed(path, unescape)) == ""
        ours = keylime_check.check(keylime_refstate.parse(refstate), EventLog.parse(path.read_bytes()))
        assert ours.satisfied == satisfied == (name == "02_m1_reboot"), name
