"""The app's connection string, changed to the database that was restored. The old value is kept privately, for the way back."""

import psycopg

from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.prisma.url import parse_url
from unmigrate.runbook.adapters import database, env_file
from unmigrate.runbook.adapters.place import Place
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.step import Step
from unmigrate.runbook.steps import maintenance
from unmigrate.words import amount


class _EnvFile(Place):
    def __init__(self, scene: Scene) -> None:
        config = scene.config.connection.env_file
        assert config is not None
        self._path, self._variable = scene.root / config.file, config.variable
        self.name, self.shown = f"{config.variable} in {config.file}", [f"write {config.variable}=••• to {self._path}"]

    def get(self) -> str:
        env_file.may_write(self._path)
        return env_file.value(self._path, self._variable)

    def put(self, text: str) -> None:
        env_file.put(self._path, self._variable, text)


class _Command(Place):
    def __init__(self, scene: Scene) -> None:
        config = scene.config.connection.command
        assert config is not None
        self._scene, self._config = scene, config
        self.name, self.shown = "the connection string of a command", [f"{config.set}  # the new value on standard input"]

    def get(self) -> str:
        return self._run(self._config.get).strip()

    def put(self, text: str) -> None:
        self._run(self._config.set, text)

    def _run(self, text: str, given: str | None = None) -> str:
        return self._scene.shell(text, given=given, hush=True)


def places(scene: Scene) -> list[Place]:
    """Every place that the configuration names."""
    c = scene.config
    found: list[Place] = []
    if c.connection.env_file:
        found.append(_EnvFile(scene))
    if c.connection.command:
        found.append(_Command(scene))
    if c.connection.kubernetes:
        from unmigrate.runbook.adapters.kubernetes_secret import SecretKey

        found.append(SecretKey(c.connection.kubernetes, scene))
    if c.connection.aws:
        from unmigrate.runbook.adapters.aws import Secret

        found.append(Secret(c.connection.aws, scene))
    return found


def _prepare(scene: Scene) -> Json:
    for number, place in enumerate(places(scene)):
        if scene.keep.get(f"old.{number}") is None:
            scene.keep.put(f"old.{number}", place.get())
    return {"places": [place.name for place in places(scene)]}


def _apply(scene: Scene, prepared: Json) -> Json:
    maintenance.refuse_writes(scene)
    return _put(scene, [scene.current_text()] * len(places(scene)), "now the restored database", "there")


def _undo(scene: Scene, prepared: Json) -> Json:
    behind = _left_behind(scene)  # once more: people wrote until maintenance was on again, a moment ago
    old = [scene.keep.get(f"old.{number}") for number, _ in enumerate(places(scene))]
    if any(text is None for text in old):
        message = "the old connection string is not known on this machine"
        raise RefusedError(message, code="no-old-value", remedy="go back on the machine where the run began, or set it by hand")
    done = _put(scene, [text for text in old if text is not None], "the old value again", "back")
    left = f"{parse_url(scene.current_text()).display} has rows that the old database has not: {behind}"
    return {**done, "said": [*done["said"], left], "follow_up": left} if behind else done


def _objection(scene: Scene, prepared: Json) -> None:
    """Going back to the old database leaves behind what people wrote to the restored one since maintenance was lifted."""
    _left_behind(scene)


def _left_behind(scene: Scene) -> str:
    """What was written to the restored database since it was opened. Raises RefusedError where nobody consented to leave it behind."""
    before = scene.prepared("maintenance-off")
    if "counters" not in before:
        return ""
    try:
        with closing_connection(scene, scene.current_text()) as there:
            since = database.since(there, before, scene.pause)
        named = ", ".join(f"{table} ({amount(rows, 'row')})" for table, rows in sorted(since.items())[:8])
    except (RefusedError, EnvironmentProblem, psycopg.Error) as unknown:
        named = f"not known ({unknown})"
    if named and "loss" not in scene.allow:
        message = f"rows were written to the restored database since: {named}; the old one does not have them"
        raise RefusedError(
            message,
            code="written-since",
            remedy="carry them over first (unmigrate carry-over), or leave them behind with --accept-loss",
        )
    return named


def _put(scene: Scene, texts: list[str], what: str, mark: str) -> Json:
    said = []
    for place, text in zip(places(scene), texts, strict=True):
        if place.get() != text:
            place.put(text)
        scene.trace(f"connection: {place.name}")
        said.append(f"{place.name}: {what}")
    said += [line for place in places(scene) for line in place.after(f"{scene.spec.run}-{mark}")]
    if after := scene.config.connection.after:
        scene.shell(after)
        said.append(f"`{after}` ended with 0")
    return {"said": said}


def _shown(scene: Scene) -> list[str]:
    after = scene.config.connection.after
    return [line for place in places(scene) for line in place.shown] + ([after] if after else [])


STEP = Step(
    "connection",
    "connection string",
    _shown,
    _apply,
    prepare=_prepare,
    undo=_undo,
    objection=_objection,
    shown_undo=lambda s, _: _shown(s),
    tries=3,
)
