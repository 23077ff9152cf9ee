"""Finding and reading unmigrate.toml. Absent file, absent section, absent key: the default.

Secrets never stand in it: where one is needed, a key that ends in `_env` names the environment variable that holds it.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from unmigrate.config.app import App
from unmigrate.config.checks import Checks
from unmigrate.config.connection import ConnectionString
from unmigrate.config.flags import Flag
from unmigrate.config.lint import Lint
from unmigrate.config.maintenance import Maintenance
from unmigrate.config.park import Park
from unmigrate.config.policy import Policy
from unmigrate.config.reading import Reader
from unmigrate.config.run import Announce, Run
from unmigrate.config.sample import Sample
from unmigrate.config.scratch import Scratch
from unmigrate.config.snapshot import Snapshot
from unmigrate.errors import UsageError

FILE = "unmigrate.toml"


@dataclass(frozen=True, slots=True)
class Config:
    """One field per section. file: where it was read, None when there is none."""

    park: Park = field(default_factory=Park)
    policy: Policy = field(default_factory=Policy)
    lint: Lint = field(default_factory=Lint)
    snapshot: Snapshot = field(default_factory=Snapshot)
    run: Run = field(default_factory=Run)
    maintenance: Maintenance = field(default_factory=Maintenance)
    connection: ConnectionString = field(default_factory=ConnectionString)
    app: App = field(default_factory=App)
    checks: Checks = field(default_factory=Checks)
    announce: Announce = field(default_factory=Announce)
    flags: tuple[Flag, ...] = ()
    sample: Sample = field(default_factory=Sample)
    scratch: Scratch = field(default_factory=Scratch)
    file: Path | None = field(default=None, metadata={"key": False})


def find(root: Path) -> Path | None:
    """The nearest unmigrate.toml in `root` or above it, up to the top of its git checkout."""
    folder = root.resolve()
    for each in (folder, *folder.parents):
        if (each / FILE).is_file():
            return each / FILE
        if (each / ".git").exists():
            return None
    return None


def load(root: Path) -> Config:
    """The configuration of a project folder; all defaults where there is no file. Raises UsageError naming file and line."""
    path = find(root)
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", code="config", remedy="save it as UTF-8 text that you may read") from error
    reader = Reader(path, text)
    return replace(reader.read(Config, reader.parse()), file=path)
