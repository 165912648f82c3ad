"""What stores are owed: no running balance, but snapshots from which a sum goes on."""

from datetime import timedelta

from sqlalchemy import text

from app.db.transaction import transaction

#: Hardly anybody is still writing what was recorded so long ago; and a transaction that is so old is seen in
#: pg_stat_activity, where a role sees its own: nobody else writes transfers.
SETTLED_AFTER = timedelta(minutes=15)


def refresh_snapshots() -> int:
    """Carries the snapshots of all that stores are owed on to SETTLED_AFTER ago; returns 0, for there is no hurry.

    Each is right whoever else does the same: it is the sum of all that was recorded before its time. Raises Busy.
    """
    with transaction() as db:
        db.exec_driver_sql("SET LOCAL statement_timeout = '5min'")
        db.execute(_REFRESH, {"settled_after": SETTLED_AFTER})
    return 0


_REFRESH = text("""
    WITH known AS (
        SELECT a.id, coalesce(s.up_to, '-infinity') AS since, coalesce(s.balance_minor, 0) AS balance_minor,
               least(clock_timestamp() - CAST(:settled_after AS interval), (
                   SELECT min(xact_start) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
               )) AS up_to
        FROM account a LEFT JOIN account_snapshot s ON s.account_id = a.id WHERE a.kind = 'owed'
    )
    INSERT INTO account_snapshot (account_id, up_to, balance_minor)
    SELECT k.id, k.up_to, k.balance_minor
        + (SELECT coalesce(sum(t.amount_minor), 0) FROM transfer t
           WHERE t.credit_id = k.id AND t.recorded_at >= k.since AND t.recorded_at < k.up_to)
        - (SELECT coalesce(sum(t.amount_minor), 0) FROM transfer t
           WHERE t.debit_id = k.id AND t.recorded_at >= k.since AND t.recorded_at < k.up_to)
    FROM known k WHERE k.up_to > k.since
    ON CONFLICT (account_id) DO UPDATE SET up_to = excluded.up_to, balance_minor = excluded.balance_minor
    WHERE account_snapshot.up_to < excluded.up_to
""")
