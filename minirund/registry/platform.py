"""Platforms: what an image was built for, what this machine is, and whether one runs on the other.

Source: OCI image-spec image-index.md, "platform"; the spellings are containerd's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from minirund.errors import InvalidArgument

_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "i386": "386",
    "i686": "386",
}
_ARM_VARIANTS = ("v8", "v7", "v6", "v5")
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


@dataclass(frozen=True)
class Platform:
    """``linux/arm64/v8``. ``variant`` is "" where it is the architecture's usual one (arm64/v8, amd64/v1)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def accepts(self, offered: Platform) -> int | None:
        """How well an offered platform runs here: 0 is exact, more is worse, None not at all."""
        if (self.os, self.architecture) != (offered.os, offered.architecture):
            return None
        if self.architecture == "arm":
            return _arm_distance(self.variant or "v7", offered.variant or "v7")
        if self.architecture == "amd64":
            return _amd64_distance(self.variant, offered.variant)
        return 0 if self.variant == offered.variant else None


def _arm_distance(wanted: str, offered: str) -> int | None:
    """A newer ARM core runs what was built for an older one."""
    if wanted not in _ARM_VARIANTS or offered not in _ARM_VARIANTS:
        return 0 if wanted == offered else None
    distance = _ARM_VARIANTS.index(offered) - _ARM_VARIANTS.index(wanted)
    return distance if distance >= 0 else None


def _amd64_distance(wanted: str, offered: str) -> int | None:
    levels = [int(text[1:]) if re.fullmatch(r"v[1-9]", text) else 1 for text in (wanted, offered)]
    return levels[0] - levels[1] if levels[0] >= levels[1] else None


def normalised(os: str, architecture: str, variant: str = "") -> Platform:
    """One spelling for each platform: x86_64 is amd64, aarch64 and arm64/v8 are arm64."""
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    if architecture == "armhf":
        variant = variant or "v7"
    architecture = _ARCHITECTURES.get(architecture, architecture)
    usual = _DEFAULT_VARIANTS.get(architecture) if architecture != "arm" else None
    return Platform(os, architecture, "" if variant == usual else variant)


def parse_platform(text: str) -> Platform:
    """``os/arch[/variant]``, or an architecture alone (linux then). Raises InvalidArgument."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", part) for part in parts):
        raise InvalidArgument(f'"{text[:100]}" is an invalid platform: it is written os/arch or os/arch/variant')
    if len(parts) == 1:
        parts = ["linux", parts[0]] if parts[0] != "linux" else ["linux", host().architecture]
    return normalised(*parts)


def host() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    match = re.fullmatch(r"arm(v[5-8])l?", machine)
    return normalised("linux", "arm", match[1]) if match else normalised("linux", machine)
