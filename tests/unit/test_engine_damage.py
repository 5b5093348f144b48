"""Images whose files are not all there leave the list when a daemon starts; whole ones and shared layers stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_records import a_container
from test_engine_images import ONE, TWO, Place

from minirund.engine import damage
from minirund.engine.images import Images
from minirund.engine.records import Image


def top(images: Images, image: Image) -> Path:
    return images.layers.get(image.layers[-1]).path


HURTS: dict[str, Callable[[Images, Image], object]] = {
    "the layer's directory has gone": lambda images, image: shutil.rmtree(top(images, image).parent),
    "its files have gone": lambda images, image: shutil.rmtree(top(images, image)),
    "its description is cut short": lambda images, image: (top(images, image).parent / "layer.json").write_text("{"),
    "its link has gone": lambda images, image: (
        images.layers.root / "l" / images.layers.get(image.layers[-1]).link
    ).unlink(),
    "the configuration has gone": lambda images, image: images.content.path(image.id).unlink(),
    "the configuration is cut short": lambda images, image: images.content.path(image.id).write_text("{"),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.load(x_1=ONE, y_2=TWO)
    return place


@pytest.mark.parametrize("hurt", HURTS.values(), ids=HURTS)
def test_a_damaged_image_goes_and_what_it_shares_stays(
    place: Place, hurt: Callable[[Images, Image], object], caplog: pytest.LogCaptureFixture
) -> None:
    place.do(lambda images: hurt(images, images.get("x:1")))
    place.do(lambda images: images.layers.sweep())  # as the engine does before it
    place.do(lambda images: images.drop_damaged())
    (line,) = [record.message for record in caplog.records if "damaged" in record.message]
    assert line.startswith("image docker.io/library/x:1 is damaged and no longer listed; pull or load it again: ")
    assert place.do(lambda images: [image.tags for image in images.all()]) == [("docker.io/library/y:2",)]
    assert place.do(lambda images: damage.found(images.get("y:2"), images.content, images.layers)) == ""
    place.load(x_1=ONE)
    assert place.do(lambda images: damage.found(images.get("x:1"), images.content, images.layers)) == ""


def test_whole_images_stay(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.do(lambda images: images.drop_damaged())
    assert len(place.do(lambda images: images.all())) == 2
    assert caplog.records == []


def test_one_that_a_container_is_made_of_loses_its_names_alone(place: Place) -> None:
    image = place.do(lambda images: images.get("x:1"))
    place.containers.append(a_container(1, image_id=image.id, layers=image.layers))
    place.do(lambda images: HURTS["its files have gone"](images, image))
    place.do(lambda images: images.drop_damaged())
    assert place.do(lambda images: images.get(image.id)).tags == ()


def test_where_no_layer_is_left_no_image_is_dropped(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """As when a disk is not mounted: once it is, all is as it was."""
    root = place.do(lambda images: images.layers.root)
    aside = root.rename(root.with_name("aside"))
    root.mkdir()
    place.do(lambda images: images.drop_damaged())
    assert [record.message for record in caplog.records] == [
        f"{root} holds no layer of 2 images: is a disk not mounted?"
    ]
    shutil.rmtree(root)
    aside.rename(root)
    place.do(lambda images: images.drop_damaged())
    assert len(place.do(lambda images: images.all())) == 2
