"""The steps in their order; one file per concern. Which of them a run has is decided when it begins."""

from unmigrate.config import Config
from unmigrate.runbook.model import Spec, Way
from unmigrate.runbook.step import Step


def steps_of(spec: Spec) -> list[Step]:
    """The steps of a run, in order."""
    known = {step.name: step for step in _all()}
    return [known[name] for name in spec.steps]


def names_for(config: Config, way: Way, *, maintenance: bool, refill: bool = False) -> tuple[str, ...]:
    """Which steps a run of this way has with this configuration."""
    m = config.maintenance
    able = bool(m.http or m.command or m.kubernetes or m.database)
    c, a, n = config.connection, config.app, config.announce
    wanted = {
        "preflight": True, "refill-source": refill, "refill": refill,
        "flags": bool(config.flags), "announce-begin": bool(n.webhook_env or n.command),
        "maintenance-on": maintenance and able, "quiet": maintenance, "reverse": way == "reverse",
        "snapshot": bool(config.run.snapshot or config.snapshot.create_command), "restore": way == "restore",
        "connection": way == "restore" and bool(c.env_file or c.kubernetes or c.aws or c.command),
        "app": bool(a.deploy or a.checkout or a.kubernetes), "gate": True, "inside-checks": True,
        "maintenance-off": maintenance and able, "outside-checks": bool(config.checks.http),
        "announce-end": bool(n.webhook_env or n.command), "report": True,
    }  # fmt: skip
    return tuple(name for name in (s.name for s in _all()) if wanted[name])


def _all() -> list[Step]:
    from unmigrate.runbook.steps import announce, app, checks, connection, maintenance, preflight, refill, report, restore, reverse

    return [
        preflight.STEP, refill.FETCH, announce.FLAGS, announce.BEGIN, maintenance.ON, maintenance.QUIET, restore.PROTECT, reverse.STEP,
        refill.STEP, restore.STEP, connection.STEP, app.STEP,
        app.GATE, checks.INSIDE, maintenance.OFF, checks.OUTSIDE, announce.END, report.STEP,
    ]  # fmt: skip
