#!/bin/sh
# Install the servers of the major versions that neither the wheel nor Debian has, into .oracle/postgres at the root of the repository.
# Needs npm. Install scripts are not run; the links that they would make among the libraries are made here.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/.oracle/postgres
cmp -s "$here/package.json" "$target/.installed" && exit 0
mkdir -p "$target"
rm -rf "$target/node_modules" "$target/.installed"
cp "$here/package.json" "$target/package.json"
(cd "$target" && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error)
for package in "$target"/node_modules/postgres-*; do
  python3 - "$package" <<'PYTHON'
import json, os, pathlib, sys
package = pathlib.Path(sys.argv[1])
for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
    at = package / link["target"]
    at.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(at):
        at.symlink_to(os.path.relpath(package / link["source"], at.parent))
for program in (package / "native" / "bin").iterdir():
    program.chmod(0o755)
PYTHON
done
cp "$here/package.json" "$target/.installed"
