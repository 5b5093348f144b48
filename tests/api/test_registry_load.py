"""Loads into a store: docker-save archives and OCI layouts, our own and skopeo's, sound and hostile."""

from __future__ import annotations

import asyncio
import bz2
import json
import lzma
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from images import (
    DOCKER,
    busybox,
    compress,
    docker_archive,
    executable,
    hardlink,
    image,
    index,
    layer_tar,
    oci_archive,
    oci_files,
    replace_layer,
    symlink,
)
from stores import TemporaryStore, load, temporary_store

from minirund.engine.load import BodyReader, Loader
from minirund.engine.progress import Message
from minirund.engine.pull import Puller
from minirund.errors import InvalidArgument, MinirundError, NotFound, StorageFull

pytestmark = pytest.mark.root
ONE = image({"bin/sh": executable(b"#!"), "old": "x"}, {".wh.old": "", "bin/ash": hardlink("bin/sh")})
OTHER = image({"other": "1"})
ARM = image({"arm": "1"}, platform="linux/arm64/v8")


@pytest.fixture
def store() -> Iterator[TemporaryStore]:
    with temporary_store() as one:
        yield one


def fails(kind: type[MinirundError], words: str, work: Callable[[], object]) -> None:
    with pytest.raises(kind) as failure:
        work()
    assert words in str(failure.value)
    assert "\n" not in str(failure.value)


def said(messages: list[Message]) -> list[str]:
    return [message["stream"] for message in messages if "stream" in message]


# --- what is sound ---


def packed(data: bytes, compression: str) -> bytes:
    others = {"bzip2": bz2.compress, "xz": lzma.compress}
    return others[compression](data) if compression in others else compress(data, compression)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "bzip2", "xz"])
@pytest.mark.parametrize("archive", [docker_archive, oci_archive])
def test_archives_are_loaded_however_compressed(store: TemporaryStore, archive: Any, compression: str) -> None:
    data = packed(archive({"busybox:latest": ONE, "other:1": OTHER}), compression)
    images, messages = store.load(data)
    assert [one.id for one in images] == [ONE.id, OTHER.id]
    assert [list(one.chain_ids) for one in images] == [ONE.chain_ids, OTHER.chain_ids]
    assert [str(one.names[0]) for one in images] == ["docker.io/library/busybox:latest", "docker.io/library/other:1"]
    assert said(messages) == ["Loaded image: busybox:latest\n", "Loaded image: other:1\n"]
    store.check(*images)
    below, above = store.chain(images[0])
    assert (below.path / "bin/sh").read_bytes() == b"#!"
    assert (above.path / "old").is_char_device()


def test_an_oci_archive_keeps_its_manifest_and_a_docker_archive_gets_one(store: TemporaryStore) -> None:
    (oci,), _ = store.load(oci_archive({"x:1": ONE}))
    assert oci.manifest == ONE.digest
    (docker,), _ = store.load(docker_archive({"x:1": ONE}))
    assert docker.id == oci.id
    made = json.loads(store.content.read(docker.manifest))
    assert [layer["digest"] for layer in made["layers"]] == ONE.diff_ids
    assert {layer["mediaType"] for layer in made["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}
    (again,), _ = store.load(docker_archive({"y:1": ONE}, "gzip"))
    assert again.manifest == docker.manifest
    store.check(oci, docker, again)


def test_the_layout_made_of_a_docker_archive_is_one_that_skopeo_reads(store: TemporaryStore, tmp_path: Path) -> None:
    (one,), _ = store.load(docker_archive({"x:1": ONE}))
    store.content.write_index([{"mediaType": one.media_type, "digest": one.manifest, "size": one.manifest_size}])
    command = ["skopeo", "copy", f"oci:{store.content.root}", f"docker-archive:{tmp_path}/out.tar:y:2"]
    subprocess.run(command, check=True, capture_output=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    (again,), messages = store.load((tmp_path / "out.tar").read_bytes())
    assert again.id == one.id
    assert said(messages) == ["Loaded image: y:2\n"]


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeos_archives(store: TemporaryStore, tmp_path: Path, kind: str) -> None:
    layout = tmp_path / "layout"
    for name, data in oci_files({"x": ONE}).items():
        path = layout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else str(data).encode())
    command = ["skopeo", "copy", f"oci:{layout}:x", f"{kind}:{tmp_path}/out.tar:docker.io/library/y:2"]
    subprocess.run(command, check=True, capture_output=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    (one,), messages = store.load((tmp_path / "out.tar").read_bytes())
    assert one.id == ONE.id
    assert said(messages) == ["Loaded image: y:2\n"]
    store.check(one)


def test_a_real_image(store: TemporaryStore) -> None:
    whole = busybox()
    (one,), _ = store.load(docker_archive({"busybox:latest": whole}, "gzip"))
    (layer,) = store.chain(one)
    shown = subprocess.run([layer.path / "bin/busybox", "echo", "it runs"], check=True, capture_output=True)
    assert shown.stdout == b"it runs\n"
    assert (layer.path / "bin/sh").readlink() == Path("busybox")


def test_images_without_a_name_are_told_by_their_id(store: TemporaryStore) -> None:
    for data in (docker_archive({"": ONE}), oci_archive({"": ONE}), oci_archive({"latest": ONE})):
        (one,), messages = store.load(data)
        assert one.names == ()
        assert said(messages) == [f"Loaded image ID: {ONE.id}\n"]


def test_several_names_for_one_image(store: TemporaryStore) -> None:
    (one,), messages = store.load(docker_archive({"a:1": ONE, "b.c/d:2": ONE}))
    assert [name.familiar() for name in one.names] == ["a:1", "b.c/d:2"]
    assert said(messages) == ["Loaded image: a:1\n", "Loaded image: b.c/d:2\n"]


def test_equal_layers_that_are_links_in_the_archive(store: TemporaryStore) -> None:
    twice = image({"a": "1"}, {"a": "1"})
    digits = twice.diff_ids[0][7:]
    files = {
        f"{digits}/layer.tar": twice.tars[0],
        "second/layer.tar": symlink(f"../{digits}/layer.tar"),
        "c.json": twice.config.data,
        "manifest.json": json.dumps([{"Config": "c.json", "Layers": [f"{digits}/layer.tar", "second/layer.tar"]}]),
    }
    (one,), _ = store.load(layer_tar(files))
    assert list(one.chain_ids) == twice.chain_ids
    store.check(one)


def test_of_a_nested_index_the_platform_is_taken(store: TemporaryStore) -> None:
    many = oci_archive({"m:1": index(OTHER, ARM)})
    assert [one.id for one in store.load(many)[0]] == [OTHER.id]
    assert [one.id for one in store.load(many, platform="linux/arm64")[0]] == [ARM.id]
    words = "no matching manifest for linux/s390x in the manifest list entries"
    fails(NotFound, words, lambda: store.load(many, platform="linux/s390x"))


def test_another_platform_than_asked_for_is_refused(store: TemporaryStore) -> None:
    words = "does not match the specified platform"
    fails(NotFound, words, lambda: store.load(docker_archive({"x:1": ARM}), platform="linux/amd64"))
    fails(NotFound, words, lambda: store.load(oci_archive({"x:1": ARM}), platform="linux/amd64"))


def test_what_is_here_is_not_loaded_again(store: TemporaryStore) -> None:
    store.load(docker_archive({"x:1": ONE}))
    before = {path: path.stat().st_mtime_ns for path in store.content.root.rglob("*") if path.is_file()}
    _, messages = store.load(docker_archive({"x:1": ONE}))
    assert said(messages) == ["Loaded image: x:1\n"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


# --- what is not ---


def changed_docker(**changes: Any) -> bytes:
    """A docker archive whose manifest.json lies."""
    config = f"{ONE.config.hex}.json"
    item = {"Config": config, "RepoTags": ["x:1"], "Layers": [f"{digest[7:]}/layer.tar" for digest in ONE.diff_ids]}
    files: dict[str, Any] = {f"{digest[7:]}/layer.tar": tar for digest, tar in zip(ONE.diff_ids, ONE.tars, strict=True)}
    files[config] = ONE.config.data
    files["manifest.json"] = json.dumps([{**item, **changes}])
    return layer_tar(files)


def changed_oci(name: str, data: bytes | str) -> bytes:
    """An OCI archive with another file in one place."""
    files = oci_files({"x:1": ONE})
    assert name in files
    return layer_tar({**files, name: data})


LAYERS = [f"{digest[7:]}/layer.tar" for digest in ONE.diff_ids]
BLOB = f"blobs/sha256/{ONE.layers[0].hex}"
NO_IMAGE = "it has neither manifest.json nor index.json"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", NO_IMAGE, id="empty"),
        pytest.param(b"no tar" * 1000, "not a tar archive: it does not begin with a header", id="no tar"),
        pytest.param(b"no tar", "not a tar archive: it does not begin with a header", id="too little for a tar"),
        pytest.param(docker_archive({"x:1": ONE})[:5000], "bad archive: truncated", id="truncated"),
        pytest.param(docker_archive({"x:1": ONE}, "gzip")[:400], "bad archive", id="truncated gzip"),
        pytest.param(docker_archive({"x:1": ONE}, manifest=False), NO_IMAGE, id="no manifest"),
        pytest.param(layer_tar({"manifest.json": "{"}), "manifest.json is not JSON", id="no JSON"),
        pytest.param(layer_tar({"manifest.json": "{}"}), "manifest.json is no list", id="no list"),
        pytest.param(layer_tar({"manifest.json": "[1]"}), "manifest.json is no list", id="no objects"),
        pytest.param(changed_docker(Layers=LAYERS[:1]), "has 2 layers, its manifest 1", id="a layer less"),
        pytest.param(changed_docker(Layers=LAYERS[::-1]), "does not match its digest", id="layers swapped"),
        pytest.param(changed_docker(Layers=["../../etc/passwd", LAYERS[0]]), "has no '../../etc/passwd'", id="up"),
        pytest.param(changed_docker(Layers=["/etc/passwd", LAYERS[0]]), "has no '/etc/passwd'", id="absolute"),
        pytest.param(changed_docker(Layers=LAYERS[0]), "without Config or Layers", id="layers no list"),
        pytest.param(changed_docker(Config="/etc/passwd"), "has no '/etc/passwd'", id="config elsewhere"),
        pytest.param(changed_docker(Config=None), "without Config or Layers", id="no config"),
        pytest.param(changed_docker(Config=LAYERS[0]), "image configuration is not JSON", id="config no JSON"),
        pytest.param(changed_docker(RepoTags=["UPPER:1"]), "repository name must be lowercase", id="bad name"),
        pytest.param(changed_docker(RepoTags="x:1"), "names are not text", id="names no list"),
        pytest.param(changed_oci(BLOB, b"short"), "has the wrong size", id="another layer"),
        pytest.param(changed_oci(f"blobs/sha256/{ONE.config.hex}", "{}"), "does not match", id="another config"),
        pytest.param(changed_oci(f"blobs/sha256/{ONE.manifest.hex}", "{}"), "does not match", id="another manifest"),
        pytest.param(changed_oci("index.json", "[]"), "not a JSON object", id="index no object"),
        pytest.param(layer_tar({"index.json": oci_files({"": ONE})["index.json"]}), "it has no 'blobs/", id="no blobs"),
        pytest.param(docker_archive({"x:1": image(b"no tar at all" * 100)}), "bad archive", id="layer no tar"),
        pytest.param(docker_archive({"x:1": image({"../escape": "1"})}), "'../escape'", id="layer with a trick"),
        pytest.param(layer_tar({"../escape": "1"}), "'../escape'", id="dots"),
        pytest.param(layer_tar({"l": symlink("/etc"), "l/escape": "1"}), "bad archive", id="through a symlink"),
        pytest.param(layer_tar({"l": hardlink("/etc/passwd")}), "bad archive", id="hardlink out"),
        pytest.param(layer_tar({"manifest.json": symlink("/etc/passwd")}), "bad archive", id="symlink out"),
    ],
)
def test_a_bad_archive_is_one_line_and_leaves_nothing(store: TemporaryStore, data: bytes, words: str) -> None:
    fails(InvalidArgument, words, lambda: store.load(data))
    store.check()
    assert not store.content.has(ONE.digest)
    assert not store.content.has(ONE.id)
    assert not list(store.root.rglob("*escape*"))
    assert not (store.root.parent / "escape").exists()


def test_a_layer_that_is_not_its_diff_id(store: TemporaryStore) -> None:
    lie = replace_layer(ONE, 0, compress(layer_tar({"a lie": "1"}), "gzip"))
    fails(InvalidArgument, "does not match its digest", lambda: store.load(oci_archive({"x:1": lie})))
    store.check()
    assert store.layers.layers() == [] or not store.layers.has(ONE.chain_ids[0])


def test_an_endless_chain_of_indexes_ends(store: TemporaryStore) -> None:
    top: Any = index(OTHER, kind=DOCKER)
    files = oci_files({"": OTHER})
    for _ in range(9):
        entry = top.manifest.descriptor(platform={"os": "linux", "architecture": "amd64"})
        files[f"blobs/sha256/{top.manifest.hex}"] = top.manifest.data
        data = json.dumps({"schemaVersion": 2, "mediaType": entry["mediaType"], "manifests": [entry]}).encode()
        top = type(top)(type(top.manifest)(data, entry["mediaType"]), top.images)
    files["index.json"] = top.manifest.data
    fails(InvalidArgument, "indexes, one in the other", lambda: store.load(layer_tar(files)))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_stopped_at_the_limit(compression: str) -> None:
    inner = docker_archive({"x:1": image({"zeros": bytes(64 << 20)})}, compression)
    outer = oci_archive({"x:1": image({"zeros": bytes(64 << 20)}, compression=compression)})
    for data in (inner, outer):
        assert len(data) < 1 << 20
        with temporary_store(max_unpacked_size=1 << 20) as store:
            words = "larger than the limit of 1048576 bytes (set by --max-unpacked-size)"
            fails(InvalidArgument, words, lambda: store.load(data))  # noqa: B023 - called at once
            store.check()


def test_a_full_disk_is_one_line_and_the_store_stays_sound(tmp_path: Path) -> None:
    data = docker_archive({"x:1": image({"zeros": bytes(3 << 20)})}, "gzip")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "minirund-test", str(tmp_path)], check=True)
    try:
        store = TemporaryStore(tmp_path)
        fails(StorageFull, f"no space left on device: {tmp_path}", lambda: store.load(data))
        store.check()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_of_several_images_those_before_a_bad_one_are_given(store: TemporaryStore) -> None:
    data = docker_archive({"good:1": OTHER, "bad:1": image(b"no tar at all" * 100)})

    async def work(_: Puller, loader: Loader) -> None:
        async with loader.received(_once(data)) as archive:
            images = archive.images(lambda _: None)
            assert (await anext(images)).names[0].familiar() == "good:1"
            with pytest.raises(InvalidArgument, match="bad archive"):
                await anext(images)

    store.run(work)
    store.check()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


# --- who goes away ---


def test_an_upload_that_breaks_off_leaves_nothing(store: TemporaryStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield docker_archive({"x:1": ONE})[:3000]
        raise ConnectionResetError("gone")

    async def work(_: Puller, loader: Loader) -> None:
        await load(loader, broken(), lambda _: None)

    with pytest.raises((ConnectionResetError, MinirundError)):
        store.run(work)
    store.check()


def test_a_cancelled_upload_leaves_nothing(store: TemporaryStore) -> None:
    async def work(_: Puller, loader: Loader) -> None:
        waiting = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield docker_archive({"x:1": ONE})[:3000]
            waiting.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(load(loader, endless(), lambda _: None))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    store.run(work)
    store.check()


def test_a_body_is_read_in_a_thread_piece_by_piece() -> None:
    async def run() -> bytes:
        async def pieces() -> Any:
            for piece in (b"abc", b"", b"defgh"):
                yield piece

        reader = BodyReader(pieces())
        return await asyncio.to_thread(lambda: b"|".join(iter(lambda: reader.read(2), b"")))

    assert asyncio.run(run()) == b"ab|c|de|fg|h"
