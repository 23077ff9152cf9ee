"""Steps before and after the switch, one by one, journalled in the vault: what was interrupted goes on from there."""

import re
import time
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.read import read_catalog
from unmigrate.errors import PartialError
from unmigrate.execute.switch import BUSY, Hook
from unmigrate.park import vault
from unmigrate.park.vault import Journalled
from unmigrate.plan.model import Plan

REMEDY = "put it right and run unmigrate rollback again: it goes on from here"
_CREATE = re.compile(r"^\s*CREATE (?:UNIQUE )?INDEX CONCURRENTLY\b", re.IGNORECASE)
_DROP = re.compile(r"^\s*DROP INDEX CONCURRENTLY\b", re.IGNORECASE)
_TRIES = 50


def run_phase(
    connection: psycopg.Connection[Any], operation: str, phase: str, *, lock_timeout_ms: int, on_progress: Hook, on_step: Hook
) -> tuple[str, ...]:  # fmt: skip
    """Do the pending steps of a phase and return them. Raises PartialError where one fails."""
    done = []
    step: Journalled | None = None
    try:
        # Builds take their time, and their waits for older transactions block nobody: no timeouts a role was given by default.
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET lock_timeout = 0")
        for step in vault.pending_steps(connection, operation, phase):
            on_progress(step.sql)
            on_step(f"{phase} {step.number} begins")
            if step.transactional:
                _inside(connection, operation, step, lock_timeout_ms, on_step)
            else:
                _outside(connection, operation, step, on_step)
            on_step(f"{phase} {step.number} journalled")
            done.append(step.sql)
    except psycopg.Error as error:
        at = f" at: {step.sql[:160]}" if step else ""
        raise PartialError(f"{_told(phase)}: {error.diag.message_primary or error}{at}", code=phase, remedy=REMEDY) from error
    return tuple(done)


def close(connection: psycopg.Connection[Any], operation: str, plan: Plan) -> None:
    """Look whether everything is as planned, and end the operation. Raises PartialError, with the steps concerned to be done again."""
    try:
        steps = {step.object: number for number, step in enumerate(plan.steps) if step.phase == "finish"}
        found = {label(o): digest(o) for o in read_catalog(connection)} if steps else {}
        wrong = [name for name in steps if name in plan.after and found.get(name, "") != plan.after[name]]
        for name in wrong:
            vault.step_done(connection, operation, steps[name], done=False)
        if not wrong:
            vault.set_state(connection, operation, "done")
    except psycopg.Error as error:
        raise PartialError(f"{_told('finish')}: {error.diag.message_primary or error}", code="finish", remedy=REMEDY) from error
    if wrong:
        told = "; ".join(f"{name} is {'different' if name in found else 'missing'}" for name in wrong[:3])
        raise PartialError(f"{_told('finish')}: {told}", code="finish", remedy=f"drop what is different; {REMEDY}")


def _told(phase: str) -> str:
    return "not switched yet; a step before the switch failed" if phase == "prepare" else "switched; a step after the switch failed"


def _inside(connection: psycopg.Connection[Any], operation: str, step: Journalled, lock_timeout_ms: int, on_step: Hook) -> None:
    """Step and journal in one transaction: exactly once, whatever is interrupted."""
    for attempt in range(_TRIES):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {max(1, lock_timeout_ms)}")
                connection.execute(step.sql)
                vault.step_done(connection, operation, step.number)
                on_step(f"{step.phase} {step.number} ran")
            return
        except BUSY:
            if attempt == _TRIES - 1:
                raise
            time.sleep(min(1.0, 0.02 * 1.5 ** min(attempt, 20)))


def _outside(connection: psycopg.Connection[Any], operation: str, step: Journalled, on_step: Hook) -> None:
    """The step may have been done, or half done, when we were interrupted."""
    name = step.object.removeprefix("index ") if step.object.startswith("index ") else ""
    valid = _index(connection, name) if name else None
    if _CREATE.match(step.sql) and valid is False:  # the leftover of a failed build
        connection.execute(f"DROP INDEX CONCURRENTLY {name}")
        on_step(f"{step.phase} {step.number} cleared")
    stands = bool(_CREATE.match(step.sql)) and valid is True
    dropped = bool(_DROP.match(step.sql)) and bool(name) and valid is None
    if not (stands or dropped):
        connection.execute(step.sql)
    on_step(f"{step.phase} {step.number} ran")
    vault.step_done(connection, operation, step.number)


def _index(connection: psycopg.Connection[Any], name: str) -> bool | None:
    """Whether an index is valid; None where there is none."""
    row = connection.execute("select indisvalid and indisready from pg_index where indexrelid = to_regclass(%s)", [name]).fetchone()
    return bool(row[0]) if row else None
