-- What a superuser's migrations may do with the roles of a history, for a role without superuser, on a server of our own ({own}).
-- Before 16 who makes a role is no member of it; and a role that is given something must be able to create in that schema.
-- Roles reach no further than the migration role itself: it makes them, and nobody can be granted what reaches out of a database.
CREATE FUNCTION unmigrate_scratch.lend(wanted name, gives boolean) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    space record;
    lent text := '';
BEGIN
    IF NOT {own} OR wanted = session_user OR starts_with(wanted, 'pg_')
        OR NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted AND NOT rolsuper) THEN
        RETURN;  -- PostgreSQL will say what it thinks of it
    END IF;
    IF NOT pg_has_role(session_user, wanted, 'MEMBER') AND NOT pg_has_role(wanted, session_user, 'MEMBER') THEN
        EXECUTE format('GRANT %I TO %I', wanted, session_user);
    END IF;
    IF NOT gives THEN
        RETURN;
    END IF;
    FOR space IN SELECT oid, nspname, nspacl IS NULL AS bare FROM pg_namespace
        WHERE NOT starts_with(nspname, 'pg_') AND nspname NOT IN ('information_schema', 'unmigrate_scratch')
          AND has_schema_privilege(session_user, oid, 'CREATE') AND NOT has_schema_privilege(wanted, oid, 'CREATE')
    LOOP
        EXECUTE format('GRANT CREATE ON SCHEMA %I TO %I', space.nspname, wanted);
        lent := lent || space.oid || CASE WHEN space.bare THEN 'n' ELSE 'a' END || ' ';
    END LOOP;
    PERFORM set_config('unmigrate_scratch.lent_' || (SELECT oid FROM pg_roles WHERE rolname = wanted), lent, true);
END $$;

CREATE FUNCTION unmigrate_scratch.take_back(wanted name) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    setting text := 'unmigrate_scratch.lent_' || (SELECT oid FROM pg_roles WHERE rolname = wanted);
    item text;
    space record;
BEGIN
    FOREACH item IN ARRAY string_to_array(trim(coalesce(current_setting(setting, true), '')), ' ') LOOP
        SELECT oid, nspname INTO space FROM pg_namespace
        WHERE oid = rtrim(item, 'na')::oid AND NOT starts_with(nspname, 'pg_') AND nspname <> 'unmigrate_scratch';
        IF FOUND AND {own} THEN
            EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', space.nspname, wanted);
            IF item LIKE '%n' THEN
                UPDATE pg_namespace SET nspacl = NULL WHERE oid = space.oid;
            END IF;
        END IF;
    END LOOP;
    IF setting IS NOT NULL THEN
        PERFORM set_config(setting, '', true);
    END IF;
END $$;

-- A role is dropped with the last database that knows it: a history is replayed in several of one server.
CREATE FUNCTION unmigrate_scratch.drop_role(wanted name, if_exists boolean) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(CASE WHEN if_exists THEN 'DROP ROLE IF EXISTS %I' ELSE 'DROP ROLE %I' END, wanted);
EXCEPTION WHEN dependent_objects_still_exist THEN
    IF NOT {own} OR EXISTS (SELECT FROM pg_shdepend AS s WHERE s.refclassid = 'pg_authid'::regclass
        AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = wanted)
        AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))) THEN
        RAISE;
    END IF;
    EXECUTE format('ALTER ROLE %I CONNECTION LIMIT -1', wanted);  -- what watches is to see that roles changed
END $$;

GRANT EXECUTE ON FUNCTION unmigrate_scratch.lend(name, boolean), unmigrate_scratch.take_back(name),
    unmigrate_scratch.drop_role(name, boolean) TO PUBLIC;
