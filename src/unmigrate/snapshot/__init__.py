"""Snapshots: making, listing, finding and restoring them, and bringing back from them what a migration destroyed.

provider    what a provider is; open gives the configured one. One file each: pg_dump, template, rds, pgbackrest, command
pg_dump     with dumps (the folder), pg_restore, toc (what a dump holds), selection (what of it is restored)
rds         with aws (boto3), rds_stores (instances and clusters), rds_clones
pgbackrest  with backrest (its command), retention, wal (is the archive far enough), instance (a restored server)
databases   databases of a server as whole things, for pg_dump and template; urls, programs: what all providers need
find        which snapshots are from before a migration; verify looks at what was restored; beside: restored to be read from; demand: policy
choice      what is asked of a target to choose between the ways back
refill      brings back what a migration destroyed; lost: what that is; rehearse: what the migration itself did to rows
carry       carry-over after a full restore; compare: where two databases differ
merging     of both, rows by key: job as data, staging, merge (the SQL), batches; leftovers is what stays in the database
"""
