"""An image's name, taken apart as Docker does it: ``[domain/]path[:tag][@digest]``.

    alpine                        docker.io / library/alpine : latest
    user/app:1.2                  docker.io / user/app       : 1.2
    localhost:5000/x              localhost:5000 / x         : latest
    ghcr.io/a/b@sha256:0123...    ghcr.io / a/b              @ sha256:0123...

The part before the first slash is a domain if it has a dot, a colon or a capital letter, or is ``localhost``;
otherwise the name is one of Docker Hub's, and a Hub name of one word belongs to ``library/``. ``familiar`` undoes
this: it is the shortest text that means the same. Without tag and digest the tag is ``latest``.

Pure; a name of any length costs time linear in it. Grammar: distribution/reference (the comment at its top).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from minirund.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
DEFAULT_HOST = "registry-1.docker.io"  # where docker.io's API lives
MAX_NAME = 255

_DOMAIN_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[a-zA-Z][a-zA-Z0-9]*(?:[-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}", re.ASCII)
_HEX_ID = re.compile(r"[a-f0-9]{64}")
_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True)
class Reference:
    """A complete name. ``tag`` and ``digest`` are "" where not given; with both, the digest decides what is meant."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """``docker.io/library/alpine``: the repository, without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def host(self) -> str:
        """``host[:port]`` of the registry's API."""
        return DEFAULT_HOST if self.domain == DEFAULT_DOMAIN else self.domain

    @property
    def identifier(self) -> str:
        """What to ask the registry for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def familiar_name(self) -> str:
        """``alpine``: the repository as users write it."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        head, _, rest = self.path.partition("/")
        return rest if head == "library" and "/" not in rest else self.path

    def familiar(self) -> str:
        """``alpine:latest``, ``user/app@sha256:...``: as users write and read it."""
        return self.familiar_name + self._suffix()

    def with_digest(self, digest: str) -> Reference:
        """The same repository's image of that digest (a repo digest, once ``familiar``)."""
        return replace(self, tag="", digest=checked_digest(digest))

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse(text: str, default_tag: str = DEFAULT_TAG) -> Reference:
    """Read a name as a user writes it. ``default_tag=""`` leaves a name without tag and digest as it is.

    Raises InvalidArgument with Docker's wording (``invalid reference format``, ...).
    """
    if _HEX_ID.fullmatch(text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    domain, rest = _split_domain(rest)
    path, colon, tag = rest.partition(":")
    _check_path(path)
    if not _DOMAIN.fullmatch(domain) or (colon and not _TAG.fullmatch(tag)):
        raise InvalidArgument("invalid reference format")
    reference = Reference(domain, path, tag, checked_digest(digest) if at else "")
    return reference if reference.identifier else replace(reference, tag=default_tag)


def combine(name: str, tag: str = "") -> Reference:
    """``fromImage`` and ``tag`` of the API (``POST /images/create``, ``/images/NAME/tag``): ``tag`` may be a digest.

    A given ``tag`` replaces what ``name`` itself says; an empty one leaves it, or means ``latest``.
    """
    reference = parse(name)
    if not tag:
        return reference
    if ":" in tag:
        return reference.with_digest(tag)
    if not _TAG.fullmatch(tag):
        raise InvalidArgument("invalid tag format")
    return replace(reference, tag=tag, digest="")


def checked_digest(text: str) -> str:
    """``algorithm:hex`` as given, or InvalidArgument. Known are sha256, sha384 and sha512."""
    if not _DIGEST.fullmatch(text):
        raise InvalidArgument("invalid reference format")
    algorithm, _, value = text.partition(":")
    if algorithm not in _HEX_LENGTH:
        raise InvalidArgument("unsupported digest algorithm")
    if len(value) != _HEX_LENGTH[algorithm]:
        raise InvalidArgument("invalid checksum digest length")
    if value != value.lower():
        raise InvalidArgument("invalid checksum digest format")
    return text


def _split_domain(text: str) -> tuple[str, str]:
    head, slash, rest = text.partition("/")
    if not slash or not _is_domain(head):
        domain, rest = DEFAULT_DOMAIN, text
    else:
        domain = DEFAULT_DOMAIN if head == "index.docker.io" else head
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = "library/" + rest
    return domain, rest


def _is_domain(head: str) -> bool:
    return "." in head or ":" in head or head == "localhost" or head != head.lower()


def _check_path(path: str) -> None:
    if _PATH.fullmatch(path):
        if len(path) > MAX_NAME:
            raise InvalidArgument(f"repository name must not be more than {MAX_NAME} characters")
        return
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        raise InvalidArgument("invalid reference format: repository name must be lowercase")
    raise InvalidArgument("invalid reference format")
