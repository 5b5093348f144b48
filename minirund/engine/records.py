"""What the engine saves: one immutable record a thing. A change is a new record that takes the old one's place.

Records go to the database as they are, and ``ps`` and ``inspect`` read them without a lock. Sockets, tasks and process
handles are live objects and never here. Configuration is kept in the words in which it came, the Engine API's
(``Config`` and ``HostConfig``), since it has to be given back so; ``spec.py`` translates it for the runtime.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from minirund.engine.lifecycle import ALIVE, Status

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place in a network. Addresses as text, "" for none."""

    network: str = "bridge"
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    endpoint_id: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """A container. Times are nanoseconds since 1970, 0 for never."""

    id: str
    name: str
    image: str
    """The image's name as it was asked for."""
    image_id: str
    """sha256:... of the image's configuration."""
    layers: tuple[str, ...]
    """Chain IDs, bottom first."""
    config: Json
    """The API's ContainerConfig, with what the image sets filled in."""
    host_config: Json
    args: tuple[str, ...]
    """Entrypoint and command, joined: what is executed."""
    created: int
    networking: Json = field(default_factory=dict)
    status: Status = Status.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started: int = 0
    finished: int = 0
    endpoint: Endpoint | None = None
    stopped: bool = False
    """Whether somebody stopped it since its last start by hand."""
    restart_count: int = 0
    """How often its restart policy has started it since then."""
    pause: int = 0
    """Milliseconds between its last end and the start that follows (policy.py)."""
    ooms: int = 0
    """How many of its processes the OOM killer has ended since its last start, as far as that has been told."""
    cgroup: str = ""
    """Its cgroup since its last start: a path below the cgroup v2 mount."""

    @property
    def alive(self) -> bool:
        """Whether it has an init."""
        return self.status in ALIVE

    @property
    def active(self) -> bool:
        """Whether it runs or is about to be started again: what Docker calls running."""
        return self.alive or self.status is Status.RESTARTING

    @property
    def tty(self) -> bool:
        """Whether it has a terminal."""
        return bool(self.config.get("Tty"))

    @property
    def auto_remove(self) -> bool:
        """Whether it goes when it ends."""
        return bool(self.host_config.get("AutoRemove"))

    def but(self, **changes: Any) -> Container:
        """The record that takes this one's place."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Exec:
    """A further process in a container. ``exit_code`` is None until it has ended."""

    id: str
    container_id: str
    config: Json
    """The API's ExecConfig."""
    created: int
    started: bool = False
    pid: int = 0
    exit_code: int | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.started and self.exit_code is None

    def but(self, **changes: Any) -> Exec:
        """The record that takes this one's place."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store. ``id`` is the digest of its configuration, ``manifest`` of the manifest that names it."""

    id: str
    manifest: str
    layers: tuple[str, ...]
    """Chain IDs, bottom first."""
    size: int
    """Unpacked, bytes."""
    created: int
    pulled: int
    """When it came into the store, or was last tagged."""
    tags: tuple[str, ...] = ()
    """Full names with tag, docker.io/library/alpine:latest, sorted."""
    digests: tuple[str, ...] = ()
    """Full names with digest, docker.io/library/alpine@sha256:..., sorted."""
    blobs: tuple[str, ...] = ()
    """Digests of all that it needs kept: manifest, configuration, layers."""
    media_type: str = ""
    """The manifest's."""
    manifest_size: int = 0

    def but(self, **changes: Any) -> Image:
        """The record that takes this one's place."""
        return replace(self, **changes)


def to_json(record: Container | Exec | Image) -> Json:
    """A record as data that json writes. Not a copy: ``asdict`` would make one of every value, ten times as slow."""
    data = {name: getattr(record, name) for name in record.__dataclass_fields__}
    if data.get("endpoint") is not None:
        data["endpoint"] = asdict(data["endpoint"])
    return data


def container(data: Json) -> Container:
    """The container that ``to_json`` wrote."""
    endpoint = data.get("endpoint")
    return Container(
        **{
            **data,
            "layers": tuple(data["layers"]),
            "args": tuple(data["args"]),
            "status": Status(data["status"]),
            "endpoint": Endpoint(**endpoint) if endpoint else None,
        }
    )


def exec_(data: Json) -> Exec:
    """The exec that ``to_json`` wrote."""
    return Exec(**data)


def image(data: Json) -> Image:
    """The image that ``to_json`` wrote."""
    return Image(**{**data, **{key: tuple(data[key]) for key in ("layers", "tags", "digests", "blobs")}})
