"""The system: version, info, events, disk usage. And networks, which are read only."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from minirund.api.schemas.base import Answer
from minirund.api.schemas.containers import ContainerSummary
from minirund.api.schemas.images import ImageSummary


class ErrorResponse(Answer):
    """Every error."""

    message: str


class SystemVersion(Answer):
    """Which version runs, on what."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    Version: str
    ApiVersion: str
    MinAPIVersion: str
    GitCommit: str
    Os: str
    Arch: str
    KernelVersion: str
    BuildTime: str
    Components: list[dict[str, Any]]


class Info(Answer):
    """The daemon and its host."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    ID: str
    Name: str
    Containers: int
    ContainersRunning: int
    ContainersPaused: int
    ContainersStopped: int
    Images: int
    Driver: str
    DockerRootDir: str
    CgroupDriver: str
    CgroupVersion: str
    KernelVersion: str
    OperatingSystem: str
    OSType: str
    Architecture: str
    NCPU: int
    MemTotal: int
    ServerVersion: str
    Warnings: list[str] | None


class EventActor(Answer):
    """What an event happened to."""

    ID: str
    Attributes: dict[str, str]


class Event(Answer):
    """Something that happened."""

    Type: str
    Action: str
    Actor: EventActor
    scope: str
    time: int
    timeNano: int  # noqa: N815 - Docker's name


class DiskUsage(Answer):
    """What takes space."""

    LayersSize: int
    Images: list[ImageSummary]
    Containers: list[ContainerSummary]
    Volumes: list[dict[str, Any]]
    BuildCache: list[dict[str, Any]]


class NetworkContainer(Answer):
    """A container in a network."""

    Name: str
    EndpointID: str
    MacAddress: str
    IPv4Address: str
    IPv6Address: str


class Network(Answer):
    """A network."""

    Name: str
    Id: str
    Created: str
    Scope: str
    Driver: str
    EnableIPv6: bool
    IPAM: dict[str, Any]
    Internal: bool
    Attachable: bool
    Ingress: bool
    Containers: dict[str, NetworkContainer]
    Options: dict[str, str]
    Labels: dict[str, str]
