"""Restart policies: containers come again, after a pause, over a daemon's death and a machine's, until somebody stops
them. What is asked of a container that waits for its next start."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import BIN, DaemonHost
from waiting import PATIENCE, until

FAILS = ("sh", "-c", "cut -d' ' -f1 /proc/uptime; exit 5")
_numbers = itertools.count()


def create(host: DaemonHost, policy: str, *command: str, count: int = 0, **host_config: Any) -> str:
    name = f"restarted-{next(_numbers)}"
    restart = {"Name": policy, "MaximumRetryCount": count}
    body = {"Image": "busybox", "Cmd": command, "HostConfig": {"RestartPolicy": restart, **host_config}}
    status, answer = host.api("POST", f"/containers/create?name={name}", body)
    assert status == 201, answer
    return name


def start(host: DaemonHost, name: str) -> str:
    status, answer = host.api("POST", f"/containers/{name}/start")
    assert status == 204, answer
    return name


def run(host: DaemonHost, policy: str, *command: str, count: int = 0, **host_config: Any) -> str:
    return start(host, create(host, policy, *command, count=count, **host_config))


def inspect(host: DaemonHost, name: str) -> Any:
    status, found = host.api("GET", f"/containers/{name}/json")
    assert status == 200, found
    return found


def state(host: DaemonHost, name: str) -> Any:
    return inspect(host, name)["State"]


def comes_to(host: DaemonHost, name: str, status: str, restarts: int = 0) -> Any:
    """Wait until it is in a state, and has been started again so often."""

    def found() -> Any:
        seen = inspect(host, name)
        return seen if seen["State"]["Status"] == status and seen["RestartCount"] >= restarts else None

    return until(found, f"{name} never is {status}, {restarts} times restarted")


def in_a_long_pause(host: DaemonHost, restarts: int = 6) -> str:
    """A container that waits for its next start, 6.4 seconds if that is the sixth, and twice as long with each."""
    name = run(host, "always", *FAILS)
    comes_to(host, name, "restarting", restarts)
    return name


def stop(host: DaemonHost, name: str) -> None:
    """At once, for a pause may be short."""
    assert host.api("POST", f"/containers/{name}/stop")[0] == 204


def printed(host: DaemonHost, name: str) -> list[str]:
    return host.cli("logs", name).stdout.split()


def ready(host: DaemonHost) -> DaemonHost:
    host.start()
    host.load_busybox()
    return host


def reboot(host: DaemonHost) -> None:
    """Nothing runs any more, and what was in /run is gone. All stop first: no shim sees its container end."""
    host.kill9()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in set(host.group.processes()) - {host.holder}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    until(lambda: set(host.group.processes()) <= {host.holder}, "something runs on")
    assert (
        host.run("sh", "-c", f"rm -rf {host.state}/run; ip link del minirun0; nft delete table ip minirun").returncode
        == 0
    )


# --- which are started again, and when ---


def test_always_until_stopped(host: DaemonHost) -> None:
    """In one log, with pauses that grow."""
    name = run(host, "always", *FAILS)
    comes_to(host, name, "restarting", 5)
    stop(host, name)
    found = inspect(host, name)
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("exited", 5)
    times = [float(word) for word in printed(host, name)]
    assert len(times) == found["RestartCount"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap > 0.1 * 2**number for number, gap in enumerate(gaps))
    time.sleep(0.1 * 2 ** len(times))
    assert inspect(host, name) == found


@pytest.mark.parametrize(("code", "restarts"), [(0, 0), (3, 2)])
def test_on_failure(host: DaemonHost, code: int, restarts: int) -> None:
    name = run(host, "on-failure", "sh", "-c", f"echo x; exit {code}", count=2)
    comes_to(host, name, "exited", restarts)
    assert state(host, name)["ExitCode"] == code
    assert printed(host, name) == ["x"] * (restarts + 1)
    assert inspect(host, name)["RestartCount"] == restarts


def test_success_counts_for_others(host: DaemonHost) -> None:
    name = run(host, "unless-stopped", "true")
    assert state(host, comes_to(host, name, "restarting", 3)["Id"])["ExitCode"] == 0


def test_a_start_by_hand_counts_anew(host: DaemonHost) -> None:
    name = run(host, "on-failure", "sh", "-c", "echo x; exit 1", count=1)
    comes_to(host, name, "exited", 1)
    before = state(host, name)["StartedAt"]
    start(host, name)
    until(lambda: comes_to(host, name, "exited", 1)["State"]["StartedAt"] > before, "it does not run again")
    assert inspect(host, name)["RestartCount"] == 1
    assert printed(host, name) == ["x"] * 4


def test_place_and_name_stay_right(own_host: DaemonHost) -> None:
    """The address goes with each end and comes with each start: none is lost."""
    host = own_host
    host.start("--bip", "10.98.0.1/29")
    host.load_busybox()
    name = run(host, "always", "sh", "-c", "hostname -i; exit 1")
    found = comes_to(host, name, "restarting", 5)
    assert found["NetworkSettings"]["IPAddress"] == ""
    assert found["Name"] == f"/{name}"
    assert len(printed(host, name)) >= 5
    assert host.cli("rename", name, "another").returncode == 0
    comes_to(host, "another", "restarting", found["RestartCount"] + 1)
    for _ in range(4):
        run(host, "no", "sleep", "1000")


def test_events(host: DaemonHost) -> None:
    began = time.time()
    name = run(host, "on-failure", "false", count=1)
    comes_to(host, name, "exited", 1)
    status, lines = host.api(
        "GET",
        f"/events?since={began}&until={time.time()}&filters="
        + json.dumps({"type": ["container", "network"]}).replace(" ", ""),
    )
    assert status == 200
    ident = inspect(host, name)["Id"]
    events = [json.loads(line) for line in lines.splitlines()]
    mine = [
        event["Action"]
        for event in events
        if ident in (event["Actor"]["ID"], event["Actor"]["Attributes"].get("container"))
    ]
    life = ["connect", "start", "die", "disconnect"]
    assert mine == ["create", *life, *life]


# --- what is asked of one that waits for its next start ---


def test_how_it_looks(host: DaemonHost) -> None:
    name = in_a_long_pause(host, 7)
    found = state(host, name)
    assert (found["Running"], found["Restarting"], found["Pid"], found["ExitCode"]) == (True, True, 0, 5)
    shown = host.cli("ps", "--filter", f"name={name}", "--format", "{{.Status}}").stdout
    assert shown.startswith("Restarting (5) ")
    assert shown.endswith(" ago\n")
    for status, there in (("restarting", True), ("running", False), ("exited", False)):
        listed = host.docker("ps", "-a", "--filter", f"status={status}", "--format", "{{.Names}}").stdout.split()
        assert (name in listed) is there


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "start", 304, ""),
        ("POST", "pause", 409, "is restarting, wait until the container is running"),
        ("GET", "top", 409, "is restarting, wait until the container is running"),
        ("POST", "attach?stream=1&stdout=1", 409, "is restarting, wait until the container is running"),
        ("POST", "exec", 409, "is restarting, wait until the container is running"),
        ("POST", "kill?signal=HUP", 409, "is restarting, wait until the container is running"),
        ("POST", "unpause", 409, "is not paused"),
        ("DELETE", "", 409, "container is restarting: stop the container before removing or force remove"),
    ],
)
def test_what_it_can_not_do(host: DaemonHost, method: str, path: str, status: int, message: str) -> None:
    name = in_a_long_pause(host)
    body = {"Cmd": ["true"]} if path == "exec" else None
    found = host.api(method, f"/containers/{name}/{path}".rstrip("/"), body)
    assert found[0] == status
    assert message in str(found[1])
    assert state(host, name)["Status"] == "restarting"


@pytest.mark.parametrize("ending", ["stop", "kill", "kill?signal=TERM"])
def test_ended_by_hand(host: DaemonHost, ending: str) -> None:
    """Who waits for its end is told."""
    name = in_a_long_pause(host)
    with waiting(host, name, "not-running") as not_running, waiting(host, name, "next-exit") as next_exit:
        assert host.api("POST", f"/containers/{name}/{ending}")[0] == 204
        assert not_running.result() == next_exit.result() == {"StatusCode": 5}
    assert state(host, name)["Status"] == "exited"
    assert host.api("POST", f"/containers/{name}/wait") == (200, {"StatusCode": 5})


def test_restart_and_remove(host: DaemonHost) -> None:
    name = in_a_long_pause(host)
    before = state(host, name)["StartedAt"]
    with waiting(host, name, "removed") as removed:
        assert host.api("POST", f"/containers/{name}/restart")[0] == 204
        assert inspect(host, name)["RestartCount"] < 6  # it is counted anew
        assert state(host, name)["StartedAt"] > before
        comes_to(host, name, "restarting", 5)
        assert removed.is_open()
        assert host.api("DELETE", f"/containers/{name}?force=1")[0] == 204
        assert removed.result() == {"StatusCode": 5}
    assert host.api("GET", f"/containers/{name}/json")[0] == 404


class Waiting:
    """A wait whose answer has begun."""

    def __init__(self, host: DaemonHost, name: str, condition: str) -> None:
        self.connection = host.connection(PATIENCE)
        self.connection.request("POST", f"/containers/{name}/wait?condition={condition}")
        self.answer = self.connection.getresponse()
        self.found: list[Any] = []
        self.reader = threading.Thread(target=lambda: self.found.append(json.loads(self.answer.read())))
        self.reader.start()

    def is_open(self) -> bool:
        return not self.found

    def result(self) -> Any:
        self.reader.join(PATIENCE)
        return self.found[0]


@contextlib.contextmanager
def waiting(host: DaemonHost, name: str, condition: str) -> Iterator[Waiting]:
    found = Waiting(host, name, condition)
    try:
        yield found
    finally:
        found.reader.join(PATIENCE)
        found.connection.close()


def test_a_wait_is_answered_at_the_next_end(host: DaemonHost) -> None:
    name = in_a_long_pause(host)
    with waiting(host, name, "not-running") as found:
        assert found.result() == {"StatusCode": 5}
    assert inspect(host, name)["RestartCount"] >= 7


def test_followed_logs_end_with_the_container(host: DaemonHost) -> None:
    """As Docker's do, however soon it starts again."""
    name = run(host, "always", "sh", "-c", "echo one; until [ -e /go ]; do sleep 0.02; done; rm /go; exit 1")
    root = Path(f"/proc/{state(host, name)['Pid']}/root")
    words = [str(BIN / "minirun"), "logs", "-f", name]
    with subprocess.Popen(words, env=host.environment, stdout=subprocess.PIPE, text=True) as followed:
        assert followed.stdout is not None
        assert followed.stdout.readline() == "one\n"
        (root / "go").touch()
        assert followed.stdout.read() == ""
    comes_to(host, name, "running", 1)


@pytest.mark.parametrize("program", ["cli", "docker"])
def test_run_in_the_foreground_ends_with_the_first_run(host: DaemonHost, program: str) -> None:
    name = f"foreground-{program}"
    done = getattr(host, program)(
        "run", "--name", name, "--restart", "on-failure:2", "busybox", "sh", "-c", "echo x; exit 3"
    )
    assert (done.returncode, done.stdout) == (3, "x\n")
    comes_to(host, name, "exited", 2)


# --- stopped by hand, or not ---


def test_a_running_one_is_stopped(host: DaemonHost) -> None:
    for policy, ending in itertools.product(("always", "unless-stopped", "on-failure"), ("stop?t=0", "kill")):
        name = run(host, policy, "sleep", "1000")
        assert host.api("POST", f"/containers/{name}/{ending}")[0] == 204
        time.sleep(0.3)
        assert (state(host, name)["Status"], inspect(host, name)["RestartCount"]) == ("exited", 0)


def test_killed_from_elsewhere_it_comes_again(host: DaemonHost) -> None:
    name = run(host, "on-failure", "sleep", "1000")
    os.kill(state(host, name)["Pid"], signal.SIGKILL)
    assert comes_to(host, name, "running", 1)["State"]["ExitCode"] == 0


def test_signals_for_the_program_stop_nothing(host: DaemonHost) -> None:
    """A program that ends with SIGHUP is started again: with Docker it would stay down."""
    name = run(host, "always", "sh", "-c", "trap 'exit 7' HUP; echo ready; while :; do sleep 0.05; done")
    until(lambda: printed(host, name), "it never is ready")
    assert host.cli("kill", "-s", "HUP", name).returncode == 0
    comes_to(host, name, "running", 1)


def test_without_its_shim(host: DaemonHost) -> None:
    name = run(host, "always", "sleep", "1000")
    ident = inspect(host, name)["Id"]
    shims = until(lambda: [pid for pid, command in host.commands().items() if ident.encode() in command])
    os.kill(shims[0], signal.SIGKILL)
    assert comes_to(host, name, "running", 1)["State"]["Pid"]


def test_one_that_can_not_start_any_more(host: DaemonHost, tmp_path: Path) -> None:
    """Its mount's source has gone: it stays ended, and says why."""
    source = tmp_path / "source"
    source.mkdir()
    bind = {"Type": "bind", "Source": str(source), "Target": "/mnt"}
    name = run(host, "always", "sh", "-c", "sleep 0.5; exit 6", Mounts=[bind])
    source.rmdir()
    found = comes_to(host, name, "exited", 1)
    assert found["State"]["ExitCode"] == 6
    assert str(source) in found["State"]["Error"]


def test_one_that_lives_in_another_s_network_waits_for_it(host: DaemonHost, tmp_path: Path) -> None:
    other = run(host, "no", "sleep", "1000")
    script = "sleep 0.2; [ ! -e /in/stay ] || sleep 1000; exit 1"
    options = {"NetworkMode": f"container:{other}", "Binds": [f"{tmp_path}:/in:ro"]}
    name = run(host, "always", "sh", "-c", script, **options)
    assert host.cli("stop", "-t", "0", other).returncode == 0
    until(lambda: "not running" in state(host, name)["Error"], "it starts without a network")
    assert state(host, name)["Status"] == "restarting"
    (tmp_path / "stay").touch()
    start(host, other)
    comes_to(host, name, "running")
    assert state(host, name)["Error"] == ""


# --- another policy ---


def test_update(host: DaemonHost) -> None:
    name = run(host, "no", "sleep", "1000")
    assert host.cli("update", "--restart", "on-failure:4", name).stdout == f"{name}\n"
    assert inspect(host, name)["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}
    os.kill(state(host, name)["Pid"], signal.SIGKILL)
    comes_to(host, name, "running", 1)
    assert host.docker("update", "--restart", "no", name).returncode == 0
    os.kill(state(host, name)["Pid"], signal.SIGKILL)
    comes_to(host, name, "exited")


REFUSED = [
    ({"Name": "sometimes"}, "unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"),
    ({"Name": "always", "MaximumRetryCount": 2}, "maximum retry count can only be used with 'on-failure'"),
    ({"Name": "no", "MaximumRetryCount": -2}, "maximum retry count can only be used with 'on-failure' and cannot be"),
    ({"Name": "on-failure", "MaximumRetryCount": -1}, "maximum retry count cannot be negative"),
]


@pytest.mark.parametrize(("policy", "message"), REFUSED)
def test_refused(host: DaemonHost, policy: Any, message: str) -> None:
    name = create(host, "no", "true")
    before = len(host.api("GET", "/containers/json?all=1")[1])
    for path, body in (
        ("create", {"Image": "busybox", "HostConfig": {"RestartPolicy": policy}}),
        (f"{name}/update", {"RestartPolicy": policy}),
    ):
        status, answer = host.api("POST", f"/containers/{path}", body)
        assert status == 400
        assert answer["message"].startswith("invalid restart policy: ")
        assert message in answer["message"]
    assert len(host.api("GET", "/containers/json?all=1")[1]) == before


def test_not_with_rm(host: DaemonHost) -> None:
    body = {"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "always"}, "AutoRemove": True}}
    assert host.api("POST", "/containers/create", body) == (
        400,
        {"message": "can't create 'AutoRemove' container with restart policy"},
    )
    name = create(host, "no", "true", AutoRemove=True)
    status, answer = host.api("POST", f"/containers/{name}/update", {"RestartPolicy": {"Name": "always"}})
    assert status == 409
    assert answer["message"].endswith(
        "Restart policy cannot be updated because AutoRemove is enabled for the container"
    )
    done = host.cli("run", "--rm", "--restart", "always", "busybox")
    assert done.returncode == 125
    assert "conflicting options: cannot specify both --restart and --rm" in done.stderr


# --- the daemon ends, the machine ends ---


def test_a_daemon_killed_in_a_pause(own_host: DaemonHost) -> None:
    """The next one goes on with pause and count."""
    host = ready(own_host)
    name = in_a_long_pause(host)
    before = inspect(host, name)
    host.kill9()
    host.start()
    assert inspect(host, name) == before
    after = comes_to(host, name, "restarting", before["RestartCount"] + 1)
    assert after["State"]["StartedAt"] > before["State"]["FinishedAt"]
    host.restart()
    comes_to(host, name, "restarting", before["RestartCount"] + 1)
    assert host.cli("stop", name).returncode == 0
    host.kill9()
    host.start()
    comes_to(host, name, "restarting", 1)  # always, and a new daemon: it comes back


def test_ends_without_a_daemon(own_host: DaemonHost) -> None:
    """What ended while no daemon ran is started again by the next one, if its policy says so."""
    host = ready(own_host)
    script = ("sh", "-c", "read line <$0; exit 3")
    pipe = host.directory / "pipe"
    names = {}
    for policy in ("no", "on-failure", "unless-stopped"):
        os.mkfifo(host.directory / policy)
        names[policy] = run(
            host, policy, *script[:2], "read line </in; exit 3", Binds=[f"{host.directory}/{policy}:/in"]
        )
    del pipe
    host.kill9()
    for policy in names:
        (host.directory / policy).write_text("end\n")
    until(lambda: not any(b"read line" in command for command in host.commands().values()), "they don't end")
    host.start()
    comes_to(host, names["no"], "exited")
    for policy in ("on-failure", "unless-stopped"):
        found = comes_to(host, names[policy], "running", 1)
        assert found["RestartCount"] == 1


def test_a_reboot(own_host: DaemonHost) -> None:
    """Which come back: running ones but those without a policy; of those stopped by hand ``always`` alone."""
    host = ready(own_host)
    policies = ("no", "always", "unless-stopped", "on-failure")
    ran = {policy: run(host, policy, "sleep", "1000") for policy in policies}
    stopped = {policy: run(host, policy, "sleep", "1000") for policy in policies}
    host.cli("stop", "-t", "0", *stopped.values())
    killed = run(host, "always", "sleep", "1000")
    host.cli("kill", killed)
    never_started = create(host, "always", "sleep", "1000")
    waits = in_a_long_pause(host)
    shares = run(host, "always", "sleep", "1000", NetworkMode=f"container:{ran['always']}")
    reboot(host)
    host.start()
    for name in (ran["always"], ran["unless-stopped"], ran["on-failure"], stopped["always"], killed, shares):
        comes_to(host, name, "running")
    comes_to(host, waits, "restarting")
    for name in (ran["no"], stopped["no"], stopped["unless-stopped"], stopped["on-failure"]):
        assert state(host, name)["Status"] == "exited"
    assert state(host, never_started)["Status"] == "created"
    host.cli("start", stopped["unless-stopped"])
    reboot(host)
    host.start()
    comes_to(host, stopped["unless-stopped"], "running")


def test_a_gentle_end_in_the_middle_of_restarts(own_host: DaemonHost) -> None:
    """No start is lost and none is made twice, whenever the daemon ends."""
    host = ready(own_host)
    names = [run(host, "always", *FAILS) for _ in range(4)]
    for end in (host.stop, host.kill9) * 3:
        time.sleep(0.15)
        end()
        host.start()
    before = [inspect(host, name)["RestartCount"] for name in names]
    for name, count in zip(names, before, strict=True):
        comes_to(host, name, "restarting", max(count + 1, 4))
        stop(host, name)
        assert len(printed(host, name)) == inspect(host, name)["RestartCount"]


def test_a_power_cut_is_an_end_with_255_and_what_comes_back_starts_afresh(own_host: DaemonHost) -> None:
    """As dockerd does: the exit code that stands for "nobody knows", and RestartCount 0."""
    host = ready(own_host)
    ran = {policy: run(host, policy, "sleep", "1000") for policy in ("no", "always", "unless-stopped")}
    often = run(host, "on-failure", *FAILS, count=1)
    comes_to(host, often, "exited", 1)
    for _ in range(2):  # a second reboot of on-failure:1 has a try again
        failing = start(host, create(host, "on-failure", "sleep", "1000", count=1))
        reboot(host)
        host.start()
        found = comes_to(host, failing, "running")
        assert (found["RestartCount"], found["State"]["ExitCode"]) == (0, 0)
    ended = state(host, ran["no"])
    assert (ended["Status"], ended["ExitCode"], ended["OOMKilled"]) == ("exited", 255, False)
    assert ended["FinishedAt"] > ended["StartedAt"]
    assert host.cli("wait", ran["no"]).stdout == "255\n"
    for policy in ("always", "unless-stopped"):
        assert comes_to(host, ran[policy], "running")["RestartCount"] == 0
    assert (state(host, often)["ExitCode"], inspect(host, often)["RestartCount"]) == (5, 1)
