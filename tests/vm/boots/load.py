"""Work for the daemon until the plug is pulled, and a ledger of what it has answered, a line each on standard output.

    load.py ROUND

Three threads: one creates, starts and removes containers; one loads images, each with a file that says what it should
hold; one gives images further names. A line is written after the answer came: the host has it, or it never was said.
What takes something away is written before it is asked for. `after_power_cut.py` compares.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from daemon import UnixConnection
from guest import IMAGE, SOCKET
from images import docker_archive, image

JSON = {"Content-Type": "application/json"}


def note(did: str, **what: object) -> None:
    """One write for one line, so that it is there whole or not at all."""
    os.write(1, (json.dumps({"did": did, **what}) + "\n").encode())


def ask(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
    """The answer, decoded where something was created; raises RuntimeError for a refusal."""
    connection = UnixConnection(SOCKET, timeout=240)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
    return json.loads(text) if answer.status == 201 and b"Id" in text else None


def containers(number: str, ready: Event) -> None:
    """Every third is removed again; every second one runs, and writes into its layer."""
    for each in count():
        name = f"cut-{number}-{each}"
        wanted = {"Image": IMAGE, "Cmd": ["sh", "-c", "while true; do date >>/dates; sync /dates; done"]}
        made = ask("POST", f"/containers/create?name={name}", json.dumps(wanted).encode(), JSON)
        note("created", id=made["Id"], name=name)
        ready.set()
        if each % 2:
            ask("POST", f"/containers/{made['Id']}/start")
        if each % 3 == 2:
            note("removing", id=made["Id"])
            ask("DELETE", f"/containers/{made['Id']}?force=1")
        elif each % 2:
            ask("POST", f"/containers/{made['Id']}/kill")


def images(number: str, ready: Event) -> None:
    """From a few bytes to some megabytes, so that the plug is pulled in the midst of one. Every third is removed."""
    for each in count():
        name, payload = f"cut-{number}-{each}:latest", os.urandom(1 << (10 + each % 4 * 4))
        files = {"payload": payload, **{f"many/{one}": str(one) for one in range(20)}}
        made = image(files, config={"Cmd": ["/payload"]})
        ask("POST", "/images/load", docker_archive({name: made}), {"Content-Type": "application/x-tar"})
        note("loaded", name=name, id=made.id, layer=made.chain_ids[0], sha256=hashlib.sha256(payload).hexdigest())
        ready.set()
        if each % 3 == 2:
            note("removing", id=made.id)
            ask("DELETE", f"/images/{name}")


def names(number: str, ready: Event) -> None:
    for each in count():
        ask("POST", f"/images/{IMAGE}/tag?repo=name-{number}-{each}&tag=latest")
        note("tagged", name=f"name-{number}-{each}:latest")
        ready.set()


def guarded(work: Any, number: str, ready: Event) -> None:
    """A refusal ends the load, and the round: the daemon has no reason for one."""
    try:
        work(number, ready)
    except BaseException as error:
        note("refused", error=f"{work.__name__}: {error!r}")
        os._exit(1)


def main() -> None:
    started = [Event() for _ in range(3)]
    for work, ready in zip((containers, images, names), started, strict=True):
        Thread(target=guarded, args=(work, sys.argv[1], ready), daemon=True).start()
    for ready in started:
        ready.wait()
    os.write(1, b"ready\n")
    Event().wait()


if __name__ == "__main__":
    main()
