"""An audit as one page: no other file, no network; searchable, readable without JavaScript, safe whatever the migrations contain."""

import html as escaping
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

# One class of colours per verdict.
_TONE = {
    "exact": "good", "equivalent": "good", "column-order": "fair", "refused": "bad", "lossless": "good", "lossy": "warn", "unknown": "dim",
}  # fmt: skip
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def html(report: Mapping[str, Any], title: str) -> str:
    """The page for an audit's JSON report (docs/json.md) that has the statements. title: what was audited."""
    folder = files("unmigrate.report")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    migrations = report["migrations"]
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_e(title)}: the way back</title>",
            f"<style>{style}</style></head>",
            "<body><header>",
            f"<h1>The way back of {_e(title)}</h1>",
            f"<p>{len(migrations)} migrations, proved on {_e(report['server']['label'])}, {when}.</p>",
            _counts("Schema", Counter(m["schema"]["verdict"] for m in migrations)),
            _counts("Data, when deployed plainly", Counter(m["data"]["plain"]["verdict"] for m in migrations)),
            _search(migrations),
            *(f"<p class='note'>left out: {_e(each)}</p>" for each in report.get("left_out", ())),
            "</header><main>",
            *(_migration(m) for m in migrations),
            '<p id="none" hidden>Nothing is found.</p>',
            "</main>",
            f"<script>{script}</script>",
            "</body></html>",
            "",
        ]
    )


def _e(text: object) -> str:
    return escaping.escape(str(text))


def _badge(word: str, more: str = "") -> str:
    return f'<b class="badge {_TONE.get(word, "dim")}">{_e(word)}{more}</b>'


def _counts(title: str, counter: Counter[str]) -> str:
    return f"<p>{title}: {' '.join(_badge(word, f' {count}') for word, count in counter.most_common())}</p>"


def _search(migrations: Sequence[Mapping[str, Any]]) -> str:
    words = dict.fromkeys([m["schema"]["verdict"] for m in migrations] + [m["data"]["plain"]["verdict"] for m in migrations])
    options = "".join(f'<option value="{_e(word)}">{_e(word)}</option>' for word in words)
    return (
        '<form id="search" role="search"><label>Find '
        '<input id="q" type="search" placeholder="name, table, SQL …" autocomplete="off"></label>'
        f'<label>Verdict <select id="verdict"><option value="">any</option>{options}</select></label>'
        '<button type="button" id="open">open all</button><output id="count"></output></form>'
    )


def _migration(m: Mapping[str, Any]) -> str:
    schema, data = m["schema"], m["data"]["plain"]
    statements: Sequence[Mapping[str, Any]] = m.get("statements", ())
    count = sum(bool(s["statement"]) for s in statements)
    characters = sum(len(s["statement"]) for s in statements)
    size = f"{count} statement{'s' * (count != 1)}, {characters:,} characters"
    return "\n".join(
        [
            f'<details class="migration" data-verdicts="{_e(schema["verdict"])} {_e(data["verdict"])}" id="{_e(m["name"])}">',
            f'<summary><span class="name">{_e(m["name"])}</span> {_badge(schema["verdict"])} {_badge(data["verdict"])}'
            f' <span class="size">{size}</span></summary>',
            *_remarks(m),
            *_losses(data),
            _beside(statements) if statements else "",
            "</details>",
        ]
    )


def _remarks(m: Mapping[str, Any]) -> list[str]:
    lines = []
    if m["schema"]["reason"]:
        lines.append(f"<p>{_e(m['schema']['reason'])}</p>")
    if blocked := m["data"]["plain"].get("blocked"):
        lines.append(f"<p>On generated rows the way back stops: {_e(blocked)}</p>")
    if written := m.get("hand_written"):
        lines.append(f"<p>Its down.sql: {_badge(written['verdict'])} {_e(written['reason'])}</p>")
    lines += [f'<p class="note">{_e(note)}</p>' for note in m["notes"]]
    lines += [f'<p class="note">not covered: {_e(gap)}</p>' for gap in m["not_covered"]]
    return lines


def _losses(data: Mapping[str, Any]) -> list[str]:
    if not data["lost"]:
        return []
    reasons = data.get("reasons", {})
    items = "".join(f"<li><code>{_e(name)}</code>: {_e(reasons.get(name, 'lost'))}</li>" for name in data["lost"])
    return [f"<p>Not brought back when deployed plainly:</p><ul>{items}</ul>"]


def _beside(statements: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for each in statements:
        left = f"<pre>{_e(each['statement'])};</pre>" if each["statement"] else "<i>several of them</i>"
        inverse = "\n".join(f"{sql.rstrip().rstrip(';')};" for sql in each["inverse"])
        rows.append(f"<tr><td>{left}</td><td>{f'<pre>{_e(inverse)}</pre>' if inverse else '<i>nothing of its own</i>'}</td></tr>")
    return f"<table><thead><tr><th>statement</th><th>what undoes it</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
