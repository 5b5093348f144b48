"""What Docker's API has and this version does not: a plain 501 that names it, so that nobody searches for a typo.

Looking is no asking: of what can't be made there is none, so a list is empty and a name is not found. ``docker
inspect`` goes through all kinds of things that a name could mean, and relies on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from minirund.api.responses import answer
from minirund.api.routes import Router
from minirund.errors import NotFound, NotSupported

LATER: tuple[tuple[str, str, str], ...] = (
    ("GET", "/containers/{ref}/export", "exporting a container's file system"),
    ("GET HEAD PUT", "/containers/{ref}/archive", "copying files to and from containers"),
    ("POST", "/commit", "making an image of a container"),
    ("POST", "/auth", "checking credentials against a registry"),
    ("POST", "/build", "building images"),
    ("POST", "/session", "sessions of a builder"),
    ("POST", "/grpc", "sessions of a builder"),
    ("GET", "/images/search", "searching a registry"),
    ("GET", "/images/get", "saving images"),
    ("GET", "/images/{name:path}/get", "saving images"),
    ("POST", "/images/{name:path}/push", "pushing images"),
    ("GET", "/distribution/{name:path}/json", "asking a registry about an image"),
    ("POST", "/networks/create", "user-defined networks"),
    ("POST", "/networks/{ref}/connect", "connecting containers to further networks"),
    ("POST", "/networks/{ref}/disconnect", "disconnecting containers from networks"),
    ("DELETE", "/networks/{ref}", "user-defined networks"),
    ("POST DELETE", "/volumes{rest:path}", "volumes"),
    ("POST DELETE", "/plugins{rest:path}", "plugins"),
    *(
        ("GET POST DELETE", f"/{name}{{rest:path}}", "Swarm")
        for name in ("swarm", "nodes", "services", "tasks", "secrets", "configs")
    ),
)


PRUNED = {
    "/networks/prune": {"NetworksDeleted": None},
    "/volumes/prune": {"VolumesDeleted": None, "SpaceReclaimed": 0},
    "/build/prune": {"CachesDeleted": None, "SpaceReclaimed": 0},
}
"""``docker system prune`` tidies all of these: there is nothing to tidy."""


def make_router() -> Router:
    """The router for all of them."""
    router = Router()
    router.add("GET", "/volumes", _nothing({"Volumes": [], "Warnings": None}))
    router.add("GET", "/volumes/{name:path}", _absent("volume"))
    for path, body in PRUNED.items():
        router.add("POST", path, _nothing(body))
    router.add("GET", "/plugins", _nothing([]))
    router.add("GET", "/plugins/{name:path}/json", _absent("plugin"))
    for methods, path, what in LATER:
        router.add(methods, path, _refusal(what))
    return router


def _nothing(body: Any) -> Callable[[], Awaitable[Response]]:
    async def nothing() -> Response:
        return answer(body)

    return nothing


def _absent(kind: str) -> Callable[[str], Awaitable[Response]]:
    async def absent(name: str) -> Response:
        raise NotFound(f"No such {kind}: {name}")

    return absent


def _refusal(what: str) -> Callable[[], Awaitable[Response]]:
    async def refuse() -> Response:
        raise NotSupported(f"{what}: not offered by this version of minirund")

    return refuse
