#!/bin/sh
# Install the real Prisma CLI for the oracle tests, into .oracle/6 and .oracle/7 at the root of the repository.
#
#   tests/oracle/install.sh [6] [7]      both, when none is named
#
# Needs node (18.18 for 6, 20.19 for 7) and npm. A version that is installed already is left alone. Install scripts are not run: Prisma's would
# download its native engines, which the oracle does not use (see engine.mjs).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ $# -gt 0 ] || set -- 6 7

command -v node >/dev/null && command -v npm >/dev/null || {
  echo "install.sh: node and npm are needed (apt install nodejs npm)" >&2
  exit 4
}

for version in "$@"; do
  wanted="$here/package.$version.json"
  target="$root/.oracle/$version"
  [ -f "$wanted" ] || { echo "install.sh: there is no Prisma $version here, only 6 and 7" >&2; exit 2; }
  mkdir -p "$target"
  cp -p "$here/engine.mjs" "$target/engine.mjs"
  : > "$target/none.so.node" # 6.x wants a query engine to be there; nothing loads it
  cmp -s "$wanted" "$target/.installed" && continue
  # A first attempt that was cut short leaves half-written packages, which npm would take for whole ones.
  rm -rf "$target/node_modules" "$target/.installed"
  cp "$wanted" "$target/package.json"
  (cd "$target" && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error)
  cp "$wanted" "$target/.installed"
done
