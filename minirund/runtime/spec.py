"""A complete default config.json, as Docker would make it for a plain container: what to start from by hand.

A bundle with it needs a directory ``rootfs`` beside it. Without a seccomp profile: that is data, and the engine's.
"""

from __future__ import annotations

from cgroups.devices import DEFAULT_RULES
from minirund.oci import VERSION, Config

CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
        "AUDIT_WRITE"
    ).split()
]
MASKED = [
    *(
        f"/proc/{name}"
        for name in "acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats".split()
    ),
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
]
READONLY = [f"/proc/{name}" for name in "bus fs irq sys sysrq-trigger".split()]
QUIET = ["nosuid", "noexec", "nodev"]


def default_config(cgroups_path: str = "/minirund-hand-written") -> Config:
    """The configuration. Change what should be different."""
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
            "noNewPrivileges": False,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "minirund",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": QUIET},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*QUIET, "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", *QUIET]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": QUIET},
            {
                "destination": "/dev/shm",  # noqa: S108 - in the container
                "type": "tmpfs",
                "source": "shm",
                "options": [*QUIET, "mode=1777", "size=65536k"],
            },
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc", "cgroup")],
            "cgroupsPath": cgroups_path,
            "resources": {"devices": [dict(rule) for rule in DEFAULT_RULES]},
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
        "minirund": {"stdin": True, "stdin_once": True, "log": "container.log"},
    }
