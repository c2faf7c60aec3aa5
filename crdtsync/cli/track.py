"""Verbs of synchronization: start it, what waits, what happened, what needs attention, pause and resume."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from crdtsync import limits
from crdtsync.cli import words
from crdtsync.cli.output import (
    FAULT,
    FINDING,
    Misuse,
    Verb,
    ask,
    console,
    folder_argument,
    output_options,
    print_json,
)
from crdtsync.cli.words import _, named, ngettext
from crdtsync.errors import ControlError
from crdtsync.locale import N_
from crdtsync.node import load_config
from crdtsync.node.caller import call
from crdtsync.node.standing import Sort
from crdtsync.said import say

if TYPE_CHECKING:
    from pathlib import Path

_POLL_SECONDS = 0.2
_TRIGGER_COLUMNS = 15

DIRECTIONS = {
    "download": N_("Download of records"),
    "upload": N_("Upload of records"),
    "local": N_("This node"),
}
_ARROWS = {"download": "↓", "upload": "↑"}
TRIGGERS = {
    "initial": N_("Initial synchronization"),
    "routine": N_("Routine"),
    "manual": N_("Synchronize now"),
    "reconnect": N_("Reconnection"),
    "live": N_("Live"),
}
RESULTS = {
    "running": (N_("in progress"), "cyan"),
    "done": (N_("Synchronized"), "green"),
    "failed": (N_("failed"), "red"),
    "paused": (N_("paused"), "yellow"),
    "interrupted": (N_("interrupted"), "red"),
}
REASONS = {
    "nothing": N_("everything is synchronized; there is nothing to send or receive"),
    "running": N_("a synchronization is in progress, in the background"),
    "cooldown": N_("less than five minutes have passed since the last one"),
    "paused": N_("synchronization is paused; resume it first"),
    "paused_above": N_("the node above paused this one; it must be resumed there"),
    "failed": N_("the link failed and waits for a person; see status, then resume"),
    "hours": N_("outside the hours of synchronization"),
    "refused": N_("the connection was refused; see status"),
    "unreachable": N_("the node above does not answer"),
    "no_upstream": N_("this node has nothing above it"),
}
LINKS = {
    "ok": (N_("connected"), "green"),
    "crashing": (N_("no connection; it tries again by itself"), "yellow"),
    "failed": (N_("refused by the node above; a person must act"), "red"),
    "paused": (N_("paused"), "yellow"),
    "paused_above": (N_("paused by the node above"), "yellow"),
    "stopped": (N_("this node is not running"), "yellow"),
    "none": (N_("nothing above"), "dim"),
}
STANDINGS = {
    "silent": (N_("not heard of"), "red"),
    "failing": (N_("the link fails"), "red"),
    "paused": (N_("paused"), "yellow"),
    "apart": (N_("no connection"), "yellow"),
    "connected": (N_("connected"), "green"),
    "revoked": (N_("revoked"), "dim"),
}
SEVERITIES = {
    "B": (N_("Blocks"), "bold white on red"),
    "A": (N_("Decide"), "bold red"),
    "M": (N_("Check"), "yellow"),
    "I": (N_("Information"), "cyan"),
}
ALERTS = {
    "stopped": N_("The node does not run"),
    "link_failed": N_("The link with the node above failed"),
    "disk_full": N_("The disk is nearly full"),
    "old_records": N_("Records are waiting to be sent for too long"),
    "silent_above": N_("The node above was not heard of"),
    "silent_device": N_("A node below was not heard of"),
    "paused": N_("Paused for more than a day"),
    "clock_wrong": N_("A clock is wrong"),
    "incompatible": N_("A category differs between two nodes"),
    "link_trouble": N_("Something is wrong with the link"),
    "already_connected": N_("A device connects a second time"),
    "claims_own_log": N_("A device holds more of this node's writes than it has"),
    "waiting_device": N_("A device waits to be approved"),
    "quarantine": N_("Something stored cannot be read"),
    "store_refused": N_("The store takes no writes"),
    "descriptors": N_("Too many files and connections are open"),
}


@click.command(cls=Verb)
@folder_argument
@click.option("--wait", is_flag=True, help="Wait for the end of the synchronization and show its progress.")
@click.option("--first", metavar="CATEGORY", help="Send this category first, as far as references allow.")
@output_options
def sync(folder: Path, first: str | None, *, wait: bool, as_json: bool) -> None:
    """Synchronize now; the node must be running.

    Exit code 0 when it started, with --wait when it ended well, or when there was nothing to do; 1 when it was refused
    or ended badly; 3 when no node runs here or the node above does not answer.

    Example: crdtsync sync caixa1 --wait
    """
    answer = asyncio.run(_sync(folder, first, wait=wait, bars=wait and not as_json))
    if as_json:
        print_json(answer)
    else:
        _print_sync(answer)
    run = answer["run"]
    if answer["reason"] == "unreachable":
        sys.exit(FAULT)
    if not answer["accepted"] and answer["reason"] != "nothing":
        sys.exit(FINDING)
    if wait and run is not None and run["result"] not in {"done", "running"}:
        sys.exit(FINDING)


async def _sync(folder: Path, first: str | None, *, wait: bool, bars: bool) -> dict[str, Any]:
    load_config(folder)
    asked = asyncio.create_task(call(folder, "sync", wait=wait, first=first))
    if bars:
        await _watch(folder, asked)
    answer: dict[str, Any] | None = await asked
    if answer is None:
        raise ControlError(
            say("{folder}: no node runs here; start it with: crdtsync run {folder}", folder=folder)
        )
    return answer


async def _watch(folder: Path, asked: asyncio.Task[Any]) -> None:
    """Show the progress by category until the answer is there."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[tuple[str, str], TaskID] = {}
        while not asked.done():
            queue = await call(folder, "queue")
            for entry in queue["categories"] if queue and queue["running"] else ():
                if entry["percent"] is not None:
                    at = (entry["category"], entry["direction"])
                    if at not in tasks:
                        title = f"{_ARROWS[entry['direction']]} {escape(entry['title'])}"
                        tasks[at] = bars.add_task(title, total=100)
                    bars.update(tasks[at], completed=entry["percent"])
            await asyncio.wait([asked], timeout=_POLL_SECONDS)


def _print_sync(answer: dict[str, Any]) -> None:
    out = console()
    run = answer["run"]
    if not answer["accepted"]:
        out.print(Text(_refusal(answer), style="green" if answer["reason"] == "nothing" else "yellow"))
    elif run is None or run["result"] == "running":
        out.print(Text(_("Synchronizing, in the background."), style="cyan"))
    else:
        text, style = RESULTS[run["result"]]
        moved = ngettext("{n} record received", "{n} records received", run["records_down"])
        sent = ngettext("{n} record sent", "{n} records sent", run["records_up"])
        out.print(Text(f"{_(text)}: {moved}, {sent}, {words.span(run['seconds'] or 0)}", style=style))
        if run["detail"]:
            out.print(Text(words.told_of(run, "detail"), style="dim"))
    above = answer["above"]
    if above is not None:
        told = _("synchronizing too") if above["accepted"] else named(REASONS, above["reason"] or "")
        out.print(Text(f"{above['device']}: {told}", style="dim"))


def _refusal(answer: dict[str, Any]) -> str:
    text = named(REASONS, answer["reason"] or "")
    text = text[:1].upper() + text[1:]
    seconds = answer["available_seconds"]
    if seconds:
        text += ". " + _("Available again in {time}").format(time=words.countdown(seconds))
    return text + "."


@click.command(cls=Verb)
@folder_argument
@click.option("--records", is_flag=True, help="List the waiting records themselves, a page at a time.")
@click.option("--category", help="With --records: of this category only.")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 1_000), help="Records at most."
)
@click.option("--after", metavar="CURSOR", help="With --records: go on after this page.")
@output_options
def queue(
    folder: Path, category: str | None, limit: int, after: str | None, *, records: bool, as_json: bool
) -> None:
    """Show what waits to be sent or received, and for what.

    Próximas sincronizações: by category, with how many records and when they go.

    Example: crdtsync queue caixa1
    """
    if not records and (category is not None or after is not None):
        raise Misuse(say("--category and --after go with --records"))
    if records:
        page = asyncio.run(ask(folder, "queue_records", category=category, limit=limit, after=after))
        print_json(page) if as_json else _print_records(page)
        return
    facts = asyncio.run(ask(folder, "queue"))
    print_json(facts) if as_json else _print_queue(facts)


def _print_queue(facts: dict[str, Any]) -> None:
    out = console()
    out.print(Text(_("Next synchronizations"), style="bold"))
    grid = Table.grid(padding=(0, 2))
    for name, value in _headlines(facts):
        grid.add_row(Text(name, style="dim"), value)
    out.print(grid)
    out.print()
    if not facts["categories"]:
        if facts["initial_done"] or facts["link"]["state"] == "none":
            out.print(Text(_("Nothing waits: everything is synchronized."), style="green"))
        else:
            out.print(
                Text(_("What is to be received is known when the node above was asked."), style="yellow")
            )
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(_("Category"))
    table.add_column("")
    table.add_column(_("Records"), justify="right", no_wrap=True)
    table.add_column("%", justify="right", no_wrap=True)
    table.add_column(_("Situation"))
    for entry in facts["categories"]:
        table.add_row(
            Text(entry["title"]),
            Text(
                _ARROWS[entry["direction"]], style="blue" if entry["direction"] == "download" else "magenta"
            ),
            words.count(entry["records"]),
            "" if entry["percent"] is None else words.percent(entry["percent"]),
            _situation(entry, facts),
        )
    out.print(table)
    out.print(Text(f"↓ {named(DIRECTIONS, 'download')}   ↑ {named(DIRECTIONS, 'upload')}", style="dim"))


def _headlines(facts: dict[str, Any]) -> list[tuple[str, Text]]:
    zone, now, link = facts["time_zone"], facts["now_ms"], facts["link"]
    text, style = LINKS.get(link["state"], (link["state"], ""))
    if link["state"] == "ok" and not link["connected"]:
        text, style = N_("not connected yet"), "yellow"
    detail = words.told_of(link, "detail")
    told = _(text) + (f" ({detail})" if detail and link["state"] != "ok" else "")
    lines = [(_("Link"), Text(told, style=style))]
    last = facts["last"]
    if last is not None:
        result, colour = RESULTS[last["result"]]
        ago = words.age((now - last["ended_ms"]) / 1000)
        lines.append((_("Last synchronization"), Text.assemble(f"{ago} · ", (_(result), colour))))
    if not facts["initial_done"] and link["state"] != "none":
        lines.append((_("Initial synchronization"), Text(_("not complete yet"), style="yellow")))
    running, following = facts["running"], facts["next"]
    if running is not None:
        done = "" if running["percent"] is None else f" · {words.percent(running['percent'])}"
        phase = (
            named(DIRECTIONS, running["phase"]) if running["phase"] else named(TRIGGERS, running["trigger"])
        )
        lines.append((_("In progress"), Text(f"{phase}{done}, " + _("in the background"), style="cyan")))
    elif following["at_ms"] is not None:
        when = words.clock(following["at_ms"], zone)
        left = words.countdown((following["at_ms"] - now) / 1000)
        trigger = named(TRIGGERS, following["trigger"] or "routine")
        lines.append(
            (
                _("Next check"),
                Text(_("{trigger}, at {time} (in {left})").format(trigger=trigger, time=when, left=left)),
            )
        )
    button = facts["button"]
    if button["available"]:
        lines.append((_("Synchronize now"), Text(_("available"), style="green")))
    elif link["state"] not in {"none", "stopped"}:
        lines.append((_("Synchronize now"), Text(_refusal(button), style="yellow")))
    if facts["first"]:
        lines.append((_("Goes first"), Text(facts["first"])))
    return lines


def _situation(entry: dict[str, Any], facts: dict[str, Any]) -> Text:
    cause, up = entry["cause"], entry["direction"] == "upload"
    when = entry["when_ms"]
    at = "" if when is None else ", " + _("at {time}").format(time=words.clock(when, facts["time_zone"]))
    if cause == "running":
        return Text(_("Sending") if up else _("Receiving"), style="cyan")
    if cause == "category":
        text = _("waits for {what}").format(what=words.listed(entry["waits_for_titles"]))
        return Text(text + at, style="yellow")
    if cause == "schedule":
        return Text((_("Waiting to be sent") if up else _("Waiting to be received")) + at)
    return Text(named(CAUSES, cause), style="yellow")


CAUSES = {
    "hours": N_("waits for the hours of synchronization"),
    "link_down": N_("waits for the connection with the node above"),
    "category": N_("waits for another category"),
    "paused": N_("paused"),
    "paused_above": N_("paused by the node above"),
    "failed": N_("the link failed: a person must act"),
    "incompatible": N_("the two nodes have versions of it that do not fit; install the same on both"),
    "transaction": N_("waits for the other parts of its transaction"),
    "parked": N_("Rejected: its content is not allowed"),
    "quarantine": N_("In quarantine: what is stored of it cannot be read"),
    "stopped": N_("this node is not running"),
    "running": N_("in progress"),
    "schedule": N_("at the next check"),
}
TURNS = {"node": N_("this node"), "upstream": N_("the node above"), "person": N_("a person")}


def _print_records(page: dict[str, Any]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", _("Record"), _("Situation"), _("Whose turn")):
        table.add_column(name)
    for record in page["records"]:
        why = named(CAUSES, record["cause"])
        told = f"{why} ({record['detail']})" if record["detail"] else why
        table.add_row(
            _ARROWS[record["direction"]],
            Text(f"{record['doc']}/{record['key']}"),
            Text(told),
            named(TURNS, record["turn"]),
        )
    out.print(table)
    out.print(Text(ngettext("{n} record waits", "{n} records wait", page["total"]), style="dim"))
    print_cursor(out, page["after"])


def print_cursor(out: Console, after: str | None) -> None:
    """Say how to see the next page."""
    if after is not None:
        out.print(Text(_("More: repeat with --after {cursor}").format(cursor=f"'{after}'"), style="dim"))


@click.command(cls=Verb)
@folder_argument
@click.option(
    "--days",
    default=4,
    show_default=True,
    type=click.IntRange(1, 3_660),
    help="Today and the days before it.",
)
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 1_000), help="Runs at most.")
@click.option("--before", type=int, metavar="RUN", help="Only runs before this one: the next page.")
@click.option("--detail", is_flag=True, help="Show each category of each run.")
@output_options
def history(folder: Path, days: int, limit: int, before: int | None, *, detail: bool, as_json: bool) -> None:
    """Show the synchronizations of the last days.

    Histórico de sincronizações: one row for each, the newest first.

    Example: crdtsync history loja1 --days 7
    """
    facts = asyncio.run(ask(folder, "history", days=days, limit=limit, before=before))
    print_json(facts) if as_json else _print_history(facts, detail=detail)


def _print_history(facts: dict[str, Any], *, detail: bool) -> None:
    out = console()
    out.print(Text(_("History of synchronizations"), style="bold"))
    if not facts["runs"]:
        out.print(_("no synchronization in this time"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(_("Time"), no_wrap=True)
    table.add_column(_("Started by"), min_width=_TRIGGER_COLUMNS)
    table.add_column("↓ " + _("Records"), justify="right")
    table.add_column("↑ " + _("Records"), justify="right")
    table.add_column(_("Duration"), justify="right")
    table.add_column(_("Result"))
    table.add_column(_("Pendencies"), justify="right")
    shown = None
    for run in facts["runs"]:
        if run["day"] != shown:
            shown = run["day"]
            table.add_row(Text(words.day(shown, facts["today"]), style="bold"))
        text, style = RESULTS.get(run["result"], (run["result"], ""))
        result = Text(_(text), style=style)
        if run["detail"]:
            result.append(f"\n{words.told_of(run, 'detail')}", style="dim")
        table.add_row(
            words.clock(run["started_ms"], facts["time_zone"]),
            _trigger(run),
            _moved(run["records_down"], run["bytes_down"]),
            _moved(run["records_up"], run["bytes_up"]),
            "" if run["seconds"] is None else words.countdown(run["seconds"]),
            result,
            _opened(run),
        )
        for part in run["categories"] if detail else ():
            moved = _moved(part["records"], part["bytes"])
            down = part["direction"] == "download"
            title = Text(f"  {part['title']}", style="dim")
            table.add_row(
                "", title, moved if down else "", "" if down else moved, words.countdown(part["seconds"])
            )
    out.print(table)
    print_cursor(out, None)
    if facts["before"] is not None:
        out.print(Text(_("More: repeat with --before {run}").format(run=facts["before"]), style="dim"))


def _trigger(run: dict[str, Any]) -> str:
    text = named(TRIGGERS, run["trigger"])
    return f"{text} ×{run['gathered']}" if run["gathered"] > 1 else text


def _moved(records: int, size: int) -> Text:
    if not records and not size:
        return Text("–", style="dim")
    return Text.assemble(words.count(records), (f" · {words.size(size)}", "dim"))


def _opened(run: dict[str, Any]) -> Text:
    opened, closed = run["pendencies_opened"], run["pendencies_closed"]
    parts = [(f"+{words.count(opened)}", "yellow")] if opened else []
    parts += [(f" −{words.count(closed)}", "green")] if closed else []
    return Text.assemble(*parts)


@click.command(cls=Verb)
@folder_argument
@output_options
def alerts(folder: Path, *, as_json: bool) -> None:
    """Say what needs attention here; exit 1 when anything does.

    A node that does not run, a failed link, a node not heard of, records that are too old, a full disk, a wrong clock.

    Example: crdtsync alerts loja1
    """
    facts = asyncio.run(ask(folder, "alerts"))
    print_json(facts) if as_json else _print_alerts(facts["alerts"], load_config(folder).time_zone)
    if facts["alerts"]:
        sys.exit(FINDING)


def _print_alerts(found: list[dict[str, Any]], zone: str) -> None:
    out = console()
    if not found:
        out.print(Text(_("Nothing needs attention."), style="green"))
        return
    for alert in found:
        text, style = SEVERITIES[alert["severity"]]
        line = Text.assemble((f" {_(text)} ", style), " ", named(ALERTS, alert["code"]))
        line.append(f" · {alert['subject']}")
        if alert["since_ms"] is not None:
            line.append(f" · {words.moment(alert['since_ms'], zone)}", style="dim")
        detail = words.told_of(alert, "detail")
        out.print(Group(line, Text(f"   {detail}", style="dim")) if detail else line)


@click.command(cls=Verb)
@folder_argument
@click.option(
    "--sort",
    default=Sort.WORST.value,
    show_default=True,
    type=click.Choice([one.value for one in Sort]),
    help="What they are sorted by.",
)
@click.option("--descending", is_flag=True, help="The other way round.")
@click.option("--name", help="Only those that have this in their name or their store's.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000), help="Nodes at most.")
@click.option("--after", metavar="NODE", help="Go on after this page.")
@output_options
def network(folder: Path, *, as_json: bool, **asked: Any) -> None:
    """Show the nodes below, those with trouble first.

    Rede: of each the last contact, what waits for it, its pendencies, its version and how wrong its clock is.

    Example: crdtsync network gestao --sort waiting --descending
    """
    facts = asyncio.run(ask(folder, "network", **asked))
    if not as_json and asked["name"] and not facts["below"]:
        click.echo(_("no node below has {name} in its name or its store's").format(name=repr(asked["name"])))
        return
    print_json(facts) if as_json else _print_network(facts)


def _print_network(facts: dict[str, Any]) -> None:
    out = console()
    if not facts["below"]:
        out.print(_("no node below"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in (_("Node"), _("Store"), _("Situation"), _("Last contact"), _("Waiting")):
        table.add_column(name)
    table.add_column(_("Pendencies"), justify="right")
    table.add_column(_("Version"))
    table.add_column(_("Clock"), justify="right")
    for row in facts["below"]:
        text, style = STANDINGS[row["state"]]
        told = Text(_(text), style=style)
        if row["trouble"]:
            told.append(f"\n{words.told_of(row, 'trouble')}", style="dim")
        if row["lanes"]:
            told.append("\n" + ", ".join(_lane(lane, facts["now_ms"]) for lane in row["lanes"]), style="dim")
        table.add_row(
            Text(row["device"]),
            Text(row["store"] or ""),
            told,
            _age(row["heard_ms"], facts["now_ms"]),
            _waiting_below(row, facts["now_ms"]),
            words.count(row["pendencies"]),
            Text(row["software"] or ""),
            _offset(row["offset_ms"]),
        )
    out.print(table)
    out.print(Text(ngettext("{n} node below", "{n} nodes below", facts["total"]), style="dim"))
    print_cursor(out, facts["after"])


def _lane(lane: dict[str, Any], now_ms: int) -> str:
    return f"{lane['device']} ({_age(lane['newest_ms'], now_ms)})"


def _age(at_ms: int | None, now_ms: int) -> str:
    return "–" if at_ms is None else words.age((now_ms - at_ms) / 1000)


def _waiting_below(row: dict[str, Any], now_ms: int) -> Text:
    if not row["waiting"]:
        # Counted before the program started, nothing waited then: since, records may have come.
        return Text("–" if row["waiting_exact"] else _("not known"), style="dim")
    told = ngettext("{n} record", "{n} records", row["waiting"])
    if not row["waiting_exact"]:
        # More may have been written since.
        told = _("at least {records}").format(records=told)
    oldest = row["waiting_since_ms"]
    return Text.assemble(told, (f" · {_age(oldest, now_ms)}", "dim") if oldest else "")


def _offset(offset_ms: int | None) -> Text:
    if offset_ms is None:
        return Text("")
    wrong = abs(offset_ms) > limits.CLOCK_OFFSET_MS_MAX
    seconds = round(offset_ms / 1000)
    sign = "+" if seconds > 0 else "−" if seconds else ""
    return Text(sign + words.countdown(abs(seconds)), style="yellow" if wrong else "dim")


_node_option = click.option("--node", "device", help="A node below, as `network` names it.")


@click.command(cls=Verb)
@folder_argument
@click.option("--category", help="Only this category; the whole link by default.")
@_node_option
@output_options
def pause(folder: Path, category: str | None, device: str | None, *, as_json: bool) -> None:
    """Let the link, one category, or one node below stand still.

    What is written here, or there, goes on being kept; it is sent after resume.

    Example: crdtsync pause loja1 --category email_history
    """
    _hold(folder, "pause", category, device, as_json=as_json)


@click.command(cls=Verb)
@folder_argument
@click.option(
    "--category", help="Only this category; the whole link by default, which also tries a failed one again."
)
@_node_option
@output_options
def resume(folder: Path, category: str | None, device: str | None, *, as_json: bool) -> None:
    """Undo pause, or try a failed link again.

    Example: crdtsync resume loja1
    """
    _hold(folder, "resume", category, device, as_json=as_json)


def _hold(folder: Path, verb: str, category: str | None, device: str | None, *, as_json: bool) -> None:
    """Pause or resume what was named."""
    if device is None:
        _print_paused(asyncio.run(ask(folder, verb, category=category)), as_json=as_json)
        return
    if category is not None:
        raise Misuse(say("--category and --node do not go together; name one of them"))
    facts = asyncio.run(ask(folder, f"network_{verb}", device=device))
    if as_json:
        print_json(facts)
    elif facts["paused"]:
        click.echo(_("{device} is paused; it keeps what it writes.").format(device=device))
    else:
        click.echo(_("{device} goes on; it comes back within a minute.").format(device=device))


def _print_paused(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    if facts["paused"]:
        click.echo(_("Paused: nothing is sent to the node above or received from it."))
    if facts["categories"]:
        click.echo(_("Paused categories: {names}").format(names=", ".join(facts["categories"])))
    if not facts["paused"] and not facts["categories"]:
        click.echo(_("Nothing is paused at this node."))


@click.command(cls=Verb)
@folder_argument
@click.argument("category", required=False)
@output_options
def first(folder: Path, category: str | None, *, as_json: bool) -> None:
    """Send a category first, as far as references allow.

    Without a category, that is taken back.

    Example: crdtsync first loja1 sales
    """
    facts = asyncio.run(ask(folder, "first", category=category))
    if as_json:
        print_json(facts)
    elif category is None:
        click.echo(_("No category goes first."))
    elif facts["before"]:
        names = ", ".join(facts["before"])
        click.echo(
            _("{category} goes first, after what it refers to: {names}").format(
                category=category, names=names
            )
        )
    else:
        click.echo(_("{category} goes first").format(category=category))
