"""The pages in docs/rules/, made from the rules: python -m unmigrate.lint.pages docs/rules"""

import sys
from pathlib import Path

from unmigrate.lint.model import Rule
from unmigrate.lint.rules import RULES

_HEAD = """# Rules

What `unmigrate check` looks for, besides [squawk's rules](https://squawkhq.com/docs/rules) (shown as `squawk/<rule>`).

In `unmigrate.toml`:

    [lint]
    fail_on = "error"           # the lowest level that makes check exit 1: error, warning, note, never
    squawk = true               # ask squawk too; its own .squawk.toml and `-- squawk-ignore` count
    max_statements = 100        # too-large; 0 is no limit
    max_tables = 10
    max_phases = 2

    [lint.rules]                # error, warning, note or off
    too-large = "off"
    "squawk/prefer-text-field" = "off"

In a migration, for the whole file, with a reason:

    -- unmigrate: allow lossy-inverse: the column was never filled

| rule | level | says |
|---|---|---|
"""


def page(rule: Rule) -> str:
    """One rule's page."""
    return (
        f"# {rule.name}\n\n**{rule.title}.** Level: {rule.level}.\n\n{rule.why}\n\n"
        f"Bad:\n\n```sql\n{rule.bad}\n```\n\nGood:\n\n```sql\n{rule.good}\n```\n\n"
        f"What to do: {rule.remedy}.\n\nWhere it is meant: `-- unmigrate: allow {rule.name}: <reason>` in the migration, "
        f'or `{rule.name} = "off"` under `[lint.rules]` in unmigrate.toml.\n'
    )


def pages() -> dict[str, str]:
    """{file name: text} of docs/rules/."""
    index = _HEAD + "".join(f"| [{r.name}]({r.name}.md) | {r.level} | {r.title} |\n" for r in RULES.values())
    return {"README.md": index, **{f"{rule.name}.md": page(rule) for rule in RULES.values()}}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
