"""The field for codes in a store's page, as a piece of HTML that any template takes (docs/widget.md).

The code goes from the shopper's browser to the service; the page gets a code token, which the store's server exchanges
by `client.exchange_token`, naming order and shopper by itself.
"""

from html import escape

from scrip_sdk.money import Money
from scrip_sdk.service import read_origin
from scrip_sdk.shopper import Shopper


class Html(str):
    """HTML that is safe as it stands: Jinja, Django and others ask `__html__`, and do not escape it again."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def widget_tag(
    base_url: str,
    store_id: str,
    order: str,
    amount: Money,
    shopper: Shopper | None = None,
    *,
    nonce: str | None = None,
) -> Html:
    """The script of the field, and the field: for this order and at most this amount.

    `shopper`: the same that the exchange will name. `nonce`: of the page's Content-Security-Policy, where it has one.
    Listen for the element's event `token`. Raises ValueError for an address that is no good origin.
    """
    script = {"src": f"{read_origin(base_url)}/widget/v1.js"} | ({} if nonce is None else {"nonce": nonce})
    field = {
        "store": store_id,
        "order": order,
        "amount": str(amount.amount_minor),
        "currency": amount.currency,
    } | ({} if shopper is None else {"shopper": shopper.key_hash})
    return Html(f"<script{_written(script)}></script><scrip-code{_written(field)}></scrip-code>")


def widget_csp(base_url: str) -> dict[str, str]:
    """What a page's Content-Security-Policy must allow besides its own: the service's origin, by directive.

    Raises ValueError for an address that is no good origin.
    """
    origin = read_origin(base_url)
    return {"script-src": origin, "frame-src": origin}


def _written(attributes: dict[str, str]) -> str:
    return "".join(f' {name}="{escape(value, quote=True)}"' for name, value in attributes.items())
