"""`history`: rows are answers of a dockerd, expected is what docker printed for them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from minirund.cli.history import fields
from minirund.cli.tables import show

STEPS = [
    {"Id": "sha256:" + "ab" * 32, "Created": 1704067200, "CreatedBy": 'CMD ["sh"]', "Size": 0, "Comment": "buildkit"},
    {"Id": "<missing>", "Created": 1704067200, "CreatedBy": "RUN\t" + "x" * 60, "Size": 1982354, "Comment": ""},
]
DEFAULT = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def listed(capsys: pytest.CaptureFixture[str], *, whole: bool, human: bool, quiet: str = "") -> str:
    show("", fields(whole=whole, human=human), DEFAULT, STEPS, quiet=quiet)
    return capsys.readouterr().out


def test_values_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, whole=False, human=True) == (
        "IMAGE          CREATED AT             CREATED BY                                      SIZE      COMMENT\n"
        'abababababab   2024-01-01T00:00:00Z   CMD ["sh"]                                      0B        buildkit\n'
        f"<missing>      2024-01-01T00:00:00Z   RUN {'x' * 40}…   1.98MB    \n"
    )


def test_whole_values(capsys: pytest.CaptureFixture[str]) -> None:
    shown = listed(capsys, whole=True, human=False)
    assert f"RUN {'x' * 60}   1982354   \n" in shown
    assert shown.splitlines()[1].startswith("sha256:" + "ab" * 32)
    assert listed(capsys, whole=False, human=True, quiet="ID") == "abababababab\n<missing>\n"
