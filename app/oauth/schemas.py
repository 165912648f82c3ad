"""Wire shapes of what a client is told about itself."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from app.oauth.client_secrets import LiveSecret
from app.oauth.clients import Client, NewClient


def dump_client(client: Client, secrets: Collection[LiveSecret]) -> dict[str, Any]:
    """A client and its live secrets, without any secret; times in UTC."""
    return {
        "client_id": client.client_id,
        "client_name": client.name,
        "mode": client.mode,
        "party": client.party_id,
        "tier": client.tier,
        "token_endpoint_auth_method": client.auth_method,
        "scope": " ".join(client.scopes),
        "kids": list(client.kids),
        "secrets": [
            {"id": secret.id, "created_at": _time(secret.created_at), "last_used_at": _time(secret.last_used_at)}
            for secret in secrets
        ],
    }


def dump_new_secret(made: NewClient) -> dict[str, Any]:
    """A secret that was just drawn: the only answer that shows it."""
    return {"id": made.secret_id, "client_id": made.client_id, "client_secret": made.client_secret}


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None
