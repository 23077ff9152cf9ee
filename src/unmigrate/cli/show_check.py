"""How a check looks on a terminal."""

from collections.abc import Sequence

import click

from unmigrate.check.model import Examined, Report
from unmigrate.cli.render import paragraph, styled
from unmigrate.lint.model import Finding

LEVELS = {"error": "red", "warning": "yellow", "note": "cyan"}
FEW = 8


def show(report: Report) -> None:
    """Per new migration: verdicts, locks, findings; last a summary."""
    for note in report.notes:
        click.echo(f"note: {note}")
    _findings(report.history)
    for each in report.examined:
        _examined(each)
    for name in report.unexamined:
        click.echo(f"{name}: not examined, as a migration before it does not replay")
    if not report.examined and not report.unexamined:
        click.echo(f"No new migrations against {report.base}.")
        return
    counts = {level: sum(f.level == level and not f.allowed for f in report.findings) for level in LEVELS}
    told = ", ".join(f"{n} {click.style(level, fg=LEVELS[level])}{'s' * (n != 1)}" for level, n in counts.items() if n) or (
        "nothing found" if report.examined else "nothing is known"
    )
    allowed = sum(bool(f.allowed) for f in report.findings)
    new, left = len(report.examined) + len(report.unexamined), len(report.unexamined)
    unseen = f", {left} not examined" if left else ""
    click.echo(f"\n{new} new of {report.total} migrations against {report.base}: {told}{f', {allowed} allowed' * bool(allowed)}{unseen}.")
    if report.examined:
        click.echo(f"Proved on {report.server}; a rollback asks for a proof on the target's own major version.")


def _examined(each: Examined) -> None:
    subject = each.subject
    click.echo(f"\n{click.style(each.name, bold=True)}: way back {styled(each.schema)}, data {styled(each.data)}")
    size = each.size
    click.echo(
        f"  {_many(size.statements, 'statement')}, {_many(len(size.tables), 'table')} of before, {' + '.join(size.phases) or 'no phase'}"
    )
    for word, locks in (("up", subject.up), ("back", subject.down)):
        told = [f"{k.table} {k.mode}{'' if k.work == 'metadata' else f' ({k.work})'}" for k in locks]
        more = f" and {len(told) - FEW} more" if len(told) > FEW else ""
        paragraph(f"locks {word}: {', '.join(told[:FEW]) or 'none on tables of before'}{more}")
    for note in subject.proof.notes if subject.proof else ():
        paragraph(f"note: {note}")
    for gap in each.not_covered:
        paragraph(f"not covered: {gap}")
    _findings(each.findings)
    if each.advice:
        paragraph(str(each.advice))


def _findings(findings: Sequence[Finding]) -> None:
    helped: set[str] = set()
    for same in _alike(findings):
        f = same[0]
        level = click.style("allowed" if f.allowed else f.level, fg=None if f.allowed else LEVELS.get(f.level))
        where = f"{f.file}:{f.line}: " if f.file else ""
        lines = [str(each.line) for each in same[1:]]
        also = f" (also in {'lines' if len(lines) > 1 else 'line'} {', '.join(lines)})" if lines else ""
        paragraph(f"{where}{level} [{f.rule}] {f.message}{also}" + (f" (allowed: {f.allowed})" if f.allowed else ""))
        if f.help and not f.allowed and f.rule not in helped:
            paragraph(f"{click.style('what to do', dim=True)}: {f.help}", indent=6)
            helped.add(f.rule)


def _alike(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Those that say the same of one file together, where the first of them stands."""
    found: dict[tuple[str, ...], list[Finding]] = {}
    for f in findings:
        found.setdefault((f.file, f.rule, f.level, f.message, f.allowed), []).append(f)
    return list(found.values())


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"
