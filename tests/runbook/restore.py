"""A restore as teams script one: a new database made of the snapshot, its URL printed. Again with the same run: the same answer."""

import os
from pathlib import Path

import psycopg

old, new = os.environ["DATABASE"], f"{os.environ['DATABASE']}_new"
with psycopg.connect(os.environ["ADMIN"], autocommit=True) as connection:
    if not connection.execute("select 1 from pg_database where datname = %s", [new]).fetchone():
        connection.execute(f'CREATE DATABASE "{new}" TEMPLATE "{old}_snap" OWNER unmigrate_migrator')
with (Path(os.environ["ROOT"]) / "restores.log").open("a") as log:
    log.write(f"{os.environ['UNMIGRATE_RUN']}\n")
print("restoring …")
print(os.environ["URL"].replace(f"/{old}?", f"/{new}?"))
