"""Which subnet is chosen, given what the host has."""

from ipaddress import IPv4Interface, IPv4Network

import pytest

from netns.errors import NoFreeSubnet
from netns.subnets import candidates, choose_subnet, gateway_of


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def test_candidates_are_docker_s_pools_in_order() -> None:
    every = list(candidates())
    assert every[0] == IPv4Network("172.17.0.0/16")
    assert every[14] == IPv4Network("172.31.0.0/16")
    assert every[15] == IPv4Network("192.168.0.0/20")
    assert every[-1] == IPv4Network("192.168.240.0/20")
    assert len(every) == 31


@pytest.mark.parametrize(
    ("taken", "chosen"),
    [
        ([], "172.17.0.0/16"),
        (["10.0.0.0/8", "192.168.1.0/24"], "172.17.0.0/16"),
        (["172.17.0.0/16"], "172.18.0.0/16"),
        (["172.17.4.0/24", "172.18.0.9/32"], "172.19.0.0/16"),
        (["172.16.0.0/12"], "192.168.0.0/20"),
        (["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.0/20"),
        (["0.0.0.0/0", "128.0.0.0/1"], "172.17.0.0/16"),
    ],
)
def test_the_first_that_overlaps_with_nothing(taken: list[str], chosen: str) -> None:
    assert choose_subnet(networks(*taken)) == IPv4Network(chosen)


def test_none_left() -> None:
    with pytest.raises(NoFreeSubnet, match="overlaps"):
        choose_subnet(networks("172.16.0.0/12", "192.168.0.0/16"))


def test_the_gateway_is_the_first_address() -> None:
    assert gateway_of(IPv4Network("172.17.0.0/16")) == IPv4Interface("172.17.0.1/16")
