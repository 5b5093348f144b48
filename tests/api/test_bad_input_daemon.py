"""A daemon that can't start says why in one line and exits with 1 (2 for the command line), and takes nothing away."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from daemon import BIN, DaemonHost

pytestmark = pytest.mark.root


def daemon(host: DaemonHost, *options: str, config: Any = None, **more: Any) -> tuple[int, str]:
    """Start one in the foreground beside the host's own: exit code and what it says."""
    if config is not None:
        host.config.write_text(config if isinstance(config, str) else json.dumps(config))
    roots = ["--data-root", f"{host.state}/other", "--exec-root", f"{host.state}/other-run"]
    command = [str(BIN / "minirund"), "-H", f"unix://{host.directory}/other.sock", *roots]
    done = host.run(*command, "--config-file", str(host.config), *options, **more)
    return done.returncode, done.stderr


def refused(found: tuple[int, str], words: str) -> None:
    code, said = found
    assert (code, words in said, "Traceback" in said) == (1, True, False), said
    assert said.startswith("minirund: ")
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "daemon.json: "),
        ("[]", "not a JSON object"),
        ("\udcff", "daemon.json: "),
        ({"nosuch": 1}, "unknown key 'nosuch'"),
        ({"dns": "1.1.1.1"}, "the value of 'dns' must be a list"),
        ({"bip": ["x"]}, "the value of 'bip' must be a text"),
        ({"bip": "nonsense"}, "bip"),
        ({"bip": 7}, "bip"),
        ({"data-root": 7}, "data-root"),
        ({"hosts": [7]}, "hosts"),
        ({"group": 7}, "group"),
        ({"dns": [7]}, "dns"),
        ({"pidfile": 7}, "pidfile"),
        ({"log-level": "loud"}, "log level 'loud'"),
        ({"debug": "maybe"}, "debug"),
        ({"insecure-registries": [1]}, "insecure-registries"),
        ({"max-unpacked-size": "much"}, "max-unpacked-size"),
        ({"network-pool": "x"}, "network-pool"),
        ({"bridge": 7}, "bridge"),
        ({"exec-opts": ["native.cgroupdriver=x"]}, "--exec-opt native.cgroupdriver=x: known are"),
    ],
    ids=str,
)
def test_daemon_json(own_host: DaemonHost, config: Any, words: str) -> None:
    if isinstance(config, str):
        own_host.config.write_bytes(config.encode(errors="surrogateescape"))
        config = None
    refused(daemon(own_host, config=config), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bip", "nonsense"], "--bip nonsense"),
        (["--bip", "10.0.0.0/8/9"], "--bip"),
        (["--bip", "10.1.0.1/33"], "--bip"),
        (["--bip", "10.1.0.0/24"], "--bip"),
        (["--bip", "127.0.0.1/8"], "--bip"),
        (["--bridge", "name-that-is-too-long"], "name-that-is-too-long"),
        (["--bridge", "a/b"], "a/b"),
        (["-H", "tcp://0.0.0.0:1"], "TCP needs mutual TLS"),
        (["-H", "unix:relative"], "not a host"),
        (["-H", "fd://"], "no sockets were passed"),
        (["-H", "unix:///" + "x" * 200], "can't listen on"),
        (["--group", "nosuchgroup"], "no such group"),
        (["--exec-opt", "native.cgroupdriver=systemd"], "systemd is not in charge of the cgroups here"),
        (["--cgroup-parent", "team.slice"], "slices are systemd's, and the cgroup driver is cgroupfs"),
        (["--max-unpacked-size", "much"], "not a size"),
        (["--network-pool", "-1"], "--network-pool -1"),
        (["--storage-opt", "overlay2.size=x"], "invalid size: 'x'"),
        (["--storage-opt", "overlay2.size=1g"], "overlay2.size is supported only with project quotas: "),
        (["--pidfile", "/nowhere/pid"], "/nowhere/pid"),
        (["--dns", "nonsense"], "--dns nonsense"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_options(own_host: DaemonHost, options: list[str], words: str) -> None:
    refused(daemon(own_host, *options), words)


def test_an_unknown_option(own_host: DaemonHost) -> None:
    code, said = daemon(own_host, "--nosuch")
    assert (code, "unrecognized arguments: --nosuch" in said) == (2, True)


def test_a_configuration_file_that_is_not_there(own_host: DaemonHost) -> None:
    refused(daemon(own_host, "--config-file", "/nowhere/daemon.json"), "no such configuration file")


def test_not_root(own_host: DaemonHost) -> None:
    own_host.directory.chmod(0o755)
    done = own_host.run(str(BIN / "python"), "-c", NOT_ROOT)
    refused((done.returncode, done.stderr), "minirund must run as root")


# Imported as root: the tree may lie in root's home, where nobody else may look.
NOT_ROOT = "import os, sys; from minirund.daemon import main; os.setgroups([]); os.setuid(65534); sys.exit(main())"


def test_file_systems_that_hold_no_layers(own_host: DaemonHost) -> None:
    script = "mkdir -p $0/k $0/l $0/m && mount -t overlay -o lowerdir=$0/k:$0/l none $0/m"
    own_host.run("sh", "-c", script, str(own_host.state), check=True)
    try:
        refused(daemon(own_host, "--data-root", f"{own_host.state}/m"), "is on overlay, which can't hold overlayfs")
    finally:
        own_host.run("umount", f"{own_host.state}/m", check=True)
    refused(daemon(own_host, "--data-root", "/proc/nowhere"), "can't make /proc/nowhere")


def test_what_another_daemon_has(own_host: DaemonHost) -> None:
    own_host.start()
    own_host.load_busybox()
    refused(daemon(own_host, "-H", own_host.url), "another daemon listens there")
    refused(daemon(own_host, "--data-root", f"{own_host.state}/data"), "is in use by another minirund")
    refused(daemon(own_host, "--exec-root", f"{own_host.state}/run"), "is in use by another minirund")
    refused(daemon(own_host, "--pidfile", f"{own_host.state}/minirund.pid"), "minirund is running already")
    assert own_host.cli("run", "--rm", "busybox", "echo", "ok").stdout == "ok\n"


def test_a_socket_path_that_is_taken_by_a_file(own_host: DaemonHost) -> None:
    file = own_host.directory / "taken"
    file.write_text("mine")
    refused(daemon(own_host, "-H", f"unix://{file}"), "it exists and is not a socket")
    assert file.read_text() == "mine"


def test_a_socket_that_nobody_listens_on_is_taken_over(own_host: DaemonHost) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(own_host.socket)
    own_host.start()
    assert own_host.api("GET", "/_ping") == (200, "OK")
