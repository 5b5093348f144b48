"""Names, as Docker reads them."""

from __future__ import annotations

import pytest

from minirund.errors import InvalidArgument
from minirund.registry.reference import Reference, combine, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "whole", "familiar", "host"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest", "registry-1.docker.io"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20", "registry-1.docker.io"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest", "registry-1.docker.io"),
        ("docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest", "registry-1.docker.io"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest", "registry-1.docker.io"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest", "registry-1.docker.io"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest", "registry-1.docker.io"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest", "localhost"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest", "localhost:5000"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000"),
        (
            "127.0.0.1:5/a/b_c/d--e.f",
            "127.0.0.1:5/a/b_c/d--e.f:latest",
            "127.0.0.1:5/a/b_c/d--e.f:latest",
            "127.0.0.1:5",
        ),
        ("[fd00::1]:5000/x", "[fd00::1]:5000/x:latest", "[fd00::1]:5000/x:latest", "[fd00::1]:5000"),
        ("UPPER/x", "UPPER/x:latest", "UPPER/x:latest", "UPPER"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}", "registry-1.docker.io"),
        (f"a.b/c:1@{DIGEST}", f"a.b/c:1@{DIGEST}", f"a.b/c:1@{DIGEST}", "a.b"),
    ],
)
def test_a_name_is_completed_and_shortened_again(text: str, whole: str, familiar: str, host: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.familiar(), reference.host) == (whole, familiar, host)
    assert parse(whole) == reference == parse(familiar)


def test_a_digest_decides_before_a_tag() -> None:
    assert parse(f"a.b/c:1@{DIGEST}").identifier == DIGEST
    assert parse("a.b/c:1").identifier == "1"
    assert parse(f"alpine@{DIGEST}").tag == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("Alpine", "invalid reference format: repository name must be lowercase"),
        ("user/App:1", "invalid reference format: repository name must be lowercase"),
        ("a//b", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("../etc", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a:-x", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("-a.b/c", "invalid reference format"),
        ("a.b:port/c", "invalid reference format"),
        ("a@", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
        ("ä", "invalid reference format"),
        ("a:\u0661", "invalid reference format"),
        (f"a@{DIGEST}0", "invalid checksum digest length"),
        (f"a@{DIGEST[:-1]}A", "invalid checksum digest format"),
        ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("0" * 64, f"invalid repository name ({'0' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a" * 256, "repository name must not be more than 255 characters"),
        ("a" * 65536, "repository name must not be more than 255 characters"),
        ("a/" * 32768, "invalid reference format"),
        ("a" + "-" * 65536, "invalid reference format"),
        ("a." * 32768 + "/x", "invalid reference format"),
        ("A" * 65536, "invalid reference format: repository name must be lowercase"),
        ("x:" + "a" * 65536, "invalid reference format"),
        ("a." + "b-" * 32768 + "!/x", "invalid reference format"),
    ],
)
def test_a_bad_name_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse(text)
    assert str(error.value) == message


def test_a_name_of_255_characters_is_fine() -> None:
    assert parse("x.y/" + "a" * 255).path == "a" * 255


@pytest.mark.parametrize(
    ("name", "tag", "whole"),
    [
        ("alpine", "", "docker.io/library/alpine:latest"),
        ("alpine", "3", "docker.io/library/alpine:3"),
        ("alpine:2", "3", "docker.io/library/alpine:3"),
        ("alpine:2", "", "docker.io/library/alpine:2"),
        ("alpine:2", DIGEST, f"docker.io/library/alpine@{DIGEST}"),
        (f"alpine@{DIGEST}", "", f"docker.io/library/alpine@{DIGEST}"),
    ],
)
def test_the_apis_two_parameters_make_one_name(name: str, tag: str, whole: str) -> None:
    assert str(combine(name, tag)) == whole


def test_a_bad_tag_parameter_is_named() -> None:
    with pytest.raises(InvalidArgument, match="invalid tag format"):
        combine("alpine", "a/b")


def test_without_a_default_tag_a_bare_name_stays_bare() -> None:
    assert parse("alpine", default_tag="") == Reference("docker.io", "library/alpine")
