"""What is mounted in a container, and where: HostConfig's Binds, Mounts and Tmpfs, and the file systems that all have.

Pure but for one look at the host: whether a bind's source is there.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator

from minirund.engine.records import Json
from minirund.errors import InvalidArgument, NotSupported
from minirund.oci import Mount

DEFAULT_SHM = 64 * 1024 * 1024
PROPAGATION = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_MODES = {"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated", "exec", "noexec"} | PROPAGATION


def system(host: Json) -> list[Mount]:
    """/proc, /dev, /sys and what is below them; ``host`` decides the size of /dev/shm and what may be written."""
    writable = ["rw"] if host.get("Privileged") else ["ro"]
    closed = ["nosuid", "noexec", "nodev"]
    shm = int(host.get("ShmSize") or DEFAULT_SHM)
    return [
        Mount(destination="/proc", type="proc", source="proc", options=closed),
        Mount(destination="/dev", type="tmpfs", source="tmpfs",
              options=["nosuid", "strictatime", "mode=755", "size=65536k"]),
        Mount(destination="/dev/pts", type="devpts", source="devpts",
              options=["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        Mount(destination="/sys", type="sysfs", source="sysfs", options=[*closed, *writable]),
        Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=[*writable, *closed]),
        Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=closed),
        Mount(destination="/dev/shm", type="tmpfs", source="shm",  # noqa: S108 - it is one, in the container
              options=[*closed, "mode=1777", f"size={shm}"]),
    ]  # fmt: skip


def wanted(host: Json) -> list[Mount]:
    """The user's own mounts, those nearer to the root first. Raises InvalidArgument, NotSupported."""
    mounts = [*_binds(host), *_mounts(host), *_tmpfs(host)]
    seen: set[str] = set()
    for mount in mounts:
        if mount["destination"] in seen:
            raise InvalidArgument(f"Duplicate mount point: {mount['destination']}")
        seen.add(mount["destination"])
    return sorted(mounts, key=lambda mount: mount["destination"].count("/"))


def _binds(host: Json) -> Iterator[Mount]:
    for spec in host.get("Binds") or ():
        source, destination, mode = split_bind(spec)
        _make_source(source)  # as Docker does for -v, and only for -v
        yield _bind(source, destination, mode)


def _make_source(source: str) -> None:
    if os.path.lexists(source):
        return
    try:
        os.makedirs(source, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(f"error while creating mount source path '{source}': {error.strerror}") from None


def split_bind(spec: str) -> tuple[str, str, list[str]]:
    """``SOURCE:DESTINATION[:MODE,...]`` -> its parts. Raises InvalidArgument, NotSupported for a named volume."""
    parts = spec.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise InvalidArgument(f"invalid volume specification: '{spec}'")
    if not parts[0].startswith("/"):
        _check_volume_name(parts[0])
        raise NotSupported(f"named volumes are not offered yet: {spec!r}; name a directory: /path/on/host:{parts[1]}")
    mode = parts[2].split(",") if len(parts) == 3 else []
    if set(mode) - _MODES:
        raise InvalidArgument(f"invalid mode: {parts[2]} in '{spec}'")
    return posixpath.normpath(parts[0]), _destination(parts[1]), mode


def _check_volume_name(name: str) -> None:
    """What a path without a slash at its beginning would be. Raises InvalidArgument."""
    if len(name) < 2:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _VOLUME_NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def _mounts(host: Json) -> Iterator[Mount]:
    for mount in host.get("Mounts") or ():
        kind, destination = mount.get("Type"), _destination(mount.get("Target") or "")
        if kind == "bind":
            yield _long_bind(mount, destination)
        elif kind == "tmpfs":
            yield _tmpfs_mount(
                destination, _tmpfs_options(mount.get("TmpfsOptions") or {}, bool(mount.get("ReadOnly")))
            )
        elif kind in {"volume", "image", "cluster", "npipe"}:
            raise NotSupported(f'mounts of type "{kind}" are not offered yet: use type=bind or type=tmpfs')
        else:
            raise InvalidArgument(f'invalid mount config for type "{kind}": mount type unknown')


def _long_bind(mount: Json, destination: str) -> Mount:
    source, options = mount.get("Source") or "", mount.get("BindOptions") or {}
    if not source.startswith("/"):
        raise InvalidArgument(
            f"invalid mount config for type \"bind\": invalid mount path: '{source}' must be absolute"
        )
    if not os.path.lexists(source):
        if not options.get("CreateMountpoint"):
            raise InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {source}')
        _make_source(source)
    mode = ["ro"] if mount.get("ReadOnly") else []
    if options.get("Propagation"):
        mode.append(options["Propagation"])
    return _bind(source, destination, mode, recursive=not options.get("NonRecursive"))


def _bind(source: str, destination: str, mode: list[str], recursive: bool = True) -> Mount:
    propagation = [word for word in mode if word in PROPAGATION] or ["rprivate"]
    options = ["rbind" if recursive else "bind", "ro" if "ro" in mode else "rw", *propagation]
    return Mount(destination=destination, type="bind", source=source, options=options)


def _tmpfs(host: Json) -> Iterator[Mount]:
    for destination, options in (host.get("Tmpfs") or {}).items():
        yield _tmpfs_mount(_destination(destination), [word for word in options.split(",") if word])


def _tmpfs_options(options: Json, readonly: bool) -> list[str]:
    words = ["ro"] if readonly else []
    if options.get("SizeBytes"):
        words.append(f"size={options['SizeBytes']}")
    if options.get("Mode"):
        words.append(f"mode={options['Mode']:o}")
    return words


def _tmpfs_mount(destination: str, options: list[str]) -> Mount:
    return Mount(destination=destination, type="tmpfs", source="tmpfs", options=["noexec", "nosuid", "nodev", *options])


def _destination(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    normal = posixpath.normpath(path)
    if normal in {"/", "//"}:
        raise InvalidArgument(f"invalid specification: destination can't be '/': '{path}'")
    return normal
