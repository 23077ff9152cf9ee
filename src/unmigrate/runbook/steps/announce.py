"""Telling people, and switching feature flags off."""

from collections.abc import Callable

from unmigrate.config.flags import Flag, gating
from unmigrate.runbook.adapters import http, webhook
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene
from unmigrate.runbook.step import Step


def _text(scene: Scene, what: str) -> str:
    names = ", ".join(scene.spec.migrations)
    return f"unmigrate {scene.spec.run}: {what} {names} on {scene.spec.display} ({scene.spec.way}; by {scene.spec.actor})"


def _say(scene: Scene, what: str, step: str) -> Json:
    """Told once: a run that was killed while telling does not tell again, and says so."""
    key = f"{scene.spec.run}.{step}"
    if scene.keep.get(key) is not None:
        return {"said": ["interrupted while telling: it may not have arrived, and is not told twice"]}
    scene.keep.put(key, "begun")
    scene.trace(f"{step}: begun")
    n, text, said = scene.config.announce, _text(scene, what), []
    if n.webhook_env:
        status = webhook.post(webhook.url(n.webhook_env, scene.environ), text, key, scene.left())
        said.append(f"webhook of {n.webhook_env} answered {status}")
    if n.command:
        scene.shell(n.command, {"UNMIGRATE_TEXT": text, "UNMIGRATE_STEP": step})
        said.append(f"`{n.command}` ended with 0")
    scene.trace(f"{step}: told")
    return {"said": said, "text": text}


def _tell(what: str, step: str) -> Callable[[Scene, Json], Json]:
    def apply(scene: Scene, prepared: Json) -> Json:
        """What nobody hears must not stop the way back: a failure is evidence, not an end."""
        try:
            return _say(scene, what, step)
        except Exception as error:
            return {"said": [f"not told: {error}"], "follow_up": f"tell people yourself: {_text(scene, what)}"}

    return apply


def _shown(what: str) -> Callable[[Scene], list[str]]:
    def shown(scene: Scene) -> list[str]:
        n, text = scene.config.announce, _text(scene, what)
        lines = [f'POST ${{{n.webhook_env}}} {{"text": "{text}"}}'] if n.webhook_env else []
        return [*lines, f"{n.command}  # UNMIGRATE_TEXT='{text}'"] if n.command else lines

    return shown


def _flags(scene: Scene) -> list[Flag]:
    """Those that guard what one of the migrations brought."""
    return list(gating(scene.config.flags, scene.spec.migrations))


def _switch(scene: Scene, flag: Flag, *, on: bool) -> list[str]:
    request, text = (flag.on, flag.on_command) if on else (flag.off, flag.off_command)
    said = http.Client(scene.environ).run([request], scene.left()) if request else []
    if text:
        scene.shell(text, {"UNMIGRATE_FLAG": flag.name})
        said.append(f"`{text}` ended with 0")
    scene.trace(f"flags: {flag.name}")
    word = "on again" if on else "off"
    return [f"flag {flag.name} {word}: {line}" for line in said] or [f"flag {flag.name}: nothing is configured that switches it on again"]


def _lines(scene: Scene, *, on: bool) -> list[str]:
    pairs = [(f.on, f.on_command) if on else (f.off, f.off_command) for f in _flags(scene)]
    return [line for request, text in pairs for line in (http.shown(request) if request else "", text or "") if line]


FLAGS = Step(
    "flags", "feature flags off", lambda scene: _lines(scene, on=False),
    lambda scene, _: {"said": [line for f in _flags(scene) for line in _switch(scene, f, on=False)]},
    undo=lambda scene, _: {"said": [line for f in _flags(scene) for line in _switch(scene, f, on=True)]},
    shown_undo=lambda scene, _: _lines(scene, on=True), tries=3,
)  # fmt: skip
BEGIN = Step(
    "announce-begin", "announce", _shown("begins to roll back"), _tell("begins to roll back", "announce-begin"),
    undo=_tell("gave up, and went back from rolling back", "announce-abort"),
)  # fmt: skip
END = Step("announce-end", "announce", _shown("has rolled back"), _tell("has rolled back", "announce-end"))
