"""Other firewalls on the host: dockerd's is passed by the chain it keeps for that, others are named."""

import shutil
import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from netns_sandbox import container, dial, exchange, listen, make_bridge, own_network

from netns.firewall import Firewall

SUBNET = IPv4Network("10.71.0.0/24")
DOCKER = """
add table ip filter
add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
add chain ip filter DOCKER-USER
add rule ip filter FORWARD counter jump DOCKER-USER
add rule ip filter DOCKER-USER counter return
"""


def nft(script: str) -> str:
    return subprocess.run(["nft", "-f", "-"], input=script, check=True, capture_output=True, text=True).stdout


def docker_user() -> list[str]:
    return [line.strip() for line in nft("list chain ip filter DOCKER-USER").splitlines()[2:-2]]


@own_network
def test_containers_talk_through_dockerd_s_firewall() -> None:
    nft(DOCKER)
    bridge, other = make_bridge(), make_bridge("tbr1", IPv4Interface("10.72.0.1/24"))
    (first, _), (second, _) = container(bridge, 2), container(other, 2)
    with first, second, Firewall() as firewall, listen(first, 7000) as server:
        firewall.ensure("tbr0", SUBNET)
        neighbour, _ = container(bridge, 9)
        with neighbour:
            exchange(server, dial(neighbour, SUBNET[2], 7000))
        assert firewall.blocked_by() == []
        firewall.ensure("tbr1", IPv4Network("10.72.0.0/24"))
        with pytest.raises(TimeoutError):
            dial(second, SUBNET[2], 7000, timeout=0.5)


@own_network
def test_rules_come_once_and_go() -> None:
    nft(DOCKER)
    before = docker_user()
    with Firewall() as firewall:
        firewall.ensure("tbr0", SUBNET)
        firewall.ensure("tbr0", SUBNET)
        firewall.ensure("tbr1", IPv4Network("10.72.0.0/24"))
        assert sum("tbr0" in line for line in docker_user()) == 2
        firewall.release("tbr0")
        assert sum("tbr0" in line for line in docker_user()) == 0
        assert sum("tbr1" in line for line in docker_user()) == 2
        firewall.release("tbr1")
        assert docker_user() == before


@own_network
def test_someone_s_own_rules_stay() -> None:
    nft(DOCKER + 'insert rule ip filter DOCKER-USER iifname "tbr0" ip saddr 10.71.0.66 counter accept\n')
    with Firewall() as firewall:
        firewall.ensure("tbr0", SUBNET)
        firewall.release("tbr0")
    assert sum("10.71.0.66" in line for line in docker_user()) == 1


@own_network
def test_without_dockerd_nothing_is_made() -> None:
    with Firewall() as firewall:
        firewall.ensure("tbr0", SUBNET)
        assert nft("list tables").split() == ["table", "ip", "minirun"]
        assert firewall.blocked_by() == []


@own_network
def test_a_firewall_that_drops_is_named() -> None:
    nft(
        "add table inet wall\n"
        "add chain inet wall gate { type filter hook forward priority 0; policy drop; }\n"
        "add chain inet wall door { type filter hook input priority 0; policy drop; }\n"
    )
    with Firewall() as firewall:
        firewall.ensure("tbr0", SUBNET)
        assert firewall.blocked_by() == ["inet wall gate"]


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="needs Debian's iptables")
@own_network
def test_iptables_reads_the_rules_as_its_own() -> None:
    for command in ("-P FORWARD DROP", "-N DOCKER-USER", "-I FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN"):
        subprocess.run(["iptables-nft", *command.split()], check=True)
    with Firewall() as firewall:
        firewall.ensure("tbr0", SUBNET)
        shown = subprocess.run(["iptables-nft", "-S"], check=True, capture_output=True, text=True).stdout
        assert "-A DOCKER-USER -i tbr0 -j ACCEPT" in shown and "-A DOCKER-USER -o tbr0 -j ACCEPT" in shown
        firewall.publish("tcp", None, 8080, IPv4Address("10.71.0.2"), 80)
