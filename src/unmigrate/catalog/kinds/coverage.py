"""Columns of the catalogs that no kind reads, and why: a new column of a new server must be read or be listed here.

Catalogs of kinds.other are read as whole rows. A name that ends with * stands for all that begin so.
"""

DERIVED = "follows from what is read"
VOLATILE = "changes without any change of meaning"
STORAGE = "how rows are kept, not what they mean"
FIXED = "cannot be changed by SQL, or only for base types, which need a superuser"

UNREAD: dict[str, dict[str, str]] = {
    "pg_attrdef": {"oid": VOLATILE},
    "pg_attribute": {
        "attlen": DERIVED, "attbyval": DERIVED, "attalign": DERIVED, "atthasdef": DERIVED, "attndims": "not enforced, and not dumped",
        "attcacheoff": VOLATILE, "atthasmissing": STORAGE, "attmissingval": STORAGE, "attfdwoptions": "foreign tables are read as whole rows",
    },
    "pg_class": {
        "relfilenode": VOLATILE, "relpages": VOLATILE, "reltuples": VOLATILE, "relallvisible": VOLATILE, "relallfrozen": VOLATILE,
        "relfrozenxid": VOLATILE, "relminmxid": VOLATILE, "relrewrite": VOLATILE, "relhas*": DERIVED, "relisshared": DERIVED,
        "relnatts": DERIVED, "relchecks": DERIVED, "relispartition": DERIVED,
    },
    "pg_collation": {"coll*": "read whole as an object of its own; here by name"},
    "pg_constraint": {"connamespace": DERIVED, "conppeqop": DERIVED, "conffeqop": DERIVED},
    "pg_depend": {"objsubid": "all columns of an object are looked at"},
    "pg_extension": {
        "extowner": "its members come and go with it", "extrelocatable": FIXED,
        "extconfig": "set by the extension's own script", "extcondition": "set by the extension's own script",
    },
    "pg_index": {
        "indnatts": DERIVED, "indisprimary": "the constraint is read", "indisexclusion": "the constraint is read",
        "indimmediate": "the constraint is read", "indcheckxmin": VOLATILE, "indisready": "follows validity", "indislive": "follows validity",
    },
    "pg_inherits": {"inhdetachpending": "the relation is a partition until it is detached"},
    "pg_partitioned_table": {"partnatts": DERIVED, "partdefid": "the default partition is read"},
    "pg_proc": {"provariadic": DERIVED, "pronargs": DERIVED, "pronargdefaults": DERIVED, "protrftypes": "shown in the definition"},
    "pg_publication_namespace": {"oid": VOLATILE},
    "pg_publication_rel": {"oid": VOLATILE},
    "pg_trigger": {"tgconstrindid": DERIVED, "tgnargs": DERIVED},
    "pg_type": {
        "typlen": DERIVED, "typbyval": DERIVED, "typalign": DERIVED, "typcategory": FIXED, "typispreferred": FIXED, "typdelim": FIXED,
        "typinput": FIXED, "typoutput": FIXED, "typreceive": FIXED, "typsend": FIXED, "typmodin": FIXED, "typmodout": FIXED,
        "typanalyze": FIXED, "typsubscript": FIXED, "typisdefined": FIXED, "typrelid": DERIVED, "typelem": DERIVED, "typarray": DERIVED,
        "typndims": "not enforced, and not dumped",
    },
}  # fmt: skip

# Catalogs whose writes nobody watches.
UNWATCHED = {
    "pg_statistic*": "what ANALYZE found",
    "pg_database": "databases; the settings of this one are read",
    "pg_tablespace": "wider than the database; cannot be changed in a transaction",
    "pg_largeobject": "data; its objects are watched",
    "pg_init_privs": "grants that came with extensions",
    "pg_parameter_acl": "needs a superuser, wider than the database",
    "pg_replication_origin": "no SQL command writes it",
    "pg_subscription_rel": "follows its subscription",
    "pg_shdepend": DERIVED,
    "pg_shseclabel": "wider than the database",
    "pg_range": "never changes once its type is made",
    "pg_partitioned_table": "written only with its table, or with its default partition",
    "pg_publication_namespace": "watched where there is one",
    "pg_depend": "watched for extensions and sequences; else derived",
}
