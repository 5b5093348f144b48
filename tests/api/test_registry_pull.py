"""Pulls into a store: from Debian's registry, and from one that breaks off, lies and holds back."""

from __future__ import annotations

import asyncio
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from images import (
    DOCKER,
    OCI,
    Blob,
    compress,
    directory,
    executable,
    hardlink,
    image,
    index,
    layer_tar,
    push,
    replace_layer,
    symlink,
)
from registries import RunningRegistry, running_registry
from scripted_registry import ScriptedRegistry, altered, cut, held, scripted_registry
from stores import TemporaryStore, temporary_store

from minirund.engine.load import Loader
from minirund.engine.progress import Message
from minirund.engine.pull import Pull, PulledImage, Puller
from minirund.errors import (
    InvalidArgument,
    MinirundError,
    NotFound,
    NotSupported,
    RegistryError,
    StorageFull,
    Unauthorized,
)
from minirund.registry.reference import parse

pytestmark = pytest.mark.root
NOISE = random.Random(1).randbytes(3_000_000)
BASE = {"bin": directory(), "bin/sh": executable(b"#!"), "etc/hosts": "x", "lib": symlink("usr/lib")}
ONE = image(BASE, {"etc/hosts": "y", "noise": NOISE}, {".wh.lib": "", "bin/ash": hardlink("bin/sh")})
OTHER = image(BASE, {"other": "1"})
ARM = image({"arm": "1"}, platform="linux/arm64/v8")


@pytest.fixture(scope="module")
def registry() -> Iterator[RunningRegistry]:
    with running_registry(where="/dev/shm") as one:
        yield one


@pytest.fixture
def scripted() -> Iterator[ScriptedRegistry]:
    with scripted_registry() as one:
        one.add("x", ONE)
        yield one


@pytest.fixture
def store() -> Iterator[TemporaryStore]:
    with temporary_store() as one:
        yield one


def statuses(messages: list[Message], short: str) -> list[str]:
    """What was said of one layer, each once."""
    return list(dict.fromkeys(message["status"] for message in messages if message.get("id") == short))


def offsets(scripted: ScriptedRegistry) -> list[int]:
    """From where on ONE's large layer was asked for, each time."""
    ranges = [request.headers.get("range", "bytes=0-") for request in scripted.asked(ONE.layers[1].digest)]
    return [int(text[6:-1]) for text in ranges]


def fails(kind: type[MinirundError], words: str, work: Callable[[], object]) -> None:
    with pytest.raises(kind) as failure:
        work()
    assert words in str(failure.value)
    assert "\n" not in str(failure.value)


# --- a healthy registry ---


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("kind", [OCI, DOCKER])
def test_an_image_comes_whole(registry: RunningRegistry, store: TemporaryStore, kind: str, compression: str) -> None:
    one = image(BASE, {"noise": NOISE}, {".wh.lib": ""}, kind=kind, compression=compression)
    name = f"{registry.address}/kinds/{kind}-{compression}"
    push(one, registry.address, f"kinds/{kind}-{compression}")
    pulled, messages = store.pull(name)
    assert (pulled.id, pulled.manifest, pulled.digest) == (one.id, one.digest, one.digest)
    assert list(pulled.chain_ids) == one.chain_ids
    assert pulled.repo_digest == f"{name}@{one.digest}"
    assert pulled.size == len(NOISE) + 3
    assert store.content.read(pulled.manifest) == one.manifest.data
    assert messages[0] == {"status": f"Pulling from {name}", "id": "latest"}
    assert messages[-1] == {"status": f"Digest: {one.digest}"}
    store.check(pulled)
    base, middle, top = store.chain(pulled)
    assert (base.path / "bin/sh").read_bytes() == b"#!"
    assert (middle.path / "noise").read_bytes() == NOISE
    assert (top.path / "lib").is_char_device()


def test_the_progress_of_a_layer_is_dockers(registry: RunningRegistry, store: TemporaryStore) -> None:
    push(ONE, registry.address, "progress")
    _, messages = store.pull(f"{registry.address}/progress")
    short = ONE.layers[1].hex[:12]
    expected = ["Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Pull complete"]
    assert [status for status in statuses(messages, short) if status != "Extracting"] == expected
    last = [message for message in messages if message["status"] == "Downloading" and message["id"] == short][-1]
    size = len(ONE.layers[1].data)
    assert last["progressDetail"] == {"current": size, "total": size}
    _, again = store.pull(f"{registry.address}/progress")
    assert statuses(again, short) == ["Already exists"]


def test_what_is_missing_is_mended_from_what_is_here(registry: RunningRegistry, store: TemporaryStore) -> None:
    push(ONE, registry.address, "mend")
    pulled, _ = store.pull(f"{registry.address}/mend")
    for chain in reversed(pulled.chain_ids):
        store.layers.remove(chain)
    unpacked_again, messages = store.pull(f"{registry.address}/mend")
    assert "Downloading" not in {message["status"] for message in messages}
    store.check(unpacked_again)
    store.content.delete(ONE.layers[0].digest)
    fetched_again, messages = store.pull(f"{registry.address}/mend")
    assert "Extracting" not in {message["status"] for message in messages}
    store.check(fetched_again)
    assert pulled == unpacked_again == fetched_again


def test_shared_layers_are_stored_once(registry: RunningRegistry, store: TemporaryStore) -> None:
    push(ONE, registry.address, "one")
    push(OTHER, registry.address, "other")
    first, _ = store.pull(f"{registry.address}/one")
    second, messages = store.pull(f"{registry.address}/other")
    assert statuses(messages, OTHER.layers[0].hex[:12]) == ["Already exists"]
    assert first.chain_ids[0] == second.chain_ids[0]
    assert len(store.layers.layers()) == 4
    store.check(first, second)


def test_an_index_leads_to_the_platform(registry: RunningRegistry, store: TemporaryStore) -> None:
    many = index(OTHER, ARM, kind=DOCKER)
    push(many, registry.address, "many")
    name = f"{registry.address}/many"
    arm, _ = store.pull(name, platform="linux/arm64")
    assert (arm.id, arm.manifest, arm.digest) == (ARM.id, ARM.digest, many.digest)
    here, _ = store.pull(name)
    assert here.id == OTHER.id
    by_digest, _ = store.pull(f"{name}@{many.digest}", platform="linux/amd64")
    assert by_digest.id == OTHER.id
    fails(
        NotFound,
        "no matching manifest for linux/s390x in the manifest list entries",
        lambda: store.pull(name, platform="linux/s390x"),
    )


def test_another_platform_is_refused(registry: RunningRegistry, store: TemporaryStore) -> None:
    push(ARM, registry.address, "arm")
    name = f"{registry.address}/arm"
    fails(NotFound, "does not match the specified platform", lambda: store.pull(name, platform="linux/amd64"))
    assert store.pull(name)[0].id == ARM.id


def test_unknown_images_are_told_in_dockers_words(registry: RunningRegistry, store: TemporaryStore) -> None:
    name = f"{registry.address}/no/such:1"
    fails(NotFound, f"manifest for {name} not found: manifest unknown: manifest unknown", lambda: store.pull(name))
    assert list(store.content.digests()) == []


def test_a_registry_with_a_password(store: TemporaryStore) -> None:
    line = "user:$2y$05$vp1zeK/dEOLjkDCq7RSmoO8j9YFBwj1RA6yhi0mfqN8yMIhO0AB2q"  # not a password that anyone knows
    with running_registry(htpasswd=line) as closed:
        name = f"{closed.address}/x"
        fails(Unauthorized, "no basic auth credentials", lambda: store.pull(name))
        wrong = {"username": "user", "password": "no"}
        fails(Unauthorized, "unauthorized: authentication required", lambda: store.pull(name, auth=wrong))


def test_docker_hub_through_a_pull_through_cache(scripted: ScriptedRegistry, store: TemporaryStore) -> None:
    """Debian's registry as a mirror: it fetches from the scripted one."""
    scripted.add("library/busybox", OTHER)
    scripted.rule("/v2/", lambda handler: len(handler.path) <= 4 and ping(handler))
    with running_registry(proxy_of=f"http://{scripted.address}") as cache:
        store.options = type(store.options)(mirrors=(f"http://{cache.address}",), first_delay=0.0)
        pulled, messages = store.pull("busybox")
    assert pulled.id == OTHER.id
    assert pulled.repo_digest == f"docker.io/library/busybox@{OTHER.digest}"
    assert messages[0] == {"status": "Pulling from busybox", "id": "latest"}


def ping(handler: Any) -> bool:
    handler.answer(200, b"{}", {"Docker-Distribution-Api-Version": "registry/2.0"})
    return True


def test_an_image_without_layers(registry: RunningRegistry, store: TemporaryStore) -> None:
    empty = image(config={"Cmd": ["x"]})
    push(empty, registry.address, "empty")
    pulled, _ = store.pull(f"{registry.address}/empty")
    assert (pulled.chain_ids, pulled.size) == ((), 0)
    store.check(pulled)


def test_an_image_of_many_layers_some_of_them_equal(registry: RunningRegistry, store: TemporaryStore) -> None:
    layers = [{f"f{number % 7}": str(number % 7)} for number in range(40)]
    many = image(*layers)
    push(many, registry.address, "layers")
    pulled, _ = store.pull(f"{registry.address}/layers")
    assert list(pulled.chain_ids) == many.chain_ids
    store.check(pulled)


def test_the_store_is_a_layout_that_skopeo_reads(
    registry: RunningRegistry, store: TemporaryStore, tmp_path: Path
) -> None:
    push(ONE, registry.address, "skopeo")
    pulled, _ = store.pull(f"{registry.address}/skopeo")
    store.content.write_index(
        [{"mediaType": pulled.media_type, "digest": pulled.manifest, "size": pulled.manifest_size}]
    )
    command = ["skopeo", "inspect", "--raw", f"oci:{store.content.root}"]
    shown = subprocess.run(command, check=True, capture_output=True, env={"HOME": str(tmp_path)})
    assert shown.stdout == ONE.manifest.data


# --- a sick one ---


def test_a_broken_download_goes_on_where_it_broke(scripted: ScriptedRegistry, store: TemporaryStore) -> None:
    scripted.rule(ONE.layers[1].digest, cut(1_000_000), times=2)
    pulled, _ = store.pull(f"{scripted.address}/x")
    first, second, third = offsets(scripted)
    assert first == 0 < second < third
    store.check(pulled)


def test_a_failed_pull_is_resumed_by_the_next(scripted: ScriptedRegistry, store: TemporaryStore) -> None:
    scripted.rule(ONE.layers[1].digest, cut(1_500_000), times=1)
    store.options = type(store.options)(tries=1)
    fails(RegistryError, "connection", lambda: store.pull(f"{scripted.address}/x"))
    store.check()
    assert ONE.layers[1].digest.replace(":", "-") in store.partials()
    assert not store.content.has(ONE.digest)
    pulled, _ = store.pull(f"{scripted.address}/x")
    assert offsets(scripted)[-1] > 0
    assert store.partials() == []
    store.check(pulled)


def test_a_partial_download_that_is_damaged_is_begun_anew(scripted: ScriptedRegistry, store: TemporaryStore) -> None:
    with store.content.ingest(ONE.layers[1].digest, len(ONE.layers[1].data)) as ingest:
        ingest.write(b"damaged" * 1000)
    pulled, _ = store.pull(f"{scripted.address}/x")
    assert offsets(scripted) == [7000, 0]
    store.check(pulled)


@pytest.mark.parametrize("number", [0, 1])
def test_wrong_bytes_are_refused(scripted: ScriptedRegistry, store: TemporaryStore, number: int) -> None:
    digest = ONE.layers[number].digest
    scripted.rule(digest, altered(lambda data: data[:-10] + bytes(10)))
    words = f"filesystem layer verification failed for digest {digest}"
    fails(RegistryError, words, lambda: store.pull(f"{scripted.address}/x"))
    store.check()
    assert not store.content.has(digest)
    assert not store.content.has(ONE.digest)
    assert not store.layers.has(ONE.chain_ids[number])


def lying(number: int, data: bytes) -> Any:
    """ONE with other bytes for a layer, which its manifest owns up to and its configuration does not."""
    return replace_layer(ONE, number, data)


GZIP = ONE.layers[1].data


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (GZIP[: len(GZIP) // 2], InvalidArgument, "bad archive"),
        (GZIP[:1000] + bytes(1000) + GZIP[2000:], InvalidArgument, "bad archive"),
        (b"not a tar at all" * 1000, InvalidArgument, "bad archive"),
        (compress(layer_tar({"other": "1"}), "gzip"), RegistryError, "does not match its digest"),
        (compress(layer_tar({"../escape": "1"}), "gzip"), InvalidArgument, "'../escape'"),
    ],
    ids=["truncated", "corrupt", "no tar", "another tar", "a trick"],
)
def test_a_bad_layer_is_one_line(
    scripted: ScriptedRegistry, store: TemporaryStore, data: bytes, kind: type[MinirundError], words: str
) -> None:
    bad = lying(1, data)
    scripted.add("bad", bad)
    fails(kind, words, lambda: store.pull(f"{scripted.address}/bad"))
    store.check()
    assert not store.content.has(bad.digest)
    assert not store.layers.has(ONE.chain_ids[1])
    assert not list(store.root.rglob("escape*"))


@pytest.mark.parametrize(
    "files",
    [
        {"../escape": "1"},
        {"/../../escape": "1"},
        {"link": symlink("/"), "link/escape": "1"},
        {"link": symlink("../../../.."), "link/escape": "1"},
        {"a": hardlink("../../../../etc/passwd")},
        {"a": hardlink("/etc/passwd")},
        {"l": symlink("/etc"), "h": hardlink("l/passwd")},
    ],
)
def test_an_archive_cannot_leave_its_layer(
    scripted: ScriptedRegistry, store: TemporaryStore, files: dict[str, Any]
) -> None:
    scripted.add("trick", image(files))
    try:
        pulled, _ = store.pull(f"{scripted.address}/trick")
    except InvalidArgument as error:
        assert "bad archive" in str(error)
    else:
        store.check(pulled)
        inside = store.chain(pulled)[0].path
        assert all(path.is_relative_to(inside) for path in store.root.rglob("*escape*"))
    assert not Path("/escape").exists()
    assert not (store.root.parent / "escape").exists()


def test_a_bomb_is_stopped_at_the_limit(scripted: ScriptedRegistry) -> None:
    bomb = image({"zeros": bytes(200 << 20)})
    scripted.add("bomb", bomb)
    with temporary_store(max_unpacked_size=1 << 20) as store:
        words = "larger than the limit of 1048576 bytes (set by --max-unpacked-size)"
        fails(InvalidArgument, words, lambda: store.pull(f"{scripted.address}/bomb"))
        store.check()
        assert store.layers.layers() == []


def test_schema_1_is_refused(scripted: ScriptedRegistry, store: TemporaryStore) -> None:
    old = Blob(b'{"schemaVersion":1,"name":"x"}', "application/vnd.docker.distribution.manifest.v1+prettyjws")
    scripted.manifests["old", "latest"] = old
    fails(NotSupported, "schema 1, which is not supported", lambda: store.pull(f"{scripted.address}/old"))


# --- several at once ---


async def resolved(puller: Puller, name: str) -> Pull:
    return await puller.resolve(parse(name))


def test_two_pulls_at_once_fetch_every_blob_once(scripted: ScriptedRegistry, store: TemporaryStore) -> None:
    go = threading.Event()
    scripted.rule(ONE.layers[1].digest, held(go, 1000))
    sinks: tuple[list[Message], list[Message]] = ([], [])

    async def work(puller: Puller, _: Loader) -> list[PulledImage]:
        pulls = [await resolved(puller, f"{scripted.address}/x") for _ in range(2)]
        tasks = [asyncio.create_task(pull.run(sink.append)) for pull, sink in zip(pulls, sinks, strict=True)]
        while not scripted.asked(ONE.layers[1].digest):
            await asyncio.sleep(0.01)
        go.set()
        return await asyncio.gather(*tasks)

    first, second = store.run(work)
    assert first == second
    for layer in ONE.layers:
        assert len(scripted.asked(layer.digest)) == 1
    short = ONE.layers[1].hex[:12]
    assert statuses(sinks[0], short)[-1] == statuses(sinks[1], short)[-1] == "Pull complete"
    store.check(first)


def test_a_cancelled_pull_leaves_the_other_alone_and_the_last_one_stops(
    scripted: ScriptedRegistry, store: TemporaryStore
) -> None:
    go = threading.Event()
    scripted.rule(ONE.layers[1].digest, held(go, 1_200_000))

    async def work(puller: Puller, _: Loader) -> None:
        pulls = [await resolved(puller, f"{scripted.address}/x") for _ in range(2)]
        tasks = [asyncio.create_task(pull.run(lambda _: None)) for pull in pulls]
        partial = store.root / "content/ingest" / ONE.layers[1].digest.replace(":", "-")
        while not partial.exists() or partial.stat().st_size < 1_000_000:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert partial.exists()

    try:
        store.run(work)
    finally:
        go.set()
    store.check()
    assert not store.content.has(ONE.digest)
    pulled, _ = store.pull(f"{scripted.address}/x")
    assert offsets(scripted)[-1] >= 1_000_000
    store.check(pulled)


def test_the_loop_stays_free_while_a_layer_is_unpacked(scripted: ScriptedRegistry, store: TemporaryStore) -> None:
    """Not a measurement: the loop turns many times while one pull runs."""
    big = image({f"f{number}": bytes(1 << 20) for number in range(100)})
    scripted.add("big", big)

    async def work(puller: Puller, _: Loader) -> int:
        pull = await resolved(puller, f"{scripted.address}/big")
        task = asyncio.create_task(pull.run(lambda _: None))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        await task
        return turns

    assert store.run(work) > 50


# --- a full disk ---


@pytest.mark.parametrize("megabytes", [1, 4])
def test_a_full_disk_is_one_line_and_the_store_stays_sound(
    scripted: ScriptedRegistry, tmp_path: Path, megabytes: int
) -> None:
    """1 MB does not hold the blob, 4 MB hold the blob and not the files."""
    noisy = image({"noise": NOISE}, compression="none")
    scripted.add("noisy", noisy)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "minirund-test", str(tmp_path)], check=True)
    try:
        store = TemporaryStore(tmp_path)
        words = f"no space left on device: {tmp_path}"
        fails(StorageFull, words, lambda: store.pull(f"{scripted.address}/noisy"))
        store.check()
        assert store.layers.layers() == []
        assert not store.content.has(noisy.digest)
        assert store.partials() == [], "half a blob on a full disk is in everyone's way"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
