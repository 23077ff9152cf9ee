"""How things look: errors, colour only on a terminal, progress only for people."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from unmigrate.errors import UnmigrateError

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
STYLE = {
    "exact": "green", "equivalent": "green", "column-order": "cyan", "refused": "red",
    "lossless": "green", "lossy": "yellow", "unknown": "magenta",
}  # fmt: skip


def show_error(error: UnmigrateError) -> None:
    """One line of what is wrong, one of what to do."""
    click.echo(f"{click.style('error', fg='red', bold=True)} [{error.code}]: {error}", err=True)
    if error.remedy:
        click.echo(f"  {click.style('what to do', bold=True)}: {error.remedy}", err=True)


def styled(word: str) -> str:
    return click.style(word, fg=STYLE.get(word))


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def say(message: str) -> None:
    """A remark for a person, away from the output that programs read."""
    click.echo(message, err=True)


def say_to_people(message: str) -> None:
    """A remark only when a person watches."""
    if sys.stderr.isatty():
        say(message)


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, with a bar on stderr when a person watches."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        for item in items:
            yield item
            bar.advance(task)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """A spinner on stderr when a person watches."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield
