"""Bills of stores, their lines, what they take up, and why a line did not match."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "bills.sql").read_text())
