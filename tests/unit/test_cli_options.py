"""argv against the tables, in Docker's syntax."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirund.cli import table
from minirund.cli.exec import OPTIONS as EXEC_OPTIONS
from minirund.cli.failure import UsageError
from minirund.cli.help import help_text
from minirund.cli.options import Command, Opt, check_count, parse
from minirund.cli.run_options import RUN_OPTIONS

OPTIONS = (
    Opt("all", "bool", "", "a"),
    Opt("env", "list", "", "e"),
    Opt("interactive", "bool", "", "i"),
    Opt("memory", "bytes", "", "m"),
    Opt("name", "string", ""),
    Opt("proxy", "bool", "", default=True),
    Opt("pull", "string", "", default="missing", choices="always missing never"),
    Opt("tail", "int", "", "n", -1),
    Opt("tty", "bool", "", "t"),
    Opt("filter", "filter", "", "f"),
)


def values(*argv: str, ends: bool = False) -> dict[str, object]:
    parsed = parse(OPTIONS, argv, options_end=ends)
    return {option.long: parsed.value(option.long) for option in OPTIONS if parsed.given(option.long)} | (
        {"rest": parsed.rest} if parsed.rest else {}
    )


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-it"], {"interactive": True, "tty": True}),
        (["-ite", "A=1"], {"interactive": True, "tty": True, "env": ["A=1"]}),
        (["-eA=1", "-e=B=2", "--env=C=3", "--env", "D"], {"env": ["A=1", "B=2", "C=3", "D"]}),
        (["--all=false"], {"all": False}),
        (["-a=false", "--proxy=0"], {"all": False, "proxy": False}),
        (["--name="], {"name": ""}),
        (["--name", "-x"], {"name": "-x"}),
        (["-m", "1g"], {"memory": 1 << 30}),
        (["-n", "-3"], {"tail": -3}),
        (["-n5"], {"tail": 5}),
        (["x", "-a", "y"], {"all": True, "rest": ["x", "y"]}),
        (["x", "--", "-a"], {"rest": ["x", "-a"]}),
        (["-"], {"rest": ["-"]}),
        (["-f", "a=b", "--filter", "a=c"], {"filter": ["a=b", "a=c"]}),
        (["--pull=always", "--pull", "never"], {"pull": "never"}),
    ],
)
def test_reads(argv: list[str], expected: dict[str, object]) -> None:
    assert values(*argv) == expected


@pytest.mark.parametrize("ends", [True, False])
def test_the_first_argument_ends_the_options_where_the_rest_belongs_to_the_container(ends: bool) -> None:
    found = values("-t", "busybox", "ls", "-a", ends=ends)
    assert found == (
        {"tty": True, "rest": ["busybox", "ls", "-a"]}
        if ends
        else {"tty": True, "all": True, "rest": ["busybox", "ls"]}
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["-tx"], "unknown shorthand flag: 'x' in -tx"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["-te"], "flag needs an argument: 'e' in -te"),
        (["--name"], "flag needs an argument: --name"),
        (["--all=maybe"], 'invalid argument "maybe" for "-a, --all" flag: neither true nor false'),
        (["-m", "zz"], 'invalid argument "zz" for "-m, --memory" flag: invalid size: \'zz\''),
        (["-n", "x"], 'invalid argument "x" for "-n, --tail" flag: not a whole number'),
        (["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'),
        (["--pull", "x"], 'invalid argument "x" for "--pull" flag: must be one of always, missing, never'),
    ],
)
def test_refuses(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(OPTIONS, argv)
    assert caught.value.message == message


def test_defaults() -> None:
    parsed = parse(OPTIONS, [])
    assert (parsed.flag("all"), parsed.flag("proxy"), parsed.text("pull"), parsed.number("tail")) == (
        False,
        True,
        "missing",
        -1,
    )
    assert (parsed.text("name"), parsed.items("env"), parsed.number("memory")) == ("", [], None)


def test_help_is_asked_for_by_long_option_and_by_h_where_that_is_nothing_else() -> None:
    assert parse(OPTIONS, ["--help"]).help
    assert parse(OPTIONS, ["-h"]).help
    run = parse(RUN_OPTIONS, ["-h", "web", "busybox", "--help"], options_end=True)
    assert (run.help, run.text("hostname"), run.rest) == (False, "web", ["busybox", "--help"])


@pytest.mark.parametrize(
    ("least", "most", "count", "message"),
    [
        (1, 9, 0, '"x" requires at least 1 argument'),
        (2, 9, 1, '"x" requires at least 2 arguments'),
        (2, 2, 1, '"x" requires 2 arguments'),
        (0, 0, 1, '"x" accepts no arguments'),
        (0, 1, 2, '"x" requires at most 1 argument'),
    ],
)
def test_counts_arguments(least: int, most: int, count: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_count("x", Command(lambda *_: 0, least=least, most=most), count)
    assert caught.value.message == message


@pytest.mark.parametrize("entry", table.ENTRIES, ids=lambda entry: entry.key)
def test_every_command_loads_and_has_no_option_twice(entry: table.Entry) -> None:
    command = table.load(entry)
    long = [option.long for option in command.options]
    short = [option.short for option in command.options if option.short]
    assert len(long) == len(set(long))
    assert len(short) == len(set(short))


@pytest.mark.parametrize("name", [name for entry in table.visible() for name in entry.names])
def test_every_name_has_help_with_all_its_options(name: str) -> None:
    entry = table.find(name)
    assert entry is not None
    text = help_text(name)
    assert text.startswith(f"Usage:  minirun {name}")
    assert all(f"--{option.long}" in text and option.text.split()[0] in text for option in table.load(entry).options)
    assert max(map(len, text.splitlines())) <= 120


def test_program_and_group_help_name_every_command() -> None:
    program = help_text("")
    for entry in table.visible():
        group, space, name = entry.names[0].partition(" ")
        if space:
            assert f"\n  {name} " in help_text(group)
        if entry.short:
            assert f"\n  {entry.short} " in program


def test_the_options_the_project_promises() -> None:
    run = {option.long for option in RUN_OPTIONS} | {option.short for option in RUN_OPTIONS}
    promised = (
        "i t d rm name e env-file w u h entrypoint l label-file network v mount read-only privileged cap-add cap-drop "
        "init pull platform detach-keys sig-proxy stop-signal stop-timeout tmpfs shm-size ulimit sysctl security-opt "
        "group-add add-host dns dns-search ipc pid uts cgroupns device m cpus pids-limit cidfile a hostname"
    )
    assert set(promised.split()) <= run
    assert set("i t d e u w privileged".split()) <= {o.short for o in EXEC_OPTIONS} | {o.long for o in EXEC_OPTIONS}


def test_the_reference_names_every_command() -> None:
    reference = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    for entry in table.visible():
        assert " · ".join(f"`{name}`" for name in reversed(entry.names)) + f" | {entry.text} |" in reference
