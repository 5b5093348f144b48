"""Capabilities, seccomp, masked paths: from HostConfig's words to OCI's."""

from __future__ import annotations

import json

import pytest

from minirund.engine import security
from minirund.engine.records import Json
from minirund.errors import InvalidArgument

DEFAULT = {f"CAP_{name}" for name in security.DEFAULT}


def test_docker_s_fourteen() -> None:
    assert len(security.DEFAULT) == 14
    assert set(security.granted((), ())) == DEFAULT


@pytest.mark.parametrize(
    ("add", "drop", "more", "less"),
    [
        (["NET_ADMIN"], [], {"CAP_NET_ADMIN"}, set()),
        (["cap_net_admin"], [], {"CAP_NET_ADMIN"}, set()),
        ([], ["CHOWN"], set(), {"CAP_CHOWN"}),
        (["CHOWN"], ["CHOWN"], set(), set()),
        ([], ["ALL"], set(), DEFAULT),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}, DEFAULT),
    ],
)
def test_granted(add: list[str], drop: list[str], more: set[str], less: set[str]) -> None:
    assert set(security.granted(add, drop)) == (DEFAULT - less) | more


def test_all() -> None:
    everything = security.granted((), (), privileged=True)
    assert len(everything) == security.last_capability() + 1
    assert security.granted(["ALL"], ()) == everything
    assert set(everything) - set(security.granted(["ALL"], ["SYS_ADMIN"])) == {"CAP_SYS_ADMIN"}


@pytest.mark.parametrize("key", ["CapAdd", "CapDrop"])
def test_no_such_capability(key: str) -> None:
    with pytest.raises(InvalidArgument, match=f'invalid {key}: unknown capability: "CAP_NOSUCH"'):
        security.policy({key: ["nosuch"]})


@pytest.mark.parametrize(
    ("host", "seccomp", "masked", "no_new_privileges"),
    [
        ({}, True, True, False),
        ({"Privileged": True}, False, False, False),
        ({"Privileged": True, "SecurityOpt": ["seccomp=builtin"]}, True, False, False),
        ({"SecurityOpt": ["seccomp=unconfined"]}, False, True, False),
        ({"SecurityOpt": ["seccomp:unconfined"]}, False, True, False),
        ({"SecurityOpt": ["systempaths=unconfined"]}, True, False, False),
        ({"SecurityOpt": ["no-new-privileges"]}, True, True, True),
        ({"SecurityOpt": ["no-new-privileges:true"]}, True, True, True),
        ({"SecurityOpt": ["no-new-privileges=false"]}, True, True, False),
        ({"SecurityOpt": ["apparmor=unconfined", "label=disable"]}, True, True, False),
        ({"MaskedPaths": []}, True, False, False),
    ],
)
def test_policy(host: Json, seccomp: bool, masked: bool, no_new_privileges: bool) -> None:
    found = security.policy(host)
    assert (found.seccomp is not None, bool(found.masked), found.no_new_privileges) == (
        seccomp,
        masked,
        no_new_privileges,
    )


@pytest.mark.parametrize(
    "option", ["what=ever", "apparmor=mine", "seccomp={", "seccomp=[]", 'seccomp={"syscalls":[{}]}']
)
def test_bad_options(option: str) -> None:
    with pytest.raises(InvalidArgument):
        security.policy({"SecurityOpt": [option]})


def rules(capabilities: set[str]) -> dict[str, list[Json]]:
    """The default profile's rules by system call."""
    found: dict[str, list[Json]] = {}
    for rule in (security.policy({"CapAdd": sorted(capabilities)}).seccomp or {})["syscalls"]:
        for name in rule["names"]:
            found.setdefault(name, []).append(rule)
    return found


def test_the_default_profile_opens_with_capabilities() -> None:
    plain, admin = rules(set()), rules({"SYS_ADMIN"})
    assert "mount" not in plain and "mount" in admin
    assert "read" in plain and "reboot" not in plain and "reboot" in rules({"SYS_BOOT"})
    # clone: without CAP_SYS_ADMIN only without flags for namespaces, with it unconditionally
    assert plain["clone"][0]["args"] and not any(rule.get("args") for rule in admin["clone"])
    assert plain["clone3"][0]["action"] == "SCMP_ACT_ERRNO" and admin["clone3"][0]["action"] == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize(
    ("condition", "there"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True), ({"includes": {"caps": ["CAP_CHOWN", "CAP_BPF"]}}, False),
        ({"excludes": {"caps": ["CAP_CHOWN"]}}, False), ({"excludes": {"caps": ["CAP_BPF"]}}, True),
        ({"includes": {"minKernel": "3.0"}}, True), ({"includes": {"minKernel": "99.1"}}, False),
        ({"includes": {"arches": ["no-such-machine"]}}, False), ({"excludes": {"arches": ["no-such-machine"]}}, True),
    ],
)  # fmt: skip
def test_translation_decides_conditions(condition: Json, there: bool) -> None:
    entry = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 0, **condition}
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [entry]}
    found = security.translate(json.loads(json.dumps(profile)), frozenset({"CAP_CHOWN"}))
    assert found["defaultAction"] == "SCMP_ACT_ERRNO" and found["defaultErrnoRet"] == 38
    assert found["syscalls"] == ([{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 0}] if there else [])
