"""Image names as users write them: ``alpine`` is ``docker.io/library/alpine:latest``. Pure.

The daemon decides what is valid; this is for what the command shows and splits.
"""

from __future__ import annotations

_HUB = "docker.io"


def split(name: str) -> tuple[str, str, str]:
    """``host:5000/a/b:1@sha256:x`` -> (``host:5000/a/b``, ``1``, ``sha256:x``); what is missing is ""."""
    path, _, digest = name.partition("@")
    repository, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = path, ""
    return repository, tag, digest


def with_tag(name: str) -> str:
    """The name, ``:latest`` added where it has neither tag nor digest."""
    _, tag, digest = split(name)
    return name if tag or digest else f"{name}:latest"


def canonical(name: str) -> str:
    """``alpine`` -> ``docker.io/library/alpine:latest``."""
    first, slash, rest = name.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    if not is_host:
        first, rest = _HUB, name
    if first in (_HUB, "index.docker.io") and "/" not in rest:
        rest = f"library/{rest}"
    return with_tag(f"{_HUB if first == 'index.docker.io' else first}/{rest}")
