"""docs/how-a-container-starts.md tells what init.STEPS is: the same steps, in the same order, in the files it names."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from minirund.runtime import init

PAGE = Path(__file__).parents[2] / "docs/how-a-container-starts.md"
STEP = re.compile(r"^(\d+)\. `(\w+)` \((\w+)\.py\)", re.MULTILINE)


def test_the_page_names_every_step_in_order() -> None:
    told = STEP.findall(PAGE.read_text())
    assert [name for _number, name, _file in told] == [step.__name__ for step in init.STEPS]
    assert [int(number) for number, _name, _file in told] == list(range(1, len(told) + 1))
    assert [file for _number, _name, file in told] == [step.__module__.rpartition(".")[2] for step in init.STEPS]


def test_what_else_the_page_names_exists() -> None:
    for module, name in re.findall(
        r"`(spawner|prepare|zygote|birth|sealed|seccomp|shim|syscalls|process)\.(\w+)`", PAGE.read_text()
    ):
        assert hasattr(importlib.import_module(f"minirund.runtime.{module}"), name), f"{module}.{name}"


def test_every_step_says_what_it_does() -> None:
    for step in (*init.STEPS, *init.EXEC_STEPS):
        assert step.__doc__, step.__name__


def test_the_order_that_security_rests_on() -> None:
    names = [step.__name__ for step in init.STEPS]
    before = [
        ("cut_propagation", "mount_root"),  # or the mount is seen on the host
        ("open_bind_sources", "mount_root"),  # a source is the host's, not the image's
        ("change_root", "find_user"),  # or the host's passwd decides
        ("load_seccomp_early", "drop_bounding_set"),  # it takes CAP_SYS_ADMIN
        ("drop_bounding_set", "change_user"),  # it takes CAP_SETPCAP
        ("change_user", "find_program"),  # the user's rights decide what can be executed
        ("close_descriptors", "execute"),
    ]
    for first, second in before:
        assert names.index(first) < names.index(second)
    assert names[-1] == "execute"


def test_an_exec_ends_like_a_start() -> None:
    tail = [step.__name__ for step in init.STEPS][[step.__name__ for step in init.STEPS].index("set_rlimits") :]
    assert [step.__name__ for step in init.EXEC_STEPS][-len(tail) :] == tail
