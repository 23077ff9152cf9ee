"""The independent witness: pg_dump's texts before a migration, and after it and its way back. Shares no code with the product."""

import re
import subprocess
from pathlib import Path

from unmigrate.scratch.pool import Pool

RANK = {"wrong": -1, "refused": 0, "column-order": 1, "equivalent": 2, "exact": 3}


def dump(pool: Pool, database: str) -> str:
    command = [_tool(pool, "pg_dump"), "--schema-only", "--dbname", pool.conninfo(database)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def seen(pool: Pool, before: str, after: str) -> tuple[str, str]:
    """The best that may be claimed, and the first line that differs."""
    one, other = _commands(before), _commands(after)
    if one == other:
        return "exact", ""
    difference = next(iter(sorted(set(one) ^ set(other))), "order of commands")
    if _unordered(one) == _unordered(other):
        return "column-order", difference
    one, other = _commands(_loaded(pool, before)), _commands(_loaded(pool, after))
    if one == other:
        return "equivalent", difference
    return ("column-order" if _unordered(one) == _unordered(other) else "wrong"), difference


def _tool(pool: Pool, name: str) -> str:
    folder = pool.server.bin_dir
    assert folder is not None
    return str(Path(folder) / name)


def _commands(text: str) -> list[str]:
    """The dump without its comments, its session settings and its random restrict key."""
    kept = [line for line in text.splitlines() if line and not re.match(r"--|\\|SET |SELECT pg_catalog\.set_config", line)]
    return [command for command in ("\n".join(kept) + "\n").split(";\n") if command]


def _unordered(commands: list[str]) -> list[str]:
    return sorted(
        "\n".join(sorted(line.strip().rstrip(",") for line in c.splitlines())) if " TABLE " in c.split("(")[0] else c for c in commands
    )


def _loaded(pool: Pool, text: str) -> str:
    """The dump of the dump, loaded."""
    database = pool.create()
    psql = [_tool(pool, "psql"), "-X", "-q", "-d", pool.conninfo(database)]
    subprocess.run(psql, input=text, capture_output=True, text=True, check=True)
    result = dump(pool, database)
    pool.drop(database)
    return result
