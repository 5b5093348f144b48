"""What `rmi` may take away: decided here, from records alone, and carried out by images.py. Docker's rules.

    by name     the name goes. With the last tag of a repository go the repository's digests; with the last name goes
                the image, unless a container was made from it (then the name goes only if that is forced)
    by ID       all names and the image: if one repository has all of them, or if it is forced; and never under a
                container that runs

An image that a container was made from stays in the store without a name until that container has gone too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from minirund.engine.records import Container, Image
from minirund.errors import Conflict
from minirund.registry import reference as references


class Plan(NamedTuple):
    """What goes: names, in order, and with ``image`` the image itself, if no container needs it."""

    names: tuple[str, ...]
    image: bool


def by_name(image: Image, name: str, shown: str, users: Collection[Container], force: bool) -> Plan:
    """Remove one full name of an image. ``shown`` is the name as it was given. Raises Conflict."""
    if users and not force and _single_reference(image):
        raise Conflict(
            f'conflict: unable to remove repository reference "{shown}" (must force) - '
            f"container {next(iter(users)).id[:12]} is using its referenced image {short(image.id)}"
        )
    gone = (name, *_digests_without_tag(image, name))
    left = [other for other in (*image.tags, *image.digests) if other not in gone]
    return Plan(gone, not left)


def by_id(image: Image, users: Collection[Container], force: bool) -> Plan:
    """Remove an image with all its names. Raises Conflict."""
    running = next((container for container in users if container.active), None)
    if running is not None:
        raise _conflict(image, "cannot", f"image is being used by running container {running.id[:12]}")
    if not force and not _single_reference(image):
        raise _conflict(image, "must", "image is referenced in multiple repositories")
    if not force and users:
        raise _conflict(image, "must", f"image is being used by stopped container {next(iter(users)).id[:12]}")
    return Plan((*image.tags, *image.digests), True)


def short(image_id: str) -> str:
    """The twelve digits by which users know an image."""
    return image_id.removeprefix("sha256:")[:12]


def _conflict(image: Image, word: str, why: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {short(image.id)} ({word} be forced) - {why}")


def _single_reference(image: Image) -> bool:
    """At most one tag, and digests of its repository only."""
    repositories = {references.parse(name).name for name in (*image.tags, *image.digests)}
    return len(image.tags) <= 1 and len(repositories) <= 1


def _digests_without_tag(image: Image, gone: str) -> tuple[str, ...]:
    """The digests of a repository whose last tag goes."""
    repository = references.parse(gone).name
    if "@" in gone or any(tag != gone and references.parse(tag).name == repository for tag in image.tags):
        return ()
    return tuple(digest for digest in image.digests if references.parse(digest).name == repository)
