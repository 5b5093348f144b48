"""Every error is an OverlayError with one line that names its subject, and the tree drawn in the module is the tree."""

from __future__ import annotations

import inspect

from overlayfs import errors


def classes() -> dict[str, type]:
    return {name: item for name, item in vars(errors).items() if inspect.isclass(item)}


def test_the_tree_is_as_drawn() -> None:
    drawn: dict[str, int] = {}
    for line in str(errors.__doc__).splitlines():
        name = line.strip(" │├└─").split(" ")[0]
        if name in classes():
            drawn[name] = line.index(name)
    assert set(drawn) == set(classes())
    stack: list[str] = []
    for name, indent in drawn.items():
        stack = [each for each in stack if drawn[each] < indent]
        assert classes()[name].__base__ is (classes()[stack[-1]] if stack else Exception), name
        stack.append(name)


def test_lines() -> None:
    made: list[errors.OverlayError] = [
        errors.BlobMissing("sha256:x"),
        errors.BadDigest("x" * 9999),
        errors.DigestMismatch("sha256:a", "sha256:b"),
        errors.SizeMismatch("sha256:a", 5, 6),
        errors.BadArchive(b"\xff\n" * 5000, "odd"),
        errors.TooLarge(5),
        errors.LayerMissing("sha256:x"),
        errors.LinkTargetMissing("sha256:x", b"entry", b"target\n"),
        errors.LayerCollision("0123", "sha256:a", "sha256:b"),
        errors.MountTooLong(5000, 4095, 600),
        errors.NoProjectQuota("/data", "tmpfs", "use another"),
    ]
    assert {type(error) for error in made} == set(classes().values()) - {errors.OverlayError}
    for error in made:
        assert str(error).isprintable()
        assert 5 < len(str(error)) < 400
