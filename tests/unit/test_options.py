"""Options and daemon.json become settings, or one line that says what is wrong."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from minirund.engine.settings import Settings
from minirund.options import BadOption, merged, parser, settings_from


def settings(*words: str, config: Any = None, where: Path) -> Settings:
    file = where / "daemon.json"
    file.write_text(json.dumps({} if config is None else config))
    return settings_from(merged(parser().parse_args([*words, "--config-file", str(file)])))


@pytest.mark.parametrize(
    ("words", "config", "name", "value"),
    [
        ([], {}, "hosts", ("unix:///run/minirund.sock",)),
        (["-H", "unix:///a", "--host", "fd://"], {}, "hosts", ("unix:///a", "fd://")),
        ([], {"hosts": ["unix:///b"]}, "hosts", ("unix:///b",)),
        (["--data-root", "/d/../e"], {}, "data_root", "/e"), ([], {"data-root": "/d"}, "data_root", "/d"),
        (["--bip", "10.1.0.1/24"], {}, "bip", IPv4Interface("10.1.0.1/24")),
        (["--dns", "1.1.1.1", "--dns", "8.8.8.8"], {}, "dns", ("1.1.1.1", "8.8.8.8")),
        (["--dns-opt", "ndots:1"], {}, "dns_options", ("ndots:1",)),
        ([], {"insecure-registries": ["a:5000"]}, "insecure_registries", ("a:5000",)),
        (["--max-unpacked-size", "20g"], {}, "max_unpacked_size", 20 << 30),
        ([], {"max-unpacked-size": 1024}, "max_unpacked_size", 1024),
        (["--storage-opt", "overlay2.size=10G"], {}, "layer_size", 10 << 30), ([], {}, "layer_size", 0),
        ([], {"storage-opts": ["overlay2.size=1g", "overlay2.size=2g"]}, "layer_size", 2 << 30),
        (["--exec-opt", "native.cgroupdriver=systemd"], {}, "cgroup_driver", "systemd"), ([], {}, "cgroup_driver", ""),
        ([], {"exec-opts": ["native.cgroupdriver=cgroupfs"]}, "cgroup_driver", "cgroupfs"),
        (["--network-pool", "0"], {}, "pool_size", 0), ([], {"network-pool": 7}, "pool_size", 7),
        (["--metrics-addr", "127.0.0.1:9323"], {}, "metrics_addr", ("127.0.0.1", 9323)),
        (["--metrics-addr", "[::1]:0"], {}, "metrics_addr", ("::1", 0)),
        ([], {"metrics-addr": ":9323"}, "metrics_addr", ("", 9323)), ([], {}, "metrics_addr", None),
        (["-D"], {}, "log_level", "debug"), (["-l", "warn"], {}, "log_level", "warn"),
        ([], {"debug": True}, "log_level", "debug"), ([], {"debug": False}, "log_level", "info"),
    ],
)  # fmt: skip
def test_settings(tmp_path: Path, words: list[str], config: Any, name: str, value: Any) -> None:
    assert getattr(settings(*words, config=config, where=tmp_path), name) == value


@pytest.mark.parametrize(
    ("words", "config", "message"),
    [
        ([], {"colour": "red"}, "unknown key 'colour'"),
        (["--bridge", "a"], {"bridge": "b"}, "'bridge' is given as an option too"),
        ([], {"hosts": "unix:///a"}, "must be a list"), ([], {"bridge": ["a"]}, "must be a text"),
        ([], {"bridge": {}}, "must be a text"), ([], [1], "not a JSON object"),
        (["--bridge", "a" * 16], {}, "at most 15 characters"),
        (["--bip", "x"], {}, "not an IPv4 address"), (["--bip", "10.0.0.0/24"], {}, "a host's address"),
        (["--bip", "10.0.0.255/24"], {}, "a host's address"), (["--bip", "10.0.0.1/30"], {}, "/29 or larger"),
        (["--network-pool", "x"], {}, "a number from 0 to 256"),
        (["--network-pool", "-1"], {}, "a number from 0 to 256"),
        (["--max-unpacked-size", "much"], {}, "--max-unpacked-size much: not a size, like 20g"),
        (["--metrics-addr", "9323"], {}, "--metrics-addr 9323: not an address: use HOST:PORT"),
        (["--metrics-addr", "::1:9323"], {}, "not an address"), (["--metrics-addr", "a:70000"], {}, "not an address"),
        (["--metrics-addr", "http://a:1"], {}, "not an address"), ([], {"metrics-addr": 9323}, "must be a text"),
        (["--storage-opt", "bar"], {}, "Unable to parse key/value option: bar"),
        (["--storage-opt", "overlay2.foo=1"], {}, "overlay2: unknown option overlay2.foo"),
        (["--storage-opt", "size=1g"], {}, "overlay2: unknown option size: known is overlay2.size"),
        ([], {"storage-opts": ["overlay2.size=x"]}, "invalid size: 'x'"),
        ([], {"storage-opts": "overlay2.size=1g"}, "must be a list"),
        (["--exec-opt", "native.cgroupdriver=other"], {}, "known are native.cgroupdriver=cgroupfs and"),
        (["--exec-opt", "systemd"], {}, "--exec-opt systemd: known are"), ([], {"exec-opts": "x"}, "must be a list"),
        ([], {"log-level": "loud"}, "log level 'loud'"),
    ],
)  # fmt: skip
def test_one_line_that_says_what_is_wrong(tmp_path: Path, words: list[str], config: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message) as found:
        settings(*words, config=config, where=tmp_path)
    assert "\n" not in str(found.value)


def test_the_file_may_be_missing_only_if_it_was_not_named(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="no such configuration file"):
        merged(parser().parse_args(["--config-file", f"{tmp_path}/none"]))
    (tmp_path / "bad").write_text("{")
    with pytest.raises(BadOption, match="bad: "):
        merged(parser().parse_args(["--config-file", f"{tmp_path}/bad"]))
