"""What the demo tells once it is ready: for a person, with commands to copy, or as one line of JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from app.demo.shop import Shop

TEXT = Path(__file__).with_name("summary.txt").read_text(encoding="utf-8")
SHOP_TEXT = Path(__file__).with_name("summary_shop.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Summary:
    """Where everything is. `state` is what demo.json holds."""

    base_url: str
    outbox_url: str
    folder: Path
    state: dict[str, Any]
    shop: Shop | None = None

    @property
    def claim_link(self) -> str:
        """The link in Sam's letter, at the address of this start."""
        return self.base_url + str(self.state["card"]["claim_path"])

    def as_json(self) -> str:
        """One line."""
        shown = {
            "base_url": self.base_url,
            "docs_url": f"{self.base_url}/docs",
            "outbox_url": self.outbox_url,
            "token_url": f"{self.base_url}/oauth/token",
            "issuer": self.state["issuer"] | {"programme_id": self.state["card"]["programme_id"]},
            "stores": self.state["stores"],
            "claim_link": self.claim_link,
        }
        if self.shop is not None:
            shown["shop"] = asdict(self.shop)
        return json.dumps(shown)

    def as_text(self) -> str:
        """For a person, with commands that can be copied as they are."""
        if self.shop is not None:
            return SHOP_TEXT.format(
                base_url=self.base_url,
                outbox_url=self.outbox_url,
                folder=quote(str(self.folder)),
                shop=self.shop,
                claim_link=self.claim_link,
            )
        stores = self.state["stores"]
        lines = [f"  store       {each['name']:<11} {each['client_id']} : {each['client_secret']}" for each in stores]
        return TEXT.format(
            base_url=self.base_url,
            outbox_url=self.outbox_url,
            folder=quote(str(self.folder)),
            issuer=self.state["issuer"],
            programme_id=self.state["card"]["programme_id"],
            stores="\n".join(lines),
            shop=stores[0],
            claim_link=self.claim_link,
        )
