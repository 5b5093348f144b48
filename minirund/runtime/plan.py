"""config.json -> the plan: what init goes by. The spawner has time for what can be said beforehand; init has not.

A process that was just forked copies each page that it writes to, and a function called for the first time is some
pages more. So the plan is config.json without what the spawner carries out, and with the rest spelled out as the kernel
wants it: mount options as flags, the overlay as its option string.
"""

from __future__ import annotations

from typing import Any

from minirund.runtime import mounts
from overlayfs.mount import VOLATILE, OverlayMount

CARRIED_OUT = ("seccomp", "resources")
"""Of config.json's ``linux``: what the spawner does, and long."""
OURS = "minirund"
"""Of config.json: the extension. Init needs its overlay, spelled out."""


def of(config: dict[str, Any]) -> dict[str, Any]:
    """The plan. Raises OverlayError for layers that no mount can hold."""
    plan = {key: value for key, value in config.items() if key != OURS}
    plan["linux"] = {key: value for key, value in (config.get("linux") or {}).items() if key not in CARRIED_OUT}
    plan["mounts"] = [mounts.parsed(mount) for mount in config.get("mounts") or ()]
    overlay = (config.get(OURS) or {}).get("rootfs")
    if overlay is not None:
        plan["overlay"] = overlay_of(OverlayMount.from_json(overlay))
    return plan


def overlay_of(mount: OverlayMount) -> dict[str, Any]:
    """How init mounts it: ``cwd`` to be in, mount(2)'s ``options``, whether it is ``writable``, and the work directory
    of an earlier mount to ``forget`` if it is volatile: that of a --rm container, which no power cut outlives."""
    return {
        "cwd": mount.cwd,
        "options": mount.options(),
        "writable": mount.upper is not None,
        "forget": mount.work if VOLATILE in mount.extra else None,
    }
