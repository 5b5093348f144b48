"""A big image of three layers, made from this machine's own files: the same bytes every time, as long as they are.

A layer is a tree of /usr as a tar, cut off when it is full, with owner 0 and time 0, compressed as `docker push` does
(gzip, level 6). Nothing is kept in memory: tar and gzip go to a file, and from there to the registry.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from images import MEDIA_TYPES, OCI, blob_json

TREES = ("/usr/lib", "/usr/share", "/usr/bin")
LAYER_BYTES = 190_000_000
REPOSITORY = "bench/big"


@dataclass
class Layer:
    """One layer's file, and what names it."""

    path: str
    digest: str
    diff_id: str
    size: int
    unpacked: int
    files: int


class Hashed:
    """A file that is written through: it counts and hashes."""

    def __init__(self, under: IO[bytes]) -> None:
        self._under, self._hash, self.size = under, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        self._under.write(data)
        return len(data)

    def flush(self) -> None:
        self._under.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def members(tree: str) -> Iterator[tuple[str, os.stat_result]]:
    """Directories, files and links below a tree, sorted, until LAYER_BYTES are full."""
    total = 0
    for parent, directories, files in os.walk(tree):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = f"{parent}/{name}"
            status = os.lstat(path)
            total += status.st_size if name in files else 0
            if total > LAYER_BYTES:
                return
            yield path, status


def write_layer(tree: str, path: str) -> Layer:
    count = 0
    with open(path, "wb") as file:
        packed = Hashed(file)
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as unzipped:  # type: ignore[call-overload]
            plain = Hashed(unzipped)
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                for name, _ in members(tree):
                    count += add(tar, name)
    return Layer(path, packed.digest, plain.digest, packed.size, plain.size, count)


def add(tar: tarfile.TarFile, path: str) -> int:
    """One member; 1 if it is in. What is no file, directory or link is left out; hard links become files."""
    tar.inodes = {}  # type: ignore[attr-defined]
    info = tar.gettarinfo(path)
    if not (info.isreg() or info.isdir() or info.issym()):
        return 0
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime, info.mode = 0, info.mode & 0o777
    if info.isreg():
        with open(path, "rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)
    return 1


def make(directory: str) -> list[Layer]:
    """The layers, as files in a directory."""
    with ThreadPoolExecutor(len(TREES)) as pool:
        return list(pool.map(lambda tree: write_layer(tree, f"{directory}/{os.path.basename(tree)}.tar.gz"), TREES))


def push(layers: list[Layer], registry: str) -> str:
    """Upload the image; its name. distribution-spec: POST uploads, PUT the blob, PUT the manifest."""
    types = MEDIA_TYPES[OCI]
    rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
    platform = {"os": "linux", "architecture": "amd64"}
    config = blob_json({**platform, "config": {"Cmd": ["true"]}, "rootfs": rootfs, "history": []}, types["config"])
    described = [{"mediaType": types["gzip"], "digest": layer.digest, "size": layer.size} for layer in layers]
    manifest = {"schemaVersion": 2, "mediaType": types["manifest"], "config": config.descriptor(), "layers": described}
    connection = http.client.HTTPConnection(registry, timeout=60)
    for layer in layers:
        with open(layer.path, "rb") as file:
            upload(connection, layer.digest, layer.size, file)
    upload(connection, config.digest, len(config.data), config.data)
    blob = blob_json(manifest, types["manifest"])
    request(connection, "PUT", f"/v2/{REPOSITORY}/manifests/latest", blob.data, {"Content-Type": blob.media_type})
    connection.close()
    return f"{registry}/{REPOSITORY}:latest"


def upload(connection: http.client.HTTPConnection, digest: str, size: int, data: bytes | IO[bytes]) -> None:
    location = request(connection, "POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", {}).getheader("Location") or ""
    path = "/" + location.partition("://")[2].partition("/")[2]
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    request(connection, "PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", data, headers)


def request(
    connection: http.client.HTTPConnection, method: str, path: str, data: bytes | IO[bytes], headers: dict[str, str]
) -> http.client.HTTPResponse:
    connection.request(method, path, data, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in (201, 202):
        raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
    return answer
