"""Rows in columns, and --format for commands that list: a template, ``table TEMPLATE``, ``json``, or the default table.

A listing gives its fields as ``{name: (header, function of a row)}``; a template's ``{{.Name}}`` is one of them.
The default table asks for no template, so that ``ps`` doesn't pay for one.
"""

from __future__ import annotations

import sys

from minirund.cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Fields = Mapping[str, tuple[str, Callable[[Any], Any]]]

_PADDING = 3
_LEAST = 10


def align(rows: Sequence[Sequence[str]], least: int = _LEAST) -> str:
    """Columns as wide as their widest cell and three spaces, but no narrower than ``least``; the last one as it is."""
    count = max(map(len, rows), default=0)
    widths = [
        max(least, *(len(row[place]) + _PADDING for row in rows if place < len(row) - 1), 0) for place in range(count)
    ]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + (row[-1] if row else "")
        for row in rows
    )


class Row:
    """One line of a listing, as a template sees it."""

    def __init__(self, fields: Fields, value: Any) -> None:
        self._fields = fields
        self._value = value

    def field(self, name: str) -> Any:
        """The field's value; ``Failure`` for one that the listing doesn't have."""
        if name not in self._fields:
            raise Failure(
                f'failed to execute template: template: :1:2: executing "" at <.{name}>: '
                f"can't evaluate field {name}; there are {', '.join(sorted(self._fields))}"
            )
        return self._fields[name][1](self._value)

    def plain(self) -> dict[str, Any]:
        """All fields, for ``{{json .}}``."""
        found = {name: self.field(name) for name in self._fields}
        return {name: value for name, value in found.items() if not callable(value)}


class _Header:
    """The row above the table: every field is its own heading."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def field(self, name: str) -> Any:
        """The heading; for a function of an argument, one made of the argument's last part."""
        if name == "Label":
            return lambda key="": key.split(".")[-1].replace("-", " ").replace("_", " ")
        return self._fields[name][0] if name in self._fields else "<no value>"

    def plain(self) -> dict[str, Any]:
        """All headings."""
        return {name: header for name, (header, _) in self._fields.items()}


def show(form: str, fields: Fields, default: Sequence[str], values: Sequence[Any], *, quiet: str = "") -> None:
    """Write the listing to stdout. ``default``: the default table's fields. ``quiet``: show this field alone."""
    if quiet and form in ("", "table"):
        lines = [str(fields[quiet][1](value)) for value in values]
    elif form in ("", "table"):
        head = [fields[name][0] for name in default]
        lines = [align([head, *([str(fields[name][1](value)) for name in default] for value in values)])]
    else:
        lines = _templated(form, fields, [Row(fields, value) for value in values])
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _templated(form: str, fields: Fields, rows: Sequence[Row]) -> list[str]:
    from minirund.cli.template import Template

    table, _, body = form.partition(" ")
    if table != "table":
        template = Template(unescaped("{{json .}}" if form == "json" else form))
        return [template.render(row) for row in rows]
    template = Template(unescaped(body.strip()))
    cells = [template.render(row).split("\t") for row in (_Header(fields), *rows)]
    return [align(cells)]


def unescaped(form: str) -> str:
    """A format's ``\\t`` and ``\\n``, which shells hand over as two characters each."""
    return form.replace("\\t", "\t").replace("\\n", "\n")
