"""Options of the sequence behind an identity column."""

from typing import Any


def identity_options(sequence: Any) -> str:
    cycle = "CYCLE" if sequence["cycle"] else "NO CYCLE"
    return (
        f"SEQUENCE NAME {sequence['label']} START WITH {sequence['start']} INCREMENT BY {sequence['increment']} "
        f"MINVALUE {sequence['min']} MAXVALUE {sequence['max']} CACHE {sequence['cache']} {cycle}"
    )
