"""What `prune` says that it will do, and what it asks the daemon for."""

from __future__ import annotations

import pytest

from minirund.cli.prune import KINDS, query, warning


def test_what_a_system_prune_says() -> None:
    assert warning(everything=False, volumes=False, pairs=[]) == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all dangling images\n"
        "  - unused build cache\n"
    )
    assert warning(everything=True, volumes=True, pairs=["until=1h", "label=a"]) == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all anonymous volumes not used by at least one container\n"
        "  - all images without at least one container associated to them\n"
        "  - all build cache\n"
        "\n"
        "  Items to be pruned will be filtered with:\n"
        "  - label=a\n"
        "  - until=1h\n"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_filters_are_passed_on(kind: str) -> None:
    own = {"dangling": ["true"]} if kind == "images" else {}
    assert query(kind, ["until=1h", "label=a", "label=b"], everything=False)["filters"] == {
        "until": ["1h"], "label": ["a", "b"], **own,
    }  # fmt: skip


def test_all_of_it() -> None:
    assert query("images", [], everything=True) == {"filters": {"dangling": ["false"]}}
    assert query("build", [], everything=True) == {"filters": None, "all": 1}
    assert query("containers", [], everything=True) == {"filters": None}
