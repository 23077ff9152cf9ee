-- What the stand-ins of pgcrypto and uuid-ossp are made of. Lives in unmigrate_scratch, which no catalog reader looks at.
SET LOCAL search_path = pg_catalog;

CREATE FUNCTION unmigrate_scratch.sha1(message bytea) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    mask constant bigint := 4294967295;
    h bigint[] := ARRAY[1732584193, 4023233417, 2562383102, 271733878, 3285377520]::bigint[];
    w bigint[];
    padded bytea;
    a bigint; b bigint; c bigint; d bigint; e bigint; f bigint; k bigint; t bigint;
    base int;
BEGIN
    padded := message || '\x80'::bytea
        || decode(repeat('00', (55 - length(message)) % 64 + CASE WHEN (55 - length(message)) % 64 < 0 THEN 64 ELSE 0 END), 'hex')
        || int8send(length(message)::bigint * 8);
    FOR block IN 0 .. length(padded) / 64 - 1 LOOP
        base := block * 64;
        FOR i IN 0 .. 15 LOOP
            w[i] := (get_byte(padded, base + i * 4)::bigint << 24) | (get_byte(padded, base + i * 4 + 1) << 16)
                | (get_byte(padded, base + i * 4 + 2) << 8) | get_byte(padded, base + i * 4 + 3);
        END LOOP;
        FOR i IN 16 .. 79 LOOP
            t := w[i - 3] # w[i - 8] # w[i - 14] # w[i - 16];
            w[i] := ((t << 1) | (t >> 31)) & mask;
        END LOOP;
        a := h[1]; b := h[2]; c := h[3]; d := h[4]; e := h[5];
        FOR i IN 0 .. 79 LOOP
            IF i < 20 THEN f := (b & c) | ((~b & mask) & d); k := 1518500249;
            ELSIF i < 40 THEN f := b # c # d; k := 1859775393;
            ELSIF i < 60 THEN f := (b & c) | (b & d) | (c & d); k := 2400959708;
            ELSE f := b # c # d; k := 3395469782;
            END IF;
            t := ((((a << 5) | (a >> 27)) & mask) + f + e + k + w[i]) & mask;
            e := d; d := c; c := ((b << 30) | (b >> 2)) & mask; b := a; a := t;
        END LOOP;
        h := ARRAY[(h[1] + a) & mask, (h[2] + b) & mask, (h[3] + c) & mask, (h[4] + d) & mask, (h[5] + e) & mask];
    END LOOP;
    RETURN decode(lpad(to_hex(h[1]), 8, '0') || lpad(to_hex(h[2]), 8, '0') || lpad(to_hex(h[3]), 8, '0')
        || lpad(to_hex(h[4]), 8, '0') || lpad(to_hex(h[5]), 8, '0'), 'hex');
END $$;

CREATE FUNCTION unmigrate_scratch.digest(message bytea, kind text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
    CASE lower(replace(kind, '-', ''))
        WHEN 'md5' THEN RETURN decode(md5(message), 'hex');
        WHEN 'sha1' THEN RETURN unmigrate_scratch.sha1(message);
        WHEN 'sha224' THEN RETURN sha224(message);
        WHEN 'sha256' THEN RETURN sha256(message);
        WHEN 'sha384' THEN RETURN sha384(message);
        WHEN 'sha512' THEN RETURN sha512(message);
        ELSE RAISE EXCEPTION 'Cannot use "%": No such hash algorithm', kind USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END $$;

CREATE FUNCTION unmigrate_scratch.hmac(message bytea, secret bytea, kind text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    size int := CASE WHEN lower(replace(kind, '-', '')) IN ('sha384', 'sha512') THEN 128 ELSE 64 END;
    inner_pad bytea;
    outer_pad bytea;
BEGIN
    IF length(secret) > size THEN secret := unmigrate_scratch.digest(secret, kind); END IF;
    secret := secret || decode(repeat('00', size - length(secret)), 'hex');
    inner_pad := secret; outer_pad := secret;
    FOR i IN 0 .. size - 1 LOOP
        inner_pad := set_byte(inner_pad, i, get_byte(secret, i) # 54);
        outer_pad := set_byte(outer_pad, i, get_byte(secret, i) # 92);
    END LOOP;
    RETURN unmigrate_scratch.digest(outer_pad || unmigrate_scratch.digest(inner_pad || message, kind), kind);
END $$;

CREATE FUNCTION unmigrate_scratch.random_bytes(count int) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    made bytea := '';
BEGIN
    IF count < 1 OR count > 1024 THEN
        RAISE EXCEPTION 'Length not in range' USING ERRCODE = 'external_routine_invocation_exception';
    END IF;
    WHILE length(made) < count LOOP made := made || sha256(uuid_send(gen_random_uuid())); END LOOP;
    RETURN substring(made FROM 1 FOR count);
END $$;

CREATE FUNCTION unmigrate_scratch.gen_salt(kind text, rounds int) RETURNS text VOLATILE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    letters text := translate(encode(unmigrate_scratch.random_bytes(24), 'base64'), '+=', './');
BEGIN
    CASE lower(kind)
        WHEN 'bf' THEN RETURN '$2a$' || lpad(CASE WHEN rounds = 0 THEN 6 ELSE rounds END::text, 2, '0') || '$' || left(letters, 22);
        WHEN 'md5' THEN RETURN '$1$' || left(letters, 8);
        WHEN 'xdes' THEN RETURN '_' || left(letters, 8);
        WHEN 'des' THEN RETURN left(letters, 2);
        WHEN 'sha256crypt' THEN RETURN '$5$' || left(letters, 16);
        WHEN 'sha512crypt' THEN RETURN '$6$' || left(letters, 16);
        ELSE RAISE EXCEPTION 'gen_salt: Unknown salt algorithm' USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END $$;

CREATE FUNCTION unmigrate_scratch.crypt(secret text, salt text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    kept text := CASE
        WHEN salt ~ '^\$2[axy]\$' THEN left(salt, 29)
        WHEN salt ~ '^\$[156]\$' THEN substring(salt FROM '^\$[156]\$[^$]{1,16}') || '$'
        WHEN salt LIKE '\_%' THEN left(salt, 9)
        ELSE left(salt, 2) END;
    size int := CASE WHEN kept LIKE '$2%' THEN 31 WHEN kept LIKE '$1$%' THEN 22 WHEN kept LIKE '$5$%' THEN 43
        WHEN kept LIKE '$6$%' THEN 43 ELSE 11 END;
BEGIN
    RETURN kept || left(translate(encode(sha256(convert_to(kept || secret, 'UTF8')), 'base64'), '+=', '..'), size);
END $$;

CREATE FUNCTION unmigrate_scratch.seal(message bytea, secret bytea) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT '\x756e6d696772617465'::bytea || sha256(secret) || message $$;

CREATE FUNCTION unmigrate_scratch.unseal(message bytea, secret bytea) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
    IF substring(message FROM 1 FOR 41) IS DISTINCT FROM '\x756e6d696772617465'::bytea || sha256(secret) THEN
        RAISE EXCEPTION 'Wrong key or corrupt data' USING ERRCODE = 'external_routine_invocation_exception';
    END IF;
    RETURN substring(message FROM 42);
END $$;

CREATE FUNCTION unmigrate_scratch.armor(message bytea, keys text[], contents text[]) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    crc int := 11994318;
    headers text := '';
BEGIN
    IF cardinality(keys) <> cardinality(contents) THEN
        RAISE EXCEPTION 'mismatched array dimensions' USING ERRCODE = 'array_subscript_error';
    END IF;
    FOR i IN 1 .. cardinality(keys) LOOP headers := headers || keys[i] || ': ' || contents[i] || E'\n'; END LOOP;
    FOR i IN 0 .. length(message) - 1 LOOP
        crc := crc # (get_byte(message, i) << 16);
        FOR bit IN 1 .. 8 LOOP
            crc := crc << 1;
            IF crc & 16777216 <> 0 THEN crc := crc # 25578747; END IF;
        END LOOP;
    END LOOP;
    RETURN E'-----BEGIN PGP MESSAGE-----\n' || headers || E'\n' || encode(message, 'base64') || E'\n='
        || encode(decode(lpad(to_hex(crc & 16777215), 6, '0'), 'hex'), 'base64') || E'\n-----END PGP MESSAGE-----\n';
END $$;

CREATE FUNCTION unmigrate_scratch.dearmor(message text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    body text := substring(message FROM '-----BEGIN [^\n]*-----\n(?:[^\n]+\n)*\n(.*)\n=[^\n]{4}\n-----END');
BEGIN
    IF body IS NULL THEN RAISE EXCEPTION 'Corrupt ascii-armor' USING ERRCODE = 'external_routine_invocation_exception'; END IF;
    RETURN decode(body, 'base64');
END $$;

CREATE FUNCTION unmigrate_scratch.name_uuid(hash bytea, version int) RETURNS uuid IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
SET search_path = pg_catalog AS $$
    SELECT encode(set_byte(set_byte(substring(hash FROM 1 FOR 16), 6, (get_byte(hash, 6) & 15) | (version << 4)),
        8, (get_byte(hash, 8) & 63) | 128), 'hex')::uuid
$$;

CREATE FUNCTION unmigrate_scratch.time_uuid() RETURNS uuid VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
SET search_path = pg_catalog AS $$
    SELECT (substring(ticks FROM 9 FOR 8) || substring(ticks FROM 5 FOR 4) || '1' || substring(ticks FROM 2 FOR 3)
        || encode(set_byte(set_byte(noise, 0, (get_byte(noise, 0) & 63) | 128), 2, get_byte(noise, 2) | 1), 'hex'))::uuid
    FROM (SELECT lpad(to_hex((extract(epoch FROM clock_timestamp()) * 10000000)::bigint + 122192928000000000), 16, '0') AS ticks,
        substring(uuid_send(gen_random_uuid()) FROM 1 FOR 6) || substring(sha256(uuid_send(gen_random_uuid())) FROM 1 FOR 2) AS noise) AS made
$$;
