"""Throw-away servers and databases on which migrations run, and rows to try them on. docs/decisions/0001 says why it is so.

server      begins here: which PostgreSQL; binaries finds them, account and cluster run one, store is what stays on disk
pool        databases of a server and the role that migrations run as; templates are kept ones, leftovers those of killed processes
fence       what keeps migrations inside their database; sandbox: extensions without a superuser; roles: made once per server
identity    a scratch server must not be the target
rows        generated rows in every table; shape: what must be known of it, order: parents first, planner: which value in which row
values      literals of every type; patterns: texts that match a pattern; checks: values that CHECK constraints let pass
appease     rows changed so that a migration runs over them; complaints: what an error says, orphans: rows without parents,
            edits: writing it, force: the last resort
contents    hashes of what tables hold; sequences: what a rollback leaves behind
"""
