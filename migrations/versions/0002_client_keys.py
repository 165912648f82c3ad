"""Clients that sign who they are: their public keys, and the assertions that are spent."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "client_keys.sql").read_text())
