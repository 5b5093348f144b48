"""The examples of docs/using-from-python.md that need no daemon, run as they stand, and what their comments promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/using-from-python.md").read_text()
EXAMPLES = {
    found[1]: block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    if (found := re.search(r"^from (cgroups|netns|overlayfs)\.", block, re.MULTILINE))
}  # fmt: skip
INSIDE = ("unshare", "-mn", "--propagation", "private", "--")
SETUP = "mount -t tmpfs tmpfs /media && ip link set lo up && cd /media && "  # an empty directory that nobody minds

pytestmark = pytest.mark.root


def inside(script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with mounts and network of its own, in an empty directory."""
    command = [*INSIDE, "sh", "-ec", SETUP + script]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    )


def test_every_library_has_an_example() -> None:
    assert set(EXAMPLES) == {"cgroups", "netns", "overlayfs"}


@pytest.mark.parametrize("library", EXAMPLES)
def test_a_library_alone(library: str) -> None:
    source = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{EXAMPLES[library]}"
    shown = subprocess.run(
        [*INSIDE, "sh", "-ec", f'{SETUP} exec "$@"', "sh", sys.executable, "-"],
        input=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    promised = re.findall(r"^ *print\(.*\) +# (.*)$", EXAMPLES[library], re.MULTILINE)
    assert promised
    for said, line in zip(promised, shown.stdout.splitlines(), strict=True):
        assert line.startswith(said.partition("=")[0]), shown.stdout


def test_the_runtime_alone() -> None:
    """The session of the page, command by command: what it prints, but for the time in the log."""
    (session,) = re.findall(r"```\n(# mkdir -p b/rootfs/bin.*?)```", PAGE, re.DOTALL)
    commands = "\n".join(line[2:] for line in session.splitlines() if line.startswith("# "))
    promised = [line for line in session.splitlines() if not line.startswith("# ")]
    commands = commands.replace("python -m", f"PYTHONPATH={ROOT} {sys.executable} -m")
    commands = commands.replace("ls b", "ls b | tr '\\n' ' '; echo")
    shown = inside(f"exec 2>&1; set +e\n{commands}").stdout
    assert untimed(shown.splitlines()) == untimed(promised)


def untimed(lines: list[str]) -> list[list[str]]:
    """The words of each line, without a time at its beginning."""
    return [re.sub(r"^\d{4}-\S+", "", line).split() for line in lines]
