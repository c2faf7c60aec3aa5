"""What a hostile peer says: frames and updates that are wrong on purpose, each behind a right checksum.

A frame attack makes messages for a phase of the conversation; an update attack makes what one data frame carries. All of it
is written by hand: the product's own writers would refuse most of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgpack

from crdtsync import limits
from crdtsync.protocol.greeting import signed_greeting
from crdtsync.protocol.table import Kind
from crdtsync.state.update import Run, append_update, root_name, write_update
from tests.faults.flip import flipped
from tests.node.shop import STORE
from tests.node.stranger import HELLO
from tests.protocol.pair import SAMPLES, sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from crdtsync.identity.keys import DeviceKey

PHASES = {
    "challenged": Kind.HELLO,
    "idle": Kind.CHECK,
    "comparing": Kind.HEADS,
    "download": Kind.ACK,
    "fencing": Kind.FENCED,
    "upload": Kind.DATA,
}
"""Where the peer may stand, and what it owes there."""

STOCK = f"stock/{STORE}"
OWN = HELLO["replica"]
ITEM = "hostile"
"""The record that the peer moves: no honest node does."""

_SALES = f"sales/{STORE}/caixa1/2026-11"
_DEEP = 26_000
_EDGES = (0, 1, -1, 1 << 31, (1 << 53) - 1, 1 << 53, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1)


@dataclass
class Scene:
    """What the peer knows when it attacks: its own log of the stock, and those of honest nodes."""

    dice: Random
    key: DeviceKey
    own: list[bytes]
    honest: dict[int, list[bytes]]
    phase: str = ""
    number: int = 0
    hello: dict[str, Any] = field(default_factory=dict)
    nonce: bytes = b""
    data: dict[str, Any] = field(default_factory=dict)

    def victim(self) -> tuple[int, list[bytes]]:
        """An honest replica and its log."""
        return self.dice.choice(sorted(self.honest.items()))

    def payload(self) -> dict[str, Any]:
        """What an honest peer would say in this phase."""
        match self.phase:
            case "challenged":
                return self.signed(self.hello)
            case "idle":
                return {"digest": bytes(16), "held": [], "first": None, "rate": None}
            case "comparing":
                return {"docs": {STOCK: {}}, "vouched": [_row(OWN)], "more": False}
            case "download":
                return {"n": 1}
            case "fencing":
                return {"counts": {"stock": 1}}
            case _:
                return dict(self.data) or data_of(STOCK, legal(self))

    def signed(self, hello: dict[str, Any]) -> dict[str, Any]:
        """A greeting with the peer's key and signature, whatever it says; unsigned where that cannot be written."""
        named = hello | {"key": self.key.public, "code": None}
        try:
            proof = self.key.sign(signed_greeting(named, self.nonce, b""))
        except (KeyError, TypeError, ValueError):
            proof = bytes(limits.SIGNATURE_BYTES)
        return named | {"signature": proof}

    def frame(self, payload: Any, kind: object = None, number: object = None) -> bytes:
        """A frame with a right checksum and nothing else checked."""
        name = PHASES[self.phase].value if kind is None else kind
        return sealed(_pack([self.number if number is None else number, name, payload]))


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _row(replica: int, device: str = HELLO["device"], role: str = "caixa") -> list[Any]:
    return [replica, device, role, STORE]


def data_of(doc: str, update: bytes) -> dict[str, Any]:
    """The payload of a data frame."""
    return {"doc": doc, "update": update, "final": True, "cut": {}, "records": 1, "n": 1}


def anything(dice: Random, depth: int = 4) -> Any:
    """Any value that msgpack can carry."""
    kinds = 9 if depth else 7
    match dice.randrange(kinds):
        case 0:
            return None
        case 1:
            return dice.random() < 1 / 2
        case 2:
            return dice.choice(_EDGES)
        case 3:
            return dice.choice((dice.random() * 1e300, float("nan"), float("inf")))
        case 4:
            return dice.randbytes(dice.choice((0, 1, 8, 16, 32, 5_000)))
        case 5:
            return dice.choice(("", "a", "p1", STORE, "caixa1", "\x00", "ç" * 70, "/", "x" * 2_000))
        case 6:
            return msgpack.ExtType(dice.randrange(128), dice.randbytes(4))
        case 7:
            return [anything(dice, depth - 1) for _ in range(dice.randrange(6))]
        case _:
            keys = ("p1", 1, OWN, "docs", "n", STOCK, b"k")
            return {dice.choice(keys): anything(dice, depth - 1) for _ in range(dice.randrange(6))}


# -- frames ----------------------------------------------------------------------------------------------------


def _flips(scene: Scene) -> list[bytes]:
    body = _flipped(scene.frame(scene.payload())[4:], scene.dice)
    return [sealed(body)]


def _flipped(data: bytes, dice: Random) -> bytes:
    for _ in range(dice.randint(1, 4)):
        found = flipped(data, dice)
        assert isinstance(found, bytes)
        data = found
    return data


def _random_msgpack(scene: Scene) -> list[bytes]:
    found = anything(scene.dice)
    if scene.dice.random() < 1 / 2:
        return [scene.frame(found)]
    return [sealed(_pack(found))]


def _random_bytes(scene: Scene) -> list[bytes]:
    return [sealed(scene.dice.randbytes(scene.dice.randint(1, 400)))]


def _bad_checksum(scene: Scene) -> list[bytes]:
    whole = scene.frame(scene.payload())
    return [scene.dice.choice((_flipped(whole[:4], scene.dice) + whole[4:], whole[:-1], whole[:3], b""))]


def _deep_frame(scene: Scene) -> list[bytes]:
    deep = b"\x91" * scene.dice.choice((400, 1_100, _DEEP, 500_000)) + b"\xc0"
    start = b"\x93" + _pack(scene.number) + _pack(PHASES[scene.phase].value)
    return [sealed(scene.dice.choice((deep, start + deep, start + b"\x81\xa1n" + deep)))]


def _oversized(scene: Scene) -> list[bytes]:
    size = scene.dice.choice((limits.DATA_BYTES_MAX + 1, limits.FRAME_BYTES_MAX + 1, 4 << 20))
    start = b"\x93" + _pack(scene.number) + _pack(PHASES[scene.phase].value)
    big = data_of(STOCK, bytes(size))
    # Lengths that are said and not there: an array, a map, bytes and a text of 4 GB.
    lies = [start + sign + b"\xff\xff\xff\xff" for sign in (b"\xdd", b"\xdf", b"\xc6", b"\xdb")]
    return [scene.dice.choice((scene.frame(big), *(sealed(lie) for lie in lies)))]


def _wide(scene: Scene) -> list[bytes]:
    """Many small things in one frame: maps, documents, replicas."""
    many = range(1, 20_000)
    heads = {"docs": {STOCK: {r: [1, bytes(16)] for r in many}}, "vouched": [], "more": False}
    names = {"digest": bytes(16), "held": [f"stock/{at}" for at in many], "first": None, "rate": None}
    empty = {"docs": {f"d{at}": {} for at in many}, "vouched": [], "more": False}
    cut = data_of(STOCK, legal(scene)) | {"cut": dict.fromkeys(many, limits.SEQ_MAX)}
    payload, kind = scene.dice.choice(
        (
            (heads, Kind.HEADS),
            (names, Kind.CHECK),
            (empty, Kind.HEADS),
            (cut, Kind.DATA),
        )
    )
    return [scene.frame(payload, kind.value)]


def _claims(scene: Scene) -> list[bytes]:
    """Name thousands of replicas as the peer's own."""
    start = scene.dice.randint(1 << 20, 1 << 50)
    rows = [_row(start + at) for at in range(scene.dice.choice((300, 9_000)))]
    return [scene.frame({"docs": {}, "vouched": rows, "more": False}, Kind.HEADS.value)]


def _field(scene: Scene) -> list[bytes]:
    payload = scene.payload()
    name = scene.dice.choice(sorted(payload))
    payload[name] = anything(scene.dice)
    if scene.phase == "challenged" and scene.dice.random() < 1 / 2:
        payload = scene.signed(payload) | {name: payload[name]}
    return [scene.frame(payload)]


def _other_fields(scene: Scene) -> list[bytes]:
    payload = scene.payload()
    if scene.dice.random() < 1 / 2:
        payload["more" if "more" not in payload else "less"] = True
    else:
        del payload[scene.dice.choice(sorted(payload))]
    return [scene.frame(payload)]


def _wrong_phase(scene: Scene) -> list[bytes]:
    kind = scene.dice.choice([kind for kind in Kind if kind is not PHASES[scene.phase]])
    sample = SAMPLES[kind]
    if kind in {Kind.DIGESTS, Kind.HEADS, Kind.PLAN, Kind.FENCE}:
        sample = sample | {"more": scene.dice.random() < 1 / 2}
    return [scene.frame(sample, kind.value)]


def _unknown_kind(scene: Scene) -> list[bytes]:
    return [scene.frame(scene.payload(), scene.dice.choice(("", "datas", "DATA", 7, 0, "x" * 9_000)))]


def _gap(scene: Scene) -> list[bytes]:
    ahead = scene.number + scene.dice.choice((1, 2, 1 << 40, 1 << 62))
    return [scene.frame(scene.payload(), number=ahead)]


def _duplicate(scene: Scene) -> list[bytes]:
    whole = scene.frame(scene.payload())
    return [whole] * scene.dice.randint(2, 5)


def _old_number(scene: Scene) -> list[bytes]:
    return [scene.frame(scene.payload(), number=scene.dice.choice((0, -1, scene.number - 1)))]


def _out_of_order(scene: Scene) -> list[bytes]:
    first = scene.frame(scene.payload())
    return [scene.frame(scene.payload(), number=scene.number + 1), first]


def _silence(_: Scene) -> list[bytes]:
    return []


def _vouching(scene: Scene) -> list[bytes]:
    """Speak for others: the replica of another, another role, the node itself."""
    replica, _ = scene.victim()
    row = scene.dice.choice(
        (
            _row(replica),
            _row(replica, STORE, "loja"),
            _row(replica, "caixa1"),
            _row(99, STORE, "loja"),
            _row(99, "gestao", "gestao"),
            _row(98, "gestao", "caixa"),
            _row(97, "caixa1"),
            _row(OWN, role="loja"),
            [96, HELLO["device"], "caixa", "loja2"],
        )
    )
    docs = scene.dice.choice(({}, {"products": {row[0]: [1, bytes(16)]}}, {STOCK: {row[0]: [9, bytes(16)]}}))
    return [scene.frame({"docs": docs, "vouched": [row], "more": False}, Kind.HEADS.value)]


def _pages(scene: Scene) -> list[bytes]:
    page = {"docs": {STOCK: {OWN: [1, bytes(16)]}}, "vouched": [], "more": True}
    return [scene.frame(page, Kind.HEADS.value, scene.number + at) for at in range(scene.dice.randint(1, 3))]


def _impostor(scene: Scene) -> list[bytes]:
    """Greet as somebody else, rightly signed with the own key."""
    replica, _ = scene.victim()
    changes: tuple[dict[str, Any], ...] = (
        {"device": "caixa1"},
        {"device": "gestao"},
        {"device": STORE},
        {"replica": replica},
        {"role": "loja"},
        {"role": "gestao", "store": None},
        {"store": "loja2"},
        {"account": "other"},
        {"protocol": 1},
        {"categories": {}},
        {"categories": {"stock": ["0" * 16, {}]}},
    )
    change = scene.dice.choice(changes)
    return [scene.frame(scene.signed(scene.hello | change), Kind.HELLO.value)]


FRAMES: dict[str, Callable[[Scene], list[bytes]]] = {
    attack.__name__.strip("_").replace("_", " "): attack
    for attack in (
        _flips,
        _random_msgpack,
        _random_bytes,
        _bad_checksum,
        _deep_frame,
        _oversized,
        _wide,
        _claims,
        _field,
        _other_fields,
        _wrong_phase,
        _unknown_kind,
        _gap,
        _duplicate,
        _old_number,
        _out_of_order,
        _silence,
        _vouching,
        _pages,
        _impostor,
    )
}

# -- updates ---------------------------------------------------------------------------------------------------

Carried = tuple[str, bytes]
"""A document, and the update that a data frame carries to it."""


def _after(log: list[bytes]) -> bytes:
    return blake2b(log[-1], digest_size=16).digest() if log else bytes(16)


def batch(log: list[bytes], **changes: Any) -> bytes:
    """The batch that continues a log: one unit of a product is moved; ``changes`` are of its nine places."""
    seq = len(log) + 1
    places = {
        "format": 1,
        "seq": seq,
        "hlc": 1 << 40,
        "prev": _after(log),
        "txid": b"t" * 16,
        "parts": None,
        "actor": "",
        "groups": [[None, None, ["balance"], None, [[ITEM, [seq, "x"]]]]],
        "compaction": None,
    }
    return _pack(list((places | changes).values()))


def legal(scene: Scene) -> bytes:
    """What the peer may write: the next batch of its own log."""
    return append_update(OWN, len(scene.own), [batch(scene.own)])


def _lawful(scene: Scene) -> Carried:
    return STOCK, legal(scene)


def _forged_deletion(scene: Scene) -> Carried:
    """Delete what an honest replica wrote, or will write; alone, or beside the peer's own batch."""
    replica, log = scene.victim()
    upto = scene.dice.choice((1, len(log), len(log) + 1, limits.SEQ_MAX))
    runs = {OWN: [Run(len(scene.own), [batch(scene.own)])]} if scene.dice.random() < 1 / 2 else {}
    return STOCK, write_update(runs, {replica: upto})


def _own_deletion(scene: Scene) -> Carried:
    """Delete the own log, with what the update brings and more, though no compaction replaces it."""
    upto = len(scene.own) + scene.dice.choice((0, 1, 2))
    return STOCK, write_update({OWN: [Run(len(scene.own), [batch(scene.own)])]}, {OWN: max(upto, 1)})


def _garbage_block(scene: Scene) -> Carried:
    """Tell yrs that a stretch of a log is collected (0), or skipped (10)."""
    replica, log = scene.victim()
    clock = scene.dice.choice((0, len(log)))
    kind = scene.dice.choice((0, 10))
    block = b"\x01\x01" + uint(replica) + uint(clock) + bytes([kind]) + uint(scene.dice.choice((1, 1 << 30)))
    return STOCK, block + b"\x00"


def _other_writer(scene: Scene) -> Carried:
    """Continue the log of another, chain and all, or one that nobody registered."""
    replica, log = scene.victim()
    if scene.dice.random() < 1 / 4:
        replica, log = scene.dice.randint(1, limits.REPLICA_MAX), []
    return STOCK, append_update(replica, len(log), [batch(log)])


def _nested(scene: Scene) -> Carried:
    """Elements that are no bytes: nested lists, a text, a map, an embedded type."""
    head = (
        b"\x01\x01" + uint(OWN) + uint(0) + scene.dice.choice((b"\x08", b"\x04", b"\x07", b"\x01", b"\x88"))
    )
    name = root_name(OWN).encode()
    body = b"\x01" + uint(len(name)) + name + b"\x01" + b"\x75\x01" * scene.dice.choice((9, _DEEP)) + b"\x7e"
    return STOCK, head + body + b"\x00"


def _vast(scene: Scene) -> Carried:
    """Counts and lengths that would cost much memory to whoever believes them."""
    huge = uint(scene.dice.choice((1 << 27, 1 << 40, 1 << 56)))
    name = root_name(OWN).encode()
    item = b"\x08\x01" + uint(len(name)) + name
    clock = uint(len(scene.own))
    return STOCK, scene.dice.choice(
        (
            huge + b"\x00",
            b"\x01" + huge + uint(OWN) + clock,
            b"\x01\x01" + uint(OWN) + huge + item + b"\x01\x74\x00\x00",
            b"\x01\x01" + uint(OWN) + b"\x00" + item + huge,
            b"\x01\x01" + uint(OWN) + b"\x00" + item + b"\x01\x74" + huge,
            b"\x00" + huge + b"\x01",
            b"\x00\x01" + uint(OWN) + huge,
            b"\xff" * 200,
        )
    )


def _flipped_update(scene: Scene) -> Carried:
    return STOCK, _flipped(legal(scene), scene.dice)


def _cut_update(scene: Scene) -> Carried:
    update = legal(scene)
    return STOCK, scene.dice.choice((update[: scene.dice.randrange(len(update))], update + b"\x00", b""))


def _random_update(scene: Scene) -> Carried:
    return STOCK, scene.dice.randbytes(scene.dice.randint(1, 300))


def _gap_in_log(scene: Scene) -> Carried:
    ahead = [*scene.own, *[b""] * scene.dice.randint(1, 9)]
    return STOCK, append_update(OWN, len(ahead), [batch(ahead)])


def _wrong_order(scene: Scene) -> Carried:
    first = batch(scene.own)
    return STOCK, append_update(OWN, len(scene.own), [batch([*scene.own, first]), first])


def _again(scene: Scene) -> Carried:
    """What is held already, in part or whole."""
    start = scene.dice.randint(0, max(len(scene.own) - 1, 0))
    return STOCK, append_update(OWN, start, scene.own[start : start + 20] or [batch(scene.own)])


def _fork(scene: Scene) -> Carried:
    """Another batch in the place of one that is held, or one that continues another chain."""
    if scene.own and scene.dice.random() < 1 / 2:
        log = scene.own[: scene.dice.randrange(len(scene.own))]
        return STOCK, append_update(OWN, len(log), [batch(log, actor="two")])
    return STOCK, append_update(OWN, len(scene.own), [batch(scene.own, prev=scene.dice.randbytes(16))])


def _false_compaction(scene: Scene) -> Carried:
    """A compaction that keeps nothing, that is never whole, or that replaces more than there is."""
    end, upto = len(scene.own) + 1, scene.dice.choice((len(scene.own), len(scene.own) + 5))
    made = batch(scene.own, compaction=[upto, scene.dice.choice((end, end + 1, 1 << 40))], groups=[])
    gone = [Run(0, gone=len(scene.own))] if scene.own and scene.dice.random() < 1 / 2 else []
    return STOCK, write_update({OWN: [*gone, Run(len(scene.own), [made])]}, {OWN: max(len(scene.own), 1)})


def _hole(scene: Scene) -> Carried:
    """Elements said to be gone, before, between or behind live ones."""
    gone = Run(len(scene.own), gone=scene.dice.choice((1, 1 << 30)))
    log = [*scene.own, *[b""] * min(gone.gone, 2)]
    runs = scene.dice.choice(([gone], [gone, Run(gone.end, [batch(log, seq=gone.end + 1)])]))
    return STOCK, write_update({OWN: runs}, {OWN: gone.end} if scene.dice.random() < 1 / 2 else {})


def _not_allowed(scene: Scene) -> Carried:
    """Records, fields and documents that this role and lane may not write."""
    rows = scene.dice.choice((["price"], ["name"], ["~"], ["credit_limit"], ["credit_blocked"]))
    groups = [[None, None, rows, None, [["p1", 1]]]]
    doc = scene.dice.choice(
        ("products", "customers", "stock/loja2", _SALES, "cfop", "nothing", "stock", f"{STOCK}/x", "..")
    )
    return doc, append_update(OWN, 0, [batch([], groups=groups)])


def _bad_batch(scene: Scene) -> Carried:
    place = scene.dice.choice(("format", "seq", "hlc", "prev", "txid", "actor", "groups", "compaction"))
    return STOCK, append_update(OWN, len(scene.own), [batch(scene.own, **{place: anything(scene.dice)})])


def _bad_value(scene: Scene) -> Carried:
    """Values and vectors that the category does not have: the batch is parked, or refused."""
    slot = scene.dice.choice(("balance", "balance!x", "#balance", "nothing", "~", "", "!", "balance!"))
    seen = scene.dice.choice((None, [[1, 1]], [[r, 1 << 40] for r in range(1, 12_000)], anything(scene.dice)))
    groups = [[None, None, [slot], seen, [[scene.dice.choice((ITEM, "", "k" * 300)), anything(scene.dice)]]]]
    return STOCK, append_update(OWN, len(scene.own), [batch(scene.own, groups=groups)])


def _deep_batch(scene: Scene) -> Carried:
    return STOCK, append_update(OWN, len(scene.own), [b"\x91" * scene.dice.choice((900, _DEEP)) + b"\xc0"])


def uint(value: int) -> bytes:
    """A number as lib0 writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


UPDATES: dict[str, Callable[[Scene], Carried]] = {
    attack.__name__.strip("_").replace("_", " "): attack
    for attack in (
        _lawful,
        _forged_deletion,
        _own_deletion,
        _garbage_block,
        _other_writer,
        _nested,
        _vast,
        _flipped_update,
        _cut_update,
        _random_update,
        _gap_in_log,
        _wrong_order,
        _again,
        _fork,
        _false_compaction,
        _hole,
        _not_allowed,
        _bad_batch,
        _bad_value,
        _deep_batch,
    )
}
