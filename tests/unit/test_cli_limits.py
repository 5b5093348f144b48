"""Options that name a device, into entries of HostConfig; and Docker's words for what is none."""

from __future__ import annotations

from typing import Any

import pytest

from minirund.cli.failure import UsageError
from minirund.cli.limits import listed
from minirund.cli.options import parse
from minirund.cli.run_options import RUN_OPTIONS


def read(*words: str) -> dict[str, Any]:
    return listed(parse(RUN_OPTIONS, words))


def node(outside: str, inside: str, access: str = "rwm") -> dict[str, str]:
    return {"PathOnHost": outside, "PathInContainer": inside, "CgroupPermissions": access}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("/dev/a", node("/dev/a", "/dev/a")),
        ("/dev/snd/", node("/dev/snd", "/dev/snd")),
        ("/dev/a:r", node("/dev/a", "/dev/a", "r")),
        ("/dev/a:/dev/b", node("/dev/a", "/dev/b")),
        ("/dev/a:/dev/b:rw", node("/dev/a", "/dev/b", "rw")),
        ("a:/dev/b", node("a", "/dev/b")),
    ],
)
def test_devices(spec: str, expected: dict[str, str]) -> None:
    assert read("--device", spec) == {"Devices": [expected]}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("a:b:c:d", "bad format for path: a:b:c:d"),
        ("", "bad format for path: "),
        (":/dev/a", "bad format for path: :/dev/a"),
        ("/dev/a:/dev/b:rx", "bad mode specified: rx"),
        ("/dev/a:/dev/b:rr", "bad mode specified: rr"),
        ("/dev/a:/dev/b:", "bad mode specified: "),
        ("a", "a is not an absolute path"),
        ("/dev/a:x", "x is not an absolute path"),
    ],
)
def test_what_is_no_device(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read("--device", spec)
    assert caught.value.message == message


def test_rules() -> None:
    rules = ["c 42:* rmw", "b *:1 r", "a *:* rwm"]
    assert read(*(word for rule in rules for word in ("--device-cgroup-rule", rule))) == {"DeviceCgroupRules": rules}


@pytest.mark.parametrize("spec", ["", "c", "c 1 r", "x 1:1 r", "c 1:1 x", "c 1:1 ", "c ²:1 r", "c 1:-1 r"])
def test_what_is_no_rule(spec: str) -> None:
    with pytest.raises(UsageError, match="invalid device cgroup format"):
        read("--device-cgroup-rule", spec)


@pytest.mark.parametrize(
    ("option", "spec", "key", "rate"),
    [
        ("--device-read-bps", "/dev/sda:1mb", "BlkioDeviceReadBps", 1 << 20),
        ("--device-write-bps", "/dev/sda:5", "BlkioDeviceWriteBps", 5),
        ("--device-read-iops", "/dev/sda:100", "BlkioDeviceReadIOps", 100),
        ("--device-write-iops", "/dev/sda:0", "BlkioDeviceWriteIOps", 0),
    ],
)
def test_rates(option: str, spec: str, key: str, rate: int) -> None:
    assert read(option, spec) == {key: [{"Path": "/dev/sda", "Rate": rate}]}


@pytest.mark.parametrize("spec", ["/dev/sda", "sda:1mb", "/dev/sda:", "/dev/sda:-1", "/dev/sda:fast", ":5"])
@pytest.mark.parametrize("option", ["--device-read-bps", "--device-write-iops"])
def test_what_is_no_rate(option: str, spec: str) -> None:
    with pytest.raises(UsageError, match="invalid rate for device"):
        read(option, spec)


def test_weights() -> None:
    words = ("--blkio-weight-device", "/dev/sda:500", "--blkio-weight-device", "/dev/sdb:0")
    assert read(*words) == {
        "BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 500}, {"Path": "/dev/sdb", "Weight": 0}]
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("/dev/sda", "bad format: /dev/sda"),
        ("sda:500", "bad format for device path: sda:500"),
        ("/dev/sda:9", "invalid weight for device: /dev/sda:9"),
        ("/dev/sda:1001", "invalid weight for device"),
        ("/dev/sda:", "invalid weight for device"),
        ("/dev/sda:-5", "invalid weight for device"),
    ],
)
def test_what_is_no_weight(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=f'invalid argument "{spec}" for "--blkio-weight-device" flag: {message}'):
        read("--blkio-weight-device", spec)


def test_what_is_not_asked_for_is_not_there() -> None:
    assert read() == {}
