"""Bridges: made, adopted, corrected, refused; and what hangs on them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from errno import ENODEV
from ipaddress import IPv4Interface, IPv4Network

import pytest
from netns_sandbox import BRIDGE, container, eventually, make_bridge, own_network

from netns.bridge import Bridge, current_network, enable_forwarding, list_links
from netns.errors import BridgeInUse, NameTaken, NetlinkError, SysctlError
from netns.messages import get_link
from netns.netlink import RouteSocket
from netns.subnets import choose_subnet, ensure_bridge, host_networks

OTHER = IPv4Interface("10.72.0.1/24")


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@own_network
def test_ensure_makes_an_up_bridge_with_its_address() -> None:
    make_bridge()
    shown = ip("-d", "addr", "show", "tbr0")
    assert "UP" in shown and "inet 10.71.0.1/24 brd 10.71.0.255" in shown
    assert "stp_state 0" in shown and "02:42:0a:47:00:01" in shown


@own_network
def test_ensure_again_changes_nothing() -> None:
    index = make_bridge().index()
    assert make_bridge().index() == index
    assert ip("-o", "-4", "addr", "show", "tbr0").count("inet ") == 1


@own_network
def test_a_bridge_made_by_someone_else_is_adopted() -> None:
    ip("link", "add", "tbr0", "type", "bridge", "stp_state", "1")
    ip("addr", "add", str(BRIDGE), "dev", "tbr0")
    ip("addr", "add", str(OTHER), "dev", "tbr0")
    make_bridge()
    shown = ip("-d", "addr", "show", "tbr0")
    assert "stp_state 0" in shown and "UP" in shown
    assert "10.72.0.1/24" in shown, "an address that the administrator added stays"


@own_network
def test_a_name_that_is_no_bridge_s_is_refused() -> None:
    ip("link", "add", "tbr0", "type", "veth", "peer", "name", "other")
    with pytest.raises(NameTaken, match=r"tbr0 exists and is not a bridge \(it is veth\)"):
        make_bridge()
    with pytest.raises(NameTaken, match="left alone"):
        Bridge("tbr0", BRIDGE).remove()
    with pytest.raises(NameTaken, match="not a bridge"):
        make_bridge("lo")
    assert current_network("lo") is None


@own_network
def test_a_changed_subnet_is_corrected_while_nothing_uses_the_bridge() -> None:
    make_bridge()
    make_bridge(network=OTHER)
    shown = ip("-4", "addr", "show", "tbr0")
    assert "10.72.0.1/24" in shown and "10.71.0.1" not in shown


@own_network
def test_a_changed_subnet_is_refused_while_a_container_uses_the_bridge() -> None:
    bridge = make_bridge()
    namespace, _ = container(bridge, 2)
    with pytest.raises(BridgeInUse, match=r"tbr0 has 10\.71\.0\.1/24"):
        make_bridge(network=OTHER)
    assert current_network("tbr0") == BRIDGE
    namespace.close()
    assert eventually(lambda: not list_links("tbr0"))
    make_bridge(network=OTHER)
    assert current_network("tbr0") == OTHER


@own_network
def test_remove_and_what_is_left() -> None:
    bridge = make_bridge()
    assert current_network("tbr0") == BRIDGE
    bridge.remove()
    bridge.remove()
    assert current_network("tbr0") is None
    assert list_links("tbr0") == []
    with pytest.raises(NetlinkError) as caught:
        bridge.index()
    assert caught.value.errno == ENODEV


@own_network
def test_list_links_names_the_ports_of_this_bridge_only() -> None:
    first, second = make_bridge(), make_bridge("tbr1", OTHER)
    kept = [container(first, 2), container(first, 3), container(second, 2)]
    names = {endpoint.host_name for _, endpoint in kept[:2]}
    links = list_links("tbr0")
    assert {link.name for link in links} == names
    assert {link.index for link in links} == {endpoint.host_ifindex for _, endpoint in kept[:2]}
    assert all(link.kind == "veth" and link.up for link in links)
    for namespace, _ in kept:
        namespace.close()


@own_network
def test_two_who_ensure_at_once_both_succeed() -> None:
    with ThreadPoolExecutor(8) as pool:
        for made in [pool.submit(make_bridge) for _ in range(8)]:
            made.result()
    assert current_network("tbr0") == BRIDGE


@own_network
def test_the_chosen_subnet_avoids_the_host_s_addresses_and_routes() -> None:
    make_bridge(network=IPv4Interface("172.17.0.1/16"))
    ip("route", "add", "172.18.5.0/24", "dev", "tbr0")
    ip("route", "add", "172.19.0.0/16", "dev", "tbr0", "table", "100")
    ip("route", "add", "128.0.0.0/1", "dev", "tbr0")
    ip("route", "add", "default", "dev", "tbr0")
    assert IPv4Network("172.18.5.0/24") in host_networks()
    assert choose_subnet(host_networks()) == IPv4Network("172.20.0.0/16")


@own_network
def test_bridges_made_at_once_get_different_subnets_and_keep_them() -> None:
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(ensure_bridge, [f"tbr{number}" for number in range(6)]))
    assert {str(bridge.network) for bridge in made} == {f"172.{second}.0.1/16" for second in range(17, 23)}
    assert [ensure_bridge(bridge.name).network for bridge in made] == [bridge.network for bridge in made]


@own_network
def test_a_wanted_subnet_and_mtu_are_given() -> None:
    assert ensure_bridge("tbr0", OTHER).network == OTHER
    ensure_bridge("tbr0", mtu=1400)
    shown = ip("addr", "show", "tbr0")
    assert "mtu 1400" in shown and "10.72.0.1/24" in shown


@own_network
def test_forwarding_is_switched_on() -> None:
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("0")
    enable_forwarding()
    enable_forwarding()
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        assert file.read() == "1\n"


READ_ONLY = """
echo 0 > /proc/sys/net/ipv4/ip_forward
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
exec "$0" -c 'from netns.bridge import enable_forwarding; enable_forwarding()'
"""


@own_network
def test_forwarding_that_cannot_be_set_says_so() -> None:
    command = ["unshare", "-m", "--propagation", "private", "sh", "-ec", READ_ONLY, sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert SysctlError.__name__ in done.stderr
    assert "cannot write '1' to /proc/sys/net/ipv4/ip_forward: Read-only file system" in done.stderr


@own_network
def test_the_kernel_s_refusal_names_the_step() -> None:
    with (
        pytest.raises(NetlinkError, match="look for interface nowhere0: No such device") as caught,
        RouteSocket() as routes,
    ):
        routes.query(get_link("nowhere0"))
    assert caught.value.step == "look for interface nowhere0"
