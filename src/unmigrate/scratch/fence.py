"""What keeps migrations inside their database on scratch, as SQL that the server's superuser runs there once.

The migration role is no superuser, so that files, programs and the network are out of reach. What it may need a superuser for is
given in measured doses: extensions known to be harmless, through functions that check the name (`extensions.sql`), and on servers of
our own a few settings. Extensions that reach out are denied by name, unknown ones until somebody vouches for them.
"""

import hashlib
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

HERE = Path(__file__).parent


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Each of these reads or writes files, runs programs or code outside the database, or opens connections.
DENIED = _names(
    """adminpack aws_commons aws_lambda aws_s3 azure_storage dblink file_fdw hdfs_fdw http jdbc_fdw mongo_fdw multicorn mysql_fdw
    ogr_fdw oracle_fdw pg_background pg_bulkload pg_curl pg_duckdb pg_file_settings pg_net pg_parquet pg_smtp_client
    pg_surgery pg_tle pgagent pgsql_http pgsmtp plcoffee pljava plls plluau plperlu plpython2u plpython3u plpythonu
    plr plrust plsh pltclu postgres_fdw redis_fdw sqlite_fdw tds_fdw wrappers xml2"""
)
# Need a superuser to be created and stay inside the database.
ALLOWED = _names(
    """address_standardizer address_standardizer_data_us amcheck autoinc bloom btree_gin btree_gist citext cube dict_int dict_xsyn
    earthdistance fuzzystrmatch h3 h3_postgis hll hstore hypopg icu_ext insert_username intagg intarray ip4r isn lo ltree moddatetime
    orafce pageinspect periods pg_bigm pg_buffercache pg_freespacemap pg_graphql pg_hashids pg_hint_plan pg_idkit pg_ivm
    pg_jsonschema pg_partman pg_prewarm pg_repack pg_search pg_similarity pg_squeeze pg_stat_statements pg_trgm pg_uuidv7
    pg_visibility pg_walinspect pgaudit pgcrypto pgjwt pgroonga pgrouting pgrowlocks pgsodium pgstattuple pgtap pgvector plpgsql_check
    postgis postgis_raster postgis_sfcgal postgis_tiger_geocoder postgis_topology prefix q3c rdkit refint rum seg semver sslinfo
    table_version tablefunc tcn tdigest temporal_tables timescaledb timescaledb_toolkit tsm_system_rows tsm_system_time ulid unaccent
    unit uuid-ossp vchord vector vectorscale zhparser"""
)
# Backfills that sleep between batches, to spare a busy server, need not on one of ours. PostgreSQL calls a built-in function by its
# number, whatever was made of it: others take the name.
NO_WAITING = "".join(
    f"ALTER FUNCTION pg_catalog.{name}({kind}) RENAME TO {name}_really;"
    f"CREATE FUNCTION pg_catalog.{name}({kind}) RETURNS void LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS '';"
    for name, kind in (("pg_sleep", "double precision"), ("pg_sleep_for", "interval"), ("pg_sleep_until", "timestamptz"))
)
SETTINGS = ("session_replication_role", "deadlock_timeout", "log_min_duration_statement", "log_statement", "lc_messages")


def close_server(connection: psycopg.Connection[Any]) -> None:
    """On a server of our own: nobody but a superuser can hand out access to files and programs (before 16 CREATEROLE could)."""
    connection.execute(
        "UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE NOT rolsuper AND rolname IN "
        "('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')"
    )
    for name in ("template1", "postgres"):
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def open_role(connection: psycopg.Connection[Any], role: str, *, superuser: bool) -> None:
    """On a server of our own: the role as new (an earlier migration may have changed it), with settings that harm nobody."""
    name = sql.Identifier(role)
    options = "LOGIN {} NOCREATEDB CREATEROLE INHERIT NOREPLICATION BYPASSRLS CONNECTION LIMIT -1 PASSWORD NULL VALID UNTIL 'infinity'"
    power = sql.SQL("SUPERUSER" if superuser else "NOSUPERUSER")
    connection.execute(sql.SQL("ALTER ROLE {} " + options).format(name, power))
    connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(name))
    if connection.info.server_version >= 160000:
        connection.execute(sql.SQL("ALTER ROLE {} SET createrole_self_grant = 'set, inherit'").format(name))
    if connection.info.server_version >= 150000:
        names = sql.SQL(", ").join(map(sql.SQL, SETTINGS))
        connection.execute(sql.SQL("GRANT SET ON PARAMETER {} TO {}").format(names, name))


def fingerprint(allow: frozenset[str]) -> str:
    """Changes with anything `install` installs."""
    texts = [(HERE / name).read_bytes() for name in ("extensions.sql", "lending.sql")]
    texts += [(HERE / "stand_ins" / "helpers.sql").read_bytes(), NO_WAITING.encode()]
    names = " ".join([*sorted(ALLOWED | allow), "-", *sorted(DENIED - allow)])
    return hashlib.sha256(b"\0".join([*texts, names.encode()])).hexdigest()


def install(connection: psycopg.Connection[Any], role: str, allow: frozenset[str], *, own: bool) -> None:
    """In a new database: functions that create extensions and lend roles, what stand-ins are made of, no waiting, a usable schema public.

    own: the server is ours alone, so that its roles are those of migrations.
    """
    text = (HERE / "extensions.sql").read_text(encoding="utf-8")
    allowed, denied = sorted(ALLOWED | allow), sorted(DENIED - allow)
    command = sql.SQL(text).format(allowed=sql.Literal(allowed), denied=sql.Literal(denied), role=sql.Identifier(role))
    with connection.transaction():
        connection.execute(command)
        connection.execute(sql.SQL((HERE / "lending.sql").read_text(encoding="utf-8")).format(own=sql.Literal(own)))
        connection.execute((HERE / "stand_ins" / "helpers.sql").read_text(encoding="utf-8"))
        connection.execute(NO_WAITING)
        if connection.info.server_version < 150000:
            connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(role)))
