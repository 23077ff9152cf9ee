"""The story of a run for the incident: what was done, when, by which command, at what cost, what is left to do; Markdown and HTML."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from unmigrate.runbook.model import Json, Record, Spec
from unmigrate.words import amount

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.35rem .5rem;text-align:left;vertical-align:top}"
    "h1,td:last-child{overflow-wrap:anywhere}"
    "pre{background:#f5f5f5;padding:.6rem;overflow-x:auto;white-space:pre-wrap}.bad{color:#b00020}.ok{color:#1b5e20}"
    "ul{padding-left:0;list-style:none}"
    # one below the other, where the last cell of a row would be left a few letters
    "@media(max-width:40rem){tr{display:flex;flex-wrap:wrap;border-bottom:1px solid #ddd}td,th{border:0;padding:.2rem .6rem .2rem 0}"
    "td:last-child{flex:1 0 100%}th{flex:0 0 7rem}th+td:last-child{flex:1 0 0}.head{display:none}}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}pre{background:#242424}tr,td,th{border-color:#444}"
    ".bad{color:#ff8a80}.ok{color:#a5d6a7}}"
)
_OPEN = ("stopped", "interrupted")
_WORDS = {"approve": "approval", "prepare": "prepare", "apply": "", "undo": "undone"}


def write(folder: Path, spec: Spec, tale: Sequence[Record], state: str) -> list[Path]:
    """Write <run>.md and <run>.html into the folder, in place of older ones; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{spec.run}.md", folder / f"{spec.run}.html"]
    for path, text in zip(paths, (markdown(spec, tale, state), page(spec, tale, state)), strict=True):
        temporary = path.with_suffix(f"{path.suffix}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return paths


def summary(spec: Spec, tale: Sequence[Record], state: str) -> list[tuple[str, str]]:
    first, last = (tale[0].at, tale[-1].at) if tale else (spec.began, spec.began)
    way = f"{spec.way}, with a refill from {spec.refill['name']}" if spec.refill else spec.way
    return [
        ("Run", f"{spec.run}: {state}"), ("Database", spec.display), ("Way", way), ("Undone", ", ".join(spec.migrations)),
        ("App version", spec.tag or "not changed by this run"), ("By", spec.actor),
        ("From", f"{_clock(first)} UTC"), ("To", f"{_clock(last)} UTC"),
        ("Time in steps", f"{sum(r.seconds for r in tale):.1f} s"), ("Writers away", downtime(tale)), ("Lost", lost(spec, tale)),
    ]  # fmt: skip


def downtime(tale: Iterable[Record]) -> str:
    """From maintenance on to maintenance off."""
    from datetime import datetime, timedelta

    total, since = timedelta(), None
    for record in tale:
        if record.phase not in ("apply", "undo") or record.step not in ("maintenance-on", "maintenance-off"):
            continue
        at = datetime.fromisoformat(record.at)
        on = (record.step == "maintenance-on") == (record.phase == "apply")
        if on:
            since = since or at
        elif since is not None and record.ok:
            total, since = total + (at + timedelta(seconds=record.seconds) - since), None
    if since is not None:
        return f"since {since.isoformat()}, and still"
    return f"{total.total_seconds():.1f} s" if total else "no"


def lost(spec: Spec, tale: Iterable[Record]) -> str:
    """What the way back lost, as its plan named it; the vault keeps a copy of what the reverse way took."""
    last = {r.step: r for r in tale if r.step in (spec.way, "refill") and r.phase == "apply" and r.ok}
    if spec.way not in last:
        return "nothing was undone"
    losses = [x for r in last.values() for x in r.data.get("losses", ()) if x.get("rows") != 0]
    if not losses:
        return "nothing"
    return ", ".join(f"{x['object']}{f' ({what})' if (what := _amount(x)) else ''}" for x in losses)


def _amount(loss: Json) -> str:
    return amount(loss["rows"], "row") if loss.get("rows") is not None else str(loss.get("why") or "")


def follow_ups(tale: Iterable[Record]) -> list[str]:
    return [str(r.data["follow_up"]) for r in tale if r.data.get("follow_up")]


def _says(record: Record) -> list[str]:
    said = [str(line) for line in record.data.get("said", ())]
    if record.error:
        remedy = record.error.get("remedy")
        said.append(f"{record.error['message']} (what to do: {remedy})" if remedy else str(record.error["message"]))
    return said


def _checks(tale: Iterable[Record]) -> list[tuple[str, str, bool, str]]:
    rows = []
    for record in tale:
        for when, key in (("before", "checks_before"), ("after", "checks")):
            rows += [(when, c["name"], bool(c["ok"]), str(c["says"])) for c in record.data.get(key, ())]
    return rows


def _what(record: Record) -> str:
    return f"{record.step}{f' ({_WORDS[record.phase]})' if _WORDS[record.phase] else ''}"


def _clock(at: str) -> str:
    return at[:19].replace("T", " ")


def _told(tale: Sequence[Record]) -> list[Record]:
    return [r for r in tale if r.phase != "prepare" or not r.ok]


def _calls(tale: Sequence[Record]) -> list[tuple[str, tuple[str, ...]]]:
    """What each step ran, once where it ran the same again."""
    return list(dict.fromkeys((_what(r), tuple(r.shown)) for r in _told(tale) if r.shown))


def markdown(spec: Spec, tale: Sequence[Record], state: str) -> str:
    lines = [f"# Rollback of {', '.join(spec.migrations)}", ""]
    lines += [f"- **{name}**: {value}" for name, value in summary(spec, tale, state)]
    lines += ["", "## Timeline", "", "| at (UTC) | step | | seconds | evidence |", "|---|---|---|---|---|"]
    for r in _told(tale):
        cell = "<br>".join(_cell(line) for line in _says(r))
        lines.append(f"| {_clock(r.at)} | {_what(r)} | {'ok' if r.ok else '**failed**'} | {r.seconds:.1f} | {cell} |")
    if checks := _checks(tale):
        lines += ["", "## Checks", "", "| when | check | | found |", "|---|---|---|---|"]
        lines += [f"| {when} | {_cell(name)} | {'ok' if ok else '**failed**'} | {_cell(says)} |" for when, name, ok, says in checks]
    lines += ["", "## To follow up", "", *(f"- [ ] {each}" for each in _to_do(spec, tale, state)), ""]
    lines += ["## Commands and calls", ""]
    for what, shown in _calls(tale):
        lines += [f"### {what}", "", "```", *(line.replace("```", "'''") for line in shown), "```", ""]
    return "\n".join(lines)


def _to_do(spec: Spec, tale: Sequence[Record], state: str) -> list[str]:
    """What is left: of a run that has not ended, to end it."""
    open_ = (
        [f"End this run: unmigrate resume {spec.run} goes on, unmigrate abort {spec.run} goes back where it can"] if state in _OPEN else []
    )
    vault = "Look at what the vault keeps (unmigrate status), and purge it when it is of no use"
    return [*open_, *follow_ups(tale), f"Find out why {', '.join(spec.migrations)} was bad, and write it anew", vault]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def page(spec: Spec, tale: Sequence[Record], state: str) -> str:
    """The same as one HTML file without anything from outside."""
    e = html.escape
    head = "".join(f"<tr><th>{e(n)}</th><td>{e(v)}</td></tr>" for n, v in summary(spec, tale, state))
    rows = "".join(
        f"<tr><td>{e(_clock(r.at))}</td><td>{e(_what(r))}</td><td class={'ok' if r.ok else 'bad'}>{'ok' if r.ok else 'failed'}</td>"
        f"<td>{r.seconds:.1f}</td><td>{'<br>'.join(e(line) for line in _says(r))}</td></tr>"
        for r in _told(tale)
    )
    checks = "".join(
        f"<tr><td>{when}</td><td>{e(name)}</td><td class={'ok' if ok else 'bad'}>{'ok' if ok else 'failed'}</td><td>{e(says)}</td></tr>"
        for when, name, ok, says in _checks(tale)
    )
    calls = "".join(f"<h3>{e(what)}</h3><pre>{e(chr(10).join(shown))}</pre>" for what, shown in _calls(tale))
    todo = "".join(f"<li><input type=checkbox> {e(each)}</li>" for each in _to_do(spec, tale, state))
    title = e(f"Rollback of {', '.join(spec.migrations)}")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1><table>{head}</table><h2>Timeline</h2><table><tr class=head><th>at (UTC)<th>step<th>"
        "<th>seconds"
        f"<th>evidence</tr>{rows}</table>{'<h2>Checks</h2><table>' + checks + '</table>' if checks else ''}"
        f"<h2>To follow up</h2><ul>{todo}</ul>"
        f"<h2>Commands and calls</h2>{calls}</html>\n"
    )
