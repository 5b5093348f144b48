"""Containers: what is asked for at creation, and what list, inspect and the rest answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from minirund.api.schemas.base import Answer, Body, Empty, Words
from minirund.api.schemas.host import HostConfig as Host
from minirund.api.schemas.host import Resources, Restart


class HealthConfig(Body):
    """A command that says whether the container is well. Times in nanoseconds."""

    Test: list[str] | None = None
    Interval: int = 0
    Timeout: int = 0
    Retries: int = 0
    StartPeriod: int = 0
    StartInterval: int = 0


class ContainerConfig(Body):
    """What runs in a container. What is empty here, the image's configuration fills in."""

    Hostname: str = ""
    Domainname: str = ""
    User: Annotated[str, Field(description="user[:group], by name or number")] = ""
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ExposedPorts: dict[str, Empty] | None = None
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: Annotated[list[str] | None, Field(description='NAME=value; a NAME without "=" is taken away')] = None
    Cmd: Words | None = None
    Healthcheck: HealthConfig | None = None
    ArgsEscaped: bool = False
    Image: str = ""
    Volumes: dict[str, Empty] | None = None
    WorkingDir: str = ""
    Entrypoint: Words | None = None
    NetworkDisabled: bool = False
    MacAddress: str = ""
    OnBuild: list[str] | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str = ""
    StopTimeout: Annotated[int | None, Field(description="Seconds")] = None
    Shell: Words | None = None


class EndpointAddresses(Body):
    """Addresses of one's own choice."""

    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: list[str] | None = None


class EndpointSettings(Body):
    """A container's place in a network."""

    IPAMConfig: EndpointAddresses | None = None
    Links: list[str] | None = None
    Aliases: list[str] | None = None
    MacAddress: str = ""
    DriverOpts: dict[str, str] | None = None
    NetworkID: str = ""
    EndpointID: str = ""
    Gateway: str = ""
    IPAddress: str = ""
    IPPrefixLen: int = 0
    IPv6Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: int = 0
    DNSNames: list[str] | None = None
    GwPriority: int = 0


class Networking(Body):
    """The networks to be in."""

    EndpointsConfig: dict[str, EndpointSettings | None] | None = None


class ContainerCreate(ContainerConfig):
    """A container to be created."""

    HostConfig: Host = Host()
    NetworkingConfig: Networking = Networking()


class ContainerCreated(Answer):
    """The new container, and what its creator should know."""

    Id: str
    Warnings: list[str]


class ContainerUpdate(Resources):
    """What is to change of a container's HostConfig."""

    RestartPolicy: Restart = Restart()


class ContainerUpdated(Answer):
    """What whoever changed a container should know."""

    Warnings: list[str] | None


class Port(Answer):
    """A port of a container."""

    IP: str | None = None
    PrivatePort: int
    PublicPort: int | None = None
    Type: str


class MountPoint(Answer):
    """A mount of a container."""

    Type: str
    Name: str | None = None
    Source: str
    Destination: str
    Driver: str | None = None
    Mode: str
    RW: bool
    Propagation: str


class NetworksByName(Answer):
    """The networks that a container is in, by name."""

    Networks: dict[str, EndpointSettings]


class ContainerSummary(Answer):
    """A line of ``ps``."""

    Id: str
    Names: list[str]
    Image: str
    ImageID: str
    Command: str
    Created: int = Field(description="Seconds since 1970")
    Ports: list[Port]
    SizeRw: int | None = None
    SizeRootFs: int | None = None
    Labels: dict[str, str]
    State: str
    Status: str
    HostConfig: dict[str, Any]
    NetworkSettings: NetworksByName
    Mounts: list[MountPoint]


class ContainerState(Answer):
    """Where a container is in its life."""

    Status: str = Field(description="created, running, paused, restarting, removing, exited or dead")
    Running: bool
    Paused: bool
    Restarting: bool
    OOMKilled: bool
    Dead: bool
    Pid: int
    ExitCode: int
    Error: str
    StartedAt: str
    FinishedAt: str


class ContainerNetwork(Answer):
    """A container's network, the default bridge's also in the outer fields."""

    Bridge: str
    SandboxID: str
    SandboxKey: str
    Ports: dict[str, Any]
    EndpointID: str
    Gateway: str
    IPAddress: str
    IPPrefixLen: int
    MacAddress: str
    Networks: dict[str, EndpointSettings]


class ContainerInspect(Answer):
    """All about a container."""

    Id: str
    Created: str
    Path: str
    Args: list[str]
    State: ContainerState
    Image: str
    ResolvConfPath: str
    HostnamePath: str
    HostsPath: str
    LogPath: str
    Name: str
    RestartCount: int
    Driver: str
    Platform: str
    MountLabel: str
    ProcessLabel: str
    AppArmorProfile: str
    ExecIDs: list[str] | None
    HostConfig: Host
    GraphDriver: dict[str, Any]
    SizeRw: int | None = None
    SizeRootFs: int | None = None
    Mounts: list[MountPoint]
    Config: ContainerConfig
    NetworkSettings: ContainerNetwork


class ContainerTop(Answer):
    """The processes, as ps(1) prints them."""

    Titles: list[str]
    Processes: list[list[str]]


class WaitError(Answer):
    """Why waiting failed."""

    Message: str


class ContainerWait(Answer):
    """How a container ended."""

    StatusCode: int
    Error: WaitError | None = None


class FilesystemChange(Answer):
    """A path that differs from the image. Kind: 0 changed, 1 added, 2 deleted."""

    Path: str
    Kind: int


class ContainersPruned(Answer):
    """What a prune removed."""

    ContainersDeleted: list[str] | None
    SpaceReclaimed: int
