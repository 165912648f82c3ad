"""A card to try, issued through the API as any issuer would, and its claim link from the letter."""

import json
import secrets
import time
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from app.demo.folder import DemoError
from app.demo.letters import all_letters

TERMS = {
    "name": "Acme gift card",
    "currency": "GBP",
    "card_min_minor": 100,
    "card_max_minor": 50_000,
    "valid_days": 730,
    "link_policy": "single_use",
    "hold_ttl_s": 1_800,
    "confirmed_ttl_s": 7 * 86_400,
    "hold_max_s": 30 * 86_400,
    "stores": "all",
}
CARD = {
    "amount": {"amount_minor": 5_000, "currency": "GBP"},
    "holder": {"email": "sam@example.com", "name": "Sam"},
    "deliver": "email",
}
LETTER_PATIENCE_S = 20.0


class IssuerApi:
    """The service as an issuer's machine sees it."""

    def __init__(self, base_url: str, client_id: str, client_secret: str) -> None:
        self._address = urlsplit(base_url)
        basic = b64encode(f"{client_id}:{client_secret}".encode()).decode()
        form = urlencode({"grant_type": "client_credentials"})
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        self._access_token = self._ask("POST", "/oauth/token", form, headers)["access_token"]

    def get(self, path: str) -> dict[str, Any]:
        """Reads. Raises DemoError when refused."""
        return self._ask("GET", path, None, self._headers())

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Asks for something new. Raises DemoError when refused."""
        once = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_urlsafe(16)}
        return self._ask("POST", path, json.dumps(body), self._headers() | once)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access_token}"}

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> dict[str, Any]:
        connection = HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read().decode()
        except OSError as error:
            raise DemoError(f"{method} {path} got no answer: {error}") from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise DemoError(f"{method} {path} was answered {answer.status}: {content.strip()}")
        parsed: dict[str, Any] = json.loads(content)
        return parsed


def ready_card(api: IssuerApi, kept: Mapping[str, Any], outbox: Path) -> dict[str, Any]:
    """What to keep of the card to try: the one from the last start while its link waits, else a new one.

    `kept` is what an earlier start returned. The result has `programme_id`, `card_id` and `claim_path`, the link
    without its origin, for the port may change. Raises DemoError.
    """
    if kept.get("card_id"):
        link_id = _waiting_link(api.get(f"/v1/cards/{kept['card_id']}"))
        if link_id and kept["claim_path"].startswith(f"/claim/{link_id}#"):
            return dict(kept)
    programme_id = kept.get("programme_id") or api.post("/v1/programmes", TERMS)["id"]
    card = api.post("/v1/cards", {"programme": programme_id, **CARD})
    claim_path = _path_in_letter(outbox, _waiting_link(card))
    return {"programme_id": programme_id, "card_id": card["id"], "claim_path": claim_path}


def _waiting_link(card: Mapping[str, Any]) -> str | None:
    """The ID of the link that waits to be opened, if one does."""
    reached = card["reached_through"] or {}
    return reached["id"] if (reached.get("kind"), reached.get("state")) == ("link", "waiting") else None


def _path_in_letter(outbox: Path, link_id: str | None) -> str:
    """Waits for the letter with this link, and returns the link's path and key."""
    deadline = time.monotonic() + LETTER_PATIENCE_S
    while time.monotonic() < deadline:
        for letter in all_letters(outbox):
            for link in letter.links:
                if f"/claim/{link_id}#" in link:
                    return link[link.index("/claim/") :]
        time.sleep(0.02)
    raise DemoError(
        "the letter with the claim link did not arrive in the outbox: see logs/worker.log in the data folder"
    )
