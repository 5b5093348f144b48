"""How much a container may write to its own layer: ``--storage-opt size=``, and the daemon's default for it.

The words are Docker's; the quota is overlayfs/quota.py's, and lies in the file system with the layer. So nothing is
recorded but what was asked for, and what has to be asked at each start is whether it still holds.
"""

from __future__ import annotations

import os

from minirund.engine.records import Json
from minirund.errors import EngineError, InvalidArgument, NotSupported
from minirund.sizes import size
from overlayfs import quota
from overlayfs.errors import NoProjectQuota
from overlayfs.mount import create_rw
from overlayfs.mounted import mount_of

MIN_SIZE = 1 << 20
"""Bytes: directories, and what is mounted over files that an image lacks, take room in the layer too."""


def bytes_of(text: str) -> int:
    """A layer's limit from text; 0 is none. Raises InvalidArgument."""
    try:
        count = size(text)
    except ValueError as error:
        raise InvalidArgument(f"{error}: use a number of bytes, or one like 512m or 10G") from None
    if 0 < count < MIN_SIZE:
        raise InvalidArgument(f"invalid size: '{text[:80]}': a read-write layer takes at least {MIN_SIZE >> 20}m")
    return count


def size_of(host: Json) -> int:
    """What a HostConfig asks for, in bytes; 0 for no limit. Raises InvalidArgument."""
    sizes = [0]
    for key, value in (host.get("StorageOpt") or {}).items():
        if key.lower() != "size":
            raise InvalidArgument(f"Unknown option {key[:80]}: --storage-opt takes size=SIZE")
        sizes.append(bytes_of(value))
    return sizes[-1]


def check(host: Json, directory: str, default: int) -> None:
    """Refuse what can't be, or what the file system of ``directory`` would not hold. Raises InvalidArgument,
    NotSupported. Who asks for nothing gets the daemon's ``default``, and ``host`` says so then."""
    if default and not host.get("StorageOpt"):
        host["StorageOpt"] = {"size": str(default)}
    if size_of(host):
        try:
            quota.require(directory)
        except NoProjectQuota as error:
            raise NotSupported(f"--storage-opt is supported only with project quotas: {error}") from error


def make_layer(rw: str, host: Json) -> None:
    """The directories of a new container's layer, held to their limit from the first. Raises OSError, OverlayError."""
    if limit := size_of(host):
        os.makedirs(rw)
        quota.limit(rw, limit)
    create_rw(rw)


def check_held(name: str, rw: str, host: Json) -> None:
    """Before a start: a limit that was asked for is in force. Raises EngineError."""
    limit = size_of(host)
    if limit and not quota.held(rw, limit):
        where = mount_of(rw)
        raise EngineError(
            f"the layer of container {name} is not held to its {limit} bytes any more: mount {where.point} with the "
            "option prjquota; or, where the data root is a copy, make the container again"
        )


def guarded(host: Json) -> bool:
    """Whether the container's processes must be kept from changing a file's project: runtime/projects.py."""
    return bool(size_of(host)) and not host.get("Privileged")
