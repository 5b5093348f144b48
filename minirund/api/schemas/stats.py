"""What a container uses: Docker's body, with the kernel's pressure figures beside it."""

from __future__ import annotations

from typing import Any

from minirund.api.schemas.base import Answer


class ContainerStats(Answer):
    """One reading. Figures that the host doesn't count are left out."""

    read: str
    preread: str
    pids_stats: dict[str, int]
    blkio_stats: dict[str, list[dict[str, Any]] | None]
    num_procs: int
    storage_stats: dict[str, Any]
    cpu_stats: dict[str, Any]
    precpu_stats: dict[str, Any]
    memory_stats: dict[str, Any]
    name: str
    id: str
    networks: dict[str, dict[str, int]] | None = None
    pressure_stats: dict[str, dict[str, dict[str, float]]] | None = None
    waits_for: list[str] | None = None
