"""Networks, to look at: the built-in ones with the containers in them."""

from __future__ import annotations

from minirund.engine.catalog import Catalog
from minirund.engine.names import by_prefix
from minirund.engine.network import Network
from minirund.engine.records import Json
from minirund.errors import NotFound


class Networks:
    """bridge, host and none."""

    def __init__(self, network: Network, catalog: Catalog) -> None:
        self._network, self._catalog = network, catalog

    def warnings(self) -> tuple[str, ...]:
        """What on this host stands in the containers' way."""
        return tuple(self._network.warnings())

    def list(self) -> list[Json]:
        """Docker's bodies."""
        return [self._filled(body) for body in self._network.list()]

    def get(self, ref: str) -> Json:
        """By name, ID or the beginning of it. Raises NotFound, InvalidArgument."""
        bodies = {body["Id"]: body for body in self.list()}
        named = {body["Name"]: body for body in bodies.values()}
        if ref in named:
            return named[ref]
        ident = by_prefix(bodies.keys(), ref)
        if ident is None:
            raise NotFound(f"network {ref} not found")
        return bodies[ident]

    def _filled(self, body: Json) -> Json:
        return {
            **body,
            "Containers": {
                container.id: {
                    "Name": container.name,
                    "EndpointID": container.endpoint.endpoint_id,
                    "MacAddress": container.endpoint.mac,
                    "IPv4Address": f"{container.endpoint.address}/{container.endpoint.prefix}",
                    "IPv6Address": "",
                }
                for container in self._catalog.containers()
                if container.endpoint and container.endpoint.network == body["Name"]
            },
        }
