"""The documents that describe an image, read and checked. Pure: bytes in, frozen values or an error out.

    Index  (manifest list)      one entry per platform, each the digest of a ...
      Manifest                  names the configuration and the layers, lowest first, by digest and size
        ImageConfig             platform, and each layer's digest once uncompressed (its diff ID)

OCI's and Docker's schema 2 forms differ only in their media types. Schema 1 (before 2016) is refused. A document that
could be read both as an index and as a manifest is refused too (CVE-2021-41190).
Sources: OCI image-spec: descriptor.md, image-index.md, manifest.md, config.md; Docker's "Image Manifest V 2, Schema 2".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minirund.errors import NotFound, NotSupported, RegistryError
from minirund.registry import imageconfig
from minirund.registry.platform import Platform, normalised

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream")  # the last: images pushed in 2016
ACCEPT = INDEX_TYPES + MANIFEST_TYPES
MAX_DOCUMENT = 4 << 20  # bytes; the limit registries themselves have for a manifest
MAX_CONFIG = 8 << 20
MAX_LAYERS = 1000

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")


@dataclass(frozen=True)
class Descriptor:
    """What points at a blob: its media type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """One image for one platform. ``layers`` are lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Index:
    """One image for many platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]


@dataclass(frozen=True)
class ImageConfig:
    """What is needed of an image configuration here; the whole document stays a blob."""

    platform: Platform
    diff_ids: tuple[str, ...]


def parse(data: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index. ``media_type`` is the Content-Type; "" to go by the document alone.

    Raises NotSupported for schema 1 and for documents that are no image, RegistryError for broken ones.
    """
    document = _object(data, "manifest", MAX_DOCUMENT)
    media_type = _document_type(document, media_type.partition(";")[0].strip())
    _refuse_old(document, media_type)
    if "manifests" in document and ("layers" in document or "config" in document):
        raise RegistryError("manifest is ambiguous: it has entries of an index and of an image")
    if media_type in INDEX_TYPES:
        return Index(media_type, tuple(_descriptors(document, "manifests")))
    if media_type in MANIFEST_TYPES:
        return _image_manifest(document, media_type)
    raise NotSupported(f"manifest has the media type {media_type[:100]!r}, which is not an image's")


def _document_type(document: Mapping[str, Any], content_type: str) -> str:
    own = document.get("mediaType")
    if isinstance(own, str) and own:
        return own
    if content_type in ACCEPT or content_type.startswith(SCHEMA_1):
        return content_type
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _refuse_old(document: Mapping[str, Any], media_type: str) -> None:
    version = document.get("schemaVersion")
    if version == 1 or media_type.startswith(SCHEMA_1):
        raise NotSupported(
            "image has the manifest format schema 1, which is not supported: push it again with a newer client"
        )
    if version != 2:
        raise RegistryError(f"manifest has the schema version {str(version)[:20]}, expected 2")


def _image_manifest(document: Mapping[str, Any], media_type: str) -> Manifest:
    config = _descriptor(document.get("config"), "config")
    layers = tuple(_descriptors(document, "layers"))
    if config.media_type not in CONFIG_TYPES:
        raise NotSupported(f"not a container image: its configuration has the media type {config.media_type[:100]!r}")
    if len(layers) > MAX_LAYERS:
        raise RegistryError(f"manifest has {len(layers)} layers, more than {MAX_LAYERS}")
    return Manifest(media_type, config, layers)


def _object(data: bytes, what: str, limit: int) -> dict[str, Any]:
    if len(data) > limit:
        raise RegistryError(f"{what} is larger than {limit >> 20} MiB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise RegistryError(f"{what} is not a JSON object")
    return document


def _descriptors(document: Mapping[str, Any], key: str) -> list[Descriptor]:
    values = document.get(key)
    if values is None and key == "layers":
        return []
    if not isinstance(values, list):
        raise RegistryError(f"manifest has no list of {key}")
    return [_descriptor(value, key) for value in values]


def _descriptor(value: Any, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise RegistryError(f"manifest has no valid descriptor in {where}")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise RegistryError(f"manifest has no valid digest in {where}")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 62:
        raise RegistryError(f"manifest has no valid size in {where}")
    return Descriptor(media_type, digest, size, _platform(value.get("platform")), _texts(value.get("annotations")))


def _platform(value: Any) -> Platform | None:
    if not isinstance(value, dict):
        return None
    parts = [value.get(key) or "" for key in ("os", "architecture", "variant")]
    return normalised(*parts) if all(isinstance(part, str) for part in parts) else None


def _texts(value: Any) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in items if isinstance(text, str)}


def choose(index: Index, wanted: Platform) -> Descriptor:
    """The entry that fits ``wanted`` best: the nearest variant, then the first listed. Raises NotFound.

    Entries without a platform are taken only if nothing else fits and there is just one (a layout of one image).
    """
    fits = [(distance, entry) for entry in index.manifests if (distance := _distance(entry, wanted)) is not None]
    if fits:
        return min(fits, key=lambda fit: fit[0])[1]
    if len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]
    raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")


def _distance(entry: Descriptor, wanted: Platform) -> int | None:
    if entry.platform is None or entry.media_type not in ACCEPT:
        return None
    return wanted.accepts(entry.platform)


def parse_config(data: bytes, layers: int) -> ImageConfig:
    """Read an image configuration; its manifest names so many layers. Raises RegistryError."""
    document = _object(data, "image configuration", MAX_CONFIG)
    imageconfig.check(document)
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if diff_ids is None:
        diff_ids = []
    if not isinstance(diff_ids, list) or not all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in diff_ids):
        raise RegistryError("image configuration has no valid rootfs.diff_ids")
    if len(diff_ids) != layers:
        raise RegistryError(f"image configuration has {len(diff_ids)} layers, its manifest {layers}")
    return ImageConfig(_platform(document) or Platform("", ""), tuple(diff_ids))


def check_platform(config: ImageConfig, wanted: Platform | None, name: str) -> None:
    """Refuse an image that can't be what was asked for. ``wanted`` None: any architecture, but Linux.

    Raises NotFound, in Docker's words.
    """
    actual = config.platform
    if actual.os and actual.os != "linux":
        raise NotFound(f'image operating system "{actual.os[:50]}" cannot be used on this platform')
    if wanted and actual.os and wanted.accepts(actual) is None:
        raise NotFound(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {wanted}, actual: {actual}"
        )
