"""Asking the person at the terminal."""

import sys

import click

from unmigrate.errors import RefusedError


class Declined(click.Abort):
    """The person said no; nothing was changed."""


def confirmed(question: str, *, remedy: str = "look at it with --dry-run, then add --yes") -> None:
    """Raises RefusedError where nobody can be asked, Declined for a no."""
    if not sys.stdin.isatty():
        raise RefusedError("nobody is there to say yes", code="no-terminal", remedy=remedy)
    if not _answer(question):
        raise Declined


def agreed(question: str) -> bool:
    """In the middle of something: without a terminal, and for Ctrl-C, no."""
    try:
        return sys.stdin.isatty() and _answer(question)
    except click.Abort:
        return False


def _answer(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # Ctrl-C leaves the cursor behind the question
        raise
