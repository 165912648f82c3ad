"""What somebody who has taken over a role may try, as tables: the statement, and what must refuse it."""

import re
from collections.abc import Iterable
from typing import Any

import psycopg

#: How PostgreSQL words the want of a right. An extension may not even be there.
RIGHT = "permission denied|must be (owner|superuser)|Only roles with|must have|is not a(llowed|vailable)"
#: Not to be undone, so not to be tried in a transaction: they say so before they look at rights.
ALONE = ("ALTER SYSTEM", "CREATE DATABASE", "CREATE TABLESPACE")

#: Whoever logs in as the service or the reader, or as the migrator before it says SET ROLE, is refused all of these.
NOT_FOR_LOGINS = [
    # the books, by other statements than plain ones
    "MERGE INTO transfer USING (VALUES (1)) AS v(x) ON false WHEN MATCHED THEN UPDATE SET amount_minor = 1",
    "MERGE INTO transfer USING (VALUES (1)) AS v(x) ON false WHEN MATCHED THEN DELETE",
    "MERGE INTO account USING (VALUES (1)) AS v(x) ON false WHEN MATCHED THEN UPDATE SET balance_minor = 1",
    "WITH gone AS (DELETE FROM transfer RETURNING 1) SELECT 1 FROM gone",
    "WITH more AS (UPDATE account SET balance_minor = 1 RETURNING 1) SELECT 1 FROM more",
    "COPY (DELETE FROM transfer RETURNING id) TO STDOUT",
    "EXPLAIN ANALYZE DELETE FROM event",
    "COPY transfer FROM STDIN",
    "COPY account FROM STDIN",
    "COPY transfer TO '/tmp/scrip-test-out'",
    "COPY transfer TO PROGRAM 'cat'",
    "COPY transfer FROM PROGRAM 'id'",
    "LOCK TABLE transfer IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE account IN SHARE MODE",
    "SELECT 1 FROM account FOR UPDATE",
    "SELECT 1 FROM account FOR KEY SHARE",
    "DECLARE held CURSOR FOR SELECT 1 FROM transfer FOR NO KEY UPDATE",
    "TRUNCATE account, transfer, event",
    "DO $$ BEGIN EXECUTE 'UPDATE transfer SET amount_minor = 1'; END $$",
    # their definition
    "ALTER TABLE transfer ENABLE REPLICA TRIGGER transfer_append_only",
    "ALTER TABLE account DISABLE TRIGGER account_starts_at_nothing",
    "ALTER TRIGGER transfer_moves_balances ON transfer RENAME TO mine",
    "ALTER TABLE transfer DROP CONSTRAINT transfer_between",
    "ALTER TABLE transfer ALTER COLUMN recorded_at SET DEFAULT '2000-01-01'",
    "ALTER TABLE transfer OWNER TO CURRENT_USER",
    "ALTER TABLE transfer RENAME TO mine",
    "ALTER TABLE transfer SET SCHEMA pg_catalog",
    "ALTER TABLE transfer SET UNLOGGED",
    "ALTER TABLE transfer INHERIT event",
    "ALTER TABLE transfer ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE account ATTACH PARTITION transfer DEFAULT",
    "CREATE RULE quiet AS ON INSERT TO account DO INSTEAD NOTHING",
    "CREATE POLICY mine ON transfer USING (false)",
    "CREATE INDEX ON transfer (at)",
    "CREATE STATISTICS public.mine ON id, at FROM transfer",
    "REINDEX TABLE transfer",
    "COMMENT ON TABLE transfer IS 'mine'",
    "DROP INDEX transfer_one_issue",
    "DROP SCHEMA public CASCADE",
    # names that shadow, for search_path games with what runs as the owner
    "CREATE TABLE pg_temp.account (id text, balance_minor bigint)",
    "CREATE TEMPORARY VIEW account AS SELECT 1",
    "SELECT * INTO TEMPORARY card FROM card",
    "CREATE TABLE public.mine () INHERITS (transfer)",
    "CREATE TABLE public.mine (LIKE transfer)",
    "CREATE VIEW public.mine AS SELECT 1",
    "CREATE MATERIALIZED VIEW public.mine AS SELECT 1",
    "CREATE SEQUENCE public.mine",
    "CREATE TYPE public.mine AS (x int)",
    "CREATE DOMAIN public.mine AS int",
    "CREATE FUNCTION public.split_part(text, text, int) RETURNS text LANGUAGE sql AS $$ SELECT 'funding' $$",
    "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OPERATOR public.- (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = int8pl)",
    "CREATE OPERATOR pg_catalog.=== (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = int8eq)",
    "CREATE AGGREGATE public.mine (bigint) (SFUNC = int8pl, STYPE = bigint)",
    "CREATE COLLATION public.mine FROM \"C\"",
    "CREATE CAST (text AS bigint) WITH INOUT AS IMPLICIT",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE OR REPLACE FUNCTION open_account() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER FUNCTION apply_transfer() RESET ALL",
    "ALTER FUNCTION apply_transfer() SET search_path = pg_temp",
    "ALTER FUNCTION apply_transfer() OWNER TO CURRENT_USER",
    "DROP FUNCTION refuse_change() CASCADE",
    "CREATE TRIGGER mine AFTER INSERT ON transfer FOR EACH ROW EXECUTE FUNCTION apply_transfer()",
    # roles and rights
    "SET ROLE postgres",
    "SET ROLE pg_write_all_data",
    "SET ROLE pg_read_server_files",
    "SET SESSION AUTHORIZATION postgres",
    "DO $$ BEGIN EXECUTE 'SET ROLE pg_write_all_data'; END $$",
    "ALTER ROLE scrip_owner LOGIN PASSWORD 'mine'",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER SET session_replication_role = replica",
    "CREATE ROLE mine SUPERUSER",
    "DROP ROLE scrip_reader",
    "GRANT scrip_owner TO scrip_service",
    "GRANT pg_write_all_data TO scrip_service",
    "GRANT SELECT ON pg_authid TO scrip_service",
    "REASSIGN OWNED BY scrip_owner TO CURRENT_USER",
    "DROP OWNED BY scrip_owner CASCADE",
    "ALTER DEFAULT PRIVILEGES FOR ROLE scrip_owner GRANT ALL ON TABLES TO scrip_service",
    "ALTER DATABASE scrip SET session_replication_role = replica",
    "ALTER DATABASE scrip OWNER TO CURRENT_USER",
    # the server and its machine
    "SELECT set_config('session_replication_role', 'replica', false)",
    "SET allow_system_table_mods = on",
    "UPDATE pg_class SET relowner = 10 WHERE relname = 'transfer'",
    "UPDATE pg_trigger SET tgenabled = 'D'",
    "DELETE FROM pg_constraint",
    "ALTER SYSTEM SET fsync = off",
    "SELECT pg_reload_conf()",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_read_binary_file('global/pg_control')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/scrip-test-out')",
    "SELECT pg_switch_wal()",
    "SELECT pg_create_physical_replication_slot('mine')",
    "SELECT pg_terminate_backend(pid) FROM superuser",
    "SELECT pg_cancel_backend(pid) FROM superuser",
    "SELECT passwd FROM pg_shadow",
    "SELECT pg_hba_file_rules()",
    "SELECT stavalues1 FROM pg_statistic",
    "LOAD '/tmp/mine.so'",
    "CREATE EXTENSION vector",
    "CREATE EXTENSION dblink",
    "CREATE SCHEMA mine",
    "CREATE DATABASE mine",
    "CREATE TABLESPACE mine LOCATION '/tmp'",
    "CREATE LANGUAGE plmine HANDLER plpgsql_call_handler",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION refuse_change()",
    "CREATE FOREIGN DATA WRAPPER mine",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "CREATE SUBSCRIPTION mine CONNECTION 'dbname=scrip' PUBLICATION mine WITH (connect = false)",
    "CREATE ACCESS METHOD mine TYPE TABLE HANDLER heap_tableam_handler",
]  # fmt: skip

#: What the service may insert, it may not overwrite by it.
NOT_FOR_SERVICE = [
    "INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, at)"
    " SELECT id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, at FROM transfer"
    " ON CONFLICT (id) DO UPDATE SET amount_minor = 1",
    "INSERT INTO account (id, kind, owner_id, currency, mode) SELECT id, kind, owner_id, currency, mode FROM account"
    " ON CONFLICT (id) DO UPDATE SET balance_minor = 1",
    "INSERT INTO event (id, at, kind, actor, facts) SELECT id, at, kind, actor, facts FROM event"
    " ON CONFLICT (id) DO UPDATE SET kind = 'x'",
    "MERGE INTO account a USING account b ON a.id = b.id WHEN MATCHED THEN UPDATE SET balance_minor = 1"
    " WHEN NOT MATCHED THEN INSERT (id) VALUES ('x')",
    "COPY transfer (id, recorded_at) FROM STDIN",
    "COPY account (id, balance_minor) FROM STDIN",
]  # fmt: skip

#: Without saying SET ROLE the migrator may not even look.
NOT_FOR_MIGRATOR = [
    "SELECT 1 FROM transfer",
    "UPDATE transfer SET kind = kind",
    "INSERT INTO event (id) VALUES ('x')",
    "ALTER TABLE transfer DISABLE TRIGGER ALL",
    "CREATE TABLE public.mine (x int)",
    "DROP TABLE event",
]

#: As the owner too: what is not DDL meets the triggers.
NOT_EVEN_FOR_THE_OWNER = [
    "UPDATE transfer SET amount_minor = amount_minor",
    "DELETE FROM transfer WHERE false",
    "TRUNCATE transfer CASCADE",
    "MERGE INTO transfer t USING transfer u ON t.id = u.id WHEN MATCHED THEN DELETE",
    "INSERT INTO transfer SELECT * FROM transfer ON CONFLICT (id) DO UPDATE SET amount_minor = 1",
    "UPDATE event SET facts = '{}'",
    "DELETE FROM event",
    "TRUNCATE event",
    "UPDATE payable SET amount_minor = 1",
    "DELETE FROM closed_month",
]


def allowed(db: psycopg.Connection[Any], attempts: Iterable[str], refused_by: str = RIGHT) -> list[str]:
    """Those that are not refused in these words, whatever else may be wrong with them. Each is undone."""
    said = {attempt: _outcome(db, attempt) for attempt in attempts}
    return [f"{attempt}: {outcome}" for attempt, outcome in said.items() if not re.search(refused_by, outcome)]


def _outcome(db: psycopg.Connection[Any], attempt: str) -> str:
    """What the database says to a statement. `superuser` stands for whoever is connected as the superuser."""
    superuser = "WITH superuser AS (SELECT pid FROM pg_stat_activity WHERE usename = 'postgres') "
    statement = (superuser + attempt if "superuser" in attempt else attempt).encode()
    try:
        db.set_autocommit(attempt.startswith(ALONE))
        if attempt.startswith("COPY"):
            with db.cursor().copy(statement) as copying:
                copying.read()
        else:
            db.execute(statement)
    except psycopg.Error as error:
        return str(error)
    finally:
        db.rollback()
    return "done"
