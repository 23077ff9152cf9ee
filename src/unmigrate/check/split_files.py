"""A split as two migration files to read, and what to do with them. Text only; writing never overwrites."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unmigrate.check.split import Split
from unmigrate.errors import UsageError

_STAMP = re.compile(r"^(\d{8,17})_(.+)$")


@dataclass(frozen=True, slots=True)
class File:
    """folder: name of the migration's folder; sql: of its migration.sql."""

    folder: str
    sql: str


def files(name: str, split: Split, flags: Sequence[str]) -> tuple[File, File]:
    """The first step under the migration's own time, the second without one: it gets the time at which it is taken over."""
    match = _STAMP.match(name)
    rest = match[2] if match else name
    first = f"{match[1]}_{rest}_expand" if match else f"{rest}_expand"
    return File(first, _first(name, split, flags)), File(f"later_{rest}_contract", _second(name, split, first))


def _first(name: str, split: Split, flags: Sequence[str]) -> str:
    steps, data = split.steps, split.first.data
    lines = [f"-- First of two steps made of {name} by unmigrate split: adds and fills, takes nothing away."]
    shown = f"way back {_verdict(split)}, data {data.verdict if data else 'unknown'}; the previous app goes on working"
    lines.append(f"-- Proved on scratch: {shown}.")
    if steps.new:
        lines.append(f"-- New: {', '.join(steps.new)}. {gate(steps.new, flags)}")
    if steps.gone:
        lines.append(f"-- schema.prisma keeps until the second step: {', '.join(steps.gone)}.")
    if steps.required:
        names = ", ".join(name for name, _ in steps.required)
        lines.append(f"-- Until then every new row still needs a value for {names}.")
        lines.append(
            "-- If the new app shall not write it, take this in; then rows without a value stop a rollback, and the previous app may"
        )
        lines.append("-- fail on them:")
        lines += [f"--   {sql};" for _, sql in steps.required]
    return "\n".join([*lines, "", *(f"{sql};\n" for sql in steps.now)])


def _second(name: str, split: Split, first: str) -> str:
    steps, data = split.steps, split.second.data
    lost = ", ".join(data.lost) if data else ""
    lines = [
        f"-- Second of two steps made of {name} by unmigrate split. Deploy it when no running version of the app needs what it takes away,",
        f"-- and no rollback behind {first} is wanted any more.",
    ]
    if lost:
        lines.append(f"-- Its own way back loses {lost}; `unmigrate deploy` keeps that.")
    if steps.again:
        lines.append("-- Rows that the previous app wrote since the first step may lack what that filled in. Fill such rows before:")
        lines += [f"--   {line}" for sql in steps.again for line in f"{sql};".splitlines()]
    return "\n".join([*lines, "", *(f"{sql};\n" for sql in steps.later)])


def _verdict(split: Split) -> str:
    return split.first.proof.outcome.verdict if split.first.proof else "unknown"


def gate(new: Sequence[str], flags: Sequence[str]) -> str:
    """Which feature flag should stand before the use of what is new."""
    if flags:
        return f"Use {'it' if len(new) == 1 else 'them'} behind the flag {' or '.join(flags)} (unmigrate.toml)."
    return "Where a feature flag stands before their use, [[flags]] in unmigrate.toml lets a rollback switch it off first."


def write(folder: Path, made: Sequence[File]) -> list[Path]:
    """Write the files below `folder`. Raises UsageError, before anything is written, where one is there already."""
    paths = [folder / each.folder / "migration.sql" for each in made]
    for path in paths:
        if path.parent.exists():
            remedy = "nothing is overwritten: remove it first, or give --out"
            raise UsageError(f"{path.parent} is there already", code="exists", remedy=remedy)
    for path, each in zip(paths, made, strict=True):
        path.parent.mkdir(parents=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(each.sql)
    return paths
