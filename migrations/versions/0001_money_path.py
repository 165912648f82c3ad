"""The money's path: issue, claim, exchange, settle, reissue; its books, letters and clients."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

#: Room by room, then what ties them together, then what keeps the service in its bounds.
FILES = ("ledger", "events", "db", "issuance", "redemption", "across_rooms", "oauth", "mail", "guards")


def upgrade() -> None:
    """Only forward: a backup is the way back."""
    for name in FILES:
        op.execute((Path(__file__).parents[1] / "sql" / f"{name}.sql").read_text())
