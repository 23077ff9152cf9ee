"""Under which system account a scratch server runs, and where it keeps its files.

PostgreSQL refuses to run as root. As root the server gets a user id that belongs to nobody (so that what breaks out of it owns
nothing, in particular not the files of a real cluster as `postgres` would); initdb, which asks for a name, runs as an existing
unprivileged account, and what it made is handed over.
"""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UNUSED_IDS = range(61_500, 61_600)  # in systemd's range for dynamic users, far from people and packages
NAMED = ("nobody", "postgres")


@dataclass(frozen=True, slots=True)
class Account:
    """uid and gid of the server; named: a uid with a name, for initdb."""

    uid: int
    gid: int
    named: int


def server_account() -> Account | None:
    """None: this process is not root and the server runs as what we are."""
    if os.geteuid() != 0:
        return None
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    names = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    named = next((names[name] for name in NAMED if name in names), None) or next(iter(names.values()), None)
    if named is None:
        return None
    for uid in UNUSED_IDS:
        if uid not in taken and _mapped(uid):
            return Account(uid, uid, named.pw_uid)
    return Account(named.pw_uid, named.pw_gid, named.pw_uid)


def _mapped(uid: int) -> bool:
    """Whether this user id exists in our user namespace (containers may map few of them)."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return True
    return any(start <= uid < start + count for start, _, count in (map(int, line.split()) for line in lines))


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Where templates and the persistent server live. Root's is outside root's home, which the server could not enter."""
    if given := environ.get("UNMIGRATE_CACHE"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/cache/unmigrate")
    if given := environ.get("XDG_CACHE_HOME"):
        return Path(given) / "unmigrate"
    home = environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    mac = Path(home) / "Library" / "Caches"
    return (mac if mac.is_dir() else Path(home) / ".cache") / "unmigrate"
