"""unmigrate audit"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, planning, render

GAPS = 4  # so many lines of what a verdict does not cover


@click.command("audit", epilog="Example: unmigrate audit prisma/migrations --down-dir down --json audit.json")
@click.argument("migrations_dir", required=False, type=click.Path(path_type=Path))
@click.option("--down-dir", type=click.Path(path_type=Path, file_okay=False), help="Write each way back there, as <migration>.sql.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report there.")
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a page to read and search there.")
@click.option("--schema", default=None, metavar="NAME", help="The URL's ?schema=. Default: public.")
@click.option("--rows/--no-rows", default=True, help="Prove the data half too, on generated rows.")
@click.option("--cache/--no-cache", "use_cache", default=True, help="Use what an earlier run proved of the same beginning.")
@click.option("--dump", is_flag=True, help="Ask pg_dump too, before and after every way back: about ten times as long.")
@click.option(
    "--dump-sample", is_flag=True, help="The same for the first migration with each kind of statement, and every 25th: twice as long."
)
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes that may share a long history. Default: the processors.")
@options.replay_options
@options.where_options
def command(
    migrations_dir: Path | None, down_dir: Path | None, json_file: Path | None, html_file: Path | None, schema: str | None,
    rows: bool, use_cache: bool, dump: bool, dump_sample: bool, jobs: int | None, **rest: Any,
) -> int:  # fmt: skip
    """Prove the way back of every migration of a history, on a scratch server. Changes nothing else.

    Exit 0: every way back is exact or equivalent and loses nothing; 1: something is lossy, refused, not covered or left out.
    """
    from unmigrate.prisma.migrations import read_migrations
    from unmigrate.prove.audit import audit
    from unmigrate.prove.cache import AuditCache
    from unmigrate.prove.witness import DumpWitness

    at = options.where(rest)
    use_cache = use_cache and not (dump or dump_sample)
    if migrations_dir is None:
        project = options.load_project(at)
        migrations_dir, schema = project.migrations_dir, schema or project.schema_name
    left_out: list[str] = []
    migrations = read_migrations(migrations_dir, on_code=lambda error: left_out.append(str(error)))
    if down_dir:
        down_dir.mkdir(parents=True, exist_ok=True)
    entries = []
    with planning.scratch(at, migrations, None, schema=schema or "public", persistent=use_cache) as work:
        cache = AuditCache(work, migrations, rows=rows, beside=html_file is not None) if use_cache and work.pool.server.persistent else None
        witness = DumpWitness(work, sample=not dump) if dump or dump_sample else None
        proving = audit(work, migrations, rows=rows, cache=cache, witness=witness, beside=html_file is not None, jobs=jobs)
        if sys.stdout.isatty():
            click.echo(click.style(f"{'migration':60}  {'schema':12}  {'data':8}  what is lost, or why it is refused", dim=True))
        for entry in render.progress(proving, len(migrations), "auditing"):
            entries.append(entry)
            if down_dir and entry.down is not None:
                (down_dir / f"{entry.name}.sql").write_text(entry.down, encoding="utf-8")
            render.line(_line(entry.report))
            for gap in _gaps(entry.report):
                render.line(f"    not covered: {gap}")
            if (written := entry.report["hand_written"]) and written["verdict"] == "refused":
                render.line(f"    its down.sql is not used: {written['reason']}")
        if witness:
            witness.close()
            if witness.stopped:
                render.say(f"note: pg_dump was not asked from there on: {witness.stopped}")
        server = {
            "label": work.pool.server.label,
            "version": work.pool.server.version,
            "stand_ins": sorted(work.pool.server.stand_ins),
            "trusted": at.trusted,
        }
    report = {"version": 1, "server": server, "left_out": left_out, "migrations": [e.report for e in entries]}
    if html_file:
        from unmigrate.report.html import html

        html_file.write_text(html(report, str(migrations_dir)), encoding="utf-8")
    if json_file:
        json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")
    for written in filter(None, (html_file, json_file)):
        render.say(f"written: {written}")
    for reason in left_out:
        click.echo(f"left out: {reason}")
    for stopped in (e for e in entries if "remedy" in e.report["schema"]):
        click.echo(f"\nStopped at {stopped.name}: {stopped.report['schema']['reason']}")
        click.echo(f"  what to do: {stopped.report['schema']['remedy']}")
    click.echo(f"\nProved on {server['label']}; a rollback asks for a proof on the target's own major version.")
    return max(_summary(entries), 1 if left_out else 0)


def _line(value: dict[str, Any]) -> str:
    schema, data = value["schema"], value["data"]["plain"]
    remark = schema["reason"] if schema["verdict"] == "refused" else ", ".join(data["lost"][:4]) + (" …" if len(data["lost"]) > 4 else "")
    verdicts = f"{render.styled(schema['verdict'], 12)}  {render.styled(data['verdict'], 8)}"
    return f"{value['name']:60.60}  {verdicts}  {remark[:160]}".rstrip()


def _gaps(value: dict[str, Any]) -> list[str]:
    """What limits the verdict on its data, in so many lines; not that nothing at all was asked, which the verdict says itself."""
    gaps = [" ".join(gap.split())[:160] for gap in value["not_covered"] if gap not in ("rows", "everything")]
    return gaps if len(gaps) <= GAPS else [*gaps[: GAPS - 1], f"and {len(gaps) - GAPS + 1} more: --json FILE, --html FILE"]


def _summary(entries: list[Any]) -> int:
    from collections import Counter

    values = [e.report for e in entries]
    schema = Counter(v["schema"]["verdict"] for v in values)
    data = Counter(v["data"]["plain"]["verdict"] for v in values)
    click.echo(f"{len(values)} migrations. schema: {_counts(schema)}. data when deployed plainly: {_counts(data)}.")
    return 1 if schema["refused"] or data["lossy"] or data["unknown"] else 0


def _counts(counter: Any) -> str:
    return ", ".join(f"{count} {render.styled(word)}" for word, count in counter.most_common())
