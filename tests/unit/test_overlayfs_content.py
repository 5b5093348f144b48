"""The content store: nothing gets in that isn't what its digest says, and what is in is all there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import pytest

from overlayfs.content import ContentStore
from overlayfs.errors import BadDigest, BlobMissing, DigestMismatch, SizeMismatch, TooLarge


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def offset(store: ContentStore, name: str) -> int:
    with store.ingest(name) as ingest:
        return ingest.offset


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def test_put_and_read(store: ContentStore) -> None:
    name = store.put(b"hello")
    assert name == digest(b"hello")
    assert store.has(name)
    assert store.size(name) == 5
    assert store.read(name) == b"hello"
    assert store.path(name).read_bytes() == b"hello"
    assert list(store.digests()) == [name]
    store.delete(name)
    store.delete(name)
    assert not store.has(name)
    with pytest.raises(BlobMissing, match=name):
        store.open(name)
    with pytest.raises(BlobMissing):
        store.size(name)


@pytest.mark.parametrize("text", ["", "sha256", "sha256:", "sha256:../../x", "sha256:" + "g" * 64, "md5:" + "0" * 32])
def test_no_other_text_becomes_a_path(store: ContentStore, text: str) -> None:
    for call in (store.path, store.has, store.read, store.ingest, store.delete):
        with pytest.raises(BadDigest):
            call(text)


def test_sha512(store: ContentStore) -> None:
    name = "sha512:" + hashlib.sha512(b"x").hexdigest()
    with store.ingest(name, 1) as ingest:
        ingest.write(b"x")
        ingest.commit()
    assert store.read(name) == b"x"


def test_read_checks(store: ContentStore) -> None:
    name = store.put(b"hello")
    store.path(name).write_bytes(b"jello")
    with pytest.raises(DigestMismatch, match=f"expected {name}, got {digest(b'jello')}"):
        store.read(name)
    with pytest.raises(TooLarge):
        store.read(name, limit=4)


def test_ingest(store: ContentStore) -> None:
    data = os.urandom(3 << 20)
    with store.ingest(digest(data), len(data)) as ingest:
        assert ingest.offset == 0
        for at in range(0, len(data), 1 << 16):
            ingest.write(memoryview(data)[at : at + (1 << 16)])
        assert not store.has(digest(data))
        ingest.commit()
    assert store.read(digest(data)) == data
    assert os.listdir(store.root / "ingest") == []


def test_a_broken_download_goes_on_where_it_broke(store: ContentStore) -> None:
    data = os.urandom(100_000)
    with pytest.raises(ConnectionResetError), store.ingest(digest(data), len(data)) as ingest:
        ingest.write(data[:70_000])
        raise ConnectionResetError
    with ContentStore(store.root).ingest(digest(data), len(data)) as ingest:
        assert ingest.offset == 70_000
        ingest.write(data[70_000:])
        ingest.commit()
    assert store.read(digest(data)) == data


def test_restart_forgets(store: ContentStore) -> None:
    with store.ingest(digest(b"good")) as ingest:
        ingest.write(b"bad")
    with store.ingest(digest(b"good")) as ingest:
        assert ingest.offset == 3
        ingest.restart()
        ingest.write(b"good")
        ingest.commit()
    assert store.read(digest(b"good")) == b"good"


def test_wrong_bytes_are_not_kept(store: ContentStore) -> None:
    name = digest(b"good")
    with store.ingest(name, 4) as ingest:
        ingest.write(b"evil")
        with pytest.raises(DigestMismatch) as caught:
            ingest.commit()
    assert (caught.value.expected, caught.value.actual) == (name, digest(b"evil"))
    assert not store.has(name)
    assert offset(store, name) == 0


def test_too_many_bytes_stop_at_once(store: ContentStore) -> None:
    with store.ingest(digest(b"good"), 4) as ingest, pytest.raises(SizeMismatch, match="expected 4 bytes, got 5"):
        ingest.write(b"good!")
    assert os.listdir(store.root / "ingest") == []


def test_too_few_bytes_are_kept_for_a_resume(store: ContentStore) -> None:
    with store.ingest(digest(b"good"), 4) as ingest:
        ingest.write(b"goo")
        with pytest.raises(SizeMismatch):
            ingest.commit()
    with store.ingest(digest(b"good"), 4) as ingest:
        assert ingest.offset == 3


def test_one_that_is_not_resumable_keeps_nothing_and_a_crash_leaves_what_is_swept(store: ContentStore) -> None:
    with store.ingest(digest(b"good"), 4) as broken_off:
        broken_off.write(b"goo")
    with store.ingest(digest(b"good"), 4, resumable=False) as ingest:
        assert ingest.offset == 0
        ingest.write(b"go")
        left = set(os.listdir(store.root / "ingest")) - {digest(b"good").replace(":", "-")}
        assert len(left) == 1 and all(name.endswith(".tmp") for name in left)
    assert store.sweep() == [] and len(os.listdir(store.root / "ingest")) == 1
    assert store.sweep(partials=True) == [digest(b"good").replace(":", "-")]


def test_a_partial_longer_than_the_blob_is_useless(store: ContentStore) -> None:
    with store.ingest(digest(b"good")) as ingest:
        ingest.write(b"much longer")
    with store.ingest(digest(b"good"), 4) as ingest:
        assert ingest.offset == 0


def test_two_ingests_of_one_blob(store: ContentStore) -> None:
    name = digest(b"good")
    with store.ingest(name) as first, store.ingest(name) as second:
        first.write(b"go")
        assert second.offset == 0
        second.write(b"good")
        second.commit()
        assert store.read(name) == b"good"
        first.write(b"od")
        first.commit()
    assert store.read(name) == b"good"
    assert os.listdir(store.root / "ingest") == []


def test_the_second_of_two_ingests_keeps_nothing(store: ContentStore) -> None:
    name = digest(b"good")
    with store.ingest(name) as first:
        first.write(b"go")
        with store.ingest(name) as second:
            second.write(b"g")
    assert offset(store, name) == 2


def test_many_threads_bring_the_same_blob(store: ContentStore) -> None:
    data = os.urandom(1 << 20)

    def bring() -> None:
        with store.ingest(digest(data), len(data)) as ingest:
            for at in range(ingest.offset, len(data), 1 << 14):
                ingest.write(data[at : at + (1 << 14)])
            ingest.commit()

    with ThreadPoolExecutor(8) as pool:
        for brought in [pool.submit(bring) for _ in range(8)]:
            brought.result()
    assert store.read(digest(data)) == data
    store.sweep(partials=True)
    assert os.listdir(store.root / "ingest") == []


def test_sweep(store: ContentStore) -> None:
    (store.root / "ingest" / "left.tmp").write_bytes(b"x")
    with store.ingest(digest(b"broken")) as ingest:
        ingest.write(b"bro")
    with store.ingest(digest(b"running")) as running:
        running.write(b"run")
        assert store.sweep() == ["left.tmp"]
        assert store.sweep(partials=True) == [digest(b"broken").replace(":", "-")]
        running.write(b"ning")
        running.commit()
    assert store.read(digest(b"running")) == b"running"
    assert offset(store, digest(b"broken")) == 0


def test_an_image_layout_for_others(store: ContentStore) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("no skopeo")
    image = images.image({"etc/hosts": "x"})
    for blob in (*image.blobs(), image.manifest):
        assert store.put(blob.data) == blob.digest
    store.write_index([image.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": "latest"})])
    shown = subprocess.run([skopeo, "inspect", f"oci:{store.root}:latest"], capture_output=True, check=True)
    assert json.loads(shown.stdout)["Digest"] == image.digest
    store.write_index([])
    assert json.loads((store.root / "index.json").read_text())["manifests"] == []
