"""The container's file system, put together in its own mount namespace.

Nothing here is seen on the host, and the kernel takes it all away with the namespace's last process.

Until ``change_root`` the host's tree is still the root, and the container's is a directory open as ``ctx.root``. All
paths inside it go through ``paths``. A bind mount starts as a detached copy of its source, taken before anything of the
image is in sight, and is attached to a descriptor: neither end can be exchanged under our hands.

Sources: mount(2), open_tree(2), move_mount(2), pivot_root(2), mount_namespaces(7); OCI runtime-spec config.md.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from minirund.errors import StartFailed, StepFailed
from minirund.runtime import mounts, paths, syscalls
from minirund.runtime.context import Context
from overlayfs.mount import forget_volatile

STRICT = ("proc", "sysfs")  # never mounted through a link: who can redirect /proc decides what a mask covers


def cut_propagation(ctx: Context) -> None:
    """From here on no mount of ours reaches the host. Slave: the host's later ones still reach volumes that want it.

    But for volumes whose mounts the host is to see: a copy is the host's peer only if it is taken before the cut.
    """
    if (ctx.linux.get("rootfsPropagation") or "").endswith("shared"):
        _open_sources(ctx, syscalls.MS_SHARED)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)


def open_bind_sources(ctx: Context) -> None:
    """Take a detached copy of every bind mount's source, while the host's names mean what they say."""
    _open_sources(ctx)


def _open_sources(ctx: Context, propagation: int = 0) -> None:
    """Those that are not open yet: all, or those with the propagation."""
    for number, mount in enumerate(ctx.mounts):
        options = mounts.Options(*mount["options"])
        wanted = number not in ctx.trees and propagation in (0, options.propagation)
        if wanted and is_bind(mount, options):
            source = ctx.inside(mount["source"])
            ctx.trees[number] = syscalls.open_tree(syscalls.AT_FDCWD, source, options.recursive)
            if propagation:
                require_shared(source)


def require_shared(source: str) -> None:
    """Refuse a volume whose mounts nobody would see, as its own is private. Raises StartFailed, in Docker's words."""
    descriptor = os.open(source, os.O_PATH | os.O_CLOEXEC)
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        facts = dict(line.split(":", 1) for line in file)
    os.close(descriptor)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.split(" - ")[0].split(" ") for line in file]
    row = next(row for row in rows if row[0] == facts["mnt_id"].strip())
    if not any(word.startswith("shared:") for word in row[6:]):
        raise StartFailed(f"path {source} is mounted on {row[4]} but it is not a shared mount", 125)


def mount_root(ctx: Context) -> None:
    """The image's layers with a read-write layer on top, or a plain directory bound onto itself.

    The kernel syncs what was written when an overlay's last user goes. That would be the container's first process, and
    everybody who waits for its end would wait for the disk. So the shim takes part: it is the last, after it has told.
    """
    path = ctx.inside((ctx.config.get("root") or {}).get("path") or "rootfs")
    overlay = ctx.config.get("overlay")
    if overlay is None:
        ctx.root = syscalls.open_tree(syscalls.AT_FDCWD, path, recursive=True)
        with_directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        syscalls.move_mount(ctx.root, with_directory, path)
        os.close(with_directory)
        return
    if overlay["forget"]:
        forget_volatile(overlay["forget"])
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
    os.chdir(overlay["cwd"])  # the layers are named relative to it, to fit into a page of options
    syscalls.mount("overlay", path, "overlay", 0, overlay["options"])
    ctx.root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if overlay["writable"]:
        ctx.send_mounted()


def mount_all(ctx: Context) -> None:
    """The configuration's mounts, in their order: /proc, /dev and what lies in it, /sys, volumes, files of /etc."""
    for number, mount in enumerate(ctx.mounts):
        options = mounts.Options(*mount["options"])
        if number in ctx.trees:
            attach_tree(ctx, ctx.trees.pop(number), mount["destination"], options)
        else:
            mount_filesystem(ctx, mount, options)


def attach_tree(ctx: Context, tree: int, destination: str, options: mounts.Options) -> None:
    """A bind mount: the detached copy gets its attributes, then its place."""
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    target = paths.make_target(ctx.root, destination, is_directory)
    mounts.set_attributes(tree, options, destination)
    try:
        syscalls.move_mount(tree, target, destination)
    except StepFailed as error:
        if is_directory or not stat.S_ISDIR(os.fstat(target).st_mode):
            raise
        raise StepFailed("mount a file on a directory", error.errno, destination) from error
    os.close(target)
    os.close(tree)


def mount_filesystem(ctx: Context, mount: dict[str, Any], options: mounts.Options) -> None:
    """A file system of its own: proc, sysfs, tmpfs, devpts, mqueue, cgroup2."""
    destination, fstype = mount["destination"], mount["type"]
    fstype = "cgroup2" if fstype == "cgroup" else fstype
    target = paths.make_target(ctx.root, destination, True, links=fstype not in STRICT)
    source, where = mount.get("source") or fstype, paths.proc_path(target)
    try:
        syscalls.mount(source, where, fstype, options.on, options.data, destination)
    except StepFailed as error:
        if fstype != "sysfs" or error.errno != errno.EPERM:
            raise
        bind_host_sys(target, options, destination)
    os.close(target)
    if options.propagation:
        with paths.opened(ctx.root, destination) as mounted:
            mounts.set_propagation(mounted, options, destination)


def bind_host_sys(target: int, options: mounts.Options, destination: str) -> None:
    """Where the network namespace is another's, the kernel may refuse a new sysfs: then the host's, as it is."""
    tree = syscalls.open_tree(syscalls.AT_FDCWD, "/sys", recursive=True)
    syscalls.mount_setattr(tree, mounts.attributes(options.on), recursive=True, named=destination)
    syscalls.move_mount(tree, target, destination)
    os.close(tree)


def change_root(ctx: Context) -> None:
    """pivot_root on itself stacks the old root on the new one, and umount takes it away: no directory needed for it."""
    os.fchdir(ctx.root)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")


def set_root_propagation(ctx: Context) -> None:
    """Whether mounts made inside the container are seen by those who share its root; hardly ever asked for."""
    wanted = ctx.linux.get("rootfsPropagation")
    if wanted:
        options = mounts.parse((wanted,))
        mounts.set_propagation(ctx.root, options, "/")


def write_sysctls(ctx: Context) -> None:
    """Kernel parameters that a namespace has for itself: a name is a path below /proc/sys."""
    for name, value in (ctx.linux.get("sysctl") or {}).items():
        require_namespaced(ctx, name)
        path = "/proc/sys/" + name.replace(".", "/")
        try:
            with paths.opened(ctx.root, path, os.O_WRONLY, links=False) as file:
                os.write(file, value.encode())
        except OSError as error:
            raise StepFailed(f"set sysctl {name} to {value}", error.errno or 0, path) from error


IPC_SYSCTLS = (
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
    "kernel.shm_rmid_forced"
).split()


def require_namespaced(ctx: Context, name: str) -> None:
    """A parameter that the container shares with the host is not the container's to set. Raises StepFailed."""
    needed = "network" if name.startswith("net.") else "ipc" if name in IPC_SYSCTLS or "fs.mqueue." in name else ""
    needed = "uts" if name in ("kernel.hostname", "kernel.domainname") else needed
    if not needed:
        raise StepFailed(f"set sysctl {name}: it is not in a separate kernel namespace", errno.EPERM)
    names = [each["type"] for each in ctx.linux.get("namespaces") or ()]
    if needed not in names:
        raise StepFailed(f"set sysctl {name}: not allowed in the host's {needed} namespace", errno.EPERM)


def make_paths_readonly(ctx: Context) -> None:
    """Paths that may be read but not written: /proc/sys and its like. One that is not there needs nothing."""
    for path in ctx.linux.get("readonlyPaths") or ():
        target = existing(ctx, path)
        if target is None:
            continue
        tree = syscalls.open_tree(target, "", recursive=True, named=path)
        syscalls.mount_setattr(tree, syscalls.MOUNT_ATTR_RDONLY, recursive=True, named=path)
        syscalls.move_mount(tree, target, path)
        os.close(tree)
        os.close(target)


def mask_paths(ctx: Context) -> None:
    """Paths that tell or allow too much: a file gets /dev/null over it, a directory an empty one."""
    masked = ctx.linux.get("maskedPaths") or ()
    null = open_null(ctx) if masked else -1
    for path in masked:
        target = existing(ctx, path)
        if target is None:
            continue
        if stat.S_ISDIR(os.fstat(target).st_mode):
            flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
            syscalls.mount("tmpfs", paths.proc_path(target), "tmpfs", flags, "nr_blocks=1,nr_inodes=1", path)
        else:
            tree = syscalls.open_tree(null, "", named="/dev/null")
            syscalls.move_mount(tree, target, path)
            os.close(tree)
        os.close(target)
    if masked:
        os.close(null)


def existing(ctx: Context, path: str) -> int | None:
    """What is at the path (O_PATH), or None if nothing is."""
    found = paths.look_in(ctx.root, path)
    if found in (-errno.ENOENT, -errno.ENOTDIR):
        return None
    return paths.opened_or_raise(found, path)


def open_null(ctx: Context) -> int:
    """The container's /dev/null; refused if something else is there."""
    descriptor = paths.open_in(ctx.root, "/dev/null", links=False)
    found = os.fstat(descriptor)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        raise StepFailed("mask paths: not the null device", errno.ENODEV, "/dev/null")
    return descriptor


def make_root_readonly(ctx: Context) -> None:
    """On request the root itself; what is mounted below keeps its own say."""
    if (ctx.config.get("root") or {}).get("readonly"):
        syscalls.mount_setattr(ctx.root, syscalls.MOUNT_ATTR_RDONLY, named="/")


def is_bind(mount: dict[str, Any], options: mounts.Options) -> bool:
    """Whether the mount shows something that is there already."""
    return mount.get("type") == "bind" or options.bind
