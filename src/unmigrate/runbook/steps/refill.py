"""The reverse way with a refill: the snapshot is restored beside before anything is touched; what the migration destroyed comes back from
it right after the rollback, before the app does."""

import json
from contextlib import closing
from typing import Any

import psycopg

from unmigrate.catalog.read import read_catalog
from unmigrate.errors import FailedError, UnmigrateError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.runbook.adapters import snapshots
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.step import Step
from unmigrate.snapshot import lost, verify
from unmigrate.snapshot.job import Asked, Report
from unmigrate.snapshot.refill import refill
from unmigrate.words import amount

_COPY, _DONE = "refill.copy", "refill.done"  # what is kept: the copy's URL; the evidence, once all is merged
GIVEN = "refill.given"  # the URL of a database that somebody restored


def _asked(scene: Scene) -> Json:
    assert scene.spec.refill is not None
    return scene.spec.refill


def _copy(scene: Scene) -> str:
    """URL of what is read from."""
    text = scene.keep.get(GIVEN) or scene.keep.get(_COPY)
    if text is None:
        raise FailedError("nothing was restored to refill from", code="no-copy", remedy=f"unmigrate refill {scene.spec.migrations[0]}")
    return text


def _fetch(scene: Scene, prepared: Json) -> Json:
    """Restored once: called again, providers go on or answer as before."""
    if scene.keep.get(GIVEN) is None and scene.keep.get(_COPY) is None:
        copy = snapshots.Copy(scene)
        scene.keep.put(_COPY, copy.restore(str(_asked(scene)["at"]), _asked(scene).get("tables"), scene.say))
    scene.trace("refill-source: restored")
    display = parse_url(_copy(scene)).display
    with closing(connect(parse_url(_copy(scene)))) as other, closing_connection(scene) as live:
        verify.require_before(other, live, scene.spec.migrations, scene.spec.schema)
    return {"said": [f"{_asked(scene)['name']} is there, as {display}, and from before", *_asked(scene)["notes"]]}


def _discard(scene: Scene, prepared: Json) -> Json:
    if scene.keep.get(GIVEN) is not None:
        return {"said": ["what was given to refill from is left as it is"]}
    try:
        snapshots.Copy(scene).discard()
    except UnmigrateError as error:
        left = f"drop {snapshots.Copy(scene).name}, which was restored to refill from: {error}"
        return {"said": [left], "follow_up": left}
    return {"said": ["what was restored to refill from is dropped"]}


def _apply(scene: Scene, prepared: Json) -> Json:
    done = scene.keep.get(_DONE)
    if done is None:
        evidence = _evidence(_merge(scene), scene)
        scene.keep.put(_DONE, json.dumps(evidence))
        scene.trace("refill: merged")
    else:  # interrupted after that: what it was read from may be gone
        evidence = json.loads(done)
    gone = _discard(scene, prepared)
    follow_ups = [x["follow_up"] for x in (evidence, gone) if "follow_up" in x]
    return {**evidence, "said": [*evidence["said"], *gone["said"]], **({"follow_up": "; ".join(follow_ups)} if follow_ups else {})}


def _merge(scene: Scene) -> Report:
    asked, url = _asked(scene), parse_url(_copy(scene))

    def other() -> psycopg.Connection[Any]:
        return connect(url)

    with closing(other()) as source:
        with closing_connection(scene) as live:
            undone = lost.undone(live, scene.spec.migrations[0])
            if undone is None:
                raise FailedError("the vault knows of no rollback to refill after", code="nothing-undone", remedy="unmigrate status")
            wanted = (*lost.destroyed(undone.losses), *lost.changed(undone.losses))
            found = lost.find(wanted, read_catalog(live), read_catalog(source))
        told = Asked(
            str(asked["name"]), lock_timeout_ms=scene.spec.lock_timeout_ms, say=scene.say, on_step=lambda at: scene.trace(f"refill: {at}")
        )
        copy = None if scene.keep.get(GIVEN) else other
        return refill(scene.connect, source, undone, found, told, up=asked["texts"], copy=copy)


def _evidence(report: Report, scene: Scene) -> Json:
    said = [
        f"{part.table}{f' ({names})' if (names := ', '.join(part.columns)) and part.kind == 'columns' else ''}: "
        f"{part.filled:,} of {amount(part.staged, 'row')} brought back"
        for part in report.parts
    ]
    said += [f"left out: {name}: {why}" for name, why in report.left_out]
    evidence: Json = {"said": said, "losses": [{"object": name, "rows": None, "why": why} for name, why in report.left_out]}
    if kept := sum(part.conflicts for part in report.parts):
        evidence["follow_up"] = f"look at {report.conflict_table}: {amount(kept, 'value')} of the snapshot were not taken"
    return evidence


def _shown_fetch(scene: Scene) -> list[str]:
    if (given := scene.keep.get(GIVEN)) is not None:
        return [f"read {parse_url(given).display}"]
    return snapshots.Copy(scene).shown(str(_asked(scene)["at"]), _asked(scene).get("tables"))


def _shown(scene: Scene) -> list[str]:
    return [f"merge {name} by key from {_asked(scene)['name']}" for name in _asked(scene)["objects"]]


FETCH = Step(
    "refill-source", "restore the snapshot beside", _shown_fetch, _fetch, undo=_discard,
    shown_undo=lambda scene, _: ["drop what was restored to refill from"],
)  # fmt: skip
STEP = Step("refill", "bring back what was destroyed", _shown, _apply)
