"""The table, and the same as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rows import Row

COLUMNS = ("docker", "podman", "runc", "crun", "minirund")
Samples = dict[str, list[float]]


@dataclass
class Report:
    """What has been measured so far, and what could not be."""

    samples: dict[str, Samples] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def figures(self, row: Row) -> dict[str, float]:
        """The medians."""
        return {name: median(values) for name, values in self.samples[row.name].items() if values}

    def lines(self, rows: tuple[Row, ...]) -> list[str]:
        """The table: per engine the median, and its ratio to docker's."""
        head = ["", *COLUMNS, "budget", "", "runs"]
        table = [head, *(self._line(row) for row in rows if row.name in self.samples)]
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        return [self._aligned(line, widths) for line in table]

    def _line(self, row: Row) -> list[str]:
        figures = self.figures(row)
        verdict = {True: "ok", False: "over", None: "?"}[row.budget.holds(figures)]
        cells = [cell(figures.get(name), figures.get("docker"), name) for name in COLUMNS]
        runs = max((len(values) for values in self.samples[row.name].values()), default=0)
        return [f"{row.title}, {row.unit}", *cells, str(row.budget), verdict, str(runs)]

    @staticmethod
    def _aligned(line: list[str], widths: list[int]) -> str:
        first, *rest = zip(line, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]).rstrip()

    def save(self, path: str, rows: tuple[Row, ...]) -> None:
        """Everything, samples too."""
        found = {
            row.name: {
                "title": row.title, "unit": row.unit, "budget": str(row.budget), "median": self.figures(row),
                "ok": row.budget.holds(self.figures(row)), "samples": self.samples[row.name],
            }
            for row in rows if row.name in self.samples
        }  # fmt: skip
        Path(path).write_text(json.dumps({"rows": found, "notes": self.notes, **self.facts}, indent=1) + "\n")


def cell(figure: float | None, docker: float | None, name: str) -> str:
    """`74.2 (0.19)`: the figure, and its ratio to docker's."""
    if figure is None:
        return "-"
    text = f"{figure:.1f}" if figure < 100 else f"{figure:.0f}"
    return text if not docker or name == "docker" else f"{text} ({figure / docker:.2f})"


def load() -> str:
    """The load averages."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())
