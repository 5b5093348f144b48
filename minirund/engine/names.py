"""Identifiers and names: what a container may be called, and how one is found by a part of its ID."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

from minirund.errors import InvalidArgument

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_ADJECTIVES = """able agile amber ample apt azure bold brave brisk bright calm candid careful civil clear clever cool
cosmic crisp curious deft eager early easy exact fair famous fast fine firm fluent frank free fresh
gentle glad golden good grand great green happy hardy honest humble ideal jolly just keen kind large
level light lively loyal lucid lucky mellow merry mild modest neat nimble noble open patient plain
polite proud quick quiet rapid ready rich robust round serene sharp silent simple smart smooth
snappy sober solid sound steady still strong subtle sunny sure swift tidy true upbeat vivid warm
wise witty young zesty""".split()
_NOUNS = """acorn anchor anvil apple arrow aspen badger bamboo basil beacon birch bison brook canoe canyon cedar
cello cherry cliff clover comet copper coral cove crane creek daisy delta dune eagle ember falcon
fern finch fjord flint forest fox garden geyser ginger glacier grove harbor hazel heron hill holly
iris island ivory jasper juniper kayak kiwi lagoon lake lantern lark laurel lemon lily linden lotus
lynx maple marble marsh meadow mesa mint moose moss nutmeg oak oasis ocean olive orchid otter owl
pebble pepper pine plum pond poplar prairie quartz quince rain raven reef ridge river robin sage
sail salmon sequoia shore spruce stone stream summit swan thistle tide topaz trout tulip tundra
valley violet walnut willow wren""".split()


def new_id() -> str:
    """64 hex digits. The first twelve, the short form, are never all decimal: a host name that is a number misleads."""
    while (candidate := secrets.token_hex(32))[:12].isdecimal():
        pass
    return candidate


def new_name(taken: Collection[str]) -> str:
    """A name nobody has, like ``quiet_heron``."""
    name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_NOUNS)}"
    while name in taken:
        name = f"{name}{secrets.randbelow(10)}"
    return name


def check_name(name: str) -> str:
    """A container's name without its leading slash. Raises InvalidArgument."""
    name = name.removeprefix("/")
    if not NAME.fullmatch(name) or len(name) > 255:
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise InvalidArgument(
            f"Invalid container name ({shown}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most 255 characters"
        )
    return name


def by_prefix(ids: Collection[str], prefix: str) -> str | None:
    """The one ID that begins so; None for none. Raises InvalidArgument if there are several."""
    found = [candidate for candidate in ids if candidate.startswith(prefix)] if prefix else []
    if len(found) > 1:
        raise InvalidArgument(f"Multiple IDs found with provided prefix: {prefix}")
    return found[0] if found else None
