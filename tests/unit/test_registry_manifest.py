"""Manifests, indexes, platforms and configurations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from images import DOCKER, OCI, image, index

from minirund.errors import InvalidArgument, MinirundError, NotFound, NotSupported, RegistryError
from minirund.registry import manifest as documents
from minirund.registry.manifest import Index, Manifest
from minirund.registry.platform import Platform, parse_platform

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("kind", [OCI, DOCKER])
def test_both_families_of_media_types_are_read(kind: str) -> None:
    one = image({"a": "1"}, {"b": "2"}, kind=kind)
    parsed = documents.parse(one.manifest.data, one.manifest.media_type)
    assert isinstance(parsed, Manifest)
    assert parsed.config.digest == one.id
    assert [layer.digest for layer in parsed.layers] == [layer.digest for layer in one.layers]
    many = documents.parse(index(one, kind=kind).manifest.data)
    assert isinstance(many, Index)
    assert many.manifests[0].platform == Platform("linux", "amd64")


def test_a_manifest_without_a_media_type_is_known_by_its_content_type_or_its_fields() -> None:
    one = json.loads(image({"a": "1"}).manifest.data)
    del one["mediaType"]
    data = json.dumps(one).encode()
    assert isinstance(documents.parse(data), Manifest)
    assert isinstance(documents.parse(data, f"{documents.DOCKER_MANIFEST}; charset=utf-8"), Manifest)
    assert isinstance(documents.parse(b'{"schemaVersion":2,"manifests":[]}'), Index)


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(image({"a": "1"}).manifest.data), **changes}).encode()


def with_layer(**changes: Any) -> bytes:
    layer = {"mediaType": "x", "digest": DIGEST, "size": 1, **changes}
    return changed(layers=[layer])


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", RegistryError, "not JSON"),
        (b"[]", RegistryError, "not a JSON object"),
        (b"[" * 100_000, RegistryError, "not JSON"),
        (b" " * (5 << 20), RegistryError, "larger than 4 MiB"),
        (b'{"schemaVersion":1,"name":"x","fsLayers":[]}', NotSupported, "schema 1"),
        (changed(mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"), NotSupported, "schema 1"),
        (changed(schemaVersion=3), RegistryError, "schema version 3"),
        (changed(manifests=[]), RegistryError, "ambiguous"),
        (changed(mediaType="text/html"), NotSupported, "text/html"),
        (changed(config=None), RegistryError, "config"),
        (changed(config={"mediaType": "application/vnd.helm", "digest": DIGEST, "size": 1}), NotSupported, "helm"),
        (changed(layers={}), RegistryError, "layers"),
        (changed(layers=[json.loads(with_layer())["layers"][0]] * 1001), RegistryError, "1001 layers"),
        (with_layer(digest="sha256:../../../etc/passwd"), RegistryError, "digest"),
        (with_layer(digest="md5:" + "0" * 32), RegistryError, "digest"),
        (with_layer(size=-1), RegistryError, "size"),
        (with_layer(size="1"), RegistryError, "size"),
        (with_layer(size=True), RegistryError, "size"),
        (with_layer(size=1 << 63), RegistryError, "size"),
    ],
)
def test_a_bad_manifest_is_one_clear_line(data: bytes, kind: type[MinirundError], words: str) -> None:
    with pytest.raises(kind, match=words) as error:
        documents.parse(data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("linux/amd64/v1", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm")),
        ("linux/armhf", Platform("linux", "arm", "v7")),
        ("arm64", Platform("linux", "arm64")),
        ("Linux/AMD64", Platform("linux", "amd64")),
    ],
)
def test_platforms_have_one_spelling(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize("text", ["", "/", "a/b/c/d", "linux/", "linux amd64", "x" * 65536])
def test_a_bad_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is an invalid platform"):
        parse_platform(text)


def chosen(wanted: str, *offered: str) -> int:
    many = index(*(image({str(number): ""}, platform=one) for number, one in enumerate(offered)))
    parsed = documents.parse(many.manifest.data)
    assert isinstance(parsed, Index)
    return parsed.manifests.index(documents.choose(parsed, parse_platform(wanted)))


@pytest.mark.parametrize(
    ("wanted", "offered", "number"),
    [
        ("linux/amd64", ["linux/arm64/v8", "linux/amd64"], 1),
        ("linux/arm64", ["linux/amd64", "linux/arm64/v8"], 1),
        ("linux/arm64/v8", ["linux/arm64"], 0),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], 2),
        ("linux/arm/v6", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], 1),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/amd64", ["windows/amd64", "linux/amd64", "linux/amd64"], 1),
        ("linux/riscv64", ["linux/riscv64"], 0),
    ],
)
def test_the_nearest_variant_is_chosen(wanted: str, offered: list[str], number: int) -> None:
    assert chosen(wanted, *offered) == number


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("linux/arm64", ["linux/amd64", "unknown/unknown"]),
        ("linux/arm/v6", ["linux/arm/v7"]),
        ("linux/amd64", ["linux/amd64/v3"]),
        ("linux/amd64", []),
    ],
)
def test_nothing_that_fits_is_said_in_dockers_words(wanted: str, offered: list[str]) -> None:
    with pytest.raises(NotFound) as error:
        chosen(wanted, *offered)
    assert str(error.value) == f"no matching manifest for {wanted} in the manifest list entries"


def test_a_configuration_gives_platform_and_diff_ids() -> None:
    one = image({"a": "1"}, {"b": "2"}, platform="linux/arm64/v8")
    config = documents.parse_config(one.config.data, 2)
    assert config.platform == Platform("linux", "arm64")
    assert list(config.diff_ids) == one.diff_ids


@pytest.mark.parametrize(
    ("data", "layers", "words"),
    [
        (b"null", 0, "not a JSON object"),
        (b'{"rootfs":{"diff_ids":["x"]}}', 1, "no valid rootfs.diff_ids"),
        (b'{"rootfs":{"diff_ids":"x"}}', 1, "no valid rootfs.diff_ids"),
        (b'{"rootfs":{"diff_ids":[]}}', 1, "has 0 layers, its manifest 1"),
        (b"{}", 2, "has 0 layers, its manifest 2"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(data: bytes, layers: int, words: str) -> None:
    with pytest.raises(RegistryError, match=words):
        documents.parse_config(data, layers)


def test_another_platform_than_asked_for_is_refused_in_dockers_words() -> None:
    config = documents.parse_config(image({"a": "1"}, platform="linux/arm64").config.data, 1)
    documents.check_platform(config, None, "x:1")
    documents.check_platform(config, Platform("linux", "arm64"), "x:1")
    with pytest.raises(NotFound) as error:
        documents.check_platform(config, Platform("linux", "amd64"), "x:1")
    assert str(error.value) == (
        "image with reference x:1 was found but does not match the specified platform: "
        "wanted linux/amd64, actual: linux/arm64"
    )


def test_another_operating_system_is_refused_even_if_nothing_was_asked_for() -> None:
    config = documents.parse_config(image({"a": "1"}, platform="windows/amd64").config.data, 1)
    with pytest.raises(NotFound, match='operating system "windows" cannot be used'):
        documents.check_platform(config, None, "x")
