"""Which extensions a set of scripts asks for."""

import re
from collections.abc import Iterable

_COMMENT = re.compile(r"--[^\n]*")
_CREATE = re.compile(r"create\s+extension\s+(?:if\s+not\s+exists\s+)?(?:\"([^\"]+)\"|([a-z_][a-z0-9_]*))", re.IGNORECASE)


def wanted_extensions(scripts: Iterable[str]) -> frozenset[str]:
    """Names in CREATE EXTENSION, as written; a comment between /* and */ may be taken for one, which costs nothing."""
    return frozenset(m[1] or m[2].lower() for text in scripts for m in _CREATE.finditer(_COMMENT.sub("", text))) - {"plpgsql"}
