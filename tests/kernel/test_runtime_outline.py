"""A start that begins before its config.json is written: shim and init come to be, and init waits for the rest."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

from bundles import Container, Runtime, TestBundle, eventually

from cgroups.cgroup import Cgroup
from minirund import wire
from minirund.engine.preparation import outline


def begin(runtime: Runtime, bundle: TestBundle, *args: str, client: socket.socket | None = None) -> Container:
    """Launch with an outline; there is no config.json yet. Returns once init waits for it."""
    bundle.config["process"]["args"] = list(args)
    Path(bundle.bundle.config_path).unlink(missing_ok=True)
    ours, report = wire.Channel.pair()
    clients: list[wire.Attach | wire.Wait] = [wire.Attach()] if client else []
    launch = wire.Launch(bundle.id, bundle.bundle.directory, bundle.bundle.run, clients=clients)
    launch.outline = outline(bundle.config)
    runtime.channel.send(launch, [report.fileno(), *([client.fileno()] if client else [])])
    report.close()
    container = Container(bundle, ours)
    eventually(lambda: waits(container.shim_pid()), "init does not wait")
    return container


def waits(shim: int) -> bool:
    inits = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
    return bool(inits) and Path(f"/proc/{inits[0]}/wchan").read_text().endswith("wait_for_more_packets")


def nothing_left(bundle: TestBundle, container: Container, shim: int) -> None:
    """The shim has gone, and with it all that it had."""
    assert container.next() is None
    container.control.close()
    eventually(lambda: not os.path.exists(f"/proc/{shim}"), "the shim stays")
    assert not Cgroup(bundle.cgroup).exists()
    assert os.listdir(bundle.bundle.run) == []


def fails(bundle: TestBundle, container: Container, shim: int, message: str) -> None:
    failed = container.until(wire.Failed)
    assert (failed.exit_code, failed.message) == (125, message)
    nothing_left(bundle, container, shim)


def test_init_waits_for_the_bundle(runtime: Runtime, bundle: TestBundle) -> None:
    container = begin(runtime, bundle, "sh", "-c", "exit 7")
    assert not select.select([container.control], [], [], 0)[0]
    bundle.bundle.write_config(bundle.config)
    runtime.channel.send(wire.Go(bundle.id))
    container.started()
    assert container.exited() == 7


def test_a_bundle_that_will_never_be_there(runtime: Runtime, bundle: TestBundle) -> None:
    container = begin(runtime, bundle, "/bin/true")
    shim = container.shim_pid()
    runtime.channel.send(wire.Stop(bundle.id))
    fails(bundle, container, shim, "its bundle could not be written")


def test_a_bundle_that_asks_for_too_much(runtime: Runtime, bundle: TestBundle) -> None:
    container = begin(runtime, bundle, "/bin/true")
    shim = container.shim_pid()
    bundle.bundle.write_config({**bundle.config, "hooks": {"prestart": [{"path": "/bin/true"}]}})
    runtime.channel.send(wire.Go(bundle.id))
    fails(bundle, container, shim, "config.json: hooks are not offered")


def test_a_bundle_that_is_not_there_after_all(runtime: Runtime, bundle: TestBundle) -> None:
    container = begin(runtime, bundle, "/bin/true")
    shim = container.shim_pid()
    runtime.channel.send(wire.Go(bundle.id))
    assert "No such file" in container.until(wire.Failed).message or "no such file" in container.heard[-1].message  # type: ignore[union-attr]
    nothing_left(bundle, container, shim)


def test_the_spawner_is_killed_meanwhile(bundle: TestBundle) -> None:
    """The shim ends without a word, also to its client: whoever asked will ask again, with the same client."""
    ours, theirs = socket.socketpair()
    with Runtime() as runtime, ours, theirs:
        container = begin(runtime, bundle, "/bin/true", client=theirs)
        shim = container.shim_pid()
        runtime.process.kill()
        nothing_left(bundle, container, shim)
        assert not select.select([ours], [], [], 0)[0]
        theirs.sendall(b"still open")
        assert ours.recv(100) == b"still open"


def test_it_is_launched_again(runtime: Runtime, bundle: TestBundle) -> None:
    """The shim was killed: the spawner forgets the start that waits, and begins another."""
    killed = begin(runtime, bundle, "/bin/true")
    os.kill(killed.shim_pid(), 9)  # first: else it would see init's end, and tell of it
    Cgroup(bundle.cgroup).kill()
    assert killed.next() is None
    killed.control.close()
    Cgroup(bundle.cgroup).remove()
    assert runtime.run(bundle, "/bin/echo", "again").stdout == b"again\n"


def test_words_about_nothing_are_passed_over(runtime: Runtime, bundle: TestBundle) -> None:
    for word in (wire.Go("nobody"), wire.Stop("nobody"), wire.Release()):
        runtime.channel.send(word)
    assert runtime.run(bundle, "/bin/echo", "on").stdout == b"on\n"
