"""Stdio: attached clients, terminals, detaching, backpressure, the log."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from bundles import Runtime, TestBundle, eventually, make_bundle

from minirund import wire


def on_terminal(bundle: TestBundle) -> TestBundle:
    bundle.config["process"].update(terminal=True, consoleSize={"height": 33, "width": 77})
    return bundle


def test_a_terminal_with_job_control(runtime: Runtime, bundle: TestBundle) -> None:
    result = runtime.sh(on_terminal(bundle), "tty; stty size; ls -l /dev/console | cut -c1; cat /proc/self/stat")
    rows = result.stdout.decode().split("\r\n")
    assert rows[:3] == ["/dev/pts/0", "33 77", "c"]
    assert int(rows[3].split()[6]) == os.makedev(136, 0)


def test_typing_ctrl_c_and_resizing(runtime: Runtime, bundle: TestBundle) -> None:
    client = wire.Attach(stdin=True, framed=False)
    container = runtime.launch(on_terminal(bundle), "/bin/sh", clients=(client,))
    container.started()
    stream = container.streams[0]
    stream.send(b"sleep 1000\n")
    stream.wait_for(b"sleep 1000\r\n")
    eventually(lambda: b"sleep\x001000" in b"".join(commands_of(bundle)), "sleep does not run")
    stream.send(b"\x03")
    container.control.send(wire.Resize(50, 132))
    eventually(lambda: b"sleep\x001000" not in b"".join(commands_of(bundle)), "ctrl-c did not end it")
    stream.send(b"echo got $?; stty size\n")
    stream.wait_for(b"got 130\r\n50 132\r\n")
    stream.send(b"exit 3\n")
    assert container.exited() == 3
    stream.finish()


def commands_of(bundle: TestBundle) -> list[bytes]:
    """The command lines of a container's processes."""
    found = []
    for pid in Path(bundle.cgroup, "cgroup.procs").read_text().split():
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            continue
    return found


def test_detach_closes_one_client_only(runtime: Runtime, bundle: TestBundle) -> None:
    client = wire.Attach(stdin=True, framed=False)
    container = runtime.launch(on_terminal(bundle), "/bin/cat", "-v", clients=(client, client))
    container.started()
    first, second = container.streams
    first.send(b"a\x10b")  # ctrl-p and something else: both are the program's
    first.send(b"\n")
    second.wait_for(b"a^Pb\r\n")
    first.send(b"\x10")
    first.send(b"\x11lost\n")
    first.finish()
    second.send(b"still here\n")
    second.wait_for(b"still here\r\n")
    third = container.attach(stdin=True, framed=False, logs=True)
    third.wait_for(b"a^Pb\r\n")
    third.wait_for(b"still here\r\n")
    assert container.kill() == 137
    second.finish()
    third.finish()
    assert b"lost" not in bundle.logged()


def test_half_close_ends_stdin_once(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "/bin/sh", "-c", "cat; echo end", clients=(wire.Attach(stdin=True),))
    stream = container.streams[0]
    stream.send(b"text\n")
    stream.end_input()
    assert container.exited() == 0
    stream.finish()
    assert stream.output(1) == b"text\nend\n"


def test_stdin_stays_open_without_stdin_once(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["minirund"]["stdin_once"] = False
    container = runtime.launch(bundle, "/bin/cat", clients=(wire.Attach(stdin=True),))
    container.started()
    container.streams[0].send(b"one\n")
    container.streams[0].wait_for(b"one\n")
    container.streams[0].end_input()
    again = container.attach(stdin=True, logs=True)
    again.send(b"two\n")
    again.wait_for(b"two\n")
    assert again.output() == b"one\ntwo\n"
    assert container.kill() == 137
    again.finish()
    container.streams[0].finish()


def test_no_stdin_is_the_container_s_null(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["minirund"]["stdin"] = False
    assert runtime.run(bundle, "sh", "-c", "readlink /proc/self/fd/0; cat", stdin=b"never").stdout == b"/dev/null\n"


def test_streams_are_told_apart(runtime: Runtime, bundle: TestBundle) -> None:
    both, only_error = wire.Attach(), wire.Attach(stdout=False)
    container = runtime.launch(bundle, "sh", "-c", "echo out; echo err >&2", clients=(both, only_error))
    assert container.exited() == 0
    for stream in container.streams:
        stream.finish()
    assert [each.output(1) for each in container.streams] == [b"out\n", b""]
    assert [each.output(2) for each in container.streams] == [b"err\n", b"err\n"]


def test_log_replay_without_stream(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "sh", "-c", "echo one; printf two; sleep 1000")
    container.started()
    eventually(lambda: bundle.logged() == b"one\n")
    reader = container.attach(logs=True, stream=False)
    eventually(lambda: reader.output() != b"")
    reader.finish()
    assert reader.output() in (b"one\n", b"one\ntwo")
    container.kill()
    assert bundle.records()[-1] == ("stdout", "P", b"two")


def test_lines_longer_than_a_record(runtime: Runtime, bundle: TestBundle) -> None:
    result = runtime.sh(bundle, "head -c 100000 /dev/zero | tr '\\0' x; echo; printf end")
    assert result.stdout == b"x" * 100000 + b"\nend"
    assert bundle.logged() == result.stdout
    records = bundle.records()
    assert all(len(text) <= 16384 for _stream, _tag, text in records)
    assert [tag for _stream, tag, _text in records] == ["P"] * 6 + ["F", "P"]


def test_heavy_output_is_complete(runtime: Runtime, bundle: TestBundle) -> None:
    script = "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done"
    result = runtime.sh(bundle, script)
    expected = b"".join(b"line %d\n" % number for number in range(30000))
    assert result.stdout == expected
    assert bundle.logged() == expected


def test_a_client_that_does_not_read_holds_the_output_up(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "sh", "-c", "yes | head -c 5000000", clients=(wire.Attach(),), reading=False)
    container.started()
    held = settled(lambda: Path(bundle.bundle.log_path).stat().st_size)
    assert bundle.bundle.read_exit() is None
    stream = container.streams[0].start()  # now it reads
    assert container.exited() == 0
    stream.finish()
    assert Path(bundle.bundle.log_path).stat().st_size > held
    assert bundle.logged() == b"y\n" * 2500000


def settled(value: object) -> int:
    """A number, once it is not 0 and has not changed for a while."""
    last, since = 0, time.monotonic()
    while not last or time.monotonic() - since < 0.4:
        now = value()  # type: ignore[operator]
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.02)
    return last


def test_a_client_that_goes_sets_the_output_free(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "sh", "-c", "yes | head -c 2000000", clients=(wire.Attach(),), reading=False)
    container.started()
    settled(lambda: Path(bundle.bundle.log_path).stat().st_size)
    container.streams[0].sock.close()
    assert container.exited() == 0
    assert bundle.logged() == b"y\n" * 1000000


def test_a_slow_client_gets_all_after_the_end(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "sh", "-c", "yes | head -c 400000", clients=(wire.Attach(),), reading=False)
    assert container.exited() == 0
    stream = container.streams[0].start()
    stream.finish()
    assert stream.output() == bundle.logged() == b"y\n" * 200000


def test_a_full_disk_does_not_stop_the_container(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        bundle = make_bundle(tmp_path, lower)
        os.symlink(small / "log", bundle.bundle.log_path)
        container = runtime.launch(
            bundle, "sh", "-c", "yes | head -c 3000000; read go; echo after", clients=(wire.Attach(stdin=True),)
        )
        stream = container.streams[0]
        eventually(lambda: len(stream.output()) == 3000000, "output stops with the log")
        subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
        stream.send(b"go\n")
        assert container.exited() == 0
        stream.finish()
        text = [content for _stream, _tag, content in bundle.records()]
        assert text[-1] == b"after"
        assert any(b"bytes of output are missing here" in each for each in text)
        missing = sum(int(each.split()[1]) for each in text if each.startswith(b"minirund:"))
        assert 2 * text.count(b"y") + missing == 3000000
    finally:
        subprocess.run(["umount", small], check=True)


def test_wait_is_answered_at_the_end(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "sh", "-c", "exit 3", clients=(wire.Wait(), wire.Wait(removed=True)))
    assert container.exited(release=False) == 3
    plain, removed = container.streams
    plain.finish()
    assert bytes(plain.received) == b'11\r\n{"StatusCode":3}\n\r\n0\r\n\r\n'
    assert bytes(removed.received) == b""
    container.release()
    removed.finish()
    assert bytes(removed.received) == bytes(plain.received)
