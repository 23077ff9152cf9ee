"""Operations one after the other: what is done stays done when a later one is refused or fails, and is told."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from unmigrate.errors import PartialError, UnmigrateError

T = TypeVar("T")


def one_by_one(items: Iterable[T], do: Callable[[T], Any], remedy: Callable[[T], str]) -> tuple[list[Any], PartialError | None]:
    """(what was done, and what stopped it). remedy: what does the rest, from the item that was stopped on. Raises what stops the first."""
    done: list[Any] = []
    for item in items:
        try:
            done.append(do(item))
        except UnmigrateError as error:
            if not done:
                raise
            before = "; ".join(outcome.done() for outcome in done)
            then = f"{error.remedy}; then {remedy(item)}" if error.remedy else remedy(item)
            return done, PartialError(f"{before}; but not the next: {error}", code=error.code, remedy=then)
    return done, None
