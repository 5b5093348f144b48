"""Other firewalls on the same host, and how containers get through them.

In nftables a packet must be let through by every table that hooks it: an ``accept`` here doesn't overrule a ``drop``
elsewhere (nft(8), "verdict statements"). dockerd sets the policy of its FORWARD chain to drop, and with br_netfilter
that stops even two containers on one bridge of ours. It keeps a chain for other people's rules, DOCKER-USER ("Docker
and iptables" in its manual): there each of our bridges gets two rules, which ``iptables -S`` shows as
``-A DOCKER-USER -i minirun0 -j ACCEPT`` and the same with ``-o``. What isolates our networks is in our own table still.

A firewall without such a chain is only reported: opening it is the administrator's decision.
"""

from collections.abc import Sequence
from typing import Any

from netns.nft import Nft

DOCKER = ("filter", "DOCKER-USER")
DIRECTIONS = ("iifname", "oifname")
DROPS = (True, "forward", "drop")  # of IPv4, at this hook, with this policy


def admit(nft: Nft, bridge: str) -> None:
    """Let a bridge's traffic through dockerd's firewall, if there is one. Raises FirewallError."""
    if _has_docker(nft):
        present = {direction for direction, _ in _own_rules(nft, bridge)}
        missing = [direction for direction in DIRECTIONS if direction not in present]
        _run(nft, [f'insert rule ip filter DOCKER-USER {direction} "{bridge}" counter accept' for direction in missing])


def dismiss(nft: Nft, bridge: str) -> None:
    """Take the bridge's rules out of dockerd's firewall again. Raises FirewallError."""
    if _has_docker(nft):
        handles = [handle for _, handle in _own_rules(nft, bridge)]
        _run(nft, [f"delete rule ip filter DOCKER-USER handle {handle}" for handle in handles])


def dropping_chains(nft: Nft) -> list[str]:
    """Chains of others, like ``inet firewalld filter_FORWARD``, that drop what they don't know. Raises FirewallError.

    dockerd's isn't named, as ``admit`` takes care of it.
    """
    admitted = _has_docker(nft)
    chains = [item["chain"] for item in nft.query("list chains") if "chain" in item]
    dropping = [c for c in chains if (c["family"] in {"ip", "inet"}, c.get("hook"), c.get("policy")) == DROPS]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in dropping
        if not (admitted and (chain["family"], chain["table"]) == ("ip", "filter"))
    ]


def _run(nft: Nft, commands: Sequence[str]) -> None:
    if commands:
        nft.run("\n".join(commands))


def _has_docker(nft: Nft) -> bool:
    chains = [item["chain"] for item in nft.query("list chains ip") if "chain" in item]
    return DOCKER in {(chain["table"], chain["name"]) for chain in chains}


def _own_rules(nft: Nft, bridge: str) -> list[tuple[str, int]]:
    """(iifname or oifname, handle) of the rules that accept this bridge's traffic."""
    rules = [item["rule"] for item in nft.query("list chain ip filter DOCKER-USER") if "rule" in item]
    return [(direction, rule["handle"]) for rule in rules if (direction := _accepts(rule.get("expr", []), bridge))]


def _accepts(expression: list[dict[str, Any]], bridge: str) -> str:
    """The direction that ``iifname "bridge" counter accept`` (or oifname) is about; "" for any other rule."""
    for direction in DIRECTIONS:
        match = {"match": {"op": "==", "left": {"meta": {"key": direction}}, "right": bridge}}
        if len(expression) == 3 and expression[0] == match and expression[2] == {"accept": None}:
            return direction
    return ""
