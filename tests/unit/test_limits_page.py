"""Every row of docs/limits.md, from the command's parser to the cgroup's file or to config.json; and no option of a
limit without its row."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from engine_records import a_container

from cgroups import limits
from minirund.cli import update
from minirund.cli.options import parse
from minirund.cli.run_options import RUN_OPTIONS
from minirund.cli.spec import create_body
from minirund.engine import bounds, conf, devices, resources, spec
from minirund.engine.bounds import Machine
from minirund.engine.records import Json
from minirund.engine.revision import LIMITS
from minirund.engine.spec import Surroundings

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
MACHINE = Machine(cpus=1, cpu_list="0", node_list="0", swap=True)


def table(header: str) -> list[list[str]]:
    """The cells of the table whose first line is ``header``, without their backticks."""
    lines = PAGE.read_text().partition(f"{header}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


ROWS = table("| option | HostConfig | OCI | file and value |")
OTHERS = table("| option | HostConfig | config.json | where the kernel shows it |")
NO_LIMITS = frozenset(
    "add-host annotation attach cap-add cap-drop cidfile detach detach-keys dns dns-option dns-search "
    "domainname entrypoint env env-file expose group-add health-cmd health-interval health-retries "
    "health-start-period health-timeout hostname init interactive ip ip6 ipc label label-file log-driver "
    "log-opt mac-address mount name network network-alias no-healthcheck pid platform privileged publish "
    "publish-all pull quiet read-only restart rm runtime security-opt sig-proxy stop-signal stop-timeout tty "
    "user userns uts volume volume-driver volumes-from workdir".split()
)
"""Options of `run` that limit nothing. One that is new belongs here, or on the page."""


def asked(option: str) -> Json:
    words = parse(RUN_OPTIONS, [*shlex.split(option), "img"], options_end=True)
    found: Json = create_body(words, detach=True)["HostConfig"]
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_option_becomes_what_the_page_says(row: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's disk is /dev/sda, 8:0, which not every machine has."""
    monkeypatch.setattr(devices, "disk", lambda path, option: {"major": 8, "minor": 0})
    option, host_config, oci, files = row
    host = asked(option)
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


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row[0])
def test_another_limit_is_in_config_json(row: list[str]) -> None:
    option, host, config, _ = row
    assert asked(option) == json.loads(host)
    joins = {"cgroup": ""} if asked(option).get("CgroupnsMode") == "host" else {}
    around = Surroundings("", {}, {}, f"{asked(option).get('CgroupParent', '')}/ID", joins)
    found = spec.config(a_container(host_config=asked(option)), around)
    if config.startswith("no namespace"):
        assert "cgroup" not in {each["type"] for each in found["linux"]["namespaces"]}
    else:
        assert has(found, json.loads(config))


def has(whole: object, part: object) -> bool:
    """Whether a JSON value has all of another; of a list, each in some place."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and has(whole[key], each) for key, each in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(has(one, each) for one in whole) for each in part)
    return whole == part


def test_a_part_is_told_from_what_is_none() -> None:
    assert has({"a": [1, {"b": 2, "c": 3}]}, {"a": [{"b": 2}]})
    assert not has({"a": [1, {"b": 2}]}, {"a": [{"b": 3}]})
    assert not has({"a": 1}, {"b": 1})


def test_every_option_of_run_and_update_is_on_the_page_or_no_limit() -> None:
    named = {word[2:] for row in (*ROWS, *OTHERS) for word in row[0].split() if word.startswith("--")}
    left_out = {word for word in bounds_words() if word not in named}
    assert {option.long for option in RUN_OPTIONS} == named | left_out | NO_LIMITS
    assert not (named | left_out) & NO_LIMITS
    assert update.NAMES - {"restart"} <= named | left_out
    keys = {key for row in ROWS for key in json.loads(row[1])}
    assert set(LIMITS) <= keys


def bounds_words() -> set[str]:
    """Options that the section of what can't be had names."""
    text = PAGE.read_text().partition("## What can't be had\n")[2].partition("\n## ")[0]
    return {word.strip("`,.;:()")[2:] for word in text.split() if word.strip("`(").startswith("--")}
