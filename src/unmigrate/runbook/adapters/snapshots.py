"""Snapshots as a run needs them: one made for protection, one restored into a new database. Providers plug in here.

Restored is never over the database that is there. The URL that comes back is a secret.
"""

from typing import Protocol

from unmigrate.config.snapshot import Snapshot
from unmigrate.runbook.adapters import command
from unmigrate.runbook.scene import Scene


class Source(Protocol):
    """Both may be called again after an interruption, with the same run, and then go on or answer as before."""

    def create(self, scene: Scene) -> str:
        """Make a snapshot now; its id."""
        ...

    def restore(self, scene: Scene, snapshot: str) -> str:
        """Restore a snapshot into a new database; its URL."""
        ...

    def shown_create(self) -> list[str]: ...

    def shown_restore(self, snapshot: str) -> list[str]: ...


class Commands:
    """Shell commands: they see UNMIGRATE_RUN and UNMIGRATE_SNAPSHOT, and DATABASE_URL of the database that is there."""

    def __init__(self, config: Snapshot) -> None:
        self._config = config

    def create(self, scene: Scene) -> str:
        return self._run(scene, self._config.create_command or "", "").strip()

    def restore(self, scene: Scene, snapshot: str) -> str:
        return self._run(scene, self._config.restore_command or "", snapshot).strip().splitlines()[-1].strip()

    def shown_create(self) -> list[str]:
        return [self._config.create_command or ""]

    def shown_restore(self, snapshot: str) -> list[str]:
        return [f"UNMIGRATE_SNAPSHOT={snapshot} {self._config.restore_command}  # its last line is the new database's URL"]

    def _run(self, scene: Scene, text: str, snapshot: str) -> str:
        extra = {"UNMIGRATE_RUN": scene.spec.run, "UNMIGRATE_SNAPSHOT": snapshot, "DATABASE_URL": scene.source_text()}
        return command.run(text, cwd=scene.root, environ=scene.environ, seconds=scene.left(), extra=extra, hush=True)


def source(config: Snapshot, *, restoring: bool) -> Source | None:
    """Who makes, or restores, snapshots with this configuration; None where nobody does."""
    wanted = config.restore_command if restoring else config.create_command
    return Commands(config) if wanted else None
