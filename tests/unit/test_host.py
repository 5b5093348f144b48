"""Sockets, the process ID file, and what a data root must be on."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from minirund.host import check_overlay, listen, listening, listening_tcp, pidfile
from minirund.options import BadOption

root_only = pytest.mark.root


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@root_only
def test_a_socket_is_root_s_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "dir/sock"
    with listening([f"unix://{path}"], "root"):
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o660, 0, 0)
        assert connects(path)
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o500 == 0o500
    assert not path.exists()


@root_only
def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with listening([f"unix://{path}"], None):
        with pytest.raises(BadOption, match="another daemon listens there"):
            listen(f"unix://{path}", None)
        assert connects(path)


@root_only
def test_who_has_taken_the_path_over_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with listening([f"unix://{path}"], None):
        path.rename(tmp_path / "old")
        path.write_text("another's")
    assert path.exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("tcp://0.0.0.0:2375", "TCP needs mutual TLS"), ("unix://relative", "not a host"),
        ("/run/x.sock", "is unix:// missing"),
        ("http://x", "not a host"), ("fd://", "no sockets were passed"), ("unix:///dev/null", "is not a socket"),
    ],
)  # fmt: skip
def test_what_is_no_host(url: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        listen(url, None)


@root_only
def test_no_such_group(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="no such group"):
        listen(f"unix://{tmp_path}/s", "no-such-group")


def test_the_process_id_is_in_the_file_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    for old in ("", "nonsense", "999999999", str(os.getpid())):
        path.write_text(old)
        with pidfile(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"
        assert not path.exists()
    with pidfile(None):
        pass


def test_another_daemon_that_runs_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    other = subprocess.Popen([sys.executable, "-c", "input()", "minirund"], stdin=subprocess.PIPE)
    path.write_text(str(other.pid))
    try:
        while b"minirund" not in Path(f"/proc/{other.pid}/cmdline").read_bytes():
            pass
        with pytest.raises(BadOption, match=f"running already, as process {other.pid}"), pidfile(str(path)):
            pass
        assert path.exists()
    finally:
        other.communicate(b"\n")


def test_a_file_system_without_trusted_attributes_is_refused() -> None:
    with pytest.raises(BadOption, match="is on proc, which can't hold overlayfs layers"):
        check_overlay("/proc/self")


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("localhost", socket.AF_INET)])
def test_a_tcp_address_is_listened_on_while_it_is_wanted(host: str, family: int) -> None:
    with listening_tcp((host, 0), "--metrics-addr") as (listener,):
        address = listener.getsockname()
        assert listener.family == family
        socket.create_connection(address[:2]).close()
        with (
            pytest.raises(BadOption, match=rf"can't listen on {host}:\d+: address already in use: .* --metrics-addr$"),
            listening_tcp((host, address[1]), "--metrics-addr"),
        ):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address[:2])


def test_every_address_and_none() -> None:
    with listening_tcp(("", 0), "--metrics-addr") as (listener,):
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])).close()
    with listening_tcp(None, "--metrics-addr") as none:
        assert none == []


@pytest.mark.parametrize(
    ("host", "shown"),
    [("no such name", "no such name:1"), ("192.0.2.1", "192.0.2.1:1"), ("2001:db8::1", "[2001:db8::1]:1")],
)
def test_an_address_that_is_none(host: str, shown: str) -> None:
    with pytest.raises(BadOption) as caught, listening_tcp((host, 1), "--metrics-addr"):
        pass
    assert str(caught.value).startswith(f"can't listen on {shown}: ")
    assert "\n" not in str(caught.value)
