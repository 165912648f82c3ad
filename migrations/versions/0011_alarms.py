"""Alarms, the messages that tell of them, and the scope by which parties read their own."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "alarms.sql").read_text())
