"""The minirun command against a live daemon: every command once for what it does and once for what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from daemon import BIN, DaemonHost
from images import busybox, docker_archive
from waiting import PATIENCE, until

pytestmark = pytest.mark.usefixtures("no_containers_left")

ID = re.compile(r"[0-9a-f]{64}\n")


def ok(host: DaemonHost, *words: str, **options: object) -> str:
    """The command's stdout; it must have succeeded without a word on stderr."""
    done = host.cli(*words, **options)
    assert (done.returncode, done.stderr) == (0, ""), words
    return done.stdout


def minirun(host: DaemonHost, *words: str) -> subprocess.Popen[str]:
    """The command, still running, its stdout a pipe."""
    command = [str(BIN / "minirun"), *words]
    return subprocess.Popen(command, env=host.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def idle(host: DaemonHost, name: str, *options: str) -> str:
    return ok(host, "run", "-d", "--name", name, *options, "busybox", "sleep", "1000").strip()


def test_run_passes_streams_and_exit_code_on(host: DaemonHost) -> None:
    done = host.cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert ok(host, "ps", "-aq") == ""


def test_run_passes_input_on_and_its_end(host: DaemonHost) -> None:
    data = "x" * 300_000
    assert ok(host, "run", "--rm", "-i", "busybox", "cat", input=data) == data
    assert ok(host, "run", "--rm", "busybox", "cat", input=data) == ""


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [(["nosuch"], 127, '"nosuch"'), (["/etc/passwd"], 126, '"/etc/passwd"'), (["/etc"], 126, '"/etc"')],
)
def test_run_of_what_can_not_be_executed(host: DaemonHost, command: list[str], code: int, words: str) -> None:
    done = host.cli("run", "--rm", "busybox", *command)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.endswith("See 'minirun run --help'.\n")
    assert ok(host, "ps", "-aq") == ""


def test_run_ends_with_the_code_of_the_signal_that_ended_the_container(host: DaemonHost) -> None:
    with minirun(host, "run", "--name", "victim", "busybox", "sh", "-c", "echo ready; sleep 1000") as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        ok(host, "kill", "victim")
        assert run.wait(PATIENCE) == 137


def test_options_of_run_are_seen_inside(host: DaemonHost, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("B=file\n")
    options = f"-e A=1 --env-file {tmp_path}/env -w /x/y -h web -u 12:34 -v {tmp_path}:/m:ro --tmpfs /t"
    script = (
        "echo $A $B; pwd; hostname; id -u; id -g; cat /m/env; touch /m/x || echo ro; grep -c ' /t tmpfs' /proc/mounts"
    )
    tmp_path.chmod(0o777)
    done = host.cli("run", "--rm", *options.split(), "busybox", "sh", "-c", script)
    assert "Read-only file system" in done.stderr
    assert done.stdout.split() == ["1", "file", "/x/y", "web", "12", "34", "B=file", "ro", "1"]


def test_entrypoint_label_and_cidfile(host: DaemonHost, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    words = ["run", "--entrypoint", "echo", "-l", "a=b", "--cidfile", str(cidfile), "busybox", "x"]
    assert ok(host, *words) == "x\n"
    shown = ok(host, "inspect", "-f", '{{index .Config.Labels "a"}} {{.Id}} {{.State.ExitCode}}', cidfile.read_text())
    assert shown == f"b {cidfile.read_text()} 0\n"
    again = host.cli(*words)
    assert again.returncode == 125
    assert "container ID file found" in again.stderr


def test_a_life(host: DaemonHost) -> None:
    identity = ok(host, "create", "--name", "life", "busybox", "sleep", "1000")
    assert ID.fullmatch(identity)
    assert ok(host, "start", "life") == "life\n"
    assert ok(host, "pause", "life") == "life\n"
    assert "(Paused)" in ok(host, "ps", "--format", "{{.Status}}")
    assert ok(host, "unpause", "life") == "life\n"
    assert ok(host, "restart", "-t", "0", "life") == "life\n"
    assert ok(host, "rename", "life", "other") == ""
    assert ok(host, "kill", "-s", "KILL", "other") == "other\n"
    assert ok(host, "wait", "other") == "137\n"
    assert ok(host, "rm", "other") == "other\n"
    assert ok(host, "ps", "-aq") == ""


def test_stop_sends_the_signal_and_then_kills(host: DaemonHost) -> None:
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    ok(host, "run", "-d", "--name", "polite", "busybox", "sh", "-c", script)
    until(lambda: ok(host, "logs", "polite") == "ready\n")
    assert ok(host, "stop", "polite") == "polite\n"
    idle(host, "stubborn")
    assert ok(host, "stop", "-t", "0", "stubborn") == "stubborn\n"
    assert ok(host, "wait", "polite", "stubborn") == "3\n137\n"


def test_ps(host: DaemonHost) -> None:
    first = idle(host, "one", "-l", "k=v")
    ok(host, "create", "--name", "two", "busybox", "true")
    lines = ok(host, "ps").splitlines()
    assert re.fullmatch(r"CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES", lines[0])
    assert re.fullmatch(first[:12] + r' +busybox +"sleep 1000" +(Less than a|\d+) seconds? ago +Up .+ one', lines[1])
    assert len(lines) == 2
    assert ok(host, "ps", "-a", "--format", "{{.Names}}") == "two\none\n"
    assert ok(host, "container", "ls", "-q", "--no-trunc") == f"{first}\n"
    assert (
        ok(host, "ps", "-a", "-f", "name=two", "--format", "table {{.Names}}\\t{{.State}}")
        == "NAMES     STATE\ntwo       created\n"
    )
    assert ok(host, "ps", "-f", "label=k=v", "--format", '{{.Label "k"}}') == "v\n"
    assert [json.loads(line)["Names"] for line in ok(host, "ps", "-a", "--format", "json").splitlines()] == [
        "two",
        "one",
    ]
    assert ok(host, "ps", "-lq") != ok(host, "ps", "-q")


def test_the_same_tables_as_the_stock_client_s(host: DaemonHost) -> None:
    """Ages may move on between two commands, so the columns compared have none."""
    idle(host, "same", "-l", "k=v")
    for words in (
        ["ps", "--format", "table {{.ID}}\t{{.Names}}\t{{.Image}}\t{{.Command}}\t{{.Ports}}\t{{.Labels}}\t{{.Mounts}}"],
        ["ps", "-aq", "--no-trunc"],
        ["images", "--digests", "--no-trunc"],
        ["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}"],
        ["inspect", "same"],
        ["inspect", "-f", "{{.Name}} {{.State.Running}} {{json .Config.Cmd}} {{.Config.Labels}}", "same"],
        ["top", "same", "-o", "pid,args"],
        ["diff", "same"],
        ["info", "-f", "{{.ServerVersion}} {{.NCPU}} {{.OSType}}"],
    ):
        mine, stock = host.cli(*words), host.docker(*words)
        assert (mine.stdout, mine.returncode) == (stock.stdout, stock.returncode), words


def test_an_image_is_shown_as_by_the_stock_client(host: DaemonHost) -> None:
    """Clients before 25.0 write down what they know of an image, and so leave some of it out."""
    mine, stock = (json.loads(ask("image", "inspect", "busybox").stdout)[0] for ask in (host.cli, host.docker))
    assert {"Id", "RepoTags", "Config", "RootFS"} <= set(mine) & set(stock)
    for key in ("Id", "RepoTags", "Created", "Architecture", "Size", "RootFS"):
        assert mine[key] == stock[key], key


def test_exec(host: DaemonHost) -> None:
    idle(host, "box")
    done = host.cli("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, "out\n", "err\n")
    assert ok(host, "exec", "-i", "box", "cat", input="typed") == "typed"
    assert (
        ok(host, "exec", "-e", "A=1", "-w", "/etc", "-u", "12", "box", "sh", "-c", "echo $A; pwd; id -u")
        == "1\n/etc\n12\n"
    )
    assert ok(host, "exec", "-d", "box", "sh", "-c", "echo 1 >/done") == ""
    missing = host.cli("exec", "box", "nosuch")
    assert missing.returncode in (126, 127)
    assert "nosuch" in missing.stdout + missing.stderr
    assert host.cli("exec", "-it", "box", "sh").stderr == "the input device is not a TTY\n"


def test_logs(host: DaemonHost) -> None:
    ok(host, "run", "--name", "talk", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; done")
    assert ok(host, "logs", "talk") == "1\n2\n3\n"
    assert ok(host, "logs", "-n", "1", "talk") == "3\n"
    assert ok(host, "logs", "-f", "talk") == "1\n2\n3\n"
    assert ok(host, "logs", "--since", "1h", "talk") == "1\n2\n3\n"
    assert ok(host, "logs", "--until", "1h", "talk") == ""
    assert re.fullmatch(r"(\d{4}-\d\d-\d\dT\S+Z \d\n){3}", ok(host, "logs", "-t", "talk"))


def test_start_attached_and_attach(host: DaemonHost) -> None:
    ok(host, "create", "-i", "--name", "cat", "busybox", "cat")
    assert ok(host, "start", "-a", "-i", "cat", input="hello") == "hello"
    stopped = host.cli("attach", "cat")
    assert (stopped.returncode, stopped.stderr) == (1, "You cannot attach to a stopped container, start it first\n")
    ok(host, "run", "-d", "-i", "--name", "late", "busybox", "sh", "-c", "read word; echo $word; exit 4")
    done = host.cli("attach", "late", input="late\n")
    assert (done.returncode, done.stdout) == (4, "late\n")


def test_top_diff_inspect(host: DaemonHost) -> None:
    ok(host, "run", "-d", "--name", "tree", "busybox", "sh", "-c", "touch /new; sleep 1000")
    assert "sleep 1000" in ok(host, "top", "tree")
    until(lambda: "A /new\n" in ok(host, "diff", "tree"), "its file is not there")
    both = host.cli("inspect", "tree", "nosuch")
    assert (both.returncode, both.stderr) == (1, "Error: No such object: nosuch\n")
    assert json.loads(both.stdout)[0]["Name"] == "/tree"
    assert json.loads(ok(host, "inspect", "--type", "image", "busybox"))[0]["RepoTags"] == ["busybox:latest"]


@pytest.mark.parametrize(
    "words",
    [
        "stop",
        "kill",
        "restart",
        "rm",
        "pause",
        "unpause",
        "wait",
        "top",
        "diff",
        "logs",
        "attach",
        "start",
        "container inspect",
    ],
)
def test_a_container_that_is_not_there(host: DaemonHost, words: str) -> None:
    done = host.cli(*words.split(), "nosuch")
    assert done.returncode == 1
    assert "No such container: nosuch" in done.stderr
    assert done.stdout in ("", "[]\n")


def test_the_others_are_still_done(host: DaemonHost) -> None:
    idle(host, "here")
    done = host.cli("rm", "-f", "nosuch", "here")
    assert (done.returncode, done.stdout) == (0, "here\n")
    refused = host.cli("stop", "nosuch1", "nosuch2")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 2)


def test_images(host: DaemonHost, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(docker_archive({"other:1": busybox()}))
    assert ok(host, "load", "-q", "-i", str(archive)) == "Loaded image: other:1\n"
    with archive.open("rb") as file:
        assert ok(host, "load", stdin=file).endswith("Loaded image: other:1\n")
    assert ok(host, "tag", "other:1", "localhost:5000/third") == ""
    names = ok(host, "images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert {"other:1", "localhost:5000/third:latest", "busybox:latest"} <= set(names)
    assert (
        ok(host, "images", "-q", "other:1")
        in ok(host, "images", "-q", "--no-trunc", "other:1").replace("sha256:", "")[:12] + "\n"
    )
    assert "Untagged: other:1\n" in ok(host, "rmi", "other:1", "localhost:5000/third")
    missing = host.cli("rmi", "other:1")
    assert (missing.returncode, missing.stderr) == (1, "Error response from daemon: No such image: other:1\n")
    assert host.cli("run", "--pull", "never", "other:1").returncode == 125


def test_an_image_that_is_nowhere(host: DaemonHost) -> None:
    done = host.cli("run", "127.0.0.1:1/none", "true")
    assert done.returncode == 125
    assert done.stderr.startswith(
        "Unable to find image '127.0.0.1:1/none:latest' locally\nminirun: Error response from daemon: "
    )


def test_events_and_system(host: DaemonHost) -> None:
    identity = idle(host, "seen")
    host.cli("rm", "-f", "seen")
    words = ["events", "--since", "1h", "--until", "0s", "-f", f"container={identity}"]
    actions = ok(host, *words, "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}").splitlines()
    assert actions[0] == "container create seen"
    assert "container start seen" in actions
    assert actions[-1] == "container destroy seen"
    assert re.fullmatch(rf"\d{{4}}-\S+ container create {identity} \(.*name=seen\)", ok(host, *words).splitlines()[0])
    assert "\n Server Version: " in host.cli("system", "info").stdout
    assert "\n  API version:      1.47 (minimum version " in ok(host, "version")


def test_a_signal_is_passed_on(host: DaemonHost) -> None:
    """Without a terminal, what ends the command is meant for the container."""
    script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done"

    with minirun(host, "run", "--rm", "busybox", "sh", "-c", script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.terminate()
        assert run.stdout.read() == "got it\n"
        assert run.wait(PATIENCE) == 5


def test_completion_knows_names(host: DaemonHost) -> None:
    idle(host, "webby")
    assert ok(host, "__complete", "rm", "we").startswith("webby\tbusybox, Up ")
    assert ok(host, "__complete", "run", "busy").splitlines() == ["busybox:latest", "busybox"]
    assert ok(host, "__complete", "start", "") == ""
