"""When pgBackRest prunes a backup by itself. Its `expire`, which each backup of cron's runs, goes by retention alone and knows nothing of
protection; no setting of it keeps one backup. So what is protected is told how long it lasts, and what to raise, before its time has come.

The settings are those that pgbackrest itself goes by, wherever they stand: it names them when its expire begins, even as a dry run.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from unmigrate.snapshot.backrest import Backrest, Raw
from unmigrate.words import amount

_SETTING = re.compile(r"--(repo\d+-retention-[a-z-]+)=(\S+)")


@dataclass(frozen=True, slots=True)
class Retention:
    """settings: {repo1-retention-full: "4"}, of those that are set; pruned: what expire would prune now; fulls, diffs: labels there are."""

    settings: dict[str, str]
    pruned: tuple[str, ...]
    fulls: tuple[str, ...]
    diffs: tuple[str, ...]


def read(backrest: Backrest, backups: Collection[Raw]) -> Retention:
    """Raises EnvironmentProblem, as where another pgbackrest is at work."""
    said = backrest.run("expire", "--dry-run", "--log-level-console=info")
    words = {word.strip(",") for line in said.splitlines() if "expire " in line and " backup " in line for word in line.split()}
    labels = {kind: tuple(b["label"] for b in backups if b["type"] == kind) for kind in ("full", "diff")}
    return Retention(
        dict(_SETTING.findall(said)), tuple(b["label"] for b in backups if b["label"] in words), labels["full"], labels["diff"]
    )


def left(backup: Raw, retention: Retention) -> tuple[int, str] | None:
    """How many more backups it lasts, and which setting says so; 0: it would be pruned now. None where pgbackrest keeps it for good, or by
    time (see `told`)."""
    repo, label = f"repo{backup['database'].get('repo-key', 1)}-retention", backup["label"]
    if label in retention.pruned:
        return 0, f"{repo}-full"
    full = label.partition("_")[0]
    found = []
    if (number := retention.settings.get(f"{repo}-full")) and not _by_time(repo, retention):
        found.append((max(1, int(number) - sum(other > full for other in retention.fulls)), f"{repo}-full"))
    if (number := retention.settings.get(f"{repo}-diff")) and label != full:
        newer = sum(_at(other) > _at(label) for other in (*retention.diffs, *retention.fulls))  # full ones count as well
        found.append((max(1, int(number) - newer), f"{repo}-diff"))
    return min(found) if found else None


def _by_time(repo: str, retention: Retention) -> bool:
    return retention.settings.get(f"{repo}-full-type") == "time"


def _at(label: str) -> str:
    return label.rpartition("_")[2]


def told(backup: Raw, retention: Retention) -> str:
    """For people: how long a protected backup lasts; "" where pgbackrest never prunes it."""
    repo = f"repo{backup['database'].get('repo-key', 1)}-retention"
    found = left(backup, retention)
    days = retention.settings.get(f"{repo}-full")
    if found is None and not (days and _by_time(repo, retention)):
        return ""
    if found is None:
        when, setting = f"once a newer full backup is {amount(int(days or 0), 'day')} old", f"{repo}-full"
    elif found[0] == 0:
        when, setting = "now", found[1]
    else:
        kind = "full backup" if found[1].endswith("-full") else "differential or full backup"
        when, setting = f"with the next {kind}" if found[0] == 1 else f"after {amount(found[0], f'more {kind}')}", found[1]
    raised = f"raise {setting}, now {retention.settings.get(setting)}"
    return f"pgbackrest's own expire, which knows nothing of protection, prunes it {when}: {raised}"
