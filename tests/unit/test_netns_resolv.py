"""resolv.conf and hosts for a container, from the host's and the user's wishes."""

from ipaddress import IPv4Address

import pytest

from netns.resolv import hosts_file, own_names, resolv_conf, usable_servers

HOST = """# made by hand
; an older comment
nameserver 192.0.2.53
nameserver 127.0.0.1
nameserver ::1
nameserver 2001:db8::53
search example.org corp.example.org
options ndots:2 timeout:1
"""
RESOLVED_STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"
RESOLVED_REAL = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch lan\n"


def test_the_host_s_without_loopback_and_ipv6() -> None:
    expected = "nameserver 192.0.2.53\nsearch example.org corp.example.org\noptions ndots:2 timeout:1\n"
    assert resolv_conf(HOST) == expected


def test_systemd_resolved_s_own_list_replaces_its_stub() -> None:
    assert (
        resolv_conf(RESOLVED_STUB, resolved_text=RESOLVED_REAL)
        == "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch lan\n"
    )


@pytest.mark.parametrize(
    "host", ["", "nameserver 127.0.0.11\n", "nameserver ::1\n", "nameserver\nnameserver nonsense\n"]
)
def test_without_any_usable_server_there_are_public_ones(host: str) -> None:
    assert resolv_conf(host) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_what_the_user_gives_replaces_only_that() -> None:
    assert resolv_conf(HOST, dns=["10.0.0.1", "10.0.0.2"]).startswith(
        "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch example.org"
    )
    assert "search a b\n" in resolv_conf(HOST, search=["a", "b"])
    assert resolv_conf(HOST, options=["ndots:5"]).endswith("options ndots:5\n")
    assert "nameserver 192.0.2.53\n" in resolv_conf(HOST, search=["a"], options=["b"])


def test_a_loopback_server_that_the_user_asks_for_is_kept() -> None:
    assert resolv_conf(HOST, dns=["127.0.0.1"]).startswith("nameserver 127.0.0.1\n")


def test_a_single_dot_means_no_search_list() -> None:
    assert "search" not in resolv_conf(HOST, search=["."])


def test_domain_counts_as_search_and_the_last_line_wins() -> None:
    assert "search b.example\n" in resolv_conf("nameserver 192.0.2.1\nsearch a.example\ndomain b.example\n")


def test_usable_servers() -> None:
    assert usable_servers(HOST) == ["192.0.2.53"]
    assert usable_servers("nameserver 0.0.0.0\nnameserver 127.1.2.3\n") == []


STANDARD = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def test_the_standard_entries_then_the_container_s_own() -> None:
    assert hosts_file("web", address=IPv4Address("172.17.0.2")) == STANDARD + "172.17.0.2\tweb\n"


def test_without_a_network_only_the_standard_entries() -> None:
    assert hosts_file("web") == STANDARD


def test_full_and_short_name() -> None:
    assert own_names("web", "example.org") == "web.example.org web"
    assert own_names("web.example.org") == "web.example.org web"
    assert own_names("web") == "web"


def test_extra_hosts_come_before_the_own_entry() -> None:
    extra = ["db:10.0.0.5", "v6:2001:db8::1", "v6b:[2001:db8::2]", "eq=10.0.0.6", "host.docker.internal:host-gateway"]
    text = hosts_file("web", "", IPv4Address("172.17.0.2"), extra, host_gateway="172.17.0.1")
    assert text.removeprefix(STANDARD).splitlines() == [
        "10.0.0.5\tdb",
        "2001:db8::1\tv6",
        "2001:db8::2\tv6b",
        "10.0.0.6\teq",
        "172.17.0.1\thost.docker.internal",
        "172.17.0.2\tweb",
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("nothing", 'bad format for add-host: "nothing"'),
        (":10.0.0.1", "bad format"),
        ("db:", 'invalid IP address in add-host: ""'),
        ("db:10.0.0.300", 'invalid IP address in add-host: "10.0.0.300"'),
        ("db:host-gateway", "invalid IP address"),
        ("a b:10.0.0.1", "bad format"),
        ("a\n6.6.6.6 b:10.0.0.1", "bad format"),
    ],
)
def test_bad_extra_hosts(extra: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hosts_file("web", extra_hosts=[extra])
