"""A container's configuration: what the user says, and what the image says where the user says nothing. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from typing import Any

from minirund.engine.records import Json
from minirund.errors import InvalidArgument


def merge(config: Json, image: Json) -> Json:
    """The configuration of a container made from an image: both are ContainerConfigs."""
    merged: dict[str, Any] = dict(config)
    merged |= _command(config, image)
    merged["Env"] = _environment(config.get("Env") or (), image.get("Env") or ())
    merged["Labels"] = {**(image.get("Labels") or {}), **(config.get("Labels") or {})}
    for key in ("User", "WorkingDir", "StopSignal"):
        merged[key] = config.get(key) or image.get(key) or ""
    for key in ("Volumes", "ExposedPorts"):
        merged[key] = {**(image.get(key) or {}), **(config.get(key) or {})} or None
    return merged


def _command(config: Json, image: Json) -> Json:
    """The image's command belongs to its entrypoint: with an entrypoint of one's own it is not taken over.

    An entrypoint of one empty word takes the image's away, and the command with it.
    """
    entrypoint, command = config.get("Entrypoint"), config.get("Cmd")
    if not entrypoint and not command:
        command = image.get("Cmd")
    if entrypoint is None:
        entrypoint = image.get("Entrypoint")
    return {"Entrypoint": None if entrypoint == [""] else entrypoint, "Cmd": command}


def _environment(own: Iterable[str], image: Iterable[str]) -> list[str]:
    """The user's words as they are (one without "=" takes a variable away), then the image's other variables."""
    words = list(own)
    names = {word.partition("=")[0] for word in words}
    return words + [word for word in image if word.partition("=")[0] not in names]


def parse_signal(text: str) -> int:
    """A signal's number from "SIGTERM", "term", "15", "RTMIN+3". Raises InvalidArgument."""
    name = text.upper().removeprefix("SIG")
    if re.fullmatch(r"[0-9]{1,2}", name) and 0 < int(name) < signal.NSIG:
        return int(name)
    base, plus, offset = name.replace("-", "+-", 1).partition("+")
    number = getattr(signal, f"SIG{base}", None)
    if isinstance(number, signal.Signals) and not plus:
        return int(number)
    if base in {"RTMIN", "RTMAX"} and re.fullmatch(r"-?[0-9]{1,2}", offset):
        found = int(getattr(signal, f"SIG{base}")) + int(offset)
        if signal.SIGRTMIN <= found <= signal.SIGRTMAX:
            return found
    raise InvalidArgument(f"Invalid signal: {text[:80]}")
