"""What compare_dockerd.py asks both daemons, in order. ``<c>`` stands for an ID that an earlier answer told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Request:
    """``learn`` is the name under which the answer's Id is known from here on; ``after`` waits first, seconds."""

    title: str
    method: str
    path: str
    body: Any = None
    learn: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0


def _filters(**wanted: list[str]) -> str:
    return "filters=" + quote(json.dumps(wanted))


def _create(title: str, learn: str, name: str = "", **config: Any) -> Request:
    path = "/containers/create" + (f"?name={name}" if name else "")
    return Request(title, "POST", path, {"Image": "busybox", **config}, learn)


def _get(title: str, path: str, after: float = 0) -> Request:
    return Request(title, "GET", path, after=after)


def _post(title: str, path: str, body: Any = None, learn: str = "", after: float = 0) -> Request:
    return Request(title, "POST", path, body, learn, after=after)


def _delete(title: str, path: str) -> Request:
    return Request(title, "DELETE", path)


SYSTEM = (
    _get("ping", "/_ping"),
    _get("version", "/version"),
    _get("info", "/info"),
    _get("df", "/system/df"),
    _get("unknown path", "/nothing/here"),
    _get("networks", "/networks"),
    _get("network", "/networks/bridge"),
    _get("unknown network", "/networks/nowhere"),
    _get("volumes", "/volumes"),
    _get("unknown volume", "/volumes/nowhere"),
    _get("swarm", "/swarm"),
    _get("plugins", "/plugins"),
    _get("events, bad since", "/events?since=yesterday"),
    _get("too new a version", "/../v1.99/info"),
)

IMAGES = (
    _get("images", "/images/json"),
    _get("images, digests", "/images/json?digests=1"),
    _get("images by reference", "/images/json?" + _filters(reference=["busy*"])),
    _get("images, bad filter", "/images/json?" + _filters(colour=["red"])),
    _get("images, filters no JSON", "/images/json?filters=x"),
    _get("images, dangling", "/images/json?" + _filters(dangling=["maybe"])),
    _get("image", "/images/busybox/json"),
    _get("image by tag", "/images/busybox:latest/json"),
    _get("image, unknown", "/images/nowhere/json"),
    _get("image, unknown tag", "/images/busybox:1.99/json"),
    _get("image, bad name", "/images/BAD/json"),
    _get("history", "/images/busybox/history"),
    _get("history, unknown", "/images/nowhere/history"),
    _post("tag", "/images/busybox/tag?repo=other&tag=one"),
    _post("tag again", "/images/busybox/tag?repo=other&tag=one"),
    _post("tag into a registry", "/images/busybox/tag?repo=localhost:5000/x/y&tag=two"),
    _post("tag, bad repo", "/images/busybox/tag?repo=BAD&tag=one"),
    _post("tag, bad tag", "/images/busybox/tag?repo=other&tag=-"),
    _post("tag, no repo", "/images/busybox/tag"),
    _post("tag, unknown image", "/images/nowhere/tag?repo=other&tag=one"),
    _get("image with two names", "/images/other:one/json"),
    _delete("rmi by ID, several repositories", "/images/<image>"),
    _delete("rmi a tag", "/images/other:one"),
    _delete("rmi the other tag", "/images/localhost:5000/x/y:two"),
    _delete("rmi, unknown", "/images/nowhere"),
    _post("pull, unreachable", "/images/create?fromImage=127.0.0.1:1/none&tag=x"),
    _post("pull, bad name", "/images/create?fromImage=BAD&tag=x"),
    _post("pull, bad platform", "/images/create?fromImage=busybox&tag=x&platform=a/b/c/d"),
    _post("images prune", "/images/prune"),
    Request(
        "load garbage", "POST", "/images/load?quiet=0", b"garbage" * 200, headers={"Content-Type": "application/x-tar"}
    ),
    Request("load nothing", "POST", "/images/load?quiet=1", b"", headers={"Content-Type": "application/x-tar"}),
)

CREATE = (
    _create("create", "c", "one", Cmd=["sleep", "1000"], Labels={"a": "b"}, Env=["X=1"]),
    _create("create, name taken", "", "one", Cmd=["true"]),
    _create("create, bad name", "", "-bad", Cmd=["true"]),
    _create("create, one letter", "", "x", Cmd=["true"]),
    _create("create, unknown image", "", "", Cmd=["true"], Image="nowhere"),
    _create("create, no image", "", "", Cmd=["true"], Image=""),
    _create("create, bad image name", "", "", Cmd=["true"], Image="BAD"),
    _create("create, no command", "", "", Cmd=[], Entrypoint=[]),
    _create("create, bad signal", "", "", Cmd=["true"], StopSignal="NOSUCH"),
    _create("create, bad network", "", "", Cmd=["true"], HostConfig={"NetworkMode": "nowhere"}),
    _create("create, bad capability", "", "", Cmd=["true"], HostConfig={"CapAdd": ["NOSUCH"]}),
    _create("create, bad security option", "", "", Cmd=["true"], HostConfig={"SecurityOpt": ["what=ever"]}),
    _create("create, little memory", "", "", Cmd=["true"], HostConfig={"Memory": 1}),
    _create("create, swap alone", "", "", Cmd=["true"], HostConfig={"MemorySwap": 10000000}),
    _create("create, many CPUs", "", "", Cmd=["true"], HostConfig={"NanoCpus": 10**12}),
    _create("create, bad bind", "", "", Cmd=["true"], HostConfig={"Binds": ["/a:/b:/c:d"]}),
    _create("create, bad bind mode", "", "", Cmd=["true"], HostConfig={"Binds": ["/tmp:/b:what"]}),
    _create("create, relative destination", "", "", Cmd=["true"], HostConfig={"Binds": ["/tmp:b"]}),
    _create("create, bind over /", "", "", Cmd=["true"], HostConfig={"Binds": ["/tmp:/"]}),
    _create("create, two binds at one place", "", "", Cmd=["true"], HostConfig={"Binds": ["/tmp:/b", "/usr:/b"]}),
    _create("create, missing bind source", "", "", Cmd=["true"],
            HostConfig={"Mounts": [{"Type": "bind", "Source": "/no/where", "Target": "/b"}]}),
    _create("create, unknown mount type", "", "", Cmd=["true"],
            HostConfig={"Mounts": [{"Type": "magic", "Target": "/b"}]}),
    _create("create, bad sysctl", "", "", Cmd=["true"], HostConfig={"Sysctls": {"kernel.panic": "1"}}),
    _create("create, bad pid mode", "", "", Cmd=["true"], HostConfig={"PidMode": "what"}),
    _create("create, bad ipc mode", "", "", Cmd=["true"], HostConfig={"IpcMode": "what"}),
    _create("create, bad runtime", "", "", Cmd=["true"], HostConfig={"Runtime": "what"}),
    _create("create, bad log driver", "", "", Cmd=["true"], HostConfig={"LogConfig": {"Type": "what"}}),
    _create("create, relative directory", "", "", Cmd=["true"], WorkingDir="x"),
    _create("create, restart and remove", "", "", Cmd=["true"],
            HostConfig={"AutoRemove": True, "RestartPolicy": {"Name": "always"}}),
    _create("create, wrong type", "", "", Cmd=["true"], HostConfig={"Memory": "much"}),
    Request("create, bad JSON", "POST", "/containers/create", b"{", headers={"Content-Type": "application/json"}),
    Request("create, no JSON", "POST", "/containers/create", b"{}", headers={"Content-Type": "text/plain"}),
    _post("create, no body", "/containers/create"),
)  # fmt: skip

READ = (
    _get("inspect created", "/containers/one/json"),
    _get("inspect, size", "/containers/one/json?size=1"),
    _get("inspect, unknown", "/containers/nowhere/json"),
    _get("list running", "/containers/json"),
    _get("list all", "/containers/json?all=1&" + _filters(name=["one"])),
    _get("list with size", "/containers/json?all=1&size=1&" + _filters(name=["one"])),
    _get("list by label", "/containers/json?all=1&" + _filters(label=["a=b"])),
    _get("list by ancestor", "/containers/json?all=1&" + _filters(ancestor=["busybox"], name=["one"])),
    _get("list by unknown ancestor", "/containers/json?all=1&" + _filters(ancestor=["nowhere"])),
    _get("list by bad status", "/containers/json?all=1&" + _filters(status=["what"])),
    _get("list by bad exit code", "/containers/json?all=1&" + _filters(exited=["what"])),
    _get("list before unknown", "/containers/json?all=1&" + _filters(before=["nowhere"])),
    _get("list by bad filter", "/containers/json?all=1&" + _filters(colour=["red"])),
    _get("list, bad limit", "/containers/json?limit=x"),
    _get("logs of one not started", "/containers/one/logs?stdout=1"),
    _get("logs, no stream", "/containers/one/logs"),
    _get("top of one not started", "/containers/one/top"),
    _post("kill one not started", "/containers/one/kill"),
    _post("stop one not started", "/containers/one/stop"),
    _post("pause one not started", "/containers/one/pause"),
    _post("unpause one not started", "/containers/one/unpause"),
    _post("exec in one not started", "/containers/one/exec", {"Cmd": ["true"]}),
    _post("resize one not started", "/containers/one/resize?h=1&w=1"),
    _get("changes of one not started", "/containers/one/changes"),
)

RUN = (
    _post("start", "/containers/one/start"),
    _post("start again", "/containers/one/start"),
    _post("start, unknown", "/containers/nowhere/start"),
    _get("inspect running", "/containers/one/json"),
    _get("list, one runs", "/containers/json"),
    _get("network, one runs", "/networks/bridge"),
    _get("top", "/containers/one/top"),
    _get("top aux", "/containers/one/top?ps_args=aux"),
    _get("top, bad arguments", "/containers/one/top?ps_args=--nosuch"),
    _get("top without PID", "/containers/one/top?ps_args=-o%20comm"),
    _post("kill, bad signal", "/containers/one/kill?signal=NOSUCH"),
    _post("kill, number too high", "/containers/one/kill?signal=999"),
    _post("kill, harmless", "/containers/one/kill?signal=CONT"),
    _delete("remove a running one", "/containers/one"),
    _post("rename, taken by itself", "/containers/one/rename?name=one"),
    _post("rename, empty", "/containers/one/rename?name="),
    _post("rename, bad", "/containers/one/rename?name=-bad"),
    _post("rename", "/containers/one/rename?name=uno"),
    _get("inspect by the old name", "/containers/one/json"),
    _post("rename back", "/containers/uno/rename?name=one"),
    _post("pause", "/containers/one/pause"),
    _post("pause again", "/containers/one/pause"),
    _post("start a paused one", "/containers/one/start"),
    _post("exec in a paused one", "/containers/one/exec", {"Cmd": ["true"]}),
    _get("inspect paused", "/containers/one/json"),
    _get("list paused", "/containers/json?" + _filters(status=["paused"])),
    _delete("remove a paused one", "/containers/one"),
    _post("unpause", "/containers/one/unpause"),
    _post("unpause again", "/containers/one/unpause"),
    _post("resize, no size", "/containers/one/resize"),
    _post("resize, no terminal", "/containers/one/resize?h=10&w=10"),
    _delete("rmi in use by a running one", "/images/busybox"),
    _delete("rmi in use by a running one, forced", "/images/<image>?force=1"),
    _post("wait, unknown", "/containers/nowhere/wait"),
    _post("attach, bad keys", "/containers/one/attach?detachKeys=ctrl-%C3%B6"),
)

EXECS = (
    _post("exec create", "/containers/one/exec", {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True}, "e"),
    _get("exec inspect, not started", "/exec/<e>/json"),
    _post("exec start", "/exec/<e>/start", {"Detach": True}),
    _get("exec inspect, ended", "/exec/<e>/json", after=0.5),
    _post("exec start again", "/exec/<e>/start", {"Detach": True}),
    _post("exec, no command", "/containers/one/exec", {"Cmd": []}),
    _post("exec, unknown container", "/containers/nowhere/exec", {"Cmd": ["true"]}),
    _get("exec, unknown", "/exec/nowhere/json"),
    _post("exec start, unknown", "/exec/nowhere/start", {"Detach": True}),
    _post("exec create, no such program", "/containers/one/exec", {"Cmd": ["nosuch"]}, "missing"),
    _post("exec start, no such program", "/exec/<missing>/start", {"Detach": True}),
    _get("exec inspect, no such program", "/exec/<missing>/json", after=0.2),
    _post("exec create, long", "/containers/one/exec", {"Cmd": ["sleep", "100"], "Tty": True, "User": "1:2"}, "long"),
    _post("exec start, long", "/exec/<long>/start", {"Detach": True, "Tty": True}),
    _get("exec inspect, running", "/exec/<long>/json"),
    _post("exec resize", "/exec/<long>/resize?h=10&w=10"),
    _get("inspect with execs", "/containers/one/json"),
)

END = (
    _post("stop", "/containers/one/stop?t=0"),
    _post("stop again", "/containers/one/stop"),
    _post("kill a stopped one", "/containers/one/kill"),
    _get("top of a stopped one", "/containers/one/top"),
    _get("inspect stopped", "/containers/one/json"),
    _get("list stopped", "/containers/json?all=1&" + _filters(status=["exited"])),
    _post("wait for a stopped one", "/containers/one/wait"),
    _post("restart", "/containers/one/restart?t=0"),
    _post("kill", "/containers/one/kill"),
    _get("inspect killed", "/containers/one/json", after=0.3),
    _delete("rmi in use by a stopped one", "/images/busybox"),
    _create("create one that prints", "p", "two", Cmd=["sh", "-c", "echo out; echo err >&2; exit 7"]),
    _post("start one that prints", "/containers/two/start"),
    _post("wait", "/containers/two/wait"),
    _get("inspect after exit 7", "/containers/two/json"),
    _get("logs, out", "/containers/two/logs?stdout=1"),
    _get("logs, err", "/containers/two/logs?stderr=1"),
    _get("logs, tail", "/containers/two/logs?stdout=1&tail=0"),
    _get("logs, bad tail", "/containers/two/logs?stdout=1&tail=x"),
    _get("logs, bad since", "/containers/two/logs?stdout=1&since=x"),
    _get("logs, timestamps", "/containers/two/logs?stdout=1&timestamps=1"),
    _get("changes", "/containers/two/changes"),
    _create("create, no such program", "n", "three", Cmd=["nosuch"]),
    _post("start, no such program", "/containers/three/start"),
    _get("inspect, no such program", "/containers/three/json"),
    _create("create, not executable", "", "four", Cmd=["/etc/passwd"]),
    _post("start, not executable", "/containers/four/start"),
    _create("create, a directory", "", "five", Cmd=["/etc"]),
    _post("start, a directory", "/containers/five/start"),
    _create("create, no such user", "", "six", Cmd=["true"], User="nosuch"),
    _post("start, no such user", "/containers/six/start"),
    _create("create, with a terminal", "", "seven", Cmd=["cat"], Tty=True, OpenStdin=True),
    _post("start with a terminal", "/containers/seven/start"),
    _get("inspect with a terminal", "/containers/seven/json"),
    _post("resize", "/containers/seven/resize?h=10&w=10"),
    _delete("remove forced", "/containers/seven?force=1"),
    _delete("remove", "/containers/two"),
    _delete("remove again", "/containers/two"),
    _create("create with much asked", "", "eight", Cmd=["true"], User="daemon", WorkingDir="/x", Domainname="d",
            ExposedPorts={"80/tcp": {}}, Hostname="h", StopSignal="SIGINT", StopTimeout=3,
            HostConfig={"Binds": ["/tmp:/b:ro"], "CapAdd": ["NET_ADMIN"], "Dns": ["1.1.1.1"], "Init": False,
                        "ReadonlyRootfs": True, "ShmSize": 1048576, "Tmpfs": {"/t": "size=1m"}, "AutoRemove": False,
                        "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 100}], "ExtraHosts": ["a:1.2.3.4"],
                        "Mounts": [{"Type": "bind", "Source": "/usr", "Target": "/u", "ReadOnly": True}]}),
    _get("inspect with much asked", "/containers/eight/json"),
    _get("list with much asked", "/containers/json?all=1&" + _filters(name=["eight"])),
    _create("create without network", "", "nine", Cmd=["true"], HostConfig={"NetworkMode": "none"}),
    _get("inspect without network", "/containers/nine/json"),
    _create("create on the host's network", "", "ten", Cmd=["true"], HostConfig={"NetworkMode": "host"}),
    _get("inspect on the host's network", "/containers/ten/json"),
    _post("prune, bad filter", "/containers/prune?" + _filters(colour=["red"])),
    _post("containers prune", "/containers/prune"),
    _get("events", "/events?since=1&until=<now>&" + _filters(container=["one"], event=["create", "start"])),
    _get("image events", "/events?since=1&until=<now>&" + _filters(type=["image"])),
    _delete("rmi the last name", "/images/busybox"),
)  # fmt: skip

REQUESTS = (*SYSTEM, *IMAGES, *CREATE, *READ, *RUN, *EXECS, *END)
