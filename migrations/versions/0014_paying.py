"""The books of paying: payables, payment runs, payouts, entries, closed months, and what they move."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "paying.sql").read_text())
