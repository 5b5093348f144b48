"""One Linux machine under QEMU: started on an overlay of the cached disk, spoken to over ssh, and ended.

    with Machine(disk, work) as machine:
        machine.start()                         # boots; ssh answers and systemd has started everything
        machine.run("uname -r", check=True)
        machine.cut()                           # SIGKILL, as if the plug was pulled
        machine.start()                         # the same disk, as the cut left it

The disk is honest: what the machine has flushed is in the overlay's file, whose pages outlive QEMU; what it has only
written may or may not be there after a cut; what was in its page cache is lost. KVM where it works, else emulation.

Source: qemu(1), docs/interop/qmp-spec of QEMU.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from qemu.disk import CACHE, TREE, Disk, say
from qemu.monitor import Monitor, Refusal
from qemu.stale import Watch, places

KVM_CREATE_VM = 0xAE01
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KVM_FAILED = CACHE / "kvm-failed"
"""The ID of the host's boot in which a machine could not be run with KVM."""
MEMORY_MB, PROCESSORS = 2048, 2
BOOT_SECONDS, ANSWER_SECONDS, OFF_SECONDS = 240, 20, 120
COMMAND_LINE = (
    "root=/dev/vda rw rootflags=prjquota console=ttyS0 quiet systemd.show_status=false panic=-1 net.ifnames=0 nokaslr"
)
EMULATED_CPU, EMULATED_LINE = "max,-erms", f"{COMMAND_LINE} norandmaps"
"""What spares an emulated processor work. QEMU translates code once for each address that it is mapped at: with random
addresses a page of libc's gets very many translations, and who clears that page later goes through them at each store.
Linux clears and copies eight bytes at a time where no processor says that single ones are as fast (ERMS)."""


class MachineFailed(Exception):
    """The machine didn't do what it should; the message ends with what its console showed last."""


class NoKvm(MachineFailed):
    """The host offers KVM and can't run a machine with it, as happens in virtual machines."""


def accelerator() -> str:
    """``kvm`` where it is offered and has not failed since this host's boot, else ``tcg``, QEMU's emulation."""
    if KVM_FAILED.exists() and KVM_FAILED.read_text() == BOOT_ID.read_text():
        return "tcg"
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return "tcg"
    try:
        os.close(fcntl.ioctl(device, KVM_CREATE_VM, 0))
    except OSError:
        return "tcg"
    finally:
        os.close(device)
    return "kvm"


def command(disk: Disk, work: Path, accelerated: str) -> list[str]:
    """QEMU's command line for a machine whose files lie in the directory ``work``."""
    port = "hostfwd=tcp:127.0.0.1:0-:22"  # 0: any port that is free
    processor, line = (EMULATED_CPU, EMULATED_LINE) if accelerated == "tcg" else ("max", COMMAND_LINE)
    return [
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-user-config"),
        *("-accel", accelerated, "-cpu", processor, "-smp", str(PROCESSORS), "-m", str(MEMORY_MB)),
        *(word for number in range(PROCESSORS) for word in node(number)),
        *("-kernel", str(disk.kernel), "-initrd", str(disk.initrd), "-append", line),
        *("-drive", f"file={work}/overlay.qcow2,if=virtio,cache=writeback,discard=unmap"),
        *("-netdev", f"user,id=net,{port}", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
        *("-serial", f"file:{work}/console"),
        *("-qmp", f"unix:{work}/qmp,server=on,wait=off"),
        *(watched(work) if accelerated == "tcg" else ()),
    ]


def watched(work: Path) -> tuple[str, ...]:
    """QEMU's words for what an emulated machine is looked after with: stale.py."""
    return ("-qmp", f"unix:{work}/watch,server=on,wait=off", "-gdb", f"unix:{work}/gdb,server=on,wait=off")


def node(number: int) -> tuple[str, ...]:
    """QEMU's words for a memory node: one a processor, each with its part of the memory, for the tests of cpusets."""
    size = MEMORY_MB // PROCESSORS
    memory = f"memory-backend-ram,id=memory{number},size={size}M"
    return ("-object", memory, "-numa", f"node,nodeid={number},cpus={number},memdev=memory{number}")


class Machine:
    """A machine on an overlay of its own. ``close`` ends it at once."""

    def __init__(self, disk: Disk, work: Path) -> None:
        self._disk, self._work = disk, work
        self._qemu: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        self._port = 0
        self.accelerator = accelerator()
        self.console = work / "console"
        """What the machine has written to its serial line since it was started last."""
        self._fresh_overlay()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Pull the plug, if it runs."""
        if self._qemu:
            self.cut()

    def _fresh_overlay(self) -> None:
        overlay = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(self._disk.image)]
        subprocess.run([*overlay, str(self._work / "overlay.qcow2")], check=True)

    # --- on and off

    def start(self) -> None:
        """Boot, and wait until ssh answers and systemd is done. Raises MachineFailed."""
        try:
            self._start()
        except NoKvm:
            say("KVM is there but can't run the machine: emulation it is, until this host boots again")
            KVM_FAILED.write_text(BOOT_ID.read_text())
            self.accelerator = "tcg"
            self.cut()
            self._fresh_overlay()
            self._start()

    def _start(self) -> None:
        words = command(self._disk, self._work, self.accelerator)
        with (self._work / "qemu").open("wb") as said:
            self._qemu = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self._port = self._forwarded_port()
        if self.accelerator == "tcg":
            self._watch = Watch(self._work)
            self._watch.start()
        self._await_boot()

    def reboot(self) -> None:
        """Ask systemd for a reboot and wait for the machine to be back. QEMU starts the same kernel again."""
        before = self.run("cat /proc/sys/kernel/random/boot_id", check=True).stdout
        self.run("systemctl --no-block reboot", check=False)
        self._hang_up()
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(MachineFailed):
                self._await_boot()
                if self.run("cat /proc/sys/kernel/random/boot_id", check=False).stdout not in ("", before):
                    return
                self._hang_up()
            time.sleep(1)
        raise self._failed("it did not come back from the reboot")

    def cut(self) -> None:
        """Pull the plug: SIGKILL for QEMU."""
        assert self._qemu
        self._qemu.kill()
        self._gone()

    def power_off(self) -> None:
        """Shut down as a user would, and wait for QEMU's end. Raises MachineFailed."""
        assert self._qemu
        self.run("systemctl --no-block poweroff", check=False)
        self._hang_up()
        try:
            self._qemu.wait(OFF_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._failed("it did not power off") from None
        self._gone()

    def _gone(self) -> None:
        assert self._qemu
        self._qemu.wait()
        self._qemu = None
        if self._watch:
            self._watch.end()
            self._watch = None
        self._hang_up()
        for name in ("qmp", "watch", "gdb"):
            (self._work / name).unlink(missing_ok=True)

    # --- commands inside

    def run(
        self, script: str, *, check: bool, stdin: IO[bytes] | int = subprocess.DEVNULL, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as root. Raises MachineFailed if ``check`` and it fails, or if it takes too long."""
        try:
            ended = subprocess.run(
                self.ssh(script), check=False, stdin=stdin, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise self._failed(f"no end after {timeout:.0f} seconds: {script}; {self._whereabouts()}") from None
        if check and ended.returncode:
            raise self._failed(f"exit code {ended.returncode}: {script}\n{ended.stdout}{ended.stderr}")
        return ended

    def show(self, script: str, timeout: float = 1800) -> int:
        """Run a line of shell as root, with its output going where ours goes; its exit code."""
        return subprocess.run(self.ssh(script), check=False, stdin=subprocess.DEVNULL, timeout=timeout).returncode

    def stream(self, script: str) -> subprocess.Popen[str]:
        """Start a line of shell as root; its standard output is a pipe. It ends with the machine."""
        return subprocess.Popen(
            self.ssh(script, shared=False), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def ssh(self, *words: str, shared: bool = True, terminal: bool = False) -> list[str]:
        """The command that runs ``words`` inside. ``shared`` connections are opened once and cost little then."""
        share = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self._work}/ssh", "-o", "ControlPersist=yes"]
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR" if shared else "QUIET",  # the others end with the machine, which is meant so
            "ConnectTimeout": "60",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "8",
        }
        return [
            *("ssh", "-F", "none", "-i", str(self._disk.ssh_key), "-p", str(self._port)),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
            *(share if shared else []),
            *(["-t"] if terminal else []),
            *("root@127.0.0.1", *words),
        ]

    def shell(self, *, terminal: bool) -> list[str]:
        """The command that is a login shell inside, in the project's tree."""
        return self.ssh(f"cd /{TREE} && exec bash -l", terminal=terminal)

    def _hang_up(self) -> None:
        """End the shared connection."""
        subprocess.run(
            ["ssh", "-F", "none", "-o", f"ControlPath={self._work}/ssh", "-O", "exit", "root@127.0.0.1"],
            check=False,
            capture_output=True,
        )
        (self._work / "ssh").unlink(missing_ok=True)

    # --- waiting

    def _await_boot(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._banner():
            if time.monotonic() > deadline:
                raise self._failed(f"no ssh after {BOOT_SECONDS} seconds; {self._whereabouts()}")
            time.sleep(0.5)
        self.run("systemctl is-system-running --wait", check=False, timeout=BOOT_SECONDS)

    def _banner(self) -> bool:
        """Whether an ssh server speaks. QEMU takes the connection itself, before anyone listens in the machine."""
        self._check_alive()
        try:
            with socket.create_connection(("127.0.0.1", self._port), ANSWER_SECONDS) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _check_alive(self) -> None:
        """Raises MachineFailed if QEMU has ended, NoKvm if the kernel stopped the machine."""
        assert self._qemu
        if self._qemu.poll() is not None:
            raise self._failed("QEMU has ended")
        with self._monitor() as monitor:
            if monitor.ask("query-status")["status"] == "internal-error":
                raise NoKvm("KVM reports an internal error")

    def _forwarded_port(self) -> int:
        """The port of this host that leads to the machine's ssh, as QEMU tells."""
        with self._monitor() as monitor:
            shown = monitor.human("info usernet")
        found = re.search(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", shown)
        if not found:
            raise self._failed(f"QEMU forwards no port: {shown}")
        return int(found[1])

    def _whereabouts(self) -> str:
        """What the machine is at, for who asks why it does not answer: running or halted, and where each processor is
        (an address of its kernel's: System.map)."""
        try:
            with self._monitor() as monitor:
                status = monitor.ask("query-status")["status"]
                registers = monitor.human("info registers -a")
        except (OSError, MachineFailed) as error:
            return f"QEMU does not answer: {error}"
        processors = (
            f"processor {number} at {rip:016x}{' halted' * halted}"
            for number, (rip, halted) in enumerate(places(registers))
        )
        return "; ".join([f"QEMU says {status}", *processors])

    @contextlib.contextmanager
    def _monitor(self) -> Iterator[Monitor]:
        try:
            with self._connected() as monitor:
                yield monitor
        except (EOFError, Refusal) as error:
            raise self._failed(str(error)) from error

    def _connected(self) -> Monitor:
        assert self._qemu
        for _ in range(ANSWER_SECONDS * 10):
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return Monitor(self._work / "qmp", ANSWER_SECONDS)
            if self._qemu.poll() is not None:
                raise self._failed("QEMU can't start it")
            time.sleep(0.1)
        raise self._failed("QEMU's monitor is not there")

    def _failed(self, what: str) -> MachineFailed:
        console, said = (
            (self._work / name).read_text(errors="replace") if (self._work / name).exists() else ""
            for name in ("console", "qemu")
        )
        return MachineFailed(f"the machine: {what}\nIts console, the last of it:\n{console[-2000:]}\n{said[-1000:]}")
