"""An image's record and its names: what comes from the store becomes a record; a name is put on or taken off. Pure."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import datetime

from minirund.engine.fetch import StoredImage
from minirund.engine.records import Image, Json


def with_name(image: Image, name: str) -> Image:
    """The image with one name more."""
    if "@" in name:
        return image.but(digests=tuple(sorted({*image.digests, name})))
    return image.but(tags=tuple(sorted({*image.tags, name})), pulled=time.time_ns())


def without_name(image: Image, name: str) -> Image:
    """The image without that name."""
    return image.but(
        tags=tuple(tag for tag in image.tags if tag != name),
        digests=tuple(digest for digest in image.digests if digest != name),
    )


def from_store(found: StoredImage, config: bytes) -> Image:
    """The record of what a pull or a load has stored; ``config`` is its configuration."""
    return Image(
        id=found.id, manifest=found.manifest, layers=tuple(found.chain_ids), size=found.size,
        created=seconds(json.loads(config).get("created")) * 1_000_000_000, pulled=time.time_ns(),
        blobs=tuple(found.blobs), media_type=found.media_type, manifest_size=found.manifest_size,
    )  # fmt: skip


def index_entries(image: Image) -> list[Json]:
    """The image's descriptors in index.json: one for each name, as skopeo looks for them."""
    entry: Json = {"mediaType": image.media_type, "digest": image.manifest, "size": image.manifest_size}
    named = [{**entry, "annotations": {"org.opencontainers.image.ref.name": tag}} for tag in image.tags]
    return named or [entry]


def seconds(text: str | None) -> int:
    """An RFC 3339 time as seconds since 1970, 0 for none or a bad one."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return int(datetime.fromisoformat(_microseconds(text or "")).timestamp())
    return 0


def _microseconds(text: str) -> str:
    """Nanoseconds cut to what datetime reads."""
    head, dot, rest = text.partition(".")
    digits = rest.rstrip("Zz+-:0123456789") or rest
    fraction = "".join(char for char in digits[:9] if char.isdigit())
    zone = rest[len(fraction) :] if dot else ""
    return f"{head}.{fraction[:6]}{zone}" if dot and fraction else text
