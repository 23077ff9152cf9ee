"""The app version from before the migration, and the gate: what is deployed must not apply the migration again."""

from pathlib import Path
from typing import Any

from unmigrate.config.app import Deployed
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.prisma.ledger import read_ledger, states
from unmigrate.runbook.adapters import git, http
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.step import Step


def _cluster(scene: Scene) -> Any:
    from unmigrate.runbook.adapters import kubernetes

    config = scene.config.app.kubernetes
    return kubernetes.Cluster.open(config.namespace, config.context) if config else None


def _worktree(scene: Scene) -> Path | None:
    place = scene.config.app.checkout
    return scene.root / place if place else None


def _prepare(scene: Scene) -> Json:
    """Which version is out now."""
    a, found = scene.config.app, {}
    if worktree := _worktree(scene):
        git.refuse_dirty(worktree)
        found["head"] = git.head(worktree)
    if a.kubernetes:
        found["kubernetes"] = _cluster(scene).versions(a.kubernetes)
    if a.deploy:
        found["version"] = found.get("head") or (_version(scene, a.deployed) if a.deployed else "") or git.head(scene.root)
    return found


def _apply(scene: Scene, prepared: Json) -> Json:
    tag, a, said = scene.spec.tag, scene.config.app, []
    if worktree := _worktree(scene):
        git.switch(worktree, _wanted(tag))
        scene.trace("app: checkout")
        said.append(f"{worktree} is at {tag}")
    if a.deploy:
        said += _deploy(scene, a.deploy, _wanted(tag))
    if a.kubernetes:
        said += _cluster(scene).roll_back(a.kubernetes, prepared["kubernetes"], tag, scene)
    paused = prepared.get("kubernetes", {}).get("argocd", [])
    return {"said": said, "tag": tag, **({"follow_up": argocd_follow_up(paused, scene)} if paused else {})}


def argocd_follow_up(paused: list[Json], scene: Scene) -> str:
    names, version = ", ".join(each["name"] for each in paused), scene.spec.tag or "the version before"
    return f"Argo CD ({names}) stays paused: put {version} into its source, then switch automated sync on again"


def _undo(scene: Scene, prepared: Json) -> Json:
    a, said = scene.config.app, []
    if a.kubernetes:
        said += _cluster(scene).roll_forward(a.kubernetes, prepared["kubernetes"], scene)
    if worktree := _worktree(scene):
        git.switch(worktree, prepared["head"])
        said.append(f"{worktree} is at {prepared['head']} again")
    if a.deploy:
        said += _deploy(scene, a.deploy, prepared["version"])
    return {"said": said}


def _deploy(scene: Scene, text: str, version: str) -> list[str]:
    said = scene.shell_line(text, {"UNMIGRATE_TAG": version})
    scene.trace("app: deployed")
    return [f"with UNMIGRATE_TAG={version} {said}"]


def refuse_tag(scene: Scene) -> None:
    """The version to go back to must not ship what is to be undone."""
    a, tag = scene.config.app, scene.spec.tag
    if tag is None:
        if a.deploy or a.checkout or (a.kubernetes and a.kubernetes.image):
            remedy = "give --tag; unmigrate versions lists tags and what they ship"
            raise RefusedError("no tag is known that belongs to the schema before", code="no-tag", remedy=remedy)
        return
    again = [n for n in scene.spec.migrations if n in git.shipped_by(scene.root, migrations_dir(scene), tag)]
    if again:
        raise RefusedError(f"{tag} ships {', '.join(again)}: it would be applied again", code="re-apply", remedy="choose an older tag")


def _wanted(tag: str | None) -> str:
    if tag is None:
        raise RefusedError(
            "no tag is known to go back to", code="no-tag", remedy="begin the run with --tag TAG; unmigrate versions lists them"
        )
    return tag


def _shown(scene: Scene) -> list[str]:
    a, tag, lines = scene.config.app, scene.spec.tag, []
    if worktree := _worktree(scene):
        lines.append(f"git -C {worktree} checkout {tag}")
    if a.deploy:
        lines.append(f"UNMIGRATE_TAG={tag or '(none)'} {a.deploy}")
    if a.kubernetes:
        from unmigrate.runbook.adapters import kubernetes

        lines += kubernetes.shown_version(a.kubernetes, tag)
    return lines


def migrations_dir(scene: Scene) -> Path:
    """The project's folder of migrations, as it is here now."""
    from unmigrate.prisma.project import find_project

    f = scene.spec.flags
    schema, migrations = (Path(f[k]) if f.get(k) else None for k in ("schema_file", "migrations"))
    return find_project(
        scene.root, package=f.get("package"), schema=schema, migrations=migrations, url="postgresql://unused/unused", environ=scene.environ
    ).migrations_dir


def shipped(scene: Scene) -> tuple[frozenset[str], str]:
    """Migrations that the deployed app ships, and how that is known. The deployed app itself is asked before anything is concluded."""
    a, folder = scene.config.app, migrations_dir(scene)
    if a.deployed and a.deployed.migrations:
        out = scene.shell(a.deployed.migrations)
        return frozenset(Path(line.strip()).name for line in out.splitlines() if line.strip()), f"`{a.deployed.migrations}`"
    # An app that was scaled to 0 for maintenance answers nobody.
    asleep = "kubernetes" in scene.prepared("maintenance-on") and a.deployed is not None and a.deployed.command is None
    if a.deployed and not asleep and (version := _version(scene, a.deployed)):
        return git.shipped_by(scene.root, folder, version), f"the deployed version {version} in git"
    if worktree := _worktree(scene):
        top = Path(git.call(scene.root, "rev-parse", "--show-toplevel").strip())
        there = worktree / folder.resolve().relative_to(top.resolve())
        names = frozenset(each.name for each in there.iterdir() if (each / "migration.sql").is_file()) if there.is_dir() else frozenset()
        return names, f"the folder {there}"
    by_tag = a.deploy or (a.kubernetes and a.kubernetes.image)  # `rollout undo` goes to whatever was there before
    if scene.spec.tag and by_tag and "app" in scene.spec.steps and "said" in scene.evidence("app"):
        return git.shipped_by(scene.root, folder, scene.spec.tag), f"the tag {scene.spec.tag} in git, which this run deployed"
    names = frozenset(each.name for each in folder.iterdir() if (each / "migration.sql").is_file())
    return names, f"this project's folder {folder}, as unmigrate.toml does not say what is deployed"


def _version(scene: Scene, deployed: Deployed) -> str:
    if deployed.command:
        return scene.shell(deployed.command).strip()
    if deployed.http:
        answer = http.Client(scene.environ).send(deployed.http, scene.left())
        if not http.has(answer.json, deployed.path):
            message = f"{http.shown(deployed.http)} does not say which version is deployed: its answer has no {deployed.path}"
            raise EnvironmentProblem(message, code="no-version", remedy="correct app.deployed.path in unmigrate.toml")
        return str(http.field(answer.json, deployed.path))
    return ""


def _asked(scene: Scene) -> list[str]:
    """How the deployed app is asked what it ships."""
    deployed = scene.config.app.deployed
    if deployed is None:
        return []
    calls = (deployed.migrations, deployed.command, http.shown(deployed.http) if deployed.http else None)
    return [next(call for call in calls if call)] if any(calls) else []


def _stays(scene: Scene) -> frozenset[str]:
    """Migrations that stay applied, of which any version of this app ships some."""
    with closing_connection(scene, scene.current_text()) as connection:
        rows = read_ledger(connection, scene.spec.schema) or ()
    return frozenset(s.name for s in states((), rows) if s.state == "applied") - set(scene.spec.migrations)


def _gate(scene: Scene, prepared: Json) -> Json:
    names, how = shipped(scene)
    again = [name for name in scene.spec.migrations if name in names]
    stays = _stays(scene)
    if not again and (names & stays or not stays):
        return {"said": [f"the next deploy does not apply it again: by {how}"]}
    if again:
        message = f"the next deploy applies {', '.join(again)} again: it is in {how}"
    else:
        message = f"what the next deploy applies is not known: {how} names none of what stays applied here, such as {min(stays)}"
    if "gate" in scene.allow:
        follow_up = f"{message}: deploy the version from before it, or take the folder out, before anything deploys"
        return {"said": [f"let through by --approve gate although {message}"], "follow_up": follow_up}
    version = scene.spec.tag or "the version from before it"
    remedy = f"deploy {version}, and write into [app] of unmigrate.toml what is deployed; if you know that it is: --approve gate"
    raise RefusedError(message, code="re-apply", remedy=remedy)


def _foreseen(scene: Scene) -> list[str]:
    """That it will stop there, where that is known before: nothing is deployed by this run, and nothing says what is."""
    if scene.config.app.deployed or "app" in scene.spec.steps:
        return []
    names, how = shipped(scene)
    again = [name for name in scene.spec.migrations if name in names]
    if not again:
        return []
    why = f"as {', '.join(again)} is in {how}"
    if "gate" in scene.allow:
        return [f"it would stop here, {why}: --approve gate lets it go on"]
    return [f"the run will stop here, {why}: deploy what was there before and say so in [app], or --approve gate"]


STEP = Step("app", "app version before", _shown, _apply, prepare=_prepare, undo=_undo, shown_undo=lambda s, _: _shown(s), tries=2)
GATE = Step(
    "gate",
    "gate: not to be applied again",
    lambda scene: [*_asked(scene), "compare the deployed app's migrations folder with what was undone", *_foreseen(scene)],
    _gate,
    tries=8,
)
