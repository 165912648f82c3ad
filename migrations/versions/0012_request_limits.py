"""How many requests each client and each address has sent lately."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "request_limits.sql").read_text())
