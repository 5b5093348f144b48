"""The text of a container's /etc/resolv.conf and /etc/hosts, as Docker writes them. Pure: text in, text out.

The host's resolv.conf can't be copied as it is: a name server at 127.0.0.53 (systemd-resolved) or 127.0.0.1 is the
host's loopback, and a container has its own. Those lines are left out; if nothing remains, systemd-resolved's list of
the real servers is used, and without one, Google's. See resolv.conf(5), hosts(5).
"""

import json
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

DEFAULT_SERVERS = ("8.8.8.8", "8.8.4.4")
NO_SEARCH = "."  # --dns-search . : no search list at all
HOST_GATEWAY = "host-gateway"
STANDARD_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def _values(text: str, keyword: str) -> list[list[str]]:
    """The arguments of every line that begins with ``keyword``; comments begin with # or ;."""
    lines = [line.split() for line in text.splitlines()]
    return [words[1:] for words in lines if words and words[0] == keyword]


def _usable(server: str) -> bool:
    """Whether a container can ask this server: not the host's loopback, and IPv4, as containers have no IPv6."""
    try:
        address: IPv4Address | IPv6Address = ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback and not address.is_unspecified


def usable_servers(text: str) -> list[str]:
    """The name servers in a resolv.conf that a container can reach."""
    return [words[0] for words in _values(text, "nameserver") if words and _usable(words[0])]


def _last(text: str, *keywords: str) -> list[str]:
    """The last line of these keywords wins; ``domain`` is ``search`` with one name."""
    found = [line.split() for line in text.splitlines()]
    matching = [words[1:] for words in found if words and words[0] in keywords]
    return matching[-1] if matching else []


def resolv_conf(
    host_text: str,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    resolved_text: str = "",
) -> str:
    """A container's resolv.conf from the host's, each part replaced where the user gave one.

    ``resolved_text`` is /run/systemd/resolve/resolv.conf, or "" without one. ``search`` ("." alone) means none.
    """
    servers = list(dns) or usable_servers(host_text) or usable_servers(resolved_text) or list(DEFAULT_SERVERS)
    source = host_text if usable_servers(host_text) or not usable_servers(resolved_text) else resolved_text
    searched = list(search) or _last(source, "search", "domain")
    chosen = list(options) or [word for words in _values(source, "options") for word in words]
    lines = [f"nameserver {server}" for server in servers]
    if searched and searched != [NO_SEARCH]:
        lines.append(f"search {' '.join(searched)}")
    if chosen:
        lines.append(f"options {' '.join(chosen)}")
    return "\n".join(lines) + "\n"


def _host_line(text: str, host_gateway: str) -> str:
    """``name:address`` (or ``name=address``) to a line of the file. Raises ValueError if it is neither."""
    separator = min((text.index(mark) for mark in ":=" if mark in text), default=0)
    name, address = text[:separator], text[separator + 1 :].strip("[]")
    if not name or not name.isprintable() or " " in name:
        raise ValueError(f"bad format for add-host: {json.dumps(text)}")
    if address == HOST_GATEWAY:
        address = host_gateway
    try:
        return f"{ip_address(address)}\t{name}"
    except ValueError:
        raise ValueError(f'invalid IP address in add-host: "{address}"') from None


def own_names(hostname: str, domainname: str = "") -> str:
    """The container's names for itself: the full one and the short one, or just the short one."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    short = full.partition(".")[0]
    return full if short == full else f"{full} {short}"


def hosts_file(
    hostname: str,
    domainname: str = "",
    address: IPv4Address | None = None,
    extra_hosts: Iterable[str] = (),
    host_gateway: str = "",
) -> str:
    """A container's /etc/hosts: the standard entries, ``--add-host``'s, its own (none without an address).

    ``extra_hosts`` are ``name:address``; ``host-gateway`` as an address stands for ``host_gateway``. Raises ValueError.
    """
    lines = [f"{standard}\t{names}" for standard, names in STANDARD_HOSTS]
    lines += [_host_line(extra, host_gateway) for extra in extra_hosts]
    if address is not None:
        lines.append(f"{address}\t{own_names(hostname, domainname)}")
    return "\n".join(lines) + "\n"
