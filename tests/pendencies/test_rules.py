"""What makes a rule look again, and at what: records, groups, references, moments."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.pendencies.shop import START, Clock, Line, Product, Sale, Shelf, Spot, Step, Stock, node

if TYPE_CHECKING:
    from crdtsync import Beside
    from crdtsync.node import Node


async def codes(at: Node) -> list[str]:
    return sorted(row.id for row in await at.pendencies())


async def test_a_group_is_looked_at_again_when_a_record_enters_changes_or_leaves_it() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Product, id="a", code="X1")
            tx.create(Product, id="b", code="x2")
        assert await codes(shop) == []
        async with shop.transaction() as tx:
            (await tx.get(Product, "b")).code = " x1 "
        assert await codes(shop) == ["products/x1#T05"]
        async with shop.transaction() as tx:
            tx.create(Product, id="c", code="X1")
        (found,) = await shop.pendencies()
        assert found.records == '[["products", "a"], ["products", "b"], ["products", "c"]]'
        async with shop.transaction() as tx:
            (await tx.get(Product, "c")).delete()
            (await tx.get(Product, "a")).code = None
        assert await codes(shop) == []


async def test_a_group_is_looked_at_again_when_what_its_records_watch_changes() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Shelf, id="s", room=2)
            tx.create(Product, id="a", shelf="s")
            tx.create(Product, id="b", shelf="s")
        for room, found in ((1, ["products/s#T11"]), (2, [])):
            async with shop.transaction() as tx:
                (await tx.get(Shelf, "s")).room = room
            assert await codes(shop) == found


async def test_a_reference_in_a_key_of_two_parts_is_looked_up_by_its_part() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Shelf, id="s")
            tx.create(Spot, shelf="s", place=1)
            tx.create(Spot, shelf="no such", place=2)
        assert await codes(shop) == ["spots/no such:2#T12"]
        async with shop.transaction() as tx:
            tx.create(Shelf, id="no such")
        assert await codes(shop) == []


async def test_two_records_that_meet_in_one_transaction_are_a_group() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Product, id="a", code="X1")
            tx.create(Product, id="b", code="x1")
        assert await codes(shop) == ["products/x1#T05"]


async def test_a_product_inside_the_lines_of_a_sale_is_watched() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            for name in ("a", "b"):
                tx.create(Product, id=name, price=Decimal(5))
            lines = [Line(product="a", price=Decimal(5))]
            tx.create(Sale, id="v", lines=lines, sold_at=START)
        assert await codes(shop) == []
        async with shop.transaction() as tx:
            (await tx.get(Product, "b")).price = Decimal(6)
        assert await codes(shop) == []
        async with shop.transaction() as tx:
            (await tx.get(Product, "a")).price = Decimal(6)
        assert await codes(shop) == ["sales/s1/v#T06"]
        async with shop.transaction() as tx:
            (await tx.get(Product, "a")).price = Decimal(5)
        assert await codes(shop) == []


async def test_a_reference_that_dangles_or_goes_is_found_and_closes_when_its_target_comes_back() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Product, id="a", shelf="top")
        assert await codes(shop) == ["products/a#T03"]
        async with shop.transaction() as tx:
            tx.create(Shelf, id="top")
        assert await codes(shop) == []
        async with shop.transaction() as tx:
            (await tx.get(Shelf, "top")).active = False
        assert await codes(shop) == ["products/a#T03"]
        (found,) = await shop.pendencies()
        await shop.resolve(found.id, "reativar", why="volta", person="ana")
        assert await codes(shop) == []


async def test_a_deleted_record_that_others_use_is_found_until_the_last_of_them_leaves() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Shelf, id="top")
            tx.create(Product, id="a", shelf="top")
        async with shop.transaction() as tx:
            (await tx.get(Shelf, "top")).delete()
        # The deleted record tells it, and so the reference to it does not as well.
        assert await codes(shop) == ["shelves/top#T07"]
        async with shop.transaction() as tx:
            (await tx.get(Product, "a")).shelf = None
        assert await codes(shop) == []


async def test_a_record_that_is_inactive_may_refer_to_what_is_gone() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Shelf, id="top", active=False)
            tx.create(Product, id="a", shelf="top", active=False)
        assert await codes(shop) == []
        async with shop.transaction() as tx:
            (await tx.get(Product, "a")).active = True
        assert await codes(shop) == ["products/a#T03"]


async def test_a_rule_may_send_the_look_to_another_record_of_the_category() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            for key, after in (("a", "b"), ("b", "c"), ("c", None)):
                tx.create(Step, id=key, after=after)
        assert await codes(shop) == []
        async with shop.transaction() as tx:
            (await tx.get(Step, "c")).after = "a"
        assert await codes(shop) == ["steps/a#T10"]
        async with shop.transaction() as tx:
            (await tx.get(Step, "b")).after = None
        assert await codes(shop) == []


async def test_a_moment_opens_a_pendency_although_nothing_changes_and_a_late_answer_closes_it() -> None:
    clock = Clock()
    async with node(clock) as shop:
        async with shop.transaction() as tx:
            tx.create(Sale, id="v", lines=[], sold_at=START)
        clock.now += timedelta(hours=23)
        await shop.ledger.look_again()
        assert await codes(shop) == []
        clock.now += timedelta(hours=2)
        await shop.ledger.look_again()
        (found,) = await shop.pendencies()
        assert (found.id, found.severity) == ("sales/s1/v#T08", "B")
        async with shop.transaction() as tx:
            (await tx.get(Sale, "v")).sent_at = clock.now
        assert await codes(shop) == []
        assert await shop.ledger.storage.read(lambda view: view.due(1 << 60)) == []


async def test_the_moment_of_a_record_that_was_deleted_does_not_come() -> None:
    clock = Clock()
    async with node(clock) as shop:
        async with shop.transaction() as tx:
            tx.create(Sale, id="v", lines=[], sold_at=START)
        async with shop.transaction() as tx:
            (await tx.get(Sale, "v")).delete()
        assert await shop.ledger.storage.read(lambda view: view.due(1 << 60)) == []


async def test_what_a_merge_costs_depends_on_what_changed_not_on_the_category() -> None:
    judged: list[str] = []
    async with node() as shop:
        await shop.load(Product, ({"id": f"p{n}", "code": f"c{n}"} for n in range(2000)))
        rule = next(rule for rule in Product.__shape__.invariants if rule.code == "T05")
        group = rule.group
        assert group is not None

        def counted(record: Product) -> str | Beside | None:
            judged.append(record.key)
            return group(record)

        object.__setattr__(rule, "group", counted)
        try:
            async with shop.transaction() as tx:
                (await tx.get(Product, "p7")).code = "c8"
        finally:
            object.__setattr__(rule, "group", group)
        assert judged == ["p7"]
        assert await codes(shop) == ["products/c8#T05"]


async def test_a_new_episode_of_a_balance_below_zero_is_seen_as_one() -> None:
    async with node() as shop:
        async with shop.transaction() as tx:
            tx.create(Product, id="a")
            tx.create(Stock, product="a").balance.subtract(1)
        (first,) = await shop.pendencies()
        async with shop.transaction() as tx:
            (await tx.get(Stock, "a")).balance.subtract(1)
        (second,) = await shop.pendencies()
        assert (
            (first.id, first.effect)
            == (second.id, second.effect)
            == ("stock/s1/a#T01", "O saldo fica negativo.")
        )
        assert first.episode != second.episode
