"""Access tokens that were given up before their time."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "revoked_tokens.sql").read_text())
