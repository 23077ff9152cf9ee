"""What the ledger says of the folder, as differences for a person."""

from collections.abc import Iterable, Iterator

from unmigrate.prisma.ledger import MigrationState


def ledger_differences(states: Iterable[MigrationState]) -> tuple[str, ...]:
    """One line per thing that is not as it should be: pending, failed, edited, ahead, rolled back, duplicate."""
    return tuple(line for state in states for line in _lines(state))


def _lines(state: MigrationState) -> Iterator[str]:
    if state.state == "pending":
        yield f"{state.name} is pending: in the folder, not in the ledger"
    elif state.state == "failed":
        yield f"{state.name} failed: deploys stop there (P3009)"
    elif state.state == "rolled-back" and not state.missing_folder:
        yield f"{state.name} is marked as rolled back, and the folder still ships it: the next deploy applies it again"
    if state.edited:
        yield f"{state.name} was edited after it was applied: its checksum is not the ledger's"
    if state.missing_folder and state.state != "rolled-back":
        yield f"{state.name} is in the ledger, not in the folder: the database is ahead"
    if state.duplicate:
        yield f"{state.name} has more than one row that says it is applied"
