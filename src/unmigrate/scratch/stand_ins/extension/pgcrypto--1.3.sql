-- A stand-in for pgcrypto, made of core functions: same names, arguments and volatility. digest, hmac, gen_random_* and armor
-- give right results. crypt and the encrypting functions only keep their promises to each other (what was encrypted can be decrypted
-- with the same key, a password matches its hash): they protect nothing.
\echo Use "CREATE EXTENSION pgcrypto" to load this file. \quit

CREATE FUNCTION digest(text, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.digest(pg_catalog.convert_to($1, 'UTF8'), $2) $$;

CREATE FUNCTION digest(bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.digest($1, $2) $$;

CREATE FUNCTION hmac(text, text, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.hmac(pg_catalog.convert_to($1, 'UTF8'), pg_catalog.convert_to($2, 'UTF8'), $3) $$;

CREATE FUNCTION hmac(bytea, bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.hmac($1, $2, $3) $$;

CREATE FUNCTION crypt(text, text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.crypt($1, $2) $$;

CREATE FUNCTION gen_salt(text) RETURNS text VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.gen_salt($1, 0) $$;

CREATE FUNCTION gen_salt(text, int4) RETURNS text VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.gen_salt($1, $2) $$;

CREATE FUNCTION encrypt(bytea, bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal($1, $2) $$;

CREATE FUNCTION decrypt(bytea, bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.unseal($1, $2) $$;

CREATE FUNCTION encrypt_iv(bytea, bytea, bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal($1, $2) $$;

CREATE FUNCTION decrypt_iv(bytea, bytea, bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.unseal($1, $2) $$;

CREATE FUNCTION gen_random_bytes(int4) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.random_bytes($1) $$;

CREATE FUNCTION gen_random_uuid() RETURNS uuid VOLATILE PARALLEL SAFE LANGUAGE sql
AS $$ SELECT pg_catalog.gen_random_uuid() $$;

CREATE FUNCTION pgp_sym_encrypt(text, text) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal(pg_catalog.convert_to($1, 'UTF8'), pg_catalog.convert_to($2, 'UTF8')) $$;

CREATE FUNCTION pgp_sym_encrypt_bytea(bytea, text) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal($1, pg_catalog.convert_to($2, 'UTF8')) $$;

CREATE FUNCTION pgp_sym_encrypt(text, text, text) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal(pg_catalog.convert_to($1, 'UTF8'), pg_catalog.convert_to($2, 'UTF8')) $$;

CREATE FUNCTION pgp_sym_encrypt_bytea(bytea, text, text) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal($1, pg_catalog.convert_to($2, 'UTF8')) $$;

CREATE FUNCTION pgp_sym_decrypt(bytea, text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT pg_catalog.convert_from(unmigrate_scratch.unseal($1, pg_catalog.convert_to($2, 'UTF8')), 'UTF8') $$;

CREATE FUNCTION pgp_sym_decrypt_bytea(bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.unseal($1, pg_catalog.convert_to($2, 'UTF8')) $$;

CREATE FUNCTION pgp_sym_decrypt(bytea, text, text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT pg_catalog.convert_from(unmigrate_scratch.unseal($1, pg_catalog.convert_to($2, 'UTF8')), 'UTF8') $$;

CREATE FUNCTION pgp_sym_decrypt_bytea(bytea, text, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.unseal($1, pg_catalog.convert_to($2, 'UTF8')) $$;

-- Public keys cannot be told to fit their secret keys here: both sides use an empty one.
CREATE FUNCTION pgp_pub_encrypt(text, bytea) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal(pg_catalog.convert_to($1, 'UTF8'), '') $$;

CREATE FUNCTION pgp_pub_encrypt_bytea(bytea, bytea) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal($1, '') $$;

CREATE FUNCTION pgp_pub_encrypt(text, bytea, text) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal(pg_catalog.convert_to($1, 'UTF8'), '') $$;

CREATE FUNCTION pgp_pub_encrypt_bytea(bytea, bytea, text) RETURNS bytea VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.seal($1, '') $$;

CREATE FUNCTION pgp_pub_decrypt(bytea, bytea) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT pg_catalog.convert_from(unmigrate_scratch.unseal($1, ''), 'UTF8') $$;

CREATE FUNCTION pgp_pub_decrypt_bytea(bytea, bytea) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.unseal($1, '') $$;

CREATE FUNCTION pgp_pub_decrypt(bytea, bytea, text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT pg_catalog.convert_from(unmigrate_scratch.unseal($1, ''), 'UTF8') $$;

CREATE FUNCTION pgp_pub_decrypt_bytea(bytea, bytea, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.unseal($1, '') $$;

CREATE FUNCTION pgp_pub_decrypt(bytea, bytea, text, text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT pg_catalog.convert_from(unmigrate_scratch.unseal($1, ''), 'UTF8') $$;

CREATE FUNCTION pgp_pub_decrypt_bytea(bytea, bytea, text, text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.unseal($1, '') $$;

CREATE FUNCTION pgp_key_id(bytea) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT pg_catalog.upper(pg_catalog.left(pg_catalog.md5($1), 16)) $$;

CREATE FUNCTION armor(bytea) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.armor($1, '{}', '{}') $$;

CREATE FUNCTION armor(bytea, text[], text[]) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.armor($1, $2, $3) $$;

CREATE FUNCTION dearmor(text) RETURNS bytea IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT unmigrate_scratch.dearmor($1) $$;

CREATE FUNCTION pgp_armor_headers(text, key OUT text, value OUT text) RETURNS SETOF record IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
AS $$ SELECT found[1], found[2] FROM pg_catalog.regexp_matches($1, '^([^:\n]+): (.*)$', 'gn') AS found $$;
