"""Images: summaries, details, and what pull, tag and remove answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from minirund.api.schemas.base import Answer


class ImageSummary(Answer):
    """A line of ``images``."""

    Id: str
    ParentId: str
    RepoTags: list[str]
    RepoDigests: list[str]
    Created: int = Field(description="Seconds since 1970")
    Size: int = Field(description="Bytes, unpacked")
    SharedSize: int
    Labels: dict[str, str] | None
    Containers: int


class ImageLayers(Answer):
    """An image's layers, bottom first, by the digest of their unpacked form."""

    Type: str
    Layers: list[str]


class ImageInspect(Answer):
    """All about an image."""

    Id: str
    RepoTags: list[str]
    RepoDigests: list[str]
    Parent: str
    Comment: str
    Created: str
    DockerVersion: str
    Author: str
    Config: dict[str, Any]
    Architecture: str
    Variant: str | None = None
    Os: str
    Size: int
    GraphDriver: dict[str, Any]
    RootFS: ImageLayers
    Metadata: dict[str, Any]


class ImageHistory(Answer):
    """A step of an image's making."""

    Id: str
    Created: int
    CreatedBy: str
    Tags: list[str] | None
    Size: int
    Comment: str


class ImageDeleted(Answer):
    """A name or an image that is gone."""

    Untagged: str | None = None
    Deleted: str | None = None


class ImagesPruned(Answer):
    """What a prune removed."""

    ImagesDeleted: list[ImageDeleted] | None
    SpaceReclaimed: int


class ProgressDetail(Answer):
    """How far a step is, in bytes."""

    current: int
    total: int


class Progress(Answer):
    """A line of a pull's or load's progress. One with an ``error`` is the last."""

    id: str | None = None
    status: str | None = None
    progress: str | None = None
    progressDetail: ProgressDetail | None = None  # noqa: N815 - Docker's name
    error: str | None = None
    errorDetail: dict[str, Any] | None = None  # noqa: N815 - Docker's name
