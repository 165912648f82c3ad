"""What stores ask holders for at our own page, and where their shoppers go back to."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    op.execute((Path(__file__).parents[1] / "sql" / "authorization_requests.sql").read_text())
