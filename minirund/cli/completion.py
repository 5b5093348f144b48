"""`completion bash|zsh` prints a script for a shell; the script asks the hidden `__complete` for what may come next.

``minirun __complete WORD...`` gets the words before the cursor, the last one unfinished, and prints candidates, one a
line, each with a description after a tab where it has one. The line ``:files`` asks the shell for file names.
"""

from __future__ import annotations

from minirund.cli import table
from minirund.cli.context import say
from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.client import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

_FILES = ":files"
_FILE_OPTIONS = frozenset(("cidfile", "device", "env-file", "input", "label-file", "mount", "volume"))
_NETWORKS = ("bridge", "host", "none")
_NAMED_AFTER = {"ipc": "containers", "pid": "containers", "volumes-from": "containers"}

BASH = r"""# bash completion for minirun; put it where bash-completion looks, or: source <(minirun completion bash)
_minirun() {
    local line=${COMP_LINE:0:COMP_POINT} words=() candidate current
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        if [[ $candidate == :files ]]; then
            compopt -o default 2>/dev/null
        elif [[ $candidate == "$current"* ]]; then
            COMPREPLY+=("$candidate")
        fi
    done < <(minirun __complete "${words[@]:1}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    # bash replaces only what follows the last : or =
    local mark head
    for mark in : =; do
        if [[ $current == *"$mark"* && $COMP_WORDBREAKS == *"$mark"* ]]; then
            head=${current%"${current##*"$mark"}"}
            COMPREPLY=("${COMPREPLY[@]#"$head"}")
            current=${current#"$head"}
        fi
    done
}
complete -F _minirun minirun
"""

ZSH = r"""#compdef minirun
# zsh completion for minirun; put it into $fpath as _minirun, or: source <(minirun completion zsh)
_minirun() {
    local -a lines found
    local line value
    lines=("${(@f)$(minirun __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        if [[ $line == :files ]]; then
            _files
            continue
        fi
        value=${${line%%$'\t'*}//:/\\:}
        [[ $line == *$'\t'* ]] && value+=:${line#*$'\t'}
        found+=("$value")
    done
    (( $#found )) && _describe -V minirun found
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _minirun "$@"
else
    compdef _minirun minirun
fi
"""


def _printer(script: str) -> Callable[[Context, Parsed], int]:
    def command(_context: Context, _args: Parsed) -> int:
        say(script.rstrip("\n"))
        return 0

    return command


def complete(context: Context, args: Parsed) -> int:
    """Print what may follow."""
    for candidate in candidates(context, args.rest or [""]):
        say(candidate)
    return 0


def candidates(context: Context, words: Sequence[str]) -> Iterable[str]:
    """Candidates for the last of ``words``."""
    from minirund.cli.help import GLOBAL_OPTIONS

    *before, current = words
    while before and before[0].startswith("-"):
        size = 1 if "=" in before[0] or before[0] in ("--help", "-v", "--version") else 2
        if before[0] in ("-H", "--host") and len(before) > 1:
            context.host = before[1]
        elif before[0].startswith("--host="):
            context.host = before[0].partition("=")[2]
        before = before[size:]
    if not before:
        return _matching(current, _option_names(GLOBAL_OPTIONS) if current.startswith("-") else _commands())
    if before[0] in table.GROUPS and len(before) == 1:
        return _matching(current, _subcommands(before[0]))
    name = " ".join(before[: 2 if before[0] in table.GROUPS else 1])
    entry = table.find(name)
    if entry is None:
        return ()
    return _of_command(context, table.load(entry), before[len(name.split(" ")) :], current)


def _matching(current: str, found: Iterable[str]) -> Iterator[str]:
    return (candidate for candidate in found if candidate.startswith(current))


def _commands() -> Iterator[str]:
    for entry in table.visible():
        if entry.short:
            yield f"{entry.short}\t{entry.text}"
    for name, text in table.GROUPS.items():
        yield f"{name}\t{text}"


def _subcommands(group: str) -> Iterator[str]:
    for entry in table.visible():
        for name in entry.names:
            if name.startswith(f"{group} "):
                yield f"{name.partition(' ')[2]}\t{entry.text}"


def _option_names(options: Sequence[Opt]) -> Iterator[str]:
    for option in options:
        yield f"--{option.long}\t{option.text}"
    yield "--help\tShow this help"


def _of_command(context: Context, command: Command, before: Sequence[str], current: str) -> Iterable[str]:
    option, arguments = _place(command, before)
    if option is not None:
        return _matching(current, _values(context, option))
    if command.options_end and arguments:
        return _behind(context, command, arguments, current)
    if current.startswith("--") and "=" in current:
        return _behind_equals(context, command, current)
    if current.startswith("-"):
        return _matching(current, _option_names(command.options))
    return _matching(
        current, [name for name in _names(context, command.takes) if name.partition("\t")[0] not in arguments]
    )


def _place(command: Command, before: Sequence[str]) -> tuple[Opt | None, list[str]]:
    """The option whose value comes next, if one does, and the arguments so far."""
    long = {f"--{option.long}": option for option in command.options}
    short = {option.short: option for option in command.options if option.short}
    left, arguments = list(before), list[str]()
    while left:
        word = left.pop(0)
        option = long.get(word)
        if option is None and word.startswith("-") and not word.startswith("--"):
            option = short.get(word[-1])
        if not word.startswith("-"):
            arguments.append(word)
            if command.options_end:
                return None, [*arguments, *left]
        elif option is not None and option.kind != "bool":
            if not left:
                return option, arguments
            left.pop(0)
    return None, arguments


def _behind(context: Context, command: Command, arguments: Sequence[str], current: str) -> Iterable[str]:
    """What follows the first argument of `run` and its like belongs to the container."""
    del context, arguments, current
    return (_FILES,) if command.takes == "images" else ()


def _behind_equals(context: Context, command: Command, current: str) -> Iterator[str]:
    head, _, start = current.partition("=")
    for option in command.options:
        if f"--{option.long}" == head:
            yield from (f"{head}={value}" for value in _matching(start, _values(context, option)) if value != _FILES)


def _values(context: Context, option: Opt) -> Iterable[str]:
    if option.choices:
        return option.choices.split()
    if option.long == "network":
        return (*_NETWORKS, *(f"container:{name}" for name in _plain(_names(context, "containers"))))
    if option.long in _NAMED_AFTER:
        prefix = "" if option.long == "volumes-from" else "container:"
        return (f"{prefix}{name}" for name in _plain(_names(context, "containers")))
    return (_FILES,) if option.long in _FILE_OPTIONS else ()


def _plain(found: Iterable[str]) -> Iterator[str]:
    return (candidate.partition("\t")[0] for candidate in found)


def _names(context: Context, takes: str) -> list[str]:
    """Names that the daemon knows, of the kind that a command takes. One that is away knows none."""
    try:
        return _known(context, takes)
    except (ClientError, Failure):
        return []


def _known(context: Context, takes: str) -> list[str]:
    if takes == "objects":
        return [*_containers(context, {}), *_images(context)]
    if takes == "images":
        return _images(context)
    states = {
        "containers": {},
        "running": {"status": ["running", "paused"]},
        "paused": {"status": ["paused"]},
        "stopped": {"status": ["created", "exited"]},
    }
    return _containers(context, states[takes]) if takes in states else []


def _containers(context: Context, wanted: dict[str, list[str]]) -> list[str]:
    found = context.client.get("/containers/json", {"all": True, "filters": wanted or None})
    return [f"{row['Names'][0].removeprefix('/')}\t{row['Image']}, {row['Status']}" for row in found if row["Names"]]


def _images(context: Context) -> list[str]:
    from minirund.cli.reference import split

    tags = [tag for image in context.client.get("/images/json") for tag in image.get("RepoTags") or ()]
    known = [tag for tag in tags if not tag.startswith("<none>")]
    return [*known, *(split(tag)[0] for tag in known if tag.endswith(":latest"))]


COMMANDS = {
    "bash": Command(_printer(BASH), most=0),
    "zsh": Command(_printer(ZSH), most=0),
    "__complete": Command(complete, raw=True),
}
