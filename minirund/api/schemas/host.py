"""HostConfig: how a container sits on its host. What this version does not offer, the engine refuses by name."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Len
from pydantic import Field

from minirund.api.schemas.base import Body

Natural = Annotated[int, Ge(0)]
Bytes = Annotated[int, Field(description="Bytes; 0 sets no limit")]


class LogDriver(Body):
    """Where the container's output goes."""

    Type: str = ""
    Config: dict[str, str] | None = None


class Restart(Body):
    """What happens when the container ends."""

    Name: Annotated[str, Field(description="no, always, unless-stopped or on-failure")] = ""
    MaximumRetryCount: int = 0


class PortBinding(Body):
    """An address and port of the host."""

    HostIp: str = ""
    HostPort: str = ""


class BindMount(Body):
    """How a bind mount behaves."""

    Propagation: Literal["", "private", "rprivate", "shared", "rshared", "slave", "rslave"] = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


class Driver(Body):
    """A driver and what it is told."""

    Name: str = ""
    Options: dict[str, str] | None = None


class VolumeMount(Body):
    """How a volume is made."""

    NoCopy: bool = False
    Labels: dict[str, str] | None = None
    DriverConfig: Driver | None = None
    Subpath: str = ""


class TmpfsMount(Body):
    """How a tmpfs is made."""

    SizeBytes: Bytes = 0
    Mode: int = 0
    Options: list[list[str]] | None = None


class Mount(Body):
    """A mount, in full words (``--mount``)."""

    Type: Annotated[str, Field(description="bind or tmpfs")] = ""
    Target: str = ""
    Source: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: BindMount | None = None
    VolumeOptions: VolumeMount | None = None
    TmpfsOptions: TmpfsMount | None = None


class WeightDevice(Body):
    """A block device's share."""

    Path: str = ""
    Weight: Natural = 0


class ThrottleDevice(Body):
    """A block device's limit, bytes or operations a second."""

    Path: str = ""
    Rate: Natural = 0


class Device(Body):
    """A device node of the host, in the container."""

    PathOnHost: str = ""
    PathInContainer: str = ""
    CgroupPermissions: str = ""


class DeviceRequest(Body):
    """Devices by kind (``--gpus``)."""

    Driver: str = ""
    Count: int = 0
    DeviceIDs: list[str] | None = None
    Capabilities: list[list[str]] | None = None
    Options: dict[str, str] | None = None


class Ulimit(Body):
    """A resource limit of processes (setrlimit(2)); -1 is without limit."""

    Name: str = ""
    Soft: int = 0
    Hard: int = 0


class Resources(Body):
    """What the container may use. A limit that the host can't enforce is refused, never ignored."""

    CpuShares: int = 0
    Memory: Bytes = 0
    NanoCpus: Annotated[int, Field(description="CPU time, in billionths of a CPU")] = 0
    CgroupParent: str = ""
    BlkioWeight: int = 0
    BlkioWeightDevice: list[WeightDevice] | None = None
    BlkioDeviceReadBps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteBps: list[ThrottleDevice] | None = None
    BlkioDeviceReadIOps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteIOps: list[ThrottleDevice] | None = None
    CgroupConf: Annotated[
        dict[str, str] | None,
        Field(description="Not Docker's: cgroup v2 files and what is written to them, memory.high"),
    ] = None
    CpuPeriod: Annotated[int, Field(description="Microseconds")] = 0
    CpuQuota: Annotated[int, Field(description="Microseconds in each period")] = 0
    CpuRealtimePeriod: int = 0
    CpuRealtimeRuntime: int = 0
    CpusetCpus: Annotated[str, Field(description="CPUs to run on, 0-2,4")] = ""
    CpusetMems: str = ""
    Devices: list[Device] | None = None
    DeviceCgroupRules: list[str] | None = None
    DeviceRequests: list[DeviceRequest] | None = None
    KernelMemory: int = 0
    KernelMemoryTCP: int = 0
    MemoryReservation: Bytes = 0
    MemorySwap: Annotated[int, Field(description="Memory and swap together, bytes; -1 is without limit")] = 0
    MemorySwappiness: int | None = None
    OomKillDisable: bool | None = None
    PidsLimit: Annotated[int | None, Field(description="Processes; 0 and -1 set no limit")] = None
    Ulimits: list[Ulimit] | None = None
    CpuCount: int = 0
    CpuPercent: int = 0
    IOMaximumIOps: int = 0
    IOMaximumBandwidth: int = 0


class HostConfig(Resources):
    """Everything about a container that is the host's affair."""

    Binds: Annotated[list[str] | None, Field(description="host:container[:options]")] = None
    ContainerIDFile: str = ""
    LogConfig: LogDriver = LogDriver()
    NetworkMode: Annotated[str, Field(description="bridge, host, none or container:NAME")] = ""
    PortBindings: dict[str, list[PortBinding] | None] | None = None
    RestartPolicy: Restart = Restart()
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: list[str] | None = None
    Mounts: list[Mount] | None = None
    ConsoleSize: Annotated[list[Natural] | None, Len(2, 2), Field(description="Rows, columns")] = None
    Annotations: dict[str, str] | None = None
    CapAdd: list[str] | None = None
    CapDrop: list[str] | None = None
    Capabilities: list[str] | None = None
    CgroupnsMode: str = ""
    Dns: list[str] | None = None
    DnsOptions: list[str] | None = None
    DnsSearch: list[str] | None = None
    ExtraHosts: list[str] | None = None
    GroupAdd: list[str] | None = None
    IpcMode: str = ""
    Cgroup: str = ""
    Links: list[str] | None = None
    OomScoreAdj: int = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: list[str] | None = None
    StorageOpt: dict[str, str] | None = None
    Tmpfs: dict[str, str] | None = None
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: Annotated[Natural, Field(description="Bytes of /dev/shm; 0: 64 MiB")] = 0
    Sysctls: dict[str, str] | None = None
    Runtime: str = ""
    Init: bool | None = None
    Isolation: str = ""
    MaskedPaths: list[str] | None = None
    ReadonlyPaths: list[str] | None = None
