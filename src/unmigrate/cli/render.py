"""How things look: errors, colour only on a terminal, progress only for people."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from unmigrate.errors import UnmigrateError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.status import Status

T = TypeVar("T")
STYLE = {
    "exact": "green", "equivalent": "green", "column-order": "cyan", "refused": "red",
    "lossless": "green", "lossy": "yellow", "unknown": "magenta",
}  # fmt: skip


_moving: "list[Status | Progress]" = []  # what is drawn at the bottom of the terminal, over and over


def show_error(error: UnmigrateError) -> None:
    """What is wrong, and what to do, where the remedy has several lines one below the other."""
    paragraph(
        f"error [{error.code}]: {error}", 0, err=True, first=lambda s: s.replace("error", click.style("error", fg="red", bold=True), 1)
    )
    for number, line in enumerate(error.remedy.splitlines()):
        if number:
            paragraph(line, 4, err=True)
        else:
            paragraph(f"what to do: {line}", 2, err=True, first=lambda s: s.replace("what to do", click.style("what to do", bold=True), 1))


def paragraph(text: str, indent: int = 2, *, err: bool = False, first: Callable[[str], str] = str) -> None:
    """One line, wrapped between words on a terminal, what follows set in. first: how to style the first line."""
    width = shutil.get_terminal_size().columns if (sys.stderr if err else sys.stdout).isatty() else 1_000_000
    pad = " " * indent
    lines = textwrap.wrap(text, width, initial_indent=pad, subsequent_indent=f"{pad}  ", break_long_words=False, break_on_hyphens=False)
    click.echo("\n".join([first(lines[0]), *lines[1:]]) if lines else "", err=err)


def styled(word: str, width: int = 0) -> str:
    """A verdict in its colour; width: columns to fill, which colours do not count for."""
    return click.style(f"{word:{width}}", fg=STYLE.get(word))


class _Outliving:
    """A stream that goes on to nowhere when nobody reads it any more (`| head`)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            return self._nowhere(len(text))

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._nowhere()

    def _nowhere(self, length: int = 0) -> int:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        return length

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_readers() -> None:
    """What changes a database is not stopped in the middle because nobody reads on."""
    sys.stdout, sys.stderr = _Outliving(sys.stdout), _Outliving(sys.stderr)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def say(message: str) -> None:
    """A remark for a person, away from the output that programs read."""
    if _moving:
        _moving[-1].console.print(message, markup=False, highlight=False)
    else:
        paragraph(message, 0, err=True)


def line(text: str) -> None:
    """A line of output while work goes on: above what moves, where both are on the terminal."""
    if _moving and sys.stdout.isatty():
        from rich.text import Text

        _moving[-1].console.print(Text.from_ansi(text), soft_wrap=True)
    else:
        click.echo(text)


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, with a bar on stderr when a person watches."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False) as bar, _drawn(bar):
        task = bar.add_task(label, total=total)
        for item in items:
            yield item
            bar.advance(task)


@contextmanager
def _drawn(what: "Status | Progress") -> Iterator[None]:
    _moving.append(what)
    try:
        yield
    finally:
        _moving.remove(what)


@contextmanager
def waiting(label: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr when a person watches; gives what changes its label."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.text import Text

    there = Console(stderr=True)

    def fitting(text: str) -> Text:
        """In one line: of what is longer some would stay on the screen."""
        return Text(textwrap.shorten(text, max(20, there.width - 4), placeholder="…"))

    with there.status(fitting(label)) as status, _drawn(status):
        yield lambda text: status.update(fitting(text))
