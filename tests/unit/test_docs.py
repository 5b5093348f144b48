"""The documentation holds what it says: options, commands, files and links that it names are there, and all named."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from waiting import PATIENCE

from minirund import wire
from minirund.cli.table import Entry, visible
from minirund.engine.lifecycle import NEXT, Event, Status
from minirund.engine.settings import Settings
from minirund.options import CONFIG_KEYS, DEFAULT_CONFIG, DEFAULT_HOST, parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "cgroups/README.md", *(ROOT / "docs").glob("*.md")])
TREES = "minirund|cgroups|netns|overlayfs|tests|bench|scripts|packaging|vagrant|docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def everything() -> str:
    return "\n".join(page.read_text() for page in PAGES)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text()) if kind == language]


def anchors(page: Path) -> set[str]:
    """The names that headings can be linked by, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# --- files and links


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(rf"`((?:{TREES})/[\w./-]*)", prose(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_led_to_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name(page) for page in (ROOT / "docs").glob("*.md") if f"({name(page)})" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_fit(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > 130 and not line.startswith("|")]
    assert long == []


def test_every_target_of_make_that_is_named_exists() -> None:
    lines = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for line in lines for target in line.split()}
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)\b", everything(), re.MULTILINE))
    assert {"run", "test"} <= named <= targets


# --- architecture.md


def rows(page: str, header: str) -> list[list[str]]:
    """The cells of the table whose first line is ``header``."""
    table = (ROOT / page).read_text().partition(f"{header}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_lifecycle_is_the_codes() -> None:
    columns = (Event.START, Event.EXIT, Event.RETRY, Event.PAUSE, Event.UNPAUSE, Event.REMOVE, Event.FAIL)
    table = rows("docs/architecture.md", "| from | start | exit | retry | pause | unpause | remove | fail |")
    shown = {
        (Status(before), event): Status(after)
        for before, *afters in table
        for event, after in zip(columns, afters, strict=True)
        if after
    }
    assert shown == NEXT


def test_every_message_has_its_direction() -> None:
    table = rows("docs/architecture.md", "| from, to | messages |")
    named = {word for _, cell in table for word in cell.split("`")[1::2]}
    assert named == {message.__name__ for message in wire.Message.__args__}


# --- the daemon's options


def test_every_option_of_the_daemon_is_documented() -> None:
    options = [word for action in parser()._actions for word in action.option_strings]
    text = everything()
    assert len(options) > 20
    assert [option for option in options if f"`{option}`" not in text] == []


def test_every_key_of_daemon_json_is_documented() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [key for key in CONFIG_KEYS if f"`{key}`" not in readme] == []


def test_the_readme_s_daemon_json_is_one() -> None:
    (example,) = blocks(ROOT / "README.md", "json")
    assert set(json.loads(example)) <= set(CONFIG_KEYS)


def test_help_tells_the_defaults_that_there_are() -> None:
    text = " ".join(parser().format_help().split())
    defaults = {field.name: field.default for field in fields(Settings)}
    for word in ("data_root", "exec_root", "bridge", "pool_size", "log_level"):
        assert f"(default {defaults[word]})" in text, word
    assert f"(default {DEFAULT_HOST})" in text
    assert f"(default {DEFAULT_CONFIG})" in text


def test_every_option_of_the_daemon_has_help() -> None:
    assert [action.dest for action in parser()._actions if not action.help] == []


# --- the command


ENTRIES = visible()
WORDS = {called.split()[0] for entry in ENTRIES for called in entry.names}
COMMAND_PAGE = (ROOT / "docs/cli.md").read_text()


def documented() -> set[str]:
    """The names in the table of commands."""
    table = COMMAND_PAGE.partition("## Commands")[2].partition("## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {called for cell in cells for called in re.findall(r"`(.*?)`", cell)}


def test_the_page_of_the_command_and_the_command_agree() -> None:
    assert documented() == {called for entry in ENTRIES for called in entry.names}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_the_page_says_of_a_command_what_its_help_says(entry: Entry) -> None:
    assert f"| {entry.text} |" in COMMAND_PAGE


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_examples_exist(page: Path) -> None:
    examples = "\n".join(body for _, body in FENCE.findall(page.read_text()))
    inline = re.findall(r"`minirun ([a-z]+)", prose(page))
    used = re.findall(r"(?:^|[|;(] ?|-r |# )minirun (?:-H \S+ )?([a-z]+)", examples, re.MULTILINE)
    assert {*used, *inline} <= WORDS


def minirun(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from minirund.cli import main; sys.exit(main())", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)


def test_minirun_s_help_names_every_command() -> None:
    shown = minirun("--help")
    assert shown.returncode == 0
    assert [word for word in WORDS if not re.search(rf"^  {word}\s", shown.stdout, re.MULTILINE)] == []
    assert DEFAULT_HOST in shown.stdout


def test_every_command_s_help_fits_a_terminal() -> None:
    for entry in ENTRIES:
        shown = minirun(*entry.names[0].split(), "--help")
        assert shown.returncode == 0, entry.key
        assert shown.stdout.startswith("Usage:"), entry.key
        assert entry.text in shown.stdout, entry.key
        assert [line for line in shown.stdout.splitlines() if len(line) > 80] == [], entry.key


# --- examples in Python


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_in_python_import_what_there_is(page: Path) -> None:
    for block in blocks(page, "python"):
        imports = [node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert imports
        exec(compile(ast.Module(imports, []), str(page), "exec"), {})
