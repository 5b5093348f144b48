"""What the user reads of a start that failed."""

from __future__ import annotations

from minirund import wire
from minirund.engine.failures import exec_error, never_started, start_error, unanswered
from minirund.errors import StartFailed, StepFailed


def test_what_lies_in_the_container_is_said_as_docker_says_it() -> None:
    failed = start_error(wire.Failed("exec", message='exec: "x": executable file not found in $PATH', exit_code=127))
    assert isinstance(failed, StartFailed) and failed.exit_code == 127
    assert str(failed) == 'failed to create task for container: exec: "x": executable file not found in $PATH'


def test_a_kernel_step_is_named() -> None:
    failed = start_error(wire.Failed("mount /proc", 1, "/proc"))
    assert isinstance(failed, StepFailed) and str(failed) == "mount /proc: operation not permitted"


def test_an_exec_that_failed() -> None:
    failed = exec_error(wire.ExecFailed("e", "join", 1, "mnt"))
    assert failed.exit_code == 126 and "exec failed: unable to start container process: join: mnt:" in str(failed)


def test_a_shim_that_does_not_answer_is_named_with_the_ways_out() -> None:
    line = unanswered("web", 12)
    assert "container web: its shim (process 12)" in line
    assert "kill -CONT 12" in line and "minirun kill web" in line


def test_a_start_that_was_killed_at_each_try_says_where_to_look_and_what_to_do() -> None:
    line = never_started("web", 7)
    assert line.startswith("container web was not started, 7 times ")
    assert "log" in line and "dmesg" in line and line.endswith("start it again")
