"""What the fuzzers share: their corpus, how inputs are changed, and the loop of atheris where it is installed.

    pip install atheris
    python -m tests.fuzz.updates -max_total_time=600

Arguments are those of libFuzzer. What it finds interesting goes to ``build/fuzz/<name>``, what breaks to
``build/fuzz/<name>-crash-...``; such a file is kept in ``tests/fuzz/corpus`` before its cause is mended. Without atheris
``test_fuzz.py`` replays the corpus and changes of it.
"""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path
from random import Random
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import msgpack

from tests.faults.attacks import anything

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")
INPUT_BYTES_MAX = 4_096
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_EDGES = (
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x80\x00",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x10",
)


def corpus(name: str) -> list[bytes]:
    """Return the inputs that are kept for a fuzzer, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutated(data: bytes, dice: Random) -> bytes:
    """Change, cut, repeat or put in a few bytes."""
    body = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(body))
        match dice.randrange(5):
            case 0:
                body[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                body[at : at + 1] = bytes([body[at] ^ 1 << dice.randrange(8)]) if at < len(body) else b""
            case 2:
                del body[at : at + dice.randint(1, 8)]
            case 3:
                body[at:at] = body[at : at + dice.randint(1, 16)]
            case _:
                body[at:at] = dice.choice(_EDGES)
    return bytes(body)


def mutated_msgpack(data: bytes, dice: Random) -> bytes:
    """Change one value of a msgpack body, or a few of its bytes."""
    if dice.randrange(2):
        return mutated(data, dice)
    try:
        value = msgpack.unpackb(data, strict_map_key=False)
        changed: bytes = msgpack.packb(_changed(value, dice))
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return mutated(data, dice)
    return changed


def _changed(value: Any, dice: Random) -> Any:
    """Return a value with one place changed: another value, a place less, one twice, or a number or text near it."""
    if value and type(value) is list and dice.randrange(8):
        at = dice.randrange(len(value))
        return [*value[:at], _changed(value[at], dice), *value[at + 1 :]]
    if value and type(value) is dict and dice.randrange(8):
        at = dice.randrange(len(value))
        pairs = list(value.items())
        pairs[at] = (pairs[at][0], _changed(pairs[at][1], dice))
        return dict(pairs)
    match dice.randrange(4):
        case 0 if type(value) is int:
            return value + dice.choice((-1, 1))
        case 1 if type(value) in (str, bytes):
            return value[: dice.randint(0, len(value))]
        case 2 if value and type(value) is list:
            at = dice.randrange(len(value))
            return value[:at] + value[at + 1 :]
        case 3 if value and type(value) is list:
            at = dice.randrange(len(value))
            return [*value[:at], *value[at : at + 1] * 2, *value[at + 1 :]]
        case _:
            return anything(dice)


def look_at(value: Any, depth: int) -> None:
    """Find a value of a type that nothing here may hold, or one that is nested deeper than ``depth``."""
    assert depth >= 0, "what was read is nested deeper than anything may be"
    if type(value) is dict:
        for pair in value.items():
            look_at(pair[0], depth - 1)
            look_at(pair[1], depth - 1)
    elif type(value) is tuple:
        for item in value:
            look_at(item, depth - 1)
    else:
        assert type(value) in _PLAIN, f"what was read holds a {type(value).__name__}"


def fuzz(
    name: str,
    check: Callable[[bytes], bool],
    mutate: Callable[[bytes, Random], bytes],
    modules: Sequence[ModuleType],
) -> None:
    """Run atheris over a corpus until libFuzzer's arguments say stop; it leaves the process itself."""
    atheris = importlib.import_module("atheris")
    names = {module.__name__ for module in modules}
    # The functions exist already, and so do the checks that a module made of closures: atheris is given each of them.
    for function in [one for one in gc.get_objects() if isinstance(one, FunctionType)]:
        if function.__module__ in names:
            atheris.instrument_func(function)
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)

    def near(data: bytes, size_max: int, seed: int) -> bytes:
        if seed % 2:
            changed: bytes = atheris.Mutate(data, size_max)
            return changed
        return mutate(data, Random(seed))[:size_max]

    def once(data: bytes) -> None:
        check(data)

    arguments = [f"-max_len={INPUT_BYTES_MAX}", f"-artifact_prefix={FOUND / name}-", *sys.argv[1:]]
    atheris.Setup([sys.argv[0], *arguments, str(found), str(CORPUS / name)], once, custom_mutator=near)
    atheris.Fuzz()
