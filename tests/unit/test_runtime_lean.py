"""The stand-ins answer as the modules that they stand in for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import prctl

from minirund.runtime import lean

HEAVY = ("dataclasses", "inspect", "typing", "enum", "re", "json", "logging", "pathlib", "subprocess", "asyncio")


def on_the_fork_side(code: str) -> str:
    """Run code as the spawner runs: isolated, with the stand-ins."""
    path = [str(Path(lean.__file__).parents[2]), str(Path(prctl.__file__).parent)]
    start = f"import sys; sys.path += {path!r}; from minirund.runtime import lean; remove = lean.install()\n"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", start + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_spawner_imports_nothing_heavy() -> None:
    code = "from minirund.runtime import spawner\nprint(*(n for n, m in sys.modules.items() if hasattr(m, '__spec__')"
    code += " and m.__spec__ is not None))"
    assert set(HEAVY).isdisjoint(on_the_fork_side(code).split())


def test_messages_cross_between_both_worlds() -> None:
    code = """
from minirund import wire
message = wire.Launch("id", "b", "r", clients=[wire.Attach(stdin=True, unread="\\xff"), wire.Wait()])
again = wire.decode(wire.encode(message))
assert again == message and again is not message, again
assert again != wire.Launch("id", "b", "r")
assert wire.decode(b'{"type": "Attach", "v": 9, "unknown": 1}') == wire.Attach()
print(wire.encode(message).decode())
print(message)
"""
    encoded, printed = on_the_fork_side(code).splitlines()
    from minirund import wire  # noqa: PLC0415 - beside what the other world made of it

    message = wire.Launch("id", "b", "r", clients=[wire.Attach(stdin=True, unread="\xff"), wire.Wait()])
    assert wire.decode(encoded.encode()) == message
    assert printed == repr(message)


def test_what_is_no_json_is_refused() -> None:
    code = """
from minirund import lean
for text in ('', '{"a":', '{"a" 1}', '{"a": "\\0"}', '[1,]', '[] x', '"\\\\q"'):
    try:
        lean.loads(text)
    except ValueError as error:
        print("not JSON" in str(error), "NULL" in str(error))
"""
    assert on_the_fork_side(code).split() == ["True", "False"] * 7


def test_wrong_arguments_are_refused() -> None:
    code = """
from minirund import wire
for wrong in (lambda: wire.Signal(), lambda: wire.Signal(number=1, other=2)):
    try:
        wrong()
    except TypeError as error:
        print(error)
"""
    assert on_the_fork_side(code).splitlines() == ["Signal: number is missing", "Signal has no other"]


def test_named_tuples_have_defaults_methods_and_properties() -> None:
    code = """
from cgroups.limits import Limits, from_oci, files
print(files(from_oci({"memory": {"limit": 1 << 20}, "pids": {"limit": 5}})))
print(Limits(pids=3).pids, Limits().memory)
from minirund.runtime.users import Identity
print(Identity(1)._replace(gid=2))
"""
    assert on_the_fork_side(code).splitlines() == [
        "{'memory.max': '1048576', 'pids.max': '5'}",
        "3 None",
        "Identity(uid=1, gid=2, groups=(), home='/')",
    ]


def test_sockets_pass_descriptors() -> None:
    code = """
import os, socket
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
r, w = os.pipe()
socket.send_fds(a, [b"x"], [w])
data, fds, flags, address = socket.recv_fds(b, 10, 2, socket.MSG_CMSG_CLOEXEC)
os.write(fds[0], b"through")
print(data, os.read(r, 10), os.get_inheritable(fds[0]))
with a:
    pass
print(b.recv(1))
"""
    assert on_the_fork_side(code).splitlines() == ["b'x' b'through' False", "b''"]


def test_they_can_be_taken_away() -> None:
    code = "remove()\nimport dataclasses, typing, json\nprint(dataclasses.MISSING, typing.Union, json.JSONDecoder)"
    assert "typing.Union" in on_the_fork_side(code)
