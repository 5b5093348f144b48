"""Images for tests, made from dictionaries: no registry, no download, the same bytes on every run.

    base = {"bin/sh": executable(b"..."), "etc/hosts": "text", "lib": symlink("usr/lib"), "tmp": directory(0o1777)}
    one = image(base, {"app/run": b"..."}, config={"Cmd": ["/bin/sh"]})           # two layers, gzip, OCI media types
    two = image(base, compression="zstd", kind="docker", platform="linux/arm64/v8")
    push(one, "127.0.0.1:5000", "library/alpine", "latest")                       # by the registry's HTTP API
    push(index(one, two), "127.0.0.1:5000", "multi", "latest")
    docker_archive({"busybox:latest": one})                                       # what `docker save` writes, as bytes
    oci_archive({"latest": index(one, two)})                                      # an OCI layout in a tar

``busybox()`` is an image that can run: Debian's static busybox with a link for every applet.
Only the standard library is used, and ``zstandard`` where a test asks for zstd.
Formats: OCI image-spec (manifest, index, layer, image-layout), Docker's image spec v1.2 for ``docker save``.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

OCI, DOCKER = "oci", "docker"
MEDIA_TYPES = {
    OCI: {
        "index": "application/vnd.oci.image.index.v1+json",
        "manifest": "application/vnd.oci.image.manifest.v1+json",
        "config": "application/vnd.oci.image.config.v1+json",
        "none": "application/vnd.oci.image.layer.v1.tar",
        "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
        "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    },
    DOCKER: {
        "index": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifest": "application/vnd.docker.distribution.manifest.v2+json",
        "config": "application/vnd.docker.container.image.v1+json",
        "none": "application/vnd.docker.image.rootfs.diff.tar",
        "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
    },
}


# --- one file of a layer ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One tar member. ``kind`` is tarfile's type byte; ``link`` is the target of a symlink or hardlink."""

    data: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, str] = field(default_factory=dict)


Files = Mapping[str, "bytes | str | Entry"]


def directory(mode: int = 0o755) -> Entry:
    return Entry(mode=mode, kind=tarfile.DIRTYPE)


def executable(data: bytes | str) -> Entry:
    return Entry(data.encode() if isinstance(data, str) else data, mode=0o755)


def symlink(target: str) -> Entry:
    return Entry(mode=0o777, kind=tarfile.SYMTYPE, link=target)


def hardlink(target: str) -> Entry:
    return Entry(kind=tarfile.LNKTYPE, link=target)


def device(major: int, minor: int, block: bool = False) -> Entry:
    return Entry(kind=tarfile.BLKTYPE if block else tarfile.CHRTYPE, device=(major, minor), mode=0o600)


def _member(name: str, entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = entry.kind, entry.mode, entry.link, len(entry.data)
    info.uid, info.gid, info.mtime = entry.uid, entry.gid, entry.mtime
    info.devmajor, info.devminor = entry.device
    info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in entry.xattrs.items()}
    return info


def layer_tar(files: Files) -> bytes:
    """The uncompressed tar, members in the dictionary's order, names exactly as given (also hostile ones)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, value in files.items():
            data = value.encode() if isinstance(value, str) else value
            entry = Entry(data) if isinstance(data, bytes) else data
            tar.addfile(_member(name, entry), io.BytesIO(entry.data))
    return out.getvalue()


def compress(data: bytes, compression: str) -> bytes:
    """``data`` as "none", "gzip" or "zstd"; the same bytes every time."""
    if compression == "gzip":
        return gzip.compress(data, compresslevel=1, mtime=0)
    if compression == "zstd":
        import zstandard  # noqa: PLC0415 - only the tests that ask for zstd need it

        return zstandard.ZstdCompressor().compress(data)
    return data


# --- blobs, images, indexes ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blob:
    """Bytes with a media type, named by their sha256."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    @property
    def hex(self) -> str:
        return self.digest.partition(":")[2]

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True)
class Image:
    """A manifest with all that it names. ``tars`` are the layers uncompressed; ``diff_ids`` their digests."""

    manifest: Blob
    config: Blob
    layers: tuple[Blob, ...]
    tars: tuple[bytes, ...]
    platform: str

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def id(self) -> str:
        return self.config.digest

    @property
    def diff_ids(self) -> list[str]:
        return list(json.loads(self.config.data)["rootfs"]["diff_ids"])

    @property
    def chain_ids(self) -> list[str]:
        chains: list[str] = []
        for diff_id in self.diff_ids:
            chains.append(sha256(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
        return chains

    def blobs(self) -> list[Blob]:
        """Everything under the manifest, in the order in which a registry must get it."""
        return [*self.layers, self.config]


@dataclass(frozen=True)
class Index:
    """A manifest list: one name, an image per platform."""

    manifest: Blob
    images: tuple[Image, ...]

    @property
    def digest(self) -> str:
        return self.manifest.digest


def blob_json(value: Any, media_type: str) -> Blob:
    return Blob(json.dumps(value, separators=(",", ":")).encode(), media_type)


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image(
    *layers: Files | bytes,
    config: Mapping[str, Any] | None = None,
    compression: str = "gzip",
    kind: str = OCI,
    platform: str = "linux/amd64",
) -> Image:
    """An image of the given layers, lowest first. A layer is a dict of files, or a ready tar as bytes.

    ``config`` is the ``config`` object of the image configuration: Cmd, Entrypoint, Env, User, WorkingDir, Labels...
    """
    types = MEDIA_TYPES[kind]
    tars = tuple(layer if isinstance(layer, bytes) else layer_tar(layer) for layer in layers)
    history = [{"created": "2024-01-01T00:00:00Z", "created_by": f"layer {number}"} for number in range(len(tars))]
    whole = {
        "created": "2024-01-01T00:00:00Z",
        **_platform(platform),
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
        "history": history,
    }
    blobs = tuple(Blob(compress(tar, compression), types[compression]) for tar in tars)
    config_blob = blob_json(whole, types["config"])
    return Image(_manifest(config_blob, blobs, kind), config_blob, blobs, tars, platform)


def _manifest(config: Blob, layers: tuple[Blob, ...], kind: str) -> Blob:
    media_type = MEDIA_TYPES[kind]["manifest"]
    described = [layer.descriptor() for layer in layers]
    head = {"schemaVersion": 2, "mediaType": media_type}
    return blob_json({**head, "config": config.descriptor(), "layers": described}, media_type)


def replace_layer(whole: Image, number: int, data: bytes, kind: str = OCI) -> Image:
    """The image with other bytes for one blob, and a manifest that names them: the configuration stays (a lie)."""
    layers = list(whole.layers)
    layers[number] = Blob(data, layers[number].media_type)
    return replace(whole, layers=tuple(layers), manifest=_manifest(whole.config, tuple(layers), kind))


def index(*images: Image, kind: str = OCI) -> Index:
    """A manifest list (kind "docker") or OCI index of the images, each with its platform."""
    media_type = MEDIA_TYPES[kind]["index"]
    entries = [one.manifest.descriptor(platform=_platform(one.platform)) for one in images]
    whole = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return Index(blob_json(whole, media_type), images)


def busybox(config: Mapping[str, Any] | None = None, path: str = "/bin/busybox", **more: Any) -> Image:
    """An image that runs: the host's static busybox (package busybox-static), every applet a link in /bin."""
    applets = subprocess.run([path, "--list"], check=True, capture_output=True, text=True).stdout.split()
    files: dict[str, bytes | str | Entry] = {name: directory() for name in ("bin", "etc", "proc", "sys", "dev", "root")}
    files["tmp"] = directory(0o1777)
    files["bin/busybox"] = executable(Path(path).read_bytes())
    files |= {f"bin/{applet}": symlink("busybox") for applet in applets if applet != "busybox"}
    files["etc/passwd"] = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    files["etc/group"] = "root:x:0:\nnogroup:x:65534:\n"
    return image(files, config={"Cmd": ["sh"], "Env": ["PATH=/bin:/sbin:/usr/bin"], **(config or {})}, **more)


# --- to a registry ---------------------------------------------------------------------------------------------------


def push(what: Image | Index, registry: str, repository: str, tag: str = "latest") -> str:
    """Upload to a registry that speaks plain HTTP (``host:port``); returns the manifest's digest.

    distribution-spec: POST /v2/NAME/blobs/uploads/, PUT the location with ?digest=, PUT /v2/NAME/manifests/TAG.
    """
    connection = http.client.HTTPConnection(registry, timeout=30)
    try:
        for one in what.images if isinstance(what, Index) else (what,):
            for blob in one.blobs():
                _push_blob(connection, repository, blob)
            _push_manifest(connection, repository, one.manifest, one.digest)
        _push_manifest(connection, repository, what.manifest, tag)
    finally:
        connection.close()
    return what.digest


def _request(connection: http.client.HTTPConnection, *request: Any, expect: int) -> http.client.HTTPResponse:
    connection.request(*request)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != expect:
        raise RuntimeError(f"{request[0]} {request[1]}: {answer.status} {body.decode(errors='replace')}")
    return answer


def _push_blob(connection: http.client.HTTPConnection, repository: str, blob: Blob) -> None:
    start = _request(connection, "POST", f"/v2/{repository}/blobs/uploads/", None, {"Content-Length": "0"}, expect=202)
    location = start.getheader("Location") or ""
    target = location.partition("://")[2].partition("/")[2] if "://" in location else location.lstrip("/")
    mark = "&" if "?" in target else "?"
    headers = {"Content-Type": "application/octet-stream"}
    _request(connection, "PUT", f"/{target}{mark}digest={blob.digest}", blob.data, headers, expect=201)


def _push_manifest(connection: http.client.HTTPConnection, repository: str, manifest: Blob, name: str) -> None:
    headers = {"Content-Type": manifest.media_type}
    _request(connection, "PUT", f"/v2/{repository}/manifests/{name}", manifest.data, headers, expect=201)


# --- to archives -----------------------------------------------------------------------------------------------------


def docker_archive(images: Mapping[str, Image], compression: str = "none", manifest: bool = True) -> bytes:
    """What ``docker save`` writes: manifest.json, a configuration and a layer.tar each. A name "" is untagged.

    ``manifest=False`` leaves manifest.json out, as the archives of long ago (and broken ones) do.
    """
    files: dict[str, bytes | str | Entry] = {}
    listed: dict[str, dict[str, Any]] = {}
    for name, one in images.items():
        paths = [f"{sha256(tar)[7:]}/layer.tar" for tar in one.tars]
        files |= dict(zip(paths, one.tars, strict=True))
        files[f"{one.config.hex}.json"] = one.config.data
        item = listed.setdefault(one.id, {"Config": f"{one.config.hex}.json", "RepoTags": [], "Layers": paths})
        item["RepoTags"] += [name] if name else []
    if manifest:
        files["manifest.json"] = json.dumps(list(listed.values()))
    return compress(layer_tar(files), compression)


def oci_files(images: Mapping[str, Image | Index]) -> dict[str, bytes | str | Entry]:
    """The files of an OCI image layout; the names become org.opencontainers.image.ref.name (none for "")."""
    blobs: list[Blob] = []
    entries = []
    for name, what in images.items():
        for one in what.images if isinstance(what, Index) else (what,):
            blobs += [*one.blobs(), one.manifest]
        blobs.append(what.manifest)
        named = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        entries.append(what.manifest.descriptor(**named))
    files: dict[str, bytes | str | Entry] = {"oci-layout": '{"imageLayoutVersion":"1.0.0"}'}
    files |= {f"blobs/sha256/{blob.hex}": blob.data for blob in blobs}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries})
    return files


def oci_archive(images: Mapping[str, Image | Index], compression: str = "none") -> bytes:
    """An OCI image layout as a tar (image-spec, image-layout.md)."""
    return compress(layer_tar(oci_files(images)), compression)
