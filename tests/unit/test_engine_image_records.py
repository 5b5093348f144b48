"""Records of images: times, names, the index for others."""

from __future__ import annotations

import pytest
from engine_records import an_image

from minirund.engine.image_records import REF_NAME, index_entries, name_matches, seconds, with_name, without_name

TAG, DIGEST = "docker.io/library/a:1", "docker.io/library/a@sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000), ("2023-11-14T22:13:20.123456789Z", 1_700_000_000),
        ("2023-11-14T22:13:20.1Z", 1_700_000_000), ("2023-11-14T23:13:20.123456789+01:00", 1_700_000_000),
        ("", 0), (None, 0), ("yesterday", 0), ("2023-13-14T22:13:20Z", 0),
    ],
)  # fmt: skip
def test_times(text: str | None, time: int) -> None:
    assert seconds(text) == time


def test_names_are_put_on_and_taken_off() -> None:
    named = with_name(with_name(with_name(an_image(), TAG), DIGEST), TAG)
    assert (named.tags, named.digests) == ((TAG,), (DIGEST,))
    assert without_name(named, TAG).but(pulled=1) == with_name(an_image(), DIGEST)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("a", True),
        ("a:1", True),
        ("a:*", True),
        ("*", True),
        ("docker.io/library/a", True),
        ("b", False),
        ("a:2", False),
    ],
)
def test_patterns(pattern: str, matches: bool) -> None:
    assert name_matches(TAG, [pattern]) is matches
    assert name_matches(TAG, ["nothing", pattern]) is matches


def test_the_index_has_an_entry_for_each_tag_or_one_without_name() -> None:
    image = an_image(media_type="m", manifest_size=3)
    bare = {"mediaType": "m", "digest": image.manifest, "size": 3}
    assert index_entries(image) == [bare]
    assert index_entries(with_name(image, TAG)) == [{**bare, "annotations": {REF_NAME: TAG}}]
