"""Files like .env, read as the dotenv package reads them, and expanded as Prisma 6 expands them."""

import re
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(
    r"""^\s*(?:export\s+)?(?P<name>[\w.-]+)(?:\s*=\s*?|:\s+?)
        (?P<value>\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+)?\s*(?:\#.*)?$""",
    re.MULTILINE | re.VERBOSE,
)
_REFERENCE = re.compile(r"(\\?)\$\{(\w+)\}")
_DEPTH = 10  # of references in references; a name that refers to itself must end somewhere


def parse(text: str) -> dict[str, str]:
    """Names and values. Quotes are taken off; only double quotes turn \\n into a line end; the last of equal names counts."""
    found = {}
    for match in _LINE.finditer(text.replace("\r\n", "\n")):
        value = (match["value"] or "").strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"`":
            quote, value = value[0], value[1:-1]
            if quote == '"':
                value = value.replace("\\n", "\n").replace("\\r", "\r")
        found[match["name"]] = value
    return found


def read(path: Path) -> dict[str, str]:
    """The file's values; none where it is missing or cannot be read."""
    try:
        return parse(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return {}


def expand(values: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Put the values of names in place of ${NAME}: the environment's before the file's; \\${NAME} stays as it is."""

    def fill(text: str, depth: int) -> str:
        def one(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            value = environ.get(match[2], values.get(match[2], ""))
            return fill(value, depth - 1) if depth else ""

        return _REFERENCE.sub(one, text)

    return {name: fill(value, _DEPTH) for name, value in values.items()}
