"""The demo: a real week of sales through real processes, with the network cut, and an independent recount.

The timestamps and prices are the data's; lanes and opening stock are assumptions of the demo (see ``week``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.demo.fleet import STORE, DemoFailed, Fleet
from adapters.reference import DATA
from crdtsync import load_installed
from crdtsync.errors import CrdtsyncError

_INITIAL_SECONDS_MAX = 300.0
_WORK_SECONDS_MAX = 600.0
_LISTED = 5
_MANAGER = "gerente"
# What the manager decides about the first of the list: option, reason, and the invoice that was not entered.
_CHOICES = (
    ("aceitar", "compras já foi avisada", None),
    ("entrada", "a nota chegou na terça e ninguém a lançou", "NF 1021"),
    ("aceitar", "sai de linha quando acabar", None),
)


@click.command()
@click.option("--lanes", default=8, show_default=True, type=click.IntRange(1, 64), help="Number of Caixas.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with sales_week.csv.gz and its companions."
)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Keep the nodes' folders here.")
@click.option(
    "--keep-open",
    is_flag=True,
    help="Leave the nodes running until Ctrl-C, each with its page, and print the pages' addresses.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def demo(lanes: int, data: Path | None, folder: Path | None, *, keep_open: bool, as_json: bool) -> None:
    """Sell a real week offline, synchronize, and recount it.

    One Gestão, one Loja and N Caixas as processes; the network is cut, the lanes sell, the network returns. Then plain Python
    compares every node's SQL views with the CSV files; exit 1 when they differ.

    Example: crdtsync demo --lanes 8
    """
    console = Console(stderr=as_json)
    source = data or Path(str(DATA))
    try:
        with contextlib.ExitStack() as stack:
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crdtsync-demo-")))
            shown = _Demo(console, source, folder, lanes, keep_open=keep_open)
            sys.exit(asyncio.run(shown.run(as_json=as_json)))
    except CrdtsyncError as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)


class _Demo:
    def __init__(self, console: Console, data: Path, folder: Path, lanes: int, *, keep_open: bool) -> None:
        self.console = console
        self.data = data.resolve()
        self.keep_open = keep_open
        self.fleet = Fleet(folder.resolve(), lanes, pages=keep_open)
        self.schema = load_installed()
        self.phases: list[tuple[str, float]] = []
        self._began = time.perf_counter()

    async def run(self, *, as_json: bool) -> int:
        fleet = self.fleet
        try:
            await fleet.prepare()
            await self._initial()
            sold = await self._sell_offline()
            rounds = await self._come_back()
            totals = {name: (await fleet.ask(name, "progress"))["totals"] for name in fleet.names}
            self._phase("Everything is compared and recounted")
            digests, outcome = await asyncio.gather(self._compare_digests(), self._recount())
            pendencies = {name: (await fleet.ask(name, "status"))["pendencies"] for name in fleet.names}
            summary = self._summary(outcome, totals, digests)
            self._report(summary, totals, pendencies, sold, rounds, outcome)
            settled = await self._settle()
            summary |= {"settled": sum(settled), "seconds": self._seconds()}
            if as_json:
                click.echo(json.dumps(summary))
            if self.keep_open:
                self._say_open()
                await asyncio.Event().wait()
        finally:
            await fleet.stop()
        good = summary["converged"] and not summary["lost"] and not summary["duplicated"]
        return 0 if good and all(settled) else 1

    def _phase(self, title: str) -> None:
        self.phases.append((title, time.perf_counter()))
        self.console.rule(f"[bold]{title}", align="left")

    async def _initial(self) -> None:
        fleet = self.fleet
        self._phase("Gestão: catalogue")
        await fleet.start("gestao")
        written = await fleet.ask("gestao", "import", data=str(self.data))
        self.console.print(", ".join(f"{self._title(name)} {count:,}" for name, count in written.items()))
        self._phase(f"{STORE}: initial synchronization")
        await fleet.start(STORE)
        await self._watch_initial([STORE], written)
        opened = await fleet.ask(STORE, "stock", data=str(self.data))
        self.console.print(f"opening stock of {opened:,} products")
        self._phase(f"{len(fleet.lanes)} Caixas: initial synchronization")
        await asyncio.gather(*(fleet.start(name) for name in fleet.lanes))
        await self._watch_initial(fleet.lanes, written | {"stock": opened})
        await fleet.sync_until_even(_INITIAL_SECONDS_MAX)

    async def _watch_initial(self, names: list[str], expected: dict[str, int]) -> None:
        """Show the categories of the initial run in their order, summed over the nodes."""
        order = [name for name in self.schema.order("download") if name in expected]
        seen: dict[str, dict[str, int]] = {name: {} for name in names}
        columns = (
            TextColumn("{task.description:32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=False) as bars:
            tasks: dict[str, TaskID] = {
                name: bars.add_task(f"Baixa  {self._title(name)}", total=expected[name] * len(names))
                for name in order
            }

            def watch(name: str, progress: dict[str, Any]) -> None:
                for category, (records, *_rest) in progress["down"].items():
                    seen[name][category] = max(seen[name].get(category, 0), int(records))
                for category, task in tasks.items():
                    bars.update(task, completed=sum(counts.get(category, 0) for counts in seen.values()))

            await asyncio.gather(
                *(
                    self.fleet.wait_for(
                        name,
                        lambda p: p["initial_done"],
                        _INITIAL_SECONDS_MAX,
                        lambda p, n=name: watch(n, p),  # type: ignore[misc]
                    )
                    for name in names
                )
            )

    async def _sell_offline(self) -> dict[str, Any]:
        fleet = self.fleet
        self._phase("The network is cut; the lanes sell the week")
        await fleet.cut()
        for name in fleet.names[1:]:
            await fleet.wait_for(name, lambda p: not p["connected"], 60.0)
        results = await asyncio.gather(
            *(
                fleet.ask(name, "sell", data=str(self.data), lane=lane, lanes=len(fleet.lanes))
                for lane, name in enumerate(fleet.lanes)
            )
        )
        sold = {name: result["sold"] for name, result in zip(fleet.lanes, results, strict=True)}
        self.console.print("sales: " + ", ".join(f"{name} {count}" for name, count in sold.items()))
        return sold

    async def _come_back(self) -> int:
        self._phase("The lanes come back; everything synchronizes")
        await self.fleet.restore()
        return await self.fleet.sync_until_even(_WORK_SECONDS_MAX)

    async def _compare_digests(self) -> bool:
        """Compare the digests of the folded state of every document that two nodes hold."""
        held: dict[str, set[str]] = {}
        for said in await asyncio.gather(*(self.fleet.ask(name, "digests") for name in self.fleet.names)):
            for doc, digest in said.items():
                held.setdefault(doc, set()).add(digest)
        return all(len(digests) == 1 for digests in held.values())

    async def _settle(self) -> list[bool]:
        """List what people must look at, settle a few, and tell of each whether every node has it settled."""
        fleet = self.fleet
        self._phase(f"A manager looks at the pendencies of {STORE}")
        page = await fleet.ask(STORE, "pendencies", rule="C01", limit=_LISTED)
        self.console.print(f"{page['total']:,} of rule C01, Estoque abaixo de zero; the first of them:")
        for row in page["pendencies"]:
            self.console.print(
                f"  [dim]{row['severity']}[/] {row['message']} [dim]{row['id']}[/]", soft_wrap=True
            )
        await fleet.ask(STORE, "person", person=_MANAGER, name="Gerente da loja")
        chosen = []
        for row, (option, why, document) in zip(page["pendencies"], _CHOICES, strict=False):
            card = await fleet.ask(STORE, "pendency", pendency=row["id"])
            short = -Decimal(card["evidence"]["saldo"])
            values = {"documento": document, "quantidade": str(short)} if document else {}
            asked = {"option": option, "why": why, "person": _MANAGER, "values": values}
            await fleet.ask(STORE, "resolve", pendency=row["id"], **asked)
            chosen.append((row["id"], next(one["title"] for one in card["options"] if one["name"] == option)))
        await fleet.sync_until_even(_WORK_SECONDS_MAX)
        names = [name for name, _ in chosen]
        still = {node: await fleet.ask(node, "still_open", pendencies=names) for node in fleet.names}
        for name, title in chosen:
            nodes = [node for node, open_there in still.items() if name in open_there]
            where = (
                f"[red]still open at {', '.join(nodes)}[/]" if nodes else f"settled at all {len(still)} nodes"
            )
            self.console.print(f"  {name}: {title}; {where}", soft_wrap=True)
        return [all(name not in open_there for open_there in still.values()) for name in names]

    async def _recount(self) -> dict[str, Any]:
        script = Path(__file__).with_name("recount.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(script), str(self.fleet.folder), "--data", str(self.data),
            "--lanes", str(len(self.fleet.lanes)), "--json", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        if process.returncode not in {0, 1}:
            raise DemoFailed("the recount could not read the nodes' stores; its message is above")
        outcome: dict[str, Any] = json.loads(output.decode().splitlines()[-1])
        return outcome

    def _summary(
        self,
        outcome: dict[str, Any],
        totals: dict[str, list[list[Any]]],
        digests: bool,
    ) -> dict[str, Any]:
        """Sum what the downstream ends of all links counted; each record and byte is counted once."""
        moved = {(direction, what): 0 for direction in ("down", "up") for what in ("records", "bytes")}
        for name in self.fleet.names[1:]:
            for _category, direction, records, size, _seconds in totals[name]:
                moved[direction, "records"] += records
                moved[direction, "bytes"] += size
        return {
            "lines": outcome["lines"],
            "baskets": outcome["baskets"],
            "units": outcome["units"],
            "nodes": len(self.fleet.names),
            "converged": bool(outcome["converged"] and digests),
            "below_zero": outcome["below_zero"],
            "seen_by_no_lane_alone": outcome["seen_by_no_lane_alone"],
            "seconds": self._seconds(),
            "records_down": moved["down", "records"],
            "records_up": moved["up", "records"],
            "bytes_down": moved["down", "bytes"],
            "bytes_up": moved["up", "bytes"],
            "lost": outcome["lost"],
            "duplicated": outcome["duplicated"],
        }

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._began, 1)

    def _report(
        self,
        summary: dict[str, Any],
        totals: dict[str, list[list[Any]]],
        pendencies: dict[str, int],
        sold: dict[str, Any],
        rounds: int,
        outcome: dict[str, Any],
    ) -> None:
        self._phase("What happened")
        table = Table(
            "category",
            "records down",
            "records up",
            "bytes",
            "seconds",
            title="all links, at their lower ends",
        )
        sums: dict[str, list[float]] = {}
        for name in self.fleet.names[1:]:
            for category, direction, records, size, seconds in totals[name]:
                row = sums.setdefault(category, [0, 0, 0, 0.0])
                row[0 if direction == "down" else 1] += records
                row[2] += size
                row[3] += seconds
        for category in [name for name in self.schema.order("download") if name in sums]:
            down, up, size, seconds = sums[category]
            table.add_row(self._title(category), f"{down:,}", f"{up:,}", f"{size:,}", f"{seconds:.1f}")
        self.console.print(table)
        began = [when for _, when in self.phases]
        for (title, start), end in zip(self.phases, [*began[1:], time.perf_counter()], strict=True):
            self.console.print(f"  {end - start:6.1f} s  {title}")
        self.console.print(
            f"{sum(sold.values()):,} sales in {len(sold)} lanes, {summary['units']:,} units, {summary['lines']:,} lines; "
            f"{rounds} rounds until even"
        )
        self.console.print(
            f"[bold]{summary['below_zero']:,}[/] products below zero, [bold]{summary['seen_by_no_lane_alone']:,}[/] of "
            f"them seen by no lane alone; pendencies opened: {', '.join(f'{n} {c:,}' for n, c in pendencies.items())}"
        )
        for sentence in outcome["differences"][:20]:
            self.console.print(f"  - {sentence}")
        good = summary["converged"] and not summary["lost"] and not summary["duplicated"]
        verdict = "[green]converged[/]" if good else "[red]NOT converged[/]"
        self.console.print(f"{verdict}: lost {summary['lost']}, duplicated {summary['duplicated']}")

    def _say_open(self) -> None:
        """Print where each node is; an address on a line of its own, so that a terminal can open it."""
        self._phase("The nodes stay open; Ctrl-C stops them")
        for name in self.fleet.names:
            self.console.print(f"{name}: {self.fleet.folder / name}", highlight=False, soft_wrap=True)
            self.console.print(f"  {self.fleet.page(name)}", highlight=False, soft_wrap=True)

    def _title(self, category: str) -> str:
        return self.schema.shape(category).title
