"""To which month a transfer posts, in SQL, and what it does to what cards are worth."""

#: When a transfer `t` posts: at the time that it took effect, unless that month had been closed when it was recorded.
#: A month closes a day after its end, so what was recorded within a day is not asked about: a million calls less.
POSTED = "CASE WHEN t.recorded_at < t.at + interval '1 day' THEN t.at ELSE posted_at(t.mode, t.at, t.recorded_at) END"

#: What a transfer `t` adds to the card `c`: a kind that is none of the four would be an adjustment.
SIGNED = """
    CASE t.kind WHEN 'issue' THEN t.amount_minor WHEN 'refund' THEN t.amount_minor
        WHEN 'settle' THEN -t.amount_minor WHEN 'lapse' THEN -t.amount_minor
        ELSE CASE WHEN t.credit_id = c.account_id THEN t.amount_minor ELSE -t.amount_minor END END
"""
