-- Extensions for a role without superuser, on scratch. Installed by a superuser in the schema unmigrate_scratch.
-- {allowed} and {denied} are lists of names; {role} is the migration role.
CREATE SCHEMA unmigrate_scratch;
REVOKE ALL ON SCHEMA unmigrate_scratch FROM PUBLIC;
GRANT USAGE ON SCHEMA unmigrate_scratch TO PUBLIC;

CREATE FUNCTION unmigrate_scratch.check_extension(wanted name) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_trusted boolean;
BEGIN
    SELECT bool_or(v.trusted OR NOT v.superuser) INTO is_trusted FROM pg_available_extension_versions AS v WHERE v.name = wanted;
    IF is_trusted IS NULL THEN
        RAISE EXCEPTION 'extension "%" is not available', wanted USING ERRCODE = 'feature_not_supported',
            DETAIL = 'unmigrate: the scratch server does not have it.';
    ELSIF wanted = ANY ({denied}) THEN
        RAISE EXCEPTION 'permission denied to create extension "%"', wanted USING ERRCODE = 'insufficient_privilege',
            DETAIL = 'unmigrate: it reaches files, programs or the network, which migrations on scratch must not.';
    ELSIF NOT is_trusted AND wanted <> ALL ({allowed}) THEN
        RAISE EXCEPTION 'permission denied to create extension "%"', wanted USING ERRCODE = 'insufficient_privilege',
            DETAIL = 'unmigrate: it needs a superuser and is not on the list of harmless ones.',
            HINT = 'If you trust it, name it in UNMIGRATE_SCRATCH_EXTENSIONS.';
    END IF;
END $$;

-- home: where an extension goes that is given no schema. Required ones are made first, each by the same rules.
CREATE FUNCTION unmigrate_scratch.create_extension(
    wanted name, if_not_exists boolean DEFAULT false, in_schema name DEFAULT NULL, in_version text DEFAULT NULL,
    cascade boolean DEFAULT false, home name DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    required name;
    found record;
    command text;
    target name := coalesce(in_schema, home);
    schemas oid[] := ARRAY(SELECT oid FROM pg_namespace);
    extension record;
BEGIN
    IF if_not_exists AND EXISTS (SELECT FROM pg_extension WHERE extname = wanted) THEN
        RAISE NOTICE 'extension "%" already exists, skipping', wanted;
        RETURN;
    END IF;
    PERFORM unmigrate_scratch.check_extension(wanted);
    IF NOT has_database_privilege(session_user, current_database(), 'CREATE') THEN
        RAISE EXCEPTION 'permission denied to create extension "%"', wanted USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT v.* INTO found FROM pg_available_extension_versions AS v JOIN pg_available_extensions AS a USING (name)
    WHERE v.name = wanted AND v.version = coalesce(in_version, a.default_version);
    IF cascade THEN
        FOREACH required IN ARRAY coalesce(found.requires, '{{}}') LOOP
            PERFORM unmigrate_scratch.create_extension(required, true, NULL, NULL, true, target);
        END LOOP;
    END IF;
    IF target IS NOT NULL AND found.schema IS NULL AND NOT coalesce(has_schema_privilege(session_user, to_regnamespace(quote_ident(target)), 'CREATE'), true) THEN
        RAISE EXCEPTION 'permission denied for schema %', target USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- What a migration put into the target schema must not be met by a script that runs as a superuser: where the extension can
    -- be moved, it is made in an empty schema first.
    command := format('CREATE EXTENSION %I', wanted);
    IF in_version IS NOT NULL THEN command := command || format(' VERSION %L', in_version); END IF;
    IF coalesce(found.relocatable, false) AND to_regnamespace(quote_ident(target)) IS NOT NULL THEN
        CREATE SCHEMA unmigrate_scratch_empty;
        EXECUTE command || ' SCHEMA unmigrate_scratch_empty';
        EXECUTE format('ALTER EXTENSION %I SET SCHEMA %I', wanted, target);
        DROP SCHEMA unmigrate_scratch_empty;
    ELSIF in_schema IS NOT NULL THEN
        EXECUTE command || format(' SCHEMA %I', in_schema);
    ELSE
        PERFORM pg_catalog.set_config('search_path', pg_catalog.quote_ident(coalesce(home, '')), true);
        EXECUTE command;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    END IF;
    -- As PostgreSQL does for trusted extensions: the extension is the caller's, its members stay the superuser's.
    SELECT e.oid, e.extnamespace, n.nspname INTO extension FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = wanted;
    UPDATE pg_extension SET extowner = (SELECT oid FROM pg_authid WHERE rolname = session_user) WHERE oid = extension.oid;
    INSERT INTO pg_shdepend (dbid, classid, objid, objsubid, refclassid, refobjid, deptype)
    SELECT d.oid, 'pg_extension'::regclass, extension.oid, 0, 'pg_authid'::regclass, r.oid, 'o'
    FROM pg_database AS d, pg_authid AS r WHERE d.datname = current_database() AND r.rolname = session_user AND NOT r.rolsuper;
    IF extension.extnamespace <> ALL (schemas) THEN
        EXECUTE format('ALTER SCHEMA %I OWNER TO %I', extension.nspname, session_user);
    END IF;
END $$;

CREATE FUNCTION unmigrate_scratch.owned_extension(wanted name) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = wanted) THEN
        RAISE EXCEPTION 'extension "%" does not exist', wanted USING ERRCODE = 'undefined_object';
    ELSIF NOT EXISTS (SELECT FROM pg_extension WHERE extname = wanted AND pg_has_role(session_user, extowner, 'USAGE')) THEN
        RAISE EXCEPTION 'must be owner of extension %', wanted USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM unmigrate_scratch.check_extension(wanted);
END $$;

CREATE FUNCTION unmigrate_scratch.move_extension(wanted name, in_schema name)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM unmigrate_scratch.owned_extension(wanted);
    IF NOT has_schema_privilege(session_user, in_schema, 'CREATE') THEN
        RAISE EXCEPTION 'permission denied for schema %', in_schema USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('ALTER EXTENSION %I SET SCHEMA %I', wanted, in_schema);
END $$;

CREATE FUNCTION unmigrate_scratch.update_extension(wanted name, to_version text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM unmigrate_scratch.owned_extension(wanted);
    EXECUTE format('ALTER EXTENSION %I UPDATE', wanted) || coalesce(' TO ' || quote_literal(to_version), '');
END $$;

CREATE FUNCTION unmigrate_scratch.drop_extension(wanted name, if_exists boolean DEFAULT false, cascade boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF if_exists AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = wanted) THEN
        RAISE NOTICE 'extension "%" does not exist, skipping', wanted;
        RETURN;
    END IF;
    PERFORM unmigrate_scratch.owned_extension(wanted);
    EXECUTE format('DROP EXTENSION %I', wanted) || CASE WHEN cascade THEN ' CASCADE' ELSE '' END;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA unmigrate_scratch FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA unmigrate_scratch TO {role};
