"""The firewall's script and what is read back, as text; packets are tried in tests/kernel."""

import re
from ipaddress import IPv4Address

import pytest

from netns.errors import FirewallError, NetworkError, PortTaken
from netns.firewall import RULES, PublishedPort, constant_script, parse_port
from netns.nft import message_of


def test_every_chain_is_flushed_before_its_rules() -> None:
    lines = constant_script().splitlines()
    for chain, rules in RULES.items():
        start = lines.index(f"flush chain ip minirun {chain}")
        assert lines[start + 1 : start + 1 + len(rules)] == [f"add rule ip minirun {chain} {rule}" for rule in rules]


def test_rules_name_only_sets_that_are_defined() -> None:
    script = constant_script()
    defined = set(re.findall(r"add (?:set|map) ip minirun (\w+)", script))
    used = {name for rules in RULES.values() for rule in rules for name in re.findall(r"@(\w+)", rule)}
    assert used == defined


def test_a_published_port_is_one_element() -> None:
    port = PublishedPort("udp", IPv4Address("192.0.2.1"), 53, IPv4Address("10.71.0.2"), 5300)
    assert (port.key, port.value) == ("192.0.2.1 . udp . 53", "10.71.0.2 . 5300")


@pytest.mark.parametrize("protocol", ["udp", 17])
def test_a_map_element_is_read_with_and_without_a_list_of_protocols(protocol: str | int) -> None:
    element = [{"concat": ["192.0.2.1", protocol, 53]}, {"concat": ["10.71.0.2", 5300]}]
    assert parse_port(element) == PublishedPort("udp", IPv4Address("192.0.2.1"), 53, IPv4Address("10.71.0.2"), 5300)


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            "<cmdline>:1:1-9: Error: Could not process rule: File exists\nadd table\n^^^^\n",
            "Could not process rule: File exists",
        ),
        ("internal:0:0-0: Error: first\n/x:2: Error: second\n", "first"),
        ("something\nelse\n", "something else"),
        ("", "no reason given"),
    ],
)
def test_one_line_of_nft_s_message(errors: str, message: str) -> None:
    assert message_of(errors) == message


def test_the_tree() -> None:
    assert issubclass(PortTaken, FirewallError)
    assert issubclass(FirewallError, NetworkError)
