"""`make uninstall`, the last thing that a machine sees: refused while a container runs, complete after that, and what
it says is true. Images and stopped containers stay, and a new installation has them again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from guest import IMAGE, MINIRUN, ROOT, minirun, systemctl
from waiting import until

INSTALLED, ASIDE = Path("/opt/minirund"), Path("/opt/aside")


def make(target: str) -> subprocess.CompletedProcess[str]:
    words = ["make", "--silent", target]
    return subprocess.run(words, check=False, cwd=ROOT, capture_output=True, text=True, timeout=280)


def processes() -> list[str]:
    """Command lines in which the program is named, but for this one's own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # one that ends meanwhile
            line = path.read_bytes().replace(b"\0", b" ").decode()
            if re.search(r"/opt/minirund|minirund-(shim|spawner)", line):
                found.append(line)
    return found


def shown(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_it_is_refused_while_a_container_runs() -> None:
    minirun("rm", "-f", *minirun("ps", "-aq").split())
    minirun("run", "--name", "kept", IMAGE, "sh", "-c", "echo kept >/file")
    minirun("run", "-d", "--name", "busy", IMAGE, "sleep", "600")
    ended = make("uninstall")
    assert ended.returncode != 0
    assert ended.stderr.startswith("containers are running (1): end them first")
    assert minirun("exec", "busy", "echo", "works") == "works\n"
    minirun("rm", "-f", "busy")


def test_it_takes_everything_away_but_images_and_containers() -> None:
    shutil.copytree(INSTALLED, ASIDE, symlinks=True)
    ended = make("uninstall")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "Left: /var/lib/minirund, the group minirun"
    for path in (MINIRUN, "/usr/local/bin/minirund", "/opt/minirund", "/run/minirund", "/run/minirund.sock"):
        assert not os.path.lexists(path), path
    assert systemctl("list-unit-files", "minirund*", "--no-legend") == ""
    until(lambda: processes() == [], "processes stay")  # who has been told to end, and cgroups that systemd collects
    assert "minirun" not in shown("ip", "-brief", "link")
    assert "minirun" not in shown("nft", "list", "tables")
    until(lambda: not [path for path, *_ in os.walk("/sys/fs/cgroup") if "minirun" in path], "cgroups stay")
    assert list(Path("/var/lib/minirund/containers").iterdir()) != []


def test_a_second_time_there_is_nothing_to_do() -> None:
    ended = make("uninstall")
    assert (ended.returncode, ended.stdout.startswith("minirund is not installed: ")) == (0, True)


def test_a_new_installation_finds_what_was_left() -> None:
    """Python's packages come from where they were put aside: pip takes an emulated machine minutes for them."""
    ASIDE.rename(INSTALLED)
    ended = make("install")
    assert ended.returncode == 0, ended.stderr
    assert minirun("ps", "-a", "--format", "{{.Names}}") == "kept\n"
    assert minirun("diff", "kept") == "A /file\n"
    assert minirun("run", "--rm", IMAGE, "echo", "works") == "works\n"
