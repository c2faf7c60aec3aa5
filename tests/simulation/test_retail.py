"""Some schedules over the installed retail adapters; `make simulate` runs many more."""

from __future__ import annotations

from random import Random

from crdtsync.schema import load_installed
from crdtsync.testing.samples import Samples
from crdtsync.testing.simulation import simulate


def test_every_retail_category_has_samples_and_the_same_ones_every_time() -> None:
    schema = load_installed()
    first, second = Samples(schema, Random(1)), Samples(schema, Random(1))

    assert [category for category, records in first.records.items() if not records] == []
    assert first.records == second.records


def test_nothing_is_lost_or_counted_twice_in_schedules_over_the_retail_adapters() -> None:
    report = simulate(6, 1, jobs=2)

    assert report.operations >= 6 * 200
    assert [failure.found for failure in report.failures] == []
