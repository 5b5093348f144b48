"""The walls between the packages, held: who may import whom, what from outside, and where the system is called.

    cli -> client -> HTTP
    daemon -> api -> engine -> {contract, registry, cgroups, netns, overlayfs}
    runtime -> {contract, cgroups, overlayfs.mount}
    contract = minirund.{wire, bundle, oci, errors}

Engine and runtime meet at the bundle and the messages, never by import. The three libraries know nobody. The source is
read, not imported; one test imports the runtime and looks at what came with it.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cgroups", "netns", "overlayfs", "minirund")

# part: (its modules, the parts and modules that it may import, the distributions from outside)
CONTRACT = ("minirund.wire", "minirund.bundle", "minirund.oci", "minirund.errors")
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "cgroups": (("cgroups",), (), ()),
    "netns": (("netns",), (), ("pyroute2",)),
    "overlayfs": (("overlayfs",), (), ("isal", "zstandard")),
    "contract": (CONTRACT, (), ()),
    "sizes": (("minirund.sizes",), (), ()),
    "lean": (("minirund.lean",), (), ()),  # the C modules beneath json, socket and signal
    "client": (("minirund.client",), ("minirund.lean",), ()),
    "cli": (("minirund.cli",), ("minirund.client", "minirund.lean", "minirund.sizes"), ()),
    "registry": (("minirund.registry",), CONTRACT, ("aiohttp", "yarl")),
    "runtime": (
        ("minirund.runtime",),
        (*CONTRACT, "minirund.lean", "cgroups", "overlayfs.mount"),
        ("prctl", "pyseccomp"),
    ),
    "engine": (
        ("minirund.engine",),
        (*CONTRACT, "minirund.libc", "minirund.sizes", "minirund.registry", "cgroups", "netns", "overlayfs"),
        (),
    ),
    "api": (
        ("minirund.api",),
        (*CONTRACT, "minirund.engine"),
        ("fastapi", "starlette", "pydantic", "annotated_types", "uvicorn", "httptools"),
    ),
    "libc": (("minirund.libc",), (), ()),
    "daemon": (
        ("minirund.daemon", "minirund.options", "minirund.host", "minirund.preload"),
        ("minirund", "cgroups", "netns", "overlayfs"),
        ("uvicorn",),
    ),
    "root": (("minirund",), (), ()),
}

CTYPES = {  # who calls the kernel, or a C library, past Python
    "cgroups.devices",  # bpf(2)
    "netns.syscalls",  # setns(2) and unshare(2), which Python has from 3.12 on
    "netns.nft",  # libnftables
    "overlayfs.flush",  # syncfs(2)
    "overlayfs.quota",  # quotactl_fd(2)
    "minirund.libc",  # mallopt(3), inotify(7)
    "minirund.runtime.syscalls",
}
PYSECCOMP = {"minirund.runtime.seccomp"}
FORK_SIDE_NEVER = {
    *("asyncio", "ssl", "sqlite3", "http.client", "email", "urllib.request", "logging", "concurrent.futures"),
    *("fastapi", "starlette", "pydantic", "uvicorn", "pyroute2", "aiohttp", "isal", "zstandard"),
    *("minirund.engine", "minirund.api", "minirund.registry", "minirund.cli", "netns"),
}
LONGEST_FILE, LONGEST_FUNCTION, MEDIAN_FUNCTION = 400, 60, 8


@dataclass(frozen=True)
class Import:
    """One import: the module that is had, where, and whether it is for type checkers alone."""

    target: str
    line: int
    typing_only: bool
    late: bool


@cache
def modules() -> dict[str, Path]:
    """{dotted name: file} of everything that is installed."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {dotted(path): path for path in files}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text())


def is_typing_only(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and "not" not in ast.unparse(node.test)
    )


def walk(nodes: list[ast.stmt], typing_only: bool = False, late: bool = False) -> Iterator[tuple[ast.stmt, bool, bool]]:
    """Every statement, with whether a TYPE_CHECKING block and whether a function holds it."""
    for node in nodes:
        yield node, typing_only, late
        inside = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for field in ("body", "orelse", "finalbody"):
            only = typing_only or (is_typing_only(node) and field == "body")
            yield from walk(getattr(node, field, []), only, inside)
        for handler in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from walk(handler.body, typing_only, inside)


def targets(name: str, node: ast.stmt) -> list[str]:
    """What an import statement imports; `from minirund import wire` is minirund.wire."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert node.level == 0, f"{name}:{node.lineno}: a relative import"
    base = node.module or ""
    return [full if (full := f"{base}.{alias.name}") in modules() else base for alias in node.names]


@cache
def imports(name: str) -> tuple[Import, ...]:
    return tuple(
        Import(target, node.lineno, typing_only, late)
        for node, typing_only, late in walk(tree(name).body)
        for target in targets(name, node)
    )


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def part_of(name: str) -> str:
    """The part with the longest matching prefix; `minirund` alone is the root, which holds the version."""
    matching = [(len(prefix), part) for part, (own, _, _) in PARTS.items() for prefix in own if within(name, prefix)]
    return max(matching)[1]


def allowed(name: str, target: str) -> bool:
    own, others, outside = PARTS[part_of(name)]
    top = target.partition(".")[0]
    if top not in PACKAGES:
        return top in sys.stdlib_module_names or top in outside
    return target == "minirund" or any(within(target, prefix) for prefix in (*own, *others))


@pytest.mark.parametrize("name", modules())
def test_imports_go_in_the_directions_that_the_design_draws(name: str) -> None:
    wrong = [
        f"{name}:{each.line} imports {each.target}"
        for each in imports(name)
        if not (allowed(name, each.target) or each.target == "_typeshed")
    ]
    assert not wrong


def test_every_part_has_modules() -> None:
    """A wall that no module stands behind holds nothing: the names above must be those of the tree."""
    assert {part_of(name) for name in modules()} == set(PARTS)
    assert part_of("minirund.runtime.shim") == "runtime"
    assert not allowed("minirund.runtime.shim", "overlayfs.content")
    assert not allowed("minirund.runtime.shim", "minirund.engine.store")
    assert not allowed("minirund.engine.store", "minirund.runtime.shim")
    assert not allowed("minirund.engine.store", "fastapi")
    assert not allowed("minirund.cli.run", "minirund.engine.names")
    assert not allowed("cgroups.cgroup", "minirund.errors")


def test_no_module_is_in_a_cycle() -> None:
    graph = {
        name: {each.target for each in imports(name) if not each.typing_only and each.target in modules()} - {name}
        for name in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_ctypes_is_in_the_few_modules_that_are_named() -> None:
    users = {name for name in modules() if any(within(each.target, "ctypes") for each in imports(name))}
    assert users == CTYPES


def test_libseccomp_is_loaded_late_and_in_one_place() -> None:
    users = {name: each for name in modules() for each in imports(name) if each.target == "pyseccomp"}
    assert set(users) <= PYSECCOMP
    assert all(each.late for each in users.values())


def test_the_fork_side_brings_nothing_heavy_along() -> None:
    """Everything of the runtime, imported: what else is in memory is what every shim would carry."""
    names = [name for name in modules() if within(name, "minirund.runtime") and not name.endswith("__main__")]
    code = f"import sys, {', '.join(names)}\nprint(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not FORK_SIDE_NEVER & set(shown.stdout.split())


@pytest.mark.parametrize("name", modules())
def test_a_module_says_what_it_is_and_is_not_too_long(name: str) -> None:
    assert ast.get_docstring(tree(name)), f"{name} opens without a docstring"
    assert len(modules()[name].read_text().splitlines()) <= LONGEST_FILE


def functions(name: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree(name)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_functions_are_short() -> None:
    sizes = {f"{name}.{each.name}": length(each) for name in modules() for each in functions(name)}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}
    assert statistics.median(sizes.values()) <= MEDIAN_FUNCTION


def test_no_function_changes_a_global() -> None:
    found = [
        f"{name}:{node.lineno}" for name in modules() for node in ast.walk(tree(name)) if isinstance(node, ast.Global)
    ]
    assert not found


def test_nobody_waits_with_wait_for() -> None:
    """Before Python 3.12 it swallows a cancellation that comes together with the result; asyncio.timeout does not."""
    found = [
        f"{name}:{node.lineno}"
        for name in modules()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.wait_for"
    ]
    assert not found
