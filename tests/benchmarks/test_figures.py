"""Every figure can be measured; the sizes here are too small to say anything about speed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import growth
from benchmarks.__main__ import MEASURES, run
from benchmarks.catalogue import DOC, SCHEMA, SHAPE, WRITER, products, sent, written
from benchmarks.measure import Figure, Seconds, Sizes, interleaved
from benchmarks.report import environment, markdown
from crdtsync.limits import ROWS_PER_BATCH
from crdtsync.state.document import Document, Op
from crdtsync.state.update import read_update

if TYPE_CHECKING:
    from collections.abc import Iterable

TINY = Sizes(
    products=300,
    repetitions=1,
    transactions=20,
    operations=(20, 60),
    samples=3,
    pendencies=20,
    runs=50,
    idle_nodes=4,
    fan_out_nodes=(2,),
)


# `make bench-quick` measures these too, and takes its time.
SLOW = {"latency", "crowd", "page"}


@pytest.mark.parametrize("name", [name for name in MEASURES if name not in SLOW])
def test_a_figure_is_measured_and_is_above_nothing(name: str) -> None:
    figures = run(TINY, [name])
    assert figures
    for figure in figures:
        assert 0 <= figure.value < 1e6
        assert figure.target in {0, 1, 1.25, 2, 2.5, 3, 10, 60, 200, 1_000, 2_000, 50_000, 100_000}


def test_an_idle_check_is_small_and_loads_no_document() -> None:
    size, loaded = run(TINY, ["check"])
    assert 0 < size.value <= size.target
    assert loaded.value == 0


def test_the_catalogue_is_the_same_in_every_run() -> None:
    assert list(products(50)) == list(products(50))
    assert len(dict(products(50))) == 50


def _elements(document: Document, transactions: Iterable[tuple[int, dict[str, list[Op]]]]) -> list[bytes]:
    """What a document writes, (stamp, operations) each."""
    said: list[bytes] = []
    for stamp, ops in transactions:
        change = document.write(ops, hlc=stamp << 16, txid=stamp.to_bytes(16, "big"))
        said += read_update(change.journal[0]).runs[WRITER][0].elements
    return said


def test_what_is_measured_is_what_a_document_writes() -> None:
    made = [(key, [Op("write", name, values[name]) for name in SHAPE.fields]) for key, values in products(70)]
    ends = [ROWS_PER_BATCH, 2 * ROWS_PER_BATCH, 70]
    blocks = [(end, dict(made[first:end])) for first, end in zip([0, *ends], ends, strict=False)]
    assert sent(70).batches == _elements(Document(DOC, SHAPE, WRITER, {}), blocks)

    stock = Document(growth.DOC, SCHEMA.shape("stock"), WRITER, {})
    sales = [(number + 1, growth.sale(number)) for number in range(5_000)]
    assert [data for _, data in written(growth.sales(5_000))] == _elements(stock, sales)


def test_cases_take_turns_and_the_median_and_the_minimum_are_reported() -> None:
    order: list[str] = []

    def case(name: str, answers: list[float]) -> float:
        order.append(name)
        return answers.pop()

    first, second = [9.0, 1.0, 2.0], [5.0, 5.0, 5.0]
    cases = {"a": lambda: case("a", first), "b": lambda: case("b", second)}
    assert interleaved(cases, 3) == {"a": Seconds(2.0, 1.0), "b": Seconds(5.0, 5.0)}
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_a_missed_target_is_shown_as_missed() -> None:
    figures = [
        Figure("fast", 1.5, 2, "x", "bare"),
        Figure("slow", 2.5, 2, "x", "bare", {"bare ms": 10}),
    ]
    text = markdown(figures, environment())
    assert "| fast | 1.50x | 2x | yes | bare |" in text
    assert "| slow | 2.50x | 2x | **no** | bare |" in text
    assert json.loads(json.dumps(figures[1].plain()))["met"] is False
