"""An image's record and its names: what comes from the store becomes a record; a name is put on or taken off. Pure."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from minirund.engine.records import Image, Json
from minirund.registry import reference as references

if TYPE_CHECKING:
    from minirund.engine.fetch import StoredImage

REF_NAME = "org.opencontainers.image.ref.name"  # OCI image-spec, annotations.md
_FRACTION = re.compile(r"(\.\d{1,6})\d*")


def with_name(image: Image, name: str) -> Image:
    """The image with one name more."""
    if "@" in name:
        return image.but(digests=tuple(sorted({*image.digests, name})))
    return image.but(tags=tuple(sorted({*image.tags, name})), pulled=time.time_ns())


def without_name(image: Image, name: str) -> Image:
    """The image without that name."""
    return only_names(image, lambda other: other != name)


def only_names(image: Image, wanted: Callable[[str], bool]) -> Image:
    """The image with those of its names that are wanted."""
    return image.but(tags=tuple(filter(wanted, image.tags)), digests=tuple(filter(wanted, image.digests)))


def name_matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a full name, in one of the forms in which users write it, matches one of the shell patterns."""
    reference = references.parse(name)
    forms = (reference.familiar(), reference.familiar_name, str(reference), reference.name)
    return any(fnmatchcase(form, pattern) for form in forms for pattern in patterns)


def from_store(found: StoredImage, config: bytes) -> Image:
    """The record of what a pull or a load has stored; ``config`` is its configuration."""
    return Image(
        id=found.id, manifest=found.manifest, layers=tuple(found.chain_ids), size=found.size,
        created=seconds(json.loads(config).get("created")) * 1_000_000_000, pulled=time.time_ns(),
        blobs=tuple(found.blobs), media_type=found.media_type, manifest_size=found.manifest_size,
    )  # fmt: skip


def index_entries(image: Image) -> list[Json]:
    """The image's descriptors in index.json: one for each tag, as skopeo looks for them, or one without a name."""
    entry: Json = {"mediaType": image.media_type, "digest": image.manifest, "size": image.manifest_size}
    return [{**entry, "annotations": {REF_NAME: tag}} for tag in image.tags] or [entry]


def seconds(text: str | None) -> int:
    """An RFC 3339 time as seconds since 1970, 0 for none or a bad one. Python reads six digits behind the point."""
    with contextlib.suppress(ValueError, TypeError):
        return int(datetime.fromisoformat(_FRACTION.sub(r"\1", text or "")).timestamp())
    return 0
