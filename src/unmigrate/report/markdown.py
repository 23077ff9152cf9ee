"""The comment for a pull request: verdicts, findings, and each statement beside what undoes it."""

from collections.abc import Sequence

from unmigrate.check.model import Examined, Pair, Report
from unmigrate.lint.model import Finding
from unmigrate.plan.model import Lock
from unmigrate.report.links import page

MARKER = "<!-- unmigrate check -->"  # by which a later run finds its comment
MOST = 60_000  # characters; GitHub takes 65,536
_SIGNS = {"exact": "✅", "equivalent": "✅", "column-order": "✅", "refused": "❌", "lossless": "✅", "lossy": "⚠️", "unknown": "❔"}
_LEVELS = {"error": "❌", "warning": "⚠️", "note": "💡"}


def markdown(report: Report) -> str:
    """GitHub-flavoured Markdown, shortened from the end where it would be too long for a comment."""
    head = [MARKER, f"## unmigrate: {_headline(report)}", ""]
    head += [_table(report), ""] if report.examined else []
    head += _findings("History", report.history)
    head += [f"> {_escape(note)}\n" for note in report.notes]
    head += [f"> ❌ not examined, as a migration before it does not replay: {_code(name)}\n" for name in report.unexamined]
    tail = f"\n<sub>New against {_escape(report.base)}; proved on {_escape(report.server)}.</sub>\n"
    text = "\n".join(head)
    left_out = 0
    for each in report.examined:
        section = "\n".join(_section(each))
        if len(text) + len(section) + len(tail) > MOST:
            left_out += 1
            continue
        text += f"\n{section}"
    if left_out:
        text += f"\n… and {left_out} more, too long for a comment: see the report of the run.\n"
    return text + tail


def _headline(report: Report) -> str:
    if report.failed:
        count = sum(f.level == "error" and not f.allowed for f in report.findings)
        return f"{count} problem{'s' * (count != 1)} to look at" if count else "not everything could be checked"
    if not report.examined:
        return "no new migrations"
    return "every new migration has a proved way back"


def _table(report: Report) -> str:
    rows = ["| migration | way back | data | findings |", "|---|---|---|---|"]
    for each in report.examined:
        counts = [f"{_LEVELS[level]} {n}" for level in _LEVELS if (n := sum(f.level == level and not f.allowed for f in each.findings))]
        rows.append(
            f"| {_code(each.name)} | {_SIGNS[each.schema]} {each.schema} | {_SIGNS[each.data]} {each.data} | {' '.join(counts) or 'none'} |"
        )
    return "\n".join(rows)


def _section(each: Examined) -> list[str]:
    lines = [f"### {_code(each.name)}", ""]
    lines += _findings("", each.findings)
    if each.advice:
        lines += [f"- 🪓 {_escape(str(each.advice))}", ""]
    if each.subject.proof is not None:
        lines += _locks(each)
    if gaps := each.not_covered:
        lines += [f"- not covered: {_escape(gap)}" for gap in gaps] + [""]
    if each.pairs:
        lines += ["<details><summary>Statement ↔ what undoes it</summary>", "", *_beside(each.pairs), "", "</details>", ""]
    return lines


def _findings(title: str, findings: Sequence[Finding]) -> list[str]:
    """Ours one by one; squawk's in a fold of their own, as they are many."""
    ours = [f for f in findings if not f.rule.startswith("squawk/") or f.level == "error"]
    others = [f for f in findings if f not in ours]
    lines = [f"### {title}", ""] if title and findings else []
    lines += [_bullet(f) for f in ours] + ([""] if ours else [])
    if others:
        lines += [f"<details><summary>squawk: {len(others)}</summary>", "", *(_bullet(f) for f in others), "", "</details>", ""]
    return lines


def _bullet(finding: Finding) -> str:
    where = f" (line {finding.line})" if finding.file else ""
    link = page(finding.rule)
    rule = f"[`{finding.rule}`]({link})" if link else f"`{finding.rule}`"
    text = f"{rule}{where}: {_escape(finding.message)}"
    if finding.allowed:
        return f"- ~~{text}~~ allowed: {_escape(finding.allowed)}"
    return f"- {_LEVELS.get(finding.level, '')} {text}" + (f"  \n  _{_help(finding)}_" if finding.help else "")


def _help(finding: Finding) -> str:
    return _escape(finding.help) if page(finding.rule) else finding.help  # ours is Markdown already


def _locks(each: Examined) -> list[str]:
    up, down = each.subject.up, each.subject.down
    if not up and not down:
        return ["No table that was there before is locked, up or back.", ""]
    tables = sorted({lock.table for lock in (*up, *down)})
    rows = ["| table | up | back |", "|---|---|---|"]
    rows += [f"| {_code(t)} | {_lock(t, up)} | {_lock(t, down)} |" for t in tables]
    return ["<details><summary>Locks, up and back</summary>", "", *rows, "", "</details>", ""]


def _lock(table: str, locks: Sequence[Lock]) -> str:
    lock = next((k for k in locks if k.table == table), None)
    return "" if lock is None else f"{lock.mode}{'' if lock.work == 'metadata' else f', **{lock.work}**'}"


def _beside(pairs: Sequence[Pair]) -> list[str]:
    rows = ["<table><tr><th>statement</th><th>what undoes it</th></tr>"]
    for pair in pairs:
        left = _pre([pair.statement]) if pair.statement else "<i>several of them</i>"
        right = _pre(pair.inverse) if pair.inverse else "<i>nothing of its own</i>"
        rows.append(f"<tr><td>{left}</td><td>{right}</td></tr>")
    return [*rows, "</table>"]


def _pre(statements: Sequence[str]) -> str:
    """SQL in a cell. A blank line would end the table for Markdown."""
    import html

    text = "\n".join(f"{sql.strip().rstrip(';')};" for sql in statements)
    return f'<pre lang="sql">{html.escape(text, quote=False).replace(chr(10) * 2, chr(10) + "&#8203;" + chr(10))}</pre>'


def _code(text: str) -> str:
    """As code, whatever is in it."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text.replace('|', chr(92) + '|')}{fence}"


def _escape(text: str) -> str:
    """Text of others as text: it stands in lists, quotes and links of ours."""
    for sign in "\\`*_[]<>|#~@":
        text = text.replace(sign, f"&#{ord(sign)};" if sign in "<>@|" else f"\\{sign}")
    return " ".join(text.split())
