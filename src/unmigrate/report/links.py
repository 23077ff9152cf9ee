"""Where the documentation of a rule is on the web."""

from unmigrate.lint.squawk import PAGES, PREFIX


def page(rule: str) -> str | None:
    """squawk's page of its rules; ours come with the product (docs/rules/), and their text with every report."""
    return f"{PAGES}{rule.removeprefix(PREFIX)}" if rule.startswith(PREFIX) else None
