"""The disk that machines start from: Debian with systemd and a kernel, and what the project depends on.

Two steps, each cached under .cache/vm by a digest of what goes into it, because each takes a minute:

    mmdebstrap -> base-KEY.tar -> + provision.sh prepare, in a chroot -> KEY/disk.qcow2, kernel, initrd, ssh key

A run puts an overlay on the disk and never writes to it. The project itself is not in there: a machine gets the
current tree when it starts (scenes.py), and installs it as a user would, from a wheel and without the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qemu.place import Refused

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache/vm"
TREE = Path("root/minirund")
"""Where the machine has the project's tree, below /."""
WHEELS = Path("var/cache/minirund-wheels")
"""Where the machine has the wheels of all dependencies, below /."""

PACKAGES = (
    "systemd-sysv dbus udev kmod linux-image-cloud-amd64 initramfs-tools openssh-server make git ca-certificates"
    " procps iproute2 nftables busybox-static unzip e2fsprogs xfsprogs"
).split()
INPUTS = ("pyproject.toml", "scripts/install-packages", "vagrant/provision.sh", "vagrant/qemu/disk.py")
"""A change in one of these makes a new disk."""
KEPT = 3
"""How many disks stay in the cache: a branch or two beside the current one."""

FILES = {
    "etc/hostname": "vm\n",
    "etc/hosts": "127.0.0.1 localhost vm\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/ssh/sshd_config.d/machine.conf": "UsePAM no\nPrintMotd no\n",
    "etc/systemd/journald.conf.d/machine.conf": "[Journal]\nStorage=persistent\n",
    "etc/systemd/network/machine.network": "[Match]\nDriver=virtio_net\n"
    "[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n",
    "etc/initramfs-tools/modules": "quota_v2\n",
    "etc/pip.conf": f"[global]\nno-index = true\nfind-links = /{WHEELS}\ndisable-pip-version-check = true\n",
}
"""The machine's own configuration; addresses are those of QEMU's user network."""
ENABLED = {"multi-user.target.wants": ("systemd-networkd.service",)}
QUOTA = ("-O", "quota,project", "-E", "quotatype=prjquota")
"""Options of mke2fs, for the tests of --storage-opt: the kernel wants a module to mount what they make."""
MASKED = "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer man-db.timer"
PASSED_ON = "http_proxy https_proxy no_proxy PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST".split()
"""Variables of the host that say how packages are reached."""


@dataclass(frozen=True)
class Disk:
    """A cached disk: never written to."""

    directory: Path

    @property
    def image(self) -> Path:
        """qcow2, one ext4 file system without a partition table."""
        return self.directory / "disk.qcow2"

    @property
    def kernel(self) -> Path:
        """The machine's own kernel, for QEMU to load."""
        return self.directory / "kernel"

    @property
    def initrd(self) -> Path:
        """Its initial file system."""
        return self.directory / "initrd"

    @property
    def ssh_key(self) -> Path:
        """The private key that root in the machine lets in."""
        return self.directory / "ssh_key"


def cached(work: Path) -> Disk:
    """The disk for the tree as it is; made, below ``work``, if the cache has none. Raises Refused if it can't be."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / "lock"):
        sources = apt_sources()
        base = CACHE / f"base-{digest(*sources, *PACKAGES)}.tar"
        disk = Disk(CACHE / digest(base.name, *((ROOT / name).read_text() for name in INPUTS)))
        if not disk.image.exists():
            _make(disk, _base(base, sources, work), work / "root")
        os.utime(disk.directory)
        _forget_old()
    return disk


def digest(*texts: str) -> str:
    """A short name for what something is made of."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_old() -> None:
    disks = sorted(CACHE.glob("*/disk.qcow2"), key=lambda path: path.parent.stat().st_mtime)
    for image in disks[:-KEPT]:
        shutil.rmtree(image.parent)
    for tar in sorted(CACHE.glob("base*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        tar.unlink()


# --- Debian


def apt_sources() -> list[str]:
    """The lines of sources.list for this machine's own release, in the form of apt's one-line style."""
    release = _os_release()
    if release.get("ID") != "debian":
        raise Refused(f"it is built from this machine's Debian, and this is {release.get('PRETTY_NAME', 'not Debian')}")
    form = "$(ORIGIN)|$(RELEASE)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    codename = release["VERSION_CODENAME"]
    rows = [line.split("|") for line in sorted(set(shown.splitlines()))]
    lines = [line for origin, suite, line in rows if origin == "Debian" and suite.partition("-")[0] == codename]
    return lines or [f"deb http://deb.debian.org/debian {codename} main"]


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _base(tar: Path, sources: list[str], work: Path) -> Path:
    if not tar.exists():
        say("building Debian with a kernel and systemd; this is done once")
        made = work / "base.tar"
        include = f"--include={','.join(PACKAGES)}"
        suite = _os_release()["VERSION_CODENAME"]
        _run(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", include, suite, str(made), *sources])
        _publish({made: tar})
        made.unlink()
    return tar


# --- what the project needs


def _make(disk: Disk, base: Path, root: Path) -> None:
    say("adding what the project depends on; done again when pyproject.toml or the scripts change")
    root.mkdir()
    _run(["tar", "-x", "-C", str(root), "-f", str(base)])
    copy_tree(root / TREE)
    _configure(root, disk)
    _prepare(root)
    raw, key = root.parent / "disk.raw", root.parent / "ssh_key"
    _run(["mke2fs", "-q", "-t", "ext4", *QUOTA, "-L", "root", "-d", str(root), str(raw), "8G"])
    image = root.parent / "disk.qcow2"
    _run(["qemu-img", "convert", "-q", "-O", "qcow2", str(raw), str(image)])
    raw.unlink()
    (kernel,), (initrd,) = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
    disk.directory.mkdir(exist_ok=True)
    _publish({kernel: disk.kernel, initrd: disk.initrd, key: disk.ssh_key, image: disk.image})
    for used in (image, key):
        used.unlink()
    shutil.rmtree(root)


def copy_tree(target: Path) -> None:
    """Fill ``target`` with the files that git knows or would take."""
    target.mkdir(parents=True)
    with subprocess.Popen(tree_archive(), cwd=ROOT, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(target)], stdin=archive.stdout, check=True)


def tree_archive() -> list[str]:
    """The command that writes the current tree as a tar archive to its standard output."""
    files = "git -c safe.directory='*' ls-files -z --cached --others --exclude-standard"
    return ["sh", "-c", f"{files} | tar -c --null --files-from=- --ignore-failed-read --owner=0 --group=0 2>/dev/null"]


def _configure(root: Path, disk: Disk) -> None:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    units = root / "etc/systemd/system"
    for target, names in ENABLED.items():
        (units / target).mkdir(exist_ok=True)
        for unit in names:
            (units / target / unit).symlink_to(f"/lib/systemd/system/{unit}")
    for timer in MASKED.split():
        (units / timer).unlink(missing_ok=True)
        (units / timer).symlink_to("/dev/null")
    key = root.parent / "ssh_key"
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"machine {disk.directory.name}", "-f", str(key)])
    keys = root / "root/.ssh"
    keys.mkdir(mode=0o700, exist_ok=True)
    key.with_suffix(".pub").rename(keys / "authorized_keys")


def _prepare(root: Path) -> None:
    """Run provision.sh's first half in the file system, with the host's way to the packages."""
    resolv, pip_conf = root / "etc/resolv.conf", root / "etc/pip.conf"
    shutil.copyfile("/etc/resolv.conf", resolv)
    certificates = root / "etc/ssl/certs/ca-certificates.crt"
    shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", certificates)
    pip_conf.rename(pip_conf.with_suffix(".later"))
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    _run(["mount", "-t", "proc", "proc", str(root / "proc")])
    _run(["mount", "--rbind", "/dev", str(root / "dev")])
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
        "WHEELS": f"/{WHEELS}",
    }
    _run(["chroot", str(root), f"/{TREE}/vagrant/provision.sh", "prepare"], environment)
    _run(["chroot", str(root), "update-initramfs", "-u"], environment)
    _run(["umount", "-R", str(root / "proc"), str(root / "dev")])
    policy.unlink()
    pip_conf.with_suffix(".later").rename(pip_conf)
    resolv.write_text(FILES["etc/resolv.conf"])


# --- processes and files


def say(text: str) -> None:
    """One line of progress."""
    print(f"== {text}", flush=True)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a step of the building; what it prints is shown only if it fails. Raises Refused then."""
    ended = subprocess.run(
        command,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if ended.returncode:
        sys.stdout.write(ended.stdout.decode(errors="replace")[-3000:])
        raise Refused(f"the machine's disk can't be built: {command[0]} failed with exit code {ended.returncode}")


def _publish(files: dict[Path, Path]) -> None:
    """Copy files into the cache, each whole or not at all: a file without a name gets one when it is complete."""
    copies = {}
    for source, target in files.items():
        copy = os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o600)
        subprocess.run(["cp", "--sparse=always", str(source), f"/proc/self/fd/{copy}"], check=True, pass_fds=(copy,))
        copies[target] = copy
    for target, copy in copies.items():
        target.unlink(missing_ok=True)
        os.link(f"/proc/self/fd/{copy}", target, src_dir_fd=copy)  # which makes it linkat(2), that follows links
        os.close(copy)
