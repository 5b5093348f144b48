"""The runtimes alone, each with a bundle that was prepared before: no image, no network, no engine.

runc and crun are commands; minirund's runtime is a process that waits (the spawner), as it does under the daemon, and
is timed from Launch to Exited.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bundles import Runtime, make_bundle, make_rootfs
from engines import EngineFailed

_numbers = itertools.count()


class Command:
    """runc or crun with a bundle that runs `true`."""

    def __init__(self, program: str, directory: str) -> None:
        self.name, self.program = os.path.basename(program), program
        self.bundle = f"{directory}/{self.name}"

    def missing(self) -> str:
        return "" if os.access(self.program, os.X_OK) else self.program

    def prepare(self) -> None:
        """The bundle: this program's own default configuration, but for terminal and command."""
        make_rootfs(Path(self.bundle) / "rootfs")
        for name in ("proc", "sys", "dev"):
            os.makedirs(f"{self.bundle}/rootfs/{name}", exist_ok=True)
        subprocess.run([self.program, "spec"], check=True, cwd=self.bundle)
        path = Path(self.bundle) / "config.json"
        config = json.loads(path.read_text())
        config["process"] |= {"terminal": False, "args": ["true"]}
        config["process"].pop("rlimits", None)  # raising one needs CAP_SYS_RESOURCE
        config["linux"].pop("resources", None)
        config["linux"]["cgroupsPath"] = f"/bench-{self.name}"
        path.write_text(json.dumps(config))

    def run(self) -> None:
        """`run` to the end. Raises EngineFailed."""
        command = [self.program, "--root", f"/run/bench-{self.name}", "run", "-b", self.bundle, f"b{next(_numbers)}"]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode:
            raise EngineFailed(f"{self.name}: exit code {done.returncode}: {done.stderr.decode()[-300:]}")


class Alone:
    """minirund's own."""

    def __init__(self, runtime: Runtime, directory: str) -> None:
        self._runtime, self._directory = runtime, Path(directory)
        self._lower = make_rootfs(self._directory / "lower")
        self._bundle = make_bundle(self._directory, self._lower)
        self._bundle.config["process"]["args"] = ["/bin/true"]
        self._bundle.config["linux"]["cgroupsPath"] = "/bench-alone"

    def run(self) -> None:
        """Launch to Exited. Raises AssertionError."""
        container = self._runtime.launch(self._bundle)
        code = container.exited(release=False)
        container.release()
        if code:
            raise EngineFailed(f"minirund's runtime: exit code {code}")


@contextlib.contextmanager
def alone(directory: str) -> Iterator[Alone]:
    """With a spawner."""
    os.makedirs(directory)
    with Runtime() as runtime:
        yield Alone(runtime, directory)
