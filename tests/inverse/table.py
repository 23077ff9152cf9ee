"""The matrix as a page for people: python -m tests.inverse.table > docs/matrix.md"""

from collections import Counter

from tests.inverse import cases_code, cases_tables, cases_types
from tests.inverse.case import Case

CASES = (*cases_types.CASES, *cases_tables.CASES, *cases_code.CASES)
VERDICTS = ("exact", "equivalent", "column-order", "refused")
HEAD = """# What is undone, and what is refused

Made from the cases of `tests/inverse` (`python -m tests.inverse.table > docs/matrix.md`). Each is applied and undone on a scratch
server, PostgreSQL 15 or 18; besides the verdict of `unmigrate` the texts of `pg_dump -s` before and after are compared.
"""


def page() -> str:
    kinds: dict[str, list[Case]] = {}
    for case in CASES:
        kinds.setdefault(case.kind, []).append(case)
    lines = [HEAD, f"| kind | cases | {' | '.join(VERDICTS)} |", "|---|---:|---:|---:|---:|---:|"]
    for kind, cases in kinds.items():
        counts = Counter(case.expected for case in cases)
        lines.append(f"| {kind.removeprefix('pg_')} | {len(cases)} | " + " | ".join(str(counts[v] or "") for v in VERDICTS) + " |")
    total = Counter(case.expected for case in CASES)
    lines.append(f"| **all** | {len(CASES)} | " + " | ".join(str(total[v]) for v in VERDICTS) + " |")
    lines += ["", "## Refused", "", "| kind | change | because |", "|---|---|---|"]
    lines += [f"| {c.kind.removeprefix('pg_')} | {c.action} | {c.reason} |" for c in CASES if c.expected == "refused"]
    lines += ["", "## Only the order of columns differs", ""]
    lines += [f"- {c.kind}: {c.action}" for c in CASES if c.expected == "column-order"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
