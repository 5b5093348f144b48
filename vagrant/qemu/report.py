"""What a run says at its end: each part's counts and duration, and on failure the last of the journal.

Reports are JUnit XML files as pytest writes them; all of them, the journal and the console's text stay in build/vm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

JOURNAL_LINES = 60


@dataclass(frozen=True)
class Part:
    """One part of a run: some tests, or a step of the host's such as a boot. Times are in seconds."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float


def read(file: Path, name: str = "") -> list[Part]:
    """The counts of a JUnit report: a part for each test file, or one called ``name``.

    Raises OSError or ElementTree.ParseError.
    """
    cases: dict[str, list[Element]] = {name: []} if name else {}
    for case in ElementTree.parse(file).getroot().iter("testcase"):  # noqa: S314 - written by our own pytest
        module = case.get("classname") or case.get("name") or ""  # a file that can't be read is a case without a class
        cases.setdefault(name or module.rpartition(".")[2], []).append(case)
    return [counted(part, found) for part, found in cases.items()]


def counted(name: str, cases: list[Element]) -> Part:
    """One part."""
    failed = sum(any(case.find(word) is not None for word in ("failure", "error")) for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    seconds = sum(float(case.get("time", "0")) for case in cases)
    return Part(name, len(cases) - failed - skipped, failed, skipped, seconds)


def table(parts: list[Part]) -> str:
    """The parts as lines in columns, and their sum."""
    whole = Part(
        "together",
        sum(part.passed for part in parts),
        sum(part.failed for part in parts),
        sum(part.skipped for part in parts),
        sum(part.seconds for part in parts),
    )
    width = max(len(part.name) for part in [*parts, whole])
    lines = [f"{'part':{width}}  passed  failed  skipped  seconds"]
    lines += [
        f"{part.name:{width}}  {part.passed:6}  {part.failed:6}  {part.skipped:7}  {part.seconds:7.0f}"
        for part in [*parts, whole]
    ]
    return "\n".join(lines)


def last_lines(file: Path, count: int = JOURNAL_LINES) -> str:
    """The end of a text file; nothing if it isn't there."""
    if not file.exists():
        return ""
    return "\n".join(file.read_text(errors="replace").splitlines()[-count:])
