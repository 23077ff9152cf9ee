"""[snapshot]: who makes snapshots, and how."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """create_command: makes a snapshot and prints its id. restore_command: restores the snapshot UNMIGRATE_SNAPSHOT into a new database
    and prints its URL on its last line. Both see UNMIGRATE_RUN, and DATABASE_URL of the database that is there; called again with the
    same UNMIGRATE_RUN they must go on, or answer as before."""

    create_command: str | None = None
    restore_command: str | None = None
