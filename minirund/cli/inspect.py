"""`inspect`: everything the daemon says of containers and images, as JSON or through a template."""

from __future__ import annotations

import sys

from minirund.cli.context import warn
from minirund.cli.options import Command, Opt
from minirund.client import ApiError, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

_FORMAT = Opt("format", "string", "json or TEMPLATE (Go's templates)", "f")
_SIZE = Opt("size", "bool", "Show a container's sizes", "s")
_TYPE = Opt("type", "string", "Only objects of this type", choices="container image")
_KINDS = ("container", "image")


def _container(context: Context, name: str, *, size: bool) -> Any:
    return context.client.get(f"/containers/{quote(name)}/json", {"size": size or None})


def _image(context: Context, name: str, *, size: bool) -> Any:
    return context.client.get(f"/images/{quote(name, b'/:@')}/json")


def _find(context: Context, name: str, kinds: Sequence[str], *, size: bool) -> Any:
    """The first kind that knows the name; ``ApiError`` of the last one asked where none does."""
    getters = {"container": _container, "image": _image}
    *others, last = kinds
    for kind in others:
        try:
            return getters[kind](context, name, size=size)
        except ApiError as error:
            if error.status != 404:
                raise
    return getters[last](context, name, size=size)


def _inspector(*kinds: str) -> Callable[[Context, Parsed], int]:
    """The command for these kinds of object."""

    def command(context: Context, args: Parsed) -> int:
        wanted = (args.text("type"),) if len(kinds) > 1 and args.given("type") else kinds
        size = "container" in kinds and args.flag("size")
        found, problems = _collect(context, args.rest, wanted, size=size)
        code = _show(args.text("format"), found)
        for problem in problems:
            warn(problem)
        return 1 if problems else code

    return command


def _collect(
    context: Context, names: Sequence[str], kinds: Sequence[str], *, size: bool
) -> tuple[list[Any], list[str]]:
    found, problems = [], []
    for name in names:
        try:
            found.append(_find(context, name, kinds, size=size))
        except ApiError as error:
            unknown = error.status == 404 and len(kinds) > 1
            problems.append(
                f"Error: No such object: {name}" if unknown else f"Error response from daemon: {error.message}"
            )
    return found, problems


def _show(form: str, found: Sequence[Any]) -> int:
    import json

    if form == "json":
        sys.stdout.write(json.dumps(found, separators=(",", ":"), ensure_ascii=False) + "\n")
    elif form:
        from minirund.cli.template import Template

        template = Template(form)
        for value in found:
            sys.stdout.write(template.render(value) + "\n")
    else:
        sys.stdout.write(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    return 0


COMMANDS = {
    "inspect": Command(_inspector(*_KINDS), "NAME|ID [NAME|ID...]", (_FORMAT, _SIZE, _TYPE), least=1, takes="objects"),
    "container inspect": Command(
        _inspector("container"), "CONTAINER [CONTAINER...]", (_FORMAT, _SIZE), least=1, takes="containers"
    ),
    "image inspect": Command(_inspector("image"), "IMAGE [IMAGE...]", (_FORMAT,), least=1, takes="images"),
}
