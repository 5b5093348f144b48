"""Execs: further processes in a running container."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Len

from minirund.api.schemas.base import Answer, Body, Words

Size = Annotated[list[Annotated[int, Ge(0)]] | None, Len(2, 2)]


class ExecConfig(Body):
    """What to run, and how."""

    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ConsoleSize: Size = None
    DetachKeys: str = ""
    Tty: bool = False
    Env: list[str] | None = None
    Cmd: Words | None = None
    Privileged: bool = False
    User: str = ""
    WorkingDir: str = ""
    Detach: bool = False
    Container: str = ""


class ExecStart(Body):
    """How to start it."""

    Detach: bool = False
    Tty: bool = False
    ConsoleSize: Size = None


class IdResponse(Answer):
    """What was made."""

    Id: str


class ExecProcess(Answer):
    """The process of an exec."""

    tty: bool
    entrypoint: str
    arguments: list[str]
    privileged: bool
    user: str | None = None


class ExecInspect(Answer):
    """All about an exec."""

    ID: str
    Running: bool
    ExitCode: int | None
    ProcessConfig: ExecProcess
    OpenStdin: bool
    OpenStdout: bool
    OpenStderr: bool
    CanRemove: bool
    ContainerID: str
    DetachKeys: str
    Pid: int
