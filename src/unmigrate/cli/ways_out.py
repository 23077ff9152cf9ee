"""Ways out for rows that block: as flags, or asked for on a terminal."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from unmigrate.cli import asking, planning
from unmigrate.words import amount

F = TypeVar("F", bound=Callable[..., Any])
FLAGS = ("fill", "labels", "set_null", "delete")
_LETTERS = {"--fill": "f", "--map": "m", "--set-null": "n", "--delete": "d"}
_WORDS = {"f": "fill with a value", "m": "map labels", "n": "set NULL", "d": "delete into the vault", "q": "quit"}


def options(function: F) -> F:
    """--fill, --map, --set-null, --delete."""
    object_help = "the object as the blocker names it"
    for option in (
        click.option(
            "--delete", multiple=True, metavar="OBJECT", help=f"Delete the rows that block ({object_help}); the vault keeps them."
        ),
        click.option("--set-null", multiple=True, metavar="OBJECT", help=f"Set what blocks to NULL ({object_help})."),
        click.option("--map", "labels", multiple=True, metavar="'ENUM.OLD = NEW'", help="Label to use instead of one that goes."),
        click.option("--fill", multiple=True, metavar="'COLUMN = SQL'", help="Value for rows of a column that block."),
    ):
        function = option(function)
    return function


def parsed(flags: dict[str, Any]) -> Any:
    """The flags as plan.ways_out.Decisions. Raises UsageError."""
    from unmigrate.errors import UsageError
    from unmigrate.plan.ways_out import Decisions

    labels: dict[str, dict[str, str]] = {}
    for value in flags["labels"]:
        label, equals, instead = (part.strip() for part in value.partition("="))
        enum, dot, old = label.rpartition(".")
        if not (equals and dot and enum and old and instead):
            raise UsageError(f"--map wants 'Enum.OLD = NEW', not {value!r}", code="map", remedy="name the enum as the blocker does")
        labels.setdefault(enum, {})[old] = instead
    return Decisions(planning.parse_fill(flags["fill"]), labels, tuple(flags["set_null"]), tuple(flags["delete"]))


def applied(plans: Sequence[Any], decisions: Any) -> list[Any]:
    """The plans with their ways out. Raises UsageError for what no plan asks about."""
    from unmigrate.plan.ways_out import decided

    return decided(plans, decisions) if decisions else list(plans)


def asked(plan: Any, decisions: Any) -> Any:
    """More decisions, from the person at the terminal, about the blockers of an inspected plan; the same where nobody is there."""
    from dataclasses import replace

    if not plan.blockers or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return decisions
    answerable = {check.object for check in plan.checks if check.where and check.columns}
    for blocker in plan.blockers:
        letters = [letter for flag, letter in _LETTERS.items() if any(way.startswith(flag) for way in blocker.ways_out)]
        letters = letters if blocker.object in answerable else []
        if not letters:
            continue
        click.echo(f"\n{amount(blocker.rows, 'row blocks', 'rows block')} {blocker.object}: {blocker.reason}", err=True)
        offered = ", ".join(f"[{letter}] {_WORDS[letter]}" for letter in (*letters, "q"))
        letter = click.prompt(offered, type=click.Choice([*letters, "q"]), default="q", show_choices=False, err=True)
        if letter == "q":
            raise asking.Declined
        if letter == "f":
            value = click.prompt(f"SQL for {blocker.object}", err=True)
            decisions = replace(decisions, fill={**decisions.fill, blocker.object: value})
        elif letter == "m":
            decisions = replace(decisions, labels=_with_labels(decisions.labels, blocker))
        elif letter == "n":
            decisions = replace(decisions, set_null=(*decisions.set_null, blocker.object))
        else:
            decisions = replace(decisions, delete=(*decisions.delete, blocker.object))
    return decisions


def _with_labels(labels: Any, blocker: Any) -> dict[str, dict[str, str]]:
    found = {enum: dict(mapped) for enum, mapped in labels.items()}
    for way in blocker.ways_out:
        if way.startswith("--map"):
            enum, _, old = way.removeprefix("--map '").partition(" = ")[0].rpartition(".")
            found.setdefault(enum, {})[old] = click.prompt(f"Instead of {old}", err=True)
    return found
