"""What a daemon leaves on its host when it ends gently: nothing without containers, their network with them."""

from __future__ import annotations

from daemon import DaemonHost


def network(host: DaemonHost) -> tuple[bool, bool]:
    """Whether the bridge is there, and the firewall's table."""
    bridge = host.run("ip", "link", "show", "minirun0").returncode == 0
    return bridge, "table ip minirun" in host.run("nft", "list", "tables").stdout


def test_without_containers_bridge_and_rules_go_with_the_daemon() -> None:
    with DaemonHost() as host:
        host.start()
        assert network(host) == (True, True)
        assert host.stop() == 0
        assert network(host) == (False, False)


def test_a_running_container_keeps_its_network() -> None:
    with DaemonHost() as host:
        host.start()
        host.load_busybox()
        host.cli("run", "-d", "--name", "stays", "busybox", "sleep", "1000")
        assert host.stop() == 0
        assert network(host) == (True, True)
        host.start()
        host.cli("rm", "-f", "stays")
        assert host.stop() == 0
        assert network(host) == (False, False)
