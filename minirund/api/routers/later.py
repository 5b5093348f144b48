"""What Docker's API has and this version does not: a plain 501 that names it, so that nobody searches for a typo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response

from minirund.errors import NotSupported

LATER: tuple[tuple[str, str, str], ...] = (
    ("GET", "/containers/{ref}/export", "exporting a container's file system"),
    ("GET HEAD PUT", "/containers/{ref}/archive", "copying files to and from containers"),
    ("POST", "/containers/{ref}/update", "changing a container's limits"),
    ("POST", "/commit", "making an image of a container"),
    ("POST", "/auth", "checking credentials against a registry"),
    ("POST", "/build", "building images"),
    ("POST", "/build/prune", "building images"),
    ("POST", "/session", "sessions of a builder"),
    ("POST", "/grpc", "sessions of a builder"),
    ("GET", "/images/search", "searching a registry"),
    ("GET", "/images/get", "saving images"),
    ("GET", "/images/{name:path}/get", "saving images"),
    ("POST", "/images/{name:path}/push", "pushing images"),
    ("GET", "/distribution/{name:path}/json", "asking a registry about an image"),
    ("POST", "/networks/create", "user-defined networks"),
    ("POST", "/networks/prune", "user-defined networks"),
    ("POST", "/networks/{ref}/connect", "connecting containers to further networks"),
    ("POST", "/networks/{ref}/disconnect", "disconnecting containers from networks"),
    ("DELETE", "/networks/{ref}", "user-defined networks"),
    ("GET POST DELETE", "/volumes{rest:path}", "volumes"),
    ("GET POST DELETE", "/plugins{rest:path}", "plugins"),
    *(
        ("GET POST DELETE", f"/{name}{{rest:path}}", "Swarm")
        for name in ("swarm", "nodes", "services", "tasks", "secrets", "configs")
    ),
)


def make_router() -> APIRouter:
    """The router for all of them."""
    router = APIRouter()
    for methods, path, what in LATER:
        router.add_api_route(path, _refusal(what), methods=methods.split(), include_in_schema=False)
    return router


def _refusal(what: str) -> Callable[[], Awaitable[Response]]:
    async def refuse() -> Response:
        raise NotSupported(f"{what}: not offered by this version of minirund")

    return refuse
