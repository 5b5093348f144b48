"""The plan: what is left of config.json for init, and in which form."""

from __future__ import annotations

import pytest

from minirund.runtime import plan
from minirund.runtime.mounts import Options
from minirund.runtime.start import memfd, pack, unpack
from minirund.runtime.syscalls import MS_NOSUID, MS_RDONLY
from overlayfs.errors import MountTooLong
from overlayfs.mount import PLAIN, VOLATILE, OverlayMount

CONFIG = {
    "process": {"args": ["true"], "user": {"uid": 1}},
    "mounts": [
        {"destination": "/dev", "type": "tmpfs", "options": ["nosuid", "ro", "size=65536k"]},
        {"destination": "/proc", "type": "proc"},
    ],
    "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO"}, "resources": {}, "maskedPaths": ["/proc/keys"]},
}


def with_root(overlay: OverlayMount) -> dict[str, object]:
    return {**CONFIG, "minirund": {"rootfs": overlay.to_json()}}


def test_what_the_spawner_carries_out_is_left_out_and_the_rest_stays() -> None:
    made = plan.of(CONFIG)
    assert made["linux"] == {"maskedPaths": ["/proc/keys"]}
    assert made["process"] == CONFIG["process"]
    assert "overlay" not in made
    assert "seccomp" in CONFIG["linux"]


def test_options_of_mounts_are_spelled_out() -> None:
    dev, proc = plan.of(CONFIG)["mounts"]
    assert Options(*dev["options"]) == Options(on=MS_NOSUID | MS_RDONLY, data="size=65536k")
    assert (dev["destination"], dev["type"]) == ("/dev", "tmpfs")
    assert Options(*proc["options"]) == Options()


def test_a_writable_overlay() -> None:
    overlay = OverlayMount("/layers/l", ("b", "a"), "/c/upper", "/c/work")
    assert plan.of(with_root(overlay))["overlay"] == {
        "cwd": "/layers/l",
        "options": overlay.options(),
        "writable": True,
        "forget": None,
    }


def test_one_that_is_never_synced_and_one_that_can_not_be_written_to() -> None:
    volatile = OverlayMount("/l", ("a",), "/c/upper", "/c/work", (*PLAIN, VOLATILE))
    assert plan.of(with_root(volatile))["overlay"]["forget"] == "/c/work"
    assert not plan.of(with_root(OverlayMount("/l", ("b", "a"))))["overlay"]["writable"]


def test_more_layers_than_a_mount_holds() -> None:
    with pytest.raises(MountTooLong):
        plan.of(with_root(OverlayMount("/l", ("a",) * 501, "/c/upper", "/c/work")))


def test_it_can_be_packed() -> None:
    made = plan.of(with_root(OverlayMount("/l", ("a",), "/c/upper", "/c/work")))
    assert unpack(memfd("plan", pack(made))) == made
