"""The image database on real stores: names, filters, removal, garbage."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import images as archives
import pytest
from engine_records import a_container
from stores import pieces

from minirund.engine.events import Events
from minirund.engine.images import Images
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.engine.store import Store
from minirund.errors import Conflict, InvalidArgument, MinirundError, NotFound
from minirund.registry.options import RegistryOptions
from overlayfs.content import ContentStore
from overlayfs.layer import LayerStore

BASE = {"bin/sh": archives.executable("#!")}
ONE = archives.image(BASE, {"one": "1"}, config={"Labels": {"a": "1"}})
TWO = archives.image(BASE, {"two": "2"})


@dataclass
class Place:
    root: Path
    containers: list[Container] = field(default_factory=list)

    def run(self, work: Callable[[Images], Awaitable[Any]]) -> Any:
        """Open the stores, work, close: as a daemon's life."""

        async def whole() -> Any:
            store = Store(f"{self.root}/db")
            layers, content = LayerStore(self.root / "layers", None), ContentStore(self.root / "images")
            images = Images(store, content, layers, RegistryOptions(), Events(), lambda: self.containers)
            try:
                return await work(images)
            finally:
                await images.close()
                store.close()

        return asyncio.run(whole())

    def load(self, **named: archives.Image) -> None:
        data = archives.docker_archive({name.replace("_", ":"): image for name, image in named.items()})

        async def work(images: Images) -> None:
            async for _ in images.load(pieces(data)):  # type: ignore[arg-type]
                pass

        self.run(work)

    def do(self, work: Callable[[Images], Any]) -> Any:
        """The same for what is not awaited."""

        async def awaited(images: Images) -> Any:
            found = work(images)
            return await found if asyncio.iscoroutine(found) else found

        return self.run(awaited)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)


def names(images: Images) -> dict[str, tuple[str, ...]]:
    return {image.id: image.tags for image in images.all()}


def test_loaded_found_and_there_after_a_restart(place: Place) -> None:
    place.load(x_1=ONE, y_2=TWO)

    def look(images: Images) -> None:
        one = images.get("x:1")
        assert one == images.get("docker.io/library/x:1") == images.get(one.id) == images.get(one.id[7:15])
        assert one.tags == ("docker.io/library/x:1",)
        assert len(one.layers) == 2 and one.layers[0] == images.get("y:2").layers[0]  # stored once
        assert len(list(images.layers.layers())) == 3
        assert images.config(one)["config"]["Labels"] == {"a": "1"}
        assert images.history(one)[0]["Tags"] == ["x:1"]
        assert "volatile" in images.rootfs(one.layers, "/rw", True)["extra"]
        assert "volatile" not in images.rootfs(one.layers, "/rw", False)["extra"]

    place.do(look)
    place.do(look)


def test_a_configuration_is_read_once_and_given_to_each_anew(place: Place) -> None:
    place.load(x_1=ONE)

    def look(images: Images) -> None:
        one = images.get("x:1")
        images.config(one)["config"].clear()
        images.content.path(one.id).unlink()
        assert images.config(one)["config"]["Labels"] == {"a": "1"}

    place.do(look)


@pytest.mark.parametrize(
    ("ref", "error", "message"),
    [
        ("nope", NotFound, "No such image: nope:latest"), ("x:9", NotFound, "No such image: x:9"),
        ("sha256:0000", NotFound, "No such image"), ("BAD", InvalidArgument, "must be lowercase"),
        ("", InvalidArgument, "invalid reference format"),
    ],
)  # fmt: skip
def test_what_is_not_there(place: Place, ref: str, error: type[MinirundError], message: str) -> None:
    with pytest.raises(error, match=message):
        place.do(lambda images: images.get(ref))


def test_a_name_goes_from_image_to_image(place: Place) -> None:
    place.load(x_1=ONE)
    place.load(x_1=TWO)

    async def look(images: Images) -> None:
        assert images.get("x:1").id == TWO.config.digest
        assert images.get(ONE.config.digest).tags == ()
        await images.tag("x:1", "localhost:5000/a/b", "")
        assert set(images.get("x:1").tags) == {"docker.io/library/x:1", "localhost:5000/a/b:latest"}
        for repo, tag in (("BAD", ""), ("a", "-"), ("a@sha256:" + "0" * 64, "")):
            with pytest.raises(InvalidArgument):
                await images.tag("x:1", repo, tag)

    place.do(look)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "xy"), ({"reference": ["x"]}, "x"), ({"reference": ["*:2"]}, "y"), ({"reference": ["none"]}, ""),
        ({"dangling": ["true"]}, ""), ({"dangling": ["false"]}, "xy"),
        ({"label": ["a"]}, "x"), ({"label!": ["a"]}, "y"),
        ({"label": ["a=2"]}, ""), ({"until": ["4000000000"]}, "xy"),
        ({"until": ["0"]}, ""), ({"before": ["x:1"]}, ""),
    ],
)  # fmt: skip
def test_lists(place: Place, filters: dict[str, list[str]], found: str) -> None:
    """Both images are of the same moment: neither is before the other."""
    place.load(x_1=ONE, y_2=TWO)
    listed = place.do(lambda images: images.list(True, filters))
    assert {image.tags[0][18] for image in listed} == set(found)


@pytest.mark.parametrize("filters", [{"colour": ["red"]}, {"dangling": ["maybe"]}, {"until": ["x"]}])
def test_bad_filters(place: Place, filters: dict[str, list[str]]) -> None:
    for work in (lambda images: images.list(True, filters), lambda images: images.prune(filters)):
        with pytest.raises(InvalidArgument):
            place.do(work)


def test_removal_deletes_what_nobody_needs_and_no_more(place: Place) -> None:
    place.load(x_1=ONE, y_2=TWO)

    async def work(images: Images) -> None:
        await images.tag("x:1", "z", "")
        assert await images.remove("z") == [{"Untagged": "z:latest"}]
        gone = await images.remove("x:1")
        top = images.get("y:2").layers[1]
        assert gone[:2] == [{"Untagged": "x:1"}, {"Deleted": ONE.config.digest}] and len(gone) == 3
        assert {layer.chain_id for layer in images.layers.layers()} == set(images.get("y:2").layers) and top
        assert not images.content.has(ONE.config.digest) and images.content.has(TWO.config.digest)
        await images.remove(TWO.config.digest[7:19])
        assert (list(images.layers.layers()), list(images.content.digests()), images.all()) == ([], [], [])

    place.run(work)


def test_what_a_container_needs_stays(place: Place) -> None:
    place.load(x_1=ONE)
    image = place.do(lambda images: images.get("x:1"))
    place.containers = [a_container(image_id=image.id, layers=image.layers, status=Status.EXITED)]
    with pytest.raises(Conflict, match="must force"):
        place.do(lambda images: images.remove("x:1"))
    assert place.do(lambda images: images.remove("x:1", force=True)) == [{"Untagged": "x:1"}]
    assert place.do(lambda images: images.prune({})) == ([], 0)
    assert place.do(names) == {image.id: ()}
    place.containers.clear()
    gone, freed = place.do(lambda images: images.prune({}))
    assert {"Deleted": image.id} in gone and freed == image.size
    assert place.do(names) == {}


def test_prune_minds_its_conditions(place: Place) -> None:
    place.load(x_1=ONE, y_2=TWO)
    assert place.do(lambda images: images.prune({})) == ([], 0)
    gone, _ = place.do(lambda images: images.prune({"dangling": ["false"], "label": ["a"]}))
    assert {"Untagged": "x:1"} in gone and list(place.do(names)) == [TWO.config.digest]
    assert place.do(lambda images: images.prune({"dangling": ["false"], "until": ["0"]})) == ([], 0)


def test_prune_removes_downloads_that_broke_off(place: Place) -> None:
    async def work(images: Images) -> None:
        name = "sha256:" + "0" * 64
        with images.content.ingest(name, 4) as ingest:
            ingest.write(b"par")
            await images.prune({})
            assert len(os.listdir(images.content.root / "ingest")) == 1  # one that goes on stays
        await images.prune({})
        assert os.listdir(images.content.root / "ingest") == []

    place.run(work)


def test_garbage_stays_while_something_is_fetched(place: Place) -> None:
    data = archives.docker_archive({"x:1": ONE})

    async def work(images: Images) -> None:
        images.content.put(b"garbage")
        loading = images.load(pieces(data))  # type: ignore[arg-type]
        await anext(loading)
        assert await images.collect() == [] and len(list(images.content.digests())) > 1
        async for _ in loading:
            pass
        await images.collect()
        assert set(images.content.digests()) == set(images.get("x:1").blobs)

    place.run(work)


def test_the_platform_is_minded(place: Place) -> None:
    place.load(x_1=archives.image(BASE, platform="linux/amd64"))

    def look(images: Images) -> None:
        image = images.get("x:1")
        images.check_platform(image, None, "x:1")
        images.check_platform(image, "linux/amd64", "x:1")
        with pytest.raises(NotFound, match="does not match the specified platform"):
            images.check_platform(image, "linux/arm64", "x:1")

    place.do(look)
