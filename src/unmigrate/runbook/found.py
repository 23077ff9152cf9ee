"""What a project tells about how it is run: the beginning of an unmigrate.toml. Reads files alone; no secret is copied."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from unmigrate.errors import UnmigrateError
from unmigrate.prisma import dotenv
from unmigrate.prisma.project import Project
from unmigrate.runbook.adapters import git

_SKIP = frozenset({"node_modules", ".git", "dist", "build", ".next", ".venv", "vendor"})
_DEPTH = 4
_WORKLOAD = re.compile(r"^kind:\s*(Deployment|StatefulSet)\s*$", re.MULTILINE)
_NAME = re.compile(r"^metadata:\s*\n(?:[ \t]+.*\n)*?[ \t]+name:\s*[\"']?([a-z0-9.-]+)", re.MULTILINE)
_NAMESPACE = re.compile(r"^[ \t]+namespace:\s*[\"']?([a-z0-9.-]+)", re.MULTILINE)
_IMAGE = re.compile(r"^[ \t-]+image:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)
_SECRET = re.compile(r"secretKeyRef:\s*\n(?:[ \t]+.*\n){0,3}?[ \t]+name:\s*[\"']?([a-z0-9.-]+)")


@dataclass(frozen=True, slots=True)
class Workload:
    kind: str
    name: str
    namespace: str
    image: str
    secret: str


@dataclass(frozen=True, slots=True)
class Found:
    """env: .env files with the variable of the URL, as (file, variable); prisma: how its CLI is called here; tags: a pattern of release
    tags; workloads: of Kubernetes manifests; webhook: an environment variable that looks like one."""

    env: tuple[tuple[str, str], ...]
    prisma: str
    tags: str
    workloads: tuple[Workload, ...]
    webhook: str


def look(root: Path, project: Project, environ: Mapping[str, str]) -> Found:
    workloads = tuple(w for path in _files(root, _DEPTH) if path.suffix in (".yaml", ".yml") for w in _workloads(path))
    webhook = next((name for name in sorted(environ) if name.endswith(("SLACK_WEBHOOK", "SLACK_WEBHOOK_URL"))), "")
    return Found(tuple(_env(root)), _prisma(root), _tags(root, project), workloads, webhook)


def _files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    for each in children:
        if each.is_file():
            yield each
        elif depth and each.is_dir() and not each.is_symlink() and each.name not in _SKIP:
            yield from _files(each, depth - 1)


def _env(root: Path) -> Iterator[tuple[str, str]]:
    for name in (".env", ".env.production", ".env.local"):
        values = dotenv.read(root / name)
        for variable in ("DATABASE_URL", "POSTGRES_PRISMA_URL", "POSTGRES_URL"):
            if values.get(variable, "").startswith(("postgresql://", "postgres://")):
                yield name, variable


def _prisma(root: Path) -> str:
    for lock, call in (("pnpm-lock.yaml", "pnpm exec"), ("yarn.lock", "yarn"), ("bun.lock", "bunx"), ("bun.lockb", "bunx")):
        if any((folder / lock).exists() for folder in (root, *root.resolve().parents)):
            return f"{call} prisma migrate status"
    return "npx --no-install prisma migrate status" if _has_prisma(root) else ""


def _has_prisma(root: Path) -> bool:
    try:
        content = json.loads((root / "package.json").read_text(encoding="utf-8-sig"))
        return any("prisma" in content.get(group, {}) for group in ("dependencies", "devDependencies"))
    except (OSError, ValueError, AttributeError):
        return False


def _tags(root: Path, project: Project) -> str:
    """The pattern that most tags follow: v* or *."""
    try:
        tags = [r.tag for r in git.releases(root, project.migrations_dir, "*")]
    except (UnmigrateError, ValueError):
        return ""
    return "v*" if tags and sum(t.startswith("v") for t in tags) * 2 > len(tags) else "*" if tags else ""


def _workloads(path: Path) -> Iterator[Workload]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if "{{" in text or path.stat().st_size > 500_000:  # a Helm template says nothing before it is rendered
        return
    for document in re.split(r"^---\s*$", text, flags=re.MULTILINE):
        kind, name = _WORKLOAD.search(document), _NAME.search(document)
        if kind and name:
            namespace, image, secret = (_first(p, document) for p in (_NAMESPACE, _IMAGE, _SECRET))
            yield Workload(kind[1].lower(), name[1], namespace or "default", image, secret if "DATABASE_URL" in document else "")


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def toml(found: Found) -> str:
    """The file. What is only a guess is a comment to be looked at."""
    lines = ["# How this team rolls back. Every key: docs/configuration.md. `unmigrate doctor` says whether it works.", ""]
    lines += ["[run]", '# approve = ["reverse"]   # steps that wait for a person', ""]
    lines += ["[announce]", f'webhook_env = "{found.webhook}"' if found.webhook else '# webhook_env = "SLACK_WEBHOOK_URL"', ""]
    lines += [*_maintenance(found), *_connection(found), *_app(found)]
    lines += ["[checks]", f'prisma = "{found.prisma}"' if found.prisma else '# prisma = "npx prisma migrate status"', ""]
    lines += ["# [[checks.http]]", '# name = "health"', '# requests = [{ url = "https://app.example.org/health", status = [200] }]', ""]
    lines += ["# [[checks.sql]]", '# name = "users are there"', "# sql = 'select count(*) > 0 from \"User\"'", ""]
    return "\n".join(lines)


def _maintenance(found: Found) -> list[str]:
    lines = ["[maintenance]", ""]
    if found.workloads:
        lines += ["[maintenance.kubernetes]   # found in manifests: are these all that write?", f"workloads = {_list(found.workloads)}"]
        return [*lines, f'namespace = "{found.workloads[0].namespace}"', ""]
    return [
        *lines,
        "[maintenance.database]   # needs no access but the database's; the owner of the database may",
        'mode = "read-only"',
        "",
    ]


def _connection(found: Found) -> list[str]:
    with_secret = [w for w in found.workloads if w.secret]
    if with_secret:
        first = with_secret[0]
        lines = ["[connection.kubernetes]   # found in manifests", f'secret = "{first.secret}"', f'namespace = "{first.namespace}"']
        return [*lines, f"restart = {_list(tuple(w for w in with_secret if w.secret == first.secret))}", ""]
    if found.env:
        file, variable = found.env[0]
        return ["[connection.env_file]", f'file = "{file}"', f'variable = "{variable}"', ""]
    return ["# [connection.env_file], .kubernetes, .aws or .command: where the app's connection string stands", ""]


def _app(found: Found) -> list[str]:
    lines = ["[app]", f'tags = "{found.tags}"' if found.tags else '# tags = "v*"   # git tags that are releases', ""]
    imaged = [w for w in found.workloads if w.image]
    if imaged:
        name = re.sub(r"(@sha256:.*|:[\w.-]+)$", "", imaged[0].image)
        same = tuple(w for w in imaged if re.sub(r"(@sha256:.*|:[\w.-]+)$", "", w.image) == name)
        return [
            *lines,
            "[app.kubernetes]",
            f"workloads = {_list(same)}",
            f'namespace = "{same[0].namespace}"',
            f'image = "{name}:{{tag}}"',
            "",
        ]
    return [*lines[:-1], '# deploy = "scripts/deploy $UNMIGRATE_TAG"   # a command that deploys a version; it may run twice', ""]


def _list(workloads: tuple[Workload, ...]) -> str:
    names = dict.fromkeys(f'"{w.kind}/{w.name}"' for w in workloads)
    return f"[{', '.join(names)}]"
