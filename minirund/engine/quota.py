"""How much a container may write to its own layer: ``--storage-opt size=``, and the daemon's default for it.

The words are Docker's; the quota is overlayfs/quota.py's, and lies in the file system with the layer. So nothing is
recorded but what was asked for, and what has to be asked at each start is whether it still holds.
"""

from __future__ import annotations

import os
import re

from minirund.engine.records import Json
from minirund.errors import EngineError, InvalidArgument, NotSupported
from overlayfs import quota
from overlayfs.errors import NoProjectQuota
from overlayfs.mount import create_rw

MIN_SIZE = 1 << 20
"""Bytes: directories, and what is mounted over files that an image lacks, take room in the layer too."""
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Bytes from 1024, 10G, 1.5g, 512MiB, as Docker reads them; 0 is no limit. Raises InvalidArgument."""
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * (1 << 10 * " kmgtp".index(found[2].lower() or " "))) if found else -1
    if not 0 <= size < 1 << 63:
        raise InvalidArgument(f"invalid size: '{text[:80]}': use a number of bytes, or one like 512m or 10G")
    if 0 < size < MIN_SIZE:
        raise InvalidArgument(f"invalid size: '{text[:80]}': a read-write layer takes at least {MIN_SIZE >> 20}m")
    return size


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
    if size := size_of(host):
        os.makedirs(rw)
        quota.limit(rw, size)
    create_rw(rw)


def check_held(name: str, rw: str, host: Json) -> None:
    """Before a start: a limit that was asked for is in force. Raises EngineError."""
    size = size_of(host)
    if size and not quota.held(rw, size):
        where = quota.mount_of(rw)
        raise EngineError(
            f"the layer of container {name} is not held to its {size} bytes any more: mount {where.point} with the "
            "option prjquota; or, where the data root is a copy, make the container again"
        )


def guarded(host: Json) -> bool:
    """Whether the container's processes must be kept from changing a file's project: runtime/projects.py."""
    return bool(size_of(host)) and not host.get("Privileged")
