"""The layer store: whole layers or none, once each, found again, removed, swept."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import threading
from pathlib import Path

import images
import pytest
import tars
import zstandard

from overlayfs.errors import BadArchive, BadDigest, DigestMismatch, LayerCollision, LayerMissing
from overlayfs.layer import Layer, LayerStore, chain_id

HELLO = tars.archive(tars.member("hello", b"world"))


def diff_id(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "layers")


def unpack(store: LayerStore, data: bytes, parent: str | None = None) -> Layer:
    return store.unpack(io.BytesIO(data), parent=parent, diff_id=diff_id(data))


def names(store: LayerStore) -> list[str]:
    return sorted(os.listdir(store.root))


def test_chain_ids() -> None:
    # image-spec's rule, checked against an image made elsewhere in these tests
    image = images.image({"a": "1"}, {"b": "2"}, {"c": "3"})
    chains: list[str] = []
    for each in image.diff_ids:
        chains.append(chain_id(chains[-1] if chains else None, each))
    assert chains == image.chain_ids
    with pytest.raises(BadDigest):
        chain_id(None, "x")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_unpack(store: LayerStore, pack: type[bytes]) -> None:
    layer = store.unpack(io.BytesIO(pack(HELLO)), diff_id=diff_id(HELLO))
    assert (layer.chain_id, layer.diff_id, layer.parent, layer.size) == (diff_id(HELLO), diff_id(HELLO), None, 5)
    assert layer.path == store.root / diff_id(HELLO)[7:23] / "diff"
    assert (layer.path / "hello").read_bytes() == b"world"
    assert os.readlink(store.root / "l" / layer.link) == f"../{diff_id(HELLO)[7:23]}/diff"
    assert len(layer.link) == 3
    assert store.get(layer.chain_id) == LayerStore(store.root).get(layer.chain_id) == layer
    assert names(store) == sorted([diff_id(HELLO)[7:23], "l"])


@pytest.mark.parametrize("data", [b"", tars.END, bytes(10240)])
def test_empty_layers(store: LayerStore, data: bytes) -> None:
    layer = unpack(store, data)
    assert os.listdir(layer.path) == []
    assert layer.size == 0


def test_chain(store: LayerStore) -> None:
    layers = [unpack(store, HELLO)]
    for number in range(5):
        layers.append(unpack(store, tars.archive(tars.member(f"f{number}")), layers[-1].chain_id))
    assert store.chain(layers[-1].chain_id) == layers
    assert {layer.chain_id for layer in store.layers()} == {layer.chain_id for layer in layers}
    missing = unpack(store, HELLO, diff_id(b"missing"))
    with pytest.raises(LayerMissing, match=diff_id(b"missing")):
        store.chain(missing.chain_id)


def test_a_layer_that_is_there_is_not_read_again(store: LayerStore) -> None:
    first = unpack(store, HELLO)
    stream = io.BytesIO(HELLO)
    assert store.unpack(stream, diff_id=diff_id(HELLO)) == first
    assert stream.tell() == 0


def test_the_same_layer_in_many_threads_is_stored_once(store: LayerStore) -> None:
    data = tars.archive(*(tars.member(f"f{number}", b"x" * 5000) for number in range(500)))
    found: list[Layer] = []
    threads = [threading.Thread(target=lambda: found.append(unpack(store, data))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert names(store) == sorted([diff_id(data)[7:23], "l"])


def test_two_stores_on_one_directory(store: LayerStore) -> None:
    other = LayerStore(store.root)

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            unpack(other, HELLO)  # faster than us
            return super().read(size)

    layer = store.unpack(Slow(HELLO), diff_id=diff_id(HELLO))
    assert layer == other.get(layer.chain_id)
    assert (layer.path / "hello").exists()
    assert names(store) == sorted([diff_id(HELLO)[7:23], "l"])


def test_a_chain_in_parallel_threads_waits_where_it_must(store: LayerStore) -> None:
    tar = [tars.archive(tars.member(f"d{number}/f", b"x")) for number in range(6)]
    tar += [tars.archive(tars.hardlink(f"link{number}", f"d{number}/f")) for number in range(6)]
    chains: list[str | None] = [None]
    for data in tar:
        chains.append(chain_id(chains[-1], diff_id(data)))
    gates = [threading.Event() for _ in tar]

    class Gated(io.BytesIO):
        def __init__(self, number: int) -> None:
            super().__init__(tar[number])
            self.number = number

        def read(self, size: int | None = -1, /) -> bytes:
            started[self.number].set()
            assert gates[self.number].wait(60)
            return super().read(size)

    started = [threading.Event() for _ in tar]
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            store.unpack(Gated(number), parent=chains[number], diff_id=diff_id(tar[number]))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(tar))]
    for number, thread in enumerate(threads):
        thread.start()
        assert started[number].wait(60)
    for gate in reversed(gates):  # the bottom layer comes last
        gate.set()
    for thread in threads:
        thread.join()
    assert failures == []
    top = store.chain(str(chains[-1]))
    assert [(layer.path / f"link{number}").read_text() for number, layer in enumerate(top[6:])] == ["x"] * 6


def test_a_wrong_digest_leaves_nothing(store: LayerStore) -> None:
    with pytest.raises(DigestMismatch, match=f"expected {diff_id(b'')}, got {diff_id(HELLO)}"):
        store.unpack(io.BytesIO(gzip.compress(HELLO)), diff_id=diff_id(b""))
    assert names(store) == ["l"]
    assert store.layers() == []


def test_the_digest_is_over_all_of_the_stream(store: LayerStore) -> None:
    data = HELLO + b"behind the end"
    assert unpack(store, data).diff_id == diff_id(data)


@pytest.mark.parametrize("cut", [10, 100, 600, 1500])
def test_truncated(store: LayerStore, cut: int) -> None:
    data = gzip.compress(tars.archive(tars.member("f", os.urandom(2000))))
    with pytest.raises(BadArchive):
        store.unpack(io.BytesIO(data[:cut]), diff_id=diff_id(HELLO))
    assert names(store) == ["l"]


def test_errors_of_the_stream_pass_and_leave_nothing(store: LayerStore) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(min(size or 100, 100))
            if self.tell() > 600:
                raise ConnectionResetError("by peer")
            return data

    with pytest.raises(ConnectionResetError, match="by peer"):
        store.unpack(Broken(HELLO * 3), diff_id=diff_id(HELLO))
    assert names(store) == ["l"]
    assert not [thread for thread in threading.enumerate() if thread.name == "unpack-read"]


def test_a_failed_unpack_can_be_tried_again(store: LayerStore) -> None:
    with pytest.raises(BadArchive):
        store.unpack(io.BytesIO(HELLO[:700]), diff_id=diff_id(HELLO))
    assert unpack(store, HELLO).size == 5


def test_progress(store: LayerStore) -> None:
    data, seen = gzip.compress(tars.archive(tars.member("f", os.urandom(3 << 20)))), [0]
    store.unpack(io.BytesIO(data), diff_id=diff_id(gzip.decompress(data)), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(data)


def test_collision(store: LayerStore) -> None:
    layer = unpack(store, HELLO)
    twin = layer.chain_id[:23] + "0" * 48
    with pytest.raises(LayerCollision, match=layer.chain_id):
        store.get(twin)
    with pytest.raises(LayerCollision):
        store.unpack(io.BytesIO(), diff_id=twin)
    assert LayerStore(store.root).get(layer.chain_id) == layer


def test_short_links_that_begin_alike(store: LayerStore) -> None:
    taken = diff_id(HELLO)[7:10]
    (store.root / "l" / taken).symlink_to("../0123456789abcdef/diff")
    assert unpack(store, HELLO).link == diff_id(HELLO)[7:11]


def test_remove(store: LayerStore) -> None:
    layer = unpack(store, HELLO)
    store.remove(layer.chain_id)
    store.remove(layer.chain_id)
    assert not store.has(layer.chain_id)
    with pytest.raises(LayerMissing):
        store.get(layer.chain_id)
    assert names(store) == ["l"]
    assert sorted(os.listdir(store.root / "l")) == ["empty", "empty2", "points"]
    assert unpack(store, HELLO) == layer


def test_what_containers_have_something_mounted_on_is_there_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store = LayerStore(tmp_path / "layers")
    finally:
        os.umask(before)
    found = {str(path.relative_to(store.points)): f"{path.stat().st_mode:o}" for path in store.points.rglob("*")}
    directories = dict.fromkeys(("dev", "etc", "proc", "sys"), "40755")
    assert found == directories | dict.fromkeys(("etc/hostname", "etc/hosts", "etc/resolv.conf"), "100644")
    assert f"{store.points.stat().st_mode:o}" == "40755"


def test_sweep(store: LayerStore) -> None:
    layer = unpack(store, HELLO)
    (store.root / "abc.tmp/layer/diff").mkdir(parents=True)
    (store.root / "0123456789abcdef/diff").mkdir(parents=True)
    (store.root / "l/012").symlink_to("../0123456789abcdef/diff")
    assert sorted(store.sweep()) == ["0123456789abcdef", "abc.tmp", "l/012"]
    assert store.sweep() == []
    assert store.layers() == [layer]


def test_sweep_leaves_running_unpacks(store: LayerStore) -> None:
    class Sweeping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert store.sweep() == []
            return super().read(size)

    assert store.unpack(Sweeping(HELLO), diff_id=diff_id(HELLO)).size == 5


def test_a_damaged_record_is_no_layer(store: LayerStore) -> None:
    layer = unpack(store, HELLO)
    (layer.path.parent / "layer.json").write_text(json.dumps({"chain_id": 5})[:7])
    again = LayerStore(store.root)
    assert not again.has(layer.chain_id)
    assert again.sweep() == [layer.path.parent.name, f"l/{layer.link}"]
    assert unpack(again, HELLO) == layer
