"""A plan as plain SQL for psql."""

from unmigrate.catalog.sqltext import UNCHECKED_BODIES, ident, literal
from unmigrate.plan.model import Plan


def as_script(plan: Plan) -> str:
    """One transaction with the switch steps and the ledger's correction; what cannot run in it follows."""
    head = [f"-- Plan {plan.id}: undoes {', '.join(plan.migrations)}"]
    for verdict in plan.verdicts:
        head.append(f"-- {verdict.migration}: schema {verdict.schema}, data {verdict.data}")
        head += [f"--   loses {name}" for name in verdict.lost]
    head += [f"-- note: {' '.join(note.split())}" for note in plan.notes]
    names = ", ".join(literal(name) for name in plan.migrations)
    ledger = f'DELETE FROM {ident(plan.schema)}."_prisma_migrations" WHERE migration_name IN ({names})'
    before = [s.sql for s in plan.steps if s.phase == "prepare"]
    inside = [UNCHECKED_BODIES, *(s.sql for s in plan.steps if s.phase == "switch"), ledger]
    after = [s.sql for s in plan.steps if s.phase == "finish"]
    lines = [*before, "BEGIN", *inside, "COMMIT", *after]
    return "\n".join([*head, *(f"{sql.rstrip().rstrip(';')};" for sql in lines), ""])
