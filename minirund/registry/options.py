"""How registries are reached, as the daemon was told: which may lack TLS, which mirrors there are, how long to try."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from minirund.errors import InvalidArgument


@dataclass(frozen=True)
class RegistryOptions:
    """How registries are reached. ``insecure``: ``host[:port]`` or networks (10.0.0.0/8) that may lack (good) TLS.

    ``mirrors``: addresses tried before Docker Hub itself. ``tries`` and ``first_delay`` (seconds, doubled every time)
    bound the patience with a failing registry.
    """

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    tries: int = 5
    first_delay: float = 0.5

    def __post_init__(self) -> None:
        for mirror in self.mirrors:
            parts = urlsplit(mirror)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
                raise InvalidArgument(f'invalid mirror: "{mirror}" is not an http(s) address')

    def is_insecure(self, host: str) -> bool:
        """Whether ``host[:port]`` may be talked to without (good) TLS; loopback always may, as with Docker."""
        name = urlsplit(f"//{host}").hostname or ""
        if host in self.insecure or name in self.insecure or name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or any(address in network for network in self._networks())

    def _networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        return [ipaddress.ip_network(text, strict=False) for text in self.insecure if "/" in text]
