"""The scope for statements, and what lies on issuers' bank accounts."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "reports.sql").read_text())
