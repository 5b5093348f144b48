"""The device program, run by a small BPF machine here, decides as the rules say: bit for bit, over every device."""

import itertools
import random
import struct
from typing import Any

import pytest

from cgroups.devices import ACCESS, DEFAULT_RULES, TYPES, program, rule
from cgroups.errors import LimitInvalid

WORD = 0xFFFFFFFF


def run(code: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Interpret the eight opcodes that programs use."""
    wanted = sum(ACCESS[letter] for letter in access)
    context = struct.pack("=III", wanted << 16 | TYPES[kind], major, minor)
    registers, position = [0] * 11, 0
    while True:
        opcode, operands, offset, value = struct.unpack_from("<BBhI", code, position * 8)
        dst, src = operands & 15, operands >> 4
        position += 1
        if opcode == 0x95:
            return registers[0] != 0
        if opcode == 0x61:
            registers[dst] = struct.unpack_from("=I", context, offset)[0]
        elif opcode in (0xB4, 0xBC):
            registers[dst] = value if opcode == 0xB4 else registers[src]
        elif opcode in (0x54, 0x74):
            registers[dst] = registers[dst] & value if opcode == 0x54 else registers[dst] >> value
        elif opcode in (0x15, 0x55):
            position += offset if (registers[dst] == value) is (opcode == 0x15) else 0
        else:
            pytest.fail(f"opcode {opcode:#x}")


def decide(rules: list[dict[str, Any]], kind: str, major: int, minor: int, access: str) -> bool:
    """What the rules mean, in the plainest way: for every letter, the last rule that speaks of it."""

    def speaks(entry: dict[str, Any], letter: str) -> bool:
        return entry.get("type", "a") == "a" or (
            entry["type"] == kind
            and entry.get("major", -1) in (-1, major)
            and entry.get("minor", -1) in (-1, minor)
            and letter in entry.get("access", "rwm")
        )

    verdicts = ([entry["allow"] for entry in rules if speaks(entry, letter)] for letter in access)
    return all(found and found[-1] for found in verdicts)


@pytest.mark.parametrize("seed", range(40))
def test_any_rules_decide_as_they_read(seed: int) -> None:
    rng = random.Random(seed)
    letters = ["".join(some) for count in (1, 2, 3) for some in itertools.combinations("rwm", count)]
    rules = [
        {
            "allow": rng.random() < 0.6,
            "type": rng.choice("aabbcccc") if rng.random() < 0.3 else rng.choice("bc"),
            "major": rng.choice((-1, 1, 2)),
            "minor": rng.choice((-1, 3, 4)),
            "access": rng.choice(letters),
        }
        for _ in range(rng.randrange(8))
    ]
    code = program(rules)
    for kind, major, minor, access in itertools.product("bc", (1, 2, 300), (3, 4, 5), letters):
        assert run(code, kind, major, minor, access) == decide(rules, kind, major, minor, access), (rules, kind, major)


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "allowed"),
    [
        ("c", 1, 3, "rw", True),  # null
        ("c", 5, 2, "rw", True),  # ptmx
        ("c", 136, 17, "rw", True),  # pts/17
        ("b", 8, 0, "m", True),  # a disk may be made ...
        ("b", 8, 0, "r", False),  # ... and not opened
        ("b", 1, 3, "r", False),  # the numbers of null, the other type
        ("c", 1, 11, "r", False),  # kmsg
        ("c", 1, 1, "rm", False),  # mem
        ("c", 10, 229, "rw", False),  # fuse
    ],
)
def test_defaults(kind: str, major: int, minor: int, access: str, allowed: bool) -> None:
    assert run(program(DEFAULT_RULES), kind, major, minor, access) is allowed


def test_no_rules_deny_everything() -> None:
    assert not run(program([]), "c", 1, 3, "r")


def test_everything_may_be_allowed_and_what_came_before_is_left_out() -> None:
    everything = {"allow": True, "type": "a"}
    assert program([*DEFAULT_RULES, everything]) == program([everything])
    assert run(program([everything]), "b", 8, 0, "rwm")


def test_an_entry_without_a_type_is_about_everything() -> None:
    assert rule({"allow": False, "access": "rwm"}) == rule({"allow": False, "type": "a", "major": 5, "access": "r"})


@pytest.mark.parametrize("entry", [{"allow": True, "type": "p"}, {"allow": True, "type": "c", "access": "rx"}])
def test_unknown_words_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(LimitInvalid):
        program([entry])
