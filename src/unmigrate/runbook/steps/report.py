"""The report: written when the run ends, and again by `unmigrate run report`."""

from unmigrate.runbook import report
from unmigrate.runbook.model import Json, Record
from unmigrate.runbook.scene import Scene
from unmigrate.runbook.step import Step


def _apply(scene: Scene, prepared: Json) -> Json:
    paths = report.write(scene.root / scene.config.run.report, scene.spec, [Record.from_json(r.to_json()) for r in scene.tale], "done")
    return {"said": [f"report: {', '.join(str(p) for p in paths)}"], "files": [str(p) for p in paths]}


STEP = Step("report", "report", lambda scene: [f"write {scene.config.run.report}/{scene.spec.run}.md and .html"], _apply)
