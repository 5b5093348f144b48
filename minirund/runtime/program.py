"""The last steps before the container's own program runs: where, with which environment, which file, and execve.

The messages are those that users of Docker know, and that its command recognises to give its own exit code: 127 for a
program that is not there, 126 for one that can't be executed. Source: execve(2), path_resolution(7).
"""

from __future__ import annotations

import errno
import os
import signal
import stat

from minirund.errors import StartFailed
from minirund.runtime import paths, syscalls
from minirund.runtime.context import READY, Context

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def make_cwd(ctx: Context) -> None:
    """Have the working directory: an image may name one that none of its layers holds."""
    try:
        os.close(paths.make_directories(ctx.root, cwd_of(ctx)))
    except FileExistsError as error:
        raise bad_cwd(ctx, errno.ENOTDIR) from error
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise bad_cwd(ctx, error.errno or 0) from error


def enter_cwd(ctx: Context) -> None:
    """Go there as root; where root may not (a network file system), ``enter_cwd_as_user`` tries again."""
    try:
        os.chdir(cwd_of(ctx))
    except PermissionError:
        ctx.cwd_pending = True
    except OSError as error:
        raise bad_cwd(ctx, error.errno or 0) from error


def enter_cwd_as_user(ctx: Context) -> None:
    """Go to the working directory with the user's rights, if root's did not do."""
    if not ctx.cwd_pending:
        return
    try:
        os.chdir(cwd_of(ctx))
    except OSError as error:
        raise bad_cwd(ctx, error.errno or 0) from error


def cwd_of(ctx: Context) -> str:
    """The working directory, absolute."""
    return "/" + (ctx.process.get("cwd") or "/").lstrip("/")


def bad_cwd(ctx: Context, number: int) -> StartFailed:
    """What the user reads about a working directory that is none."""
    why = os.strerror(number).lower()
    return StartFailed(f'chdir to cwd ("{cwd_of(ctx)}") set in config.json failed: {why}', NOT_EXECUTABLE)


def environment(ctx: Context) -> list[str]:
    """The environment as configured; HOME is the user's where none is set."""
    env = list(ctx.env)
    if not any(each.startswith("HOME=") for each in env):
        env.append(f"HOME={ctx.identity.home}")
    return env


def find_program(ctx: Context) -> None:
    """args[0] in the container's PATH, or as a path. Raises StartFailed with 126 or 127."""
    args = ctx.process.get("args") or []
    if not args:
        raise StartFailed("exec: no command: args must not be empty", NOT_FOUND)
    ctx.program = locate(args[0], search_path(ctx.env))


def search_path(env: list[str]) -> str:
    """PATH, the last one if there are several."""
    return next((each[5:] for each in reversed(env) if each.startswith("PATH=")), DEFAULT_PATH)


def locate(name: str, path: str) -> str:
    """The file to execute. Raises StartFailed."""
    if "/" in name:
        number = why_not(name)
        if number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            raise StartFailed(f'exec: "{name}": stat {name}: {os.strerror(number).lower()}', NOT_FOUND)
        if number:
            raise StartFailed(f'exec: "{name}": {in_words(number)}', NOT_EXECUTABLE)
        return name
    files = [os.path.join(directory or ".", name) for directory in path.split(":")] if path else []
    program = next((file for file in files if os.access(file, os.X_OK, effective_ids=True) and not why_not(file)), None)
    if program is None and any(map(for_others, files)):
        raise StartFailed(f'exec: "{name}": {in_words(errno.EACCES)}', NOT_EXECUTABLE)
    if program is None:
        raise StartFailed(f'exec: "{name}": executable file not found in $PATH', NOT_FOUND)
    return program


def for_others(file: str) -> bool:
    """Whether it is a program that somebody may execute, where we may not."""
    try:
        mode = os.stat(file).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def in_words(number: int) -> str:
    """What an errno says. Docker's command before 23.0 takes only the last two words of a directory's for a 126."""
    words = os.strerror(number).lower()
    return f"{words}: permission denied" if number == errno.EISDIR else words


def why_not(file: str) -> int:
    """The errno that keeps a file from being executed by us; 0 for none."""
    try:
        mode = os.stat(file).st_mode
    except OSError as error:
        return error.errno or errno.ENOENT
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if os.access(file, os.X_OK, effective_ids=True) else errno.EACCES


def reset_signals(_ctx: Context) -> None:
    """A program expects every signal at its default and none blocked; execve keeps what is ignored and blocked."""
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    syscalls.default_reserved_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def set_umask(ctx: Context) -> None:
    """The mode bits that new files don't get: 022 unless configured."""
    os.umask(int((ctx.process.get("user") or {}).get("umask", 0o022)))


def close_descriptors(_ctx: Context) -> None:
    """Mark everything but 0, 1 and 2 to be closed by execve: the report too, so that its end tells of success."""
    syscalls.close_range(3, cloexec=True)


def execute(ctx: Context) -> None:
    """execve: this process becomes the container's. Returns never; raises StartFailed."""
    args = ctx.process["args"]
    env = dict(each.partition("=")[::2] for each in environment(ctx))
    ctx.report.send(READY)
    try:
        os.execve(ctx.program, args, env)  # noqa: S606 - the point of it all
    except OSError as error:
        code = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
        raise StartFailed(f"exec {ctx.program}: {os.strerror(error.errno or 0).lower()}", code) from error
