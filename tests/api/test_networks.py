"""Networks as containers meet them: each other, the world outside, and the four modes. Against a live daemon.

"Outside" is a namespace that the test makes inside the host's own place: 198.51.100.2, behind a veth pair.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from daemon import DaemonHost
from waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("no_containers_left")

OUTSIDE, ROUTER = "198.51.100.2", "198.51.100.1"


def run(host: DaemonHost, *words: str) -> str:
    done = host.cli("run", "--rm", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def address_of(host: DaemonHost, name: str) -> str:
    return host.api("GET", f"/containers/{name}/json")[1]["NetworkSettings"]["IPAddress"]


def server(host: DaemonHost, name: str, *options: str) -> None:
    """A container that answers one connection after the other on port 80."""
    loop = "while true; do echo hello from $(hostname) | nc -l -p 80 >/dev/null; done"
    assert host.cli("run", "-d", "--name", name, *options, "busybox", "sh", "-c", loop).returncode == 0


def fetch(address: str) -> list[str]:
    return ["sh", "-c", f"for i in $(seq 300); do nc -w 9 {address} 80 && exit; sleep 0.1; done; exit 1"]


@contextlib.contextmanager
def outside(host: DaemonHost) -> Iterator[None]:
    """The world: a namespace that knows no way back to the containers' subnet."""
    inside = (
        "ip link add out0 type veth peer name eth0 netns world && ip addr add {r}/24 dev out0 && ip link set out0 up"
    )
    script = (
        f"ip netns add world && {inside.format(r=ROUTER)} && "
        f"ip -n world addr add {OUTSIDE}/24 dev eth0 && ip -n world link set eth0 up && ip -n world link set lo up"
    )
    done = host.run("sh", "-c", f"mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && {script}")
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        host.run("sh", "-c", "ip link del out0; ip netns del world; umount /run/netns/world /run/netns")


def test_containers_reach_each_other_and_the_bridge(host: DaemonHost) -> None:
    server(host, "web")
    web = address_of(host, "web")
    assert "hello from" in run(host, "busybox", *fetch(web))
    gateway = host.api("GET", "/containers/web/json")[1]["NetworkSettings"]["Gateway"]
    assert "1 packets received" in run(host, "busybox", "ping", "-c", "1", "-W", "60", gateway)


LISTENER = """
import socket
with socket.create_server(("", 80)) as server:
    server.settimeout(120)
    print("listening", flush=True)
    print(server.accept()[1][0])
"""


def test_what_leaves_the_host_has_the_hosts_address(host: DaemonHost) -> None:
    with outside(host):
        command = host.inside("ip", "netns", "exec", "world", sys.executable, "-c", LISTENER)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "listening\n"
            run(host, "busybox", "sh", "-c", f"echo hi | nc -w 60 {OUTSIDE} 80")
            assert listener.communicate(timeout=PATIENCE)[0] == f"{ROUTER}\n"  # not the container's


def test_addresses_names_and_resolvers(host: DaemonHost) -> None:
    out = run(
        host, "-h", "box.example", "--add-host", "other:192.0.2.7", "--dns", "192.0.2.53", "--dns-search", "example",
        "busybox", "sh", "-c", "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; hostname -i",
    )  # fmt: skip
    lines = out.splitlines()
    assert lines[:2] == ["box.example"] * 2
    assert "192.0.2.7\tother" in lines
    assert "nameserver 192.0.2.53" in lines
    assert "search example" in lines
    assert f"{lines[-1]}\tbox.example box" in lines


def test_a_container_knows_its_own_address(host: DaemonHost) -> None:
    host.cli("run", "-d", "--name", "idle", "busybox", "sleep", "100")
    settings = host.api("GET", "/containers/idle/json")[1]["NetworkSettings"]
    shown = host.cli("exec", "idle", "ip", "-o", "addr", "show", "eth0").stdout
    assert f"{settings['IPAddress']}/{settings['IPPrefixLen']}" in shown
    assert settings["MacAddress"] in host.cli("exec", "idle", "ip", "link", "show", "eth0").stdout
    body = host.api("GET", "/networks/bridge")[1]
    assert [entry["Name"] for entry in body["Containers"].values()] == ["idle"]


def test_mode_none_has_nothing_but_lo(host: DaemonHost) -> None:
    out = run(host, "--network", "none", "busybox", "sh", "-c", "ip -o link; ping -c 1 -W 60 127.0.0.1 | grep received")
    assert out.count("lo:") == 1
    assert "eth0" not in out
    assert "1 packets received" in out


def test_mode_host_is_the_hosts(host: DaemonHost) -> None:
    out = run(host, "--network", "host", "busybox", "sh", "-c", "readlink /proc/self/ns/net; hostname")
    namespace = host.run("readlink", "/proc/self/ns/net").stdout
    assert out == namespace + host.run("hostname").stdout
    assert "minirun0" in run(host, "--network", "host", "busybox", "ls", "/sys/class/net/")


def test_mode_container_shares_and_needs_one_that_runs(host: DaemonHost) -> None:
    server(host, "web")
    assert "hello from" in run(host, "--network", "container:web", "busybox", *fetch("127.0.0.1"))
    host.cli("rm", "-f", "web")
    host.cli("create", "--name", "web", "busybox", "true")
    done = host.cli("run", "--rm", "--network", "container:web", "busybox", "true")
    assert (done.returncode, "web" in done.stderr) == (125, True)


def test_an_unknown_network_is_refused(host: DaemonHost) -> None:
    done = host.cli("run", "--rm", "--network", "nosuch", "busybox", "true")
    assert done.returncode == 125
    assert "network nosuch not found" in done.stderr
    assert host.api("GET", "/networks/nosuch")[0] == 404


def test_an_address_is_free_again_after_the_end(host: DaemonHost) -> None:
    """A network of six addresses, one of them the bridge's: forty containers one after the other, and five at once."""
    host.restart("--bridge", "small0", "--bip", "10.123.0.1/29", "--network-pool", "0")
    try:
        seen = {run(host, "busybox", "hostname", "-i").strip() for _ in range(12)}
        assert seen == {f"10.123.0.{last}" for last in range(2, 7)}
        for number in range(5):
            assert host.cli("run", "-d", "--name", f"n{number}", "busybox", "sleep", "100").returncode == 0
        sixth = host.cli("run", "--rm", "busybox", "true")
        assert (sixth.returncode, "10.123.0.0/29" in sixth.stderr) == (125, True)
        host.cli("rm", "-f", "n0")
        assert run(host, "busybox", "hostname", "-i").strip().startswith("10.123.0.")
    finally:
        host.remove_containers()
        host.restart("--bridge", "minirun0", "--bip", "172.29.0.1/16")


def test_a_container_keeps_its_address_over_a_new_daemon(host: DaemonHost) -> None:
    server(host, "web")
    web = address_of(host, "web")
    host.kill9()
    host.start()
    assert address_of(host, "web") == web
    others = {run(host, "busybox", "hostname", "-i").strip() for _ in range(8)}
    assert web not in others
    assert "hello from" in run(host, "busybox", *fetch(web))
