"""Every row of docs/limits.md, from the command's parser to the cgroup's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cgroups import limits
from minirund.cli.options import parse
from minirund.cli.run_options import RUN_OPTIONS
from minirund.cli.spec import create_body
from minirund.engine import bounds, conf, devices, resources
from minirund.engine.bounds import Machine

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
MACHINE = Machine(cpus=1, cpu_list="0", node_list="0", swap=True)


def table(header: str) -> list[list[str]]:
    """The cells of the table whose first line is ``header``, without their backticks."""
    lines = PAGE.read_text().partition(f"{header}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


ROWS = table("| option | HostConfig | OCI | file and value |")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_option_becomes_what_the_page_says(row: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's disk is /dev/sda, 8:0, which not every machine has."""
    monkeypatch.setattr(devices, "disk", lambda path, option: {"major": 8, "minor": 0})
    option, host_config, oci, files = row
    host = create_body(parse(RUN_OPTIONS, [*option.split(), "img"], options_end=True), detach=True)["HostConfig"]
    assert host == json.loads(host_config)
    bounds.check(host, MACHINE)
    assert bounds.settle(host, MACHINE) == []
    assert resources.limited(host) == json.loads(oci)
    assert limits.files(limits.from_oci(resources.limited(host))) == json.loads(files)


def test_the_files_that_may_be_named_are_listed() -> None:
    listed = {row[0]: tuple(row[1].replace("`", "").split(", ")) for row in table("| controller | files |")}
    assert listed == {
        controller: tuple(f"{controller}.{name}" for name in names) for controller, names in conf.FILES.items()
    }


def test_every_option_of_a_limit_has_its_row() -> None:
    shown = {word for row in ROWS for word in row[0].split() if word.startswith("--")}
    options = {*resources.OPTIONS.values(), *(word for _, _, word in resources.THROTTLES), conf.OPTION}
    options |= {"--cpus", "--cpu-quota"}
    assert shown == options
    bounded = {
        word for row in table("| option | what it may be | who goes over the limit |") for word in row[0].split()
    }
    assert options <= {word.strip("`,") for word in bounded}
