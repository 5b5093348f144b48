"""What the API's bodies look like: one module a resource, in Docker's names. pydantic is used here and nowhere else.

Requests are validated by these models and handed to the engine as plain dictionaries. Answers are described by them,
for /docs and /openapi.json, and not validated: see ``responses``.

    from minirund.api import schemas
    schemas.containers.ContainerCreate       the module is imported when it is first named

pydantic and the models take longer to load than the daemon needs to answer its first request.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minirund.api.schemas import containers, execs, host, images, stats, system

__all__ = ["containers", "execs", "host", "images", "stats", "system"]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
