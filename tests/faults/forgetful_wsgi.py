"""The service with a deaf ear for Idempotency-Key, and for the nonce of a browser that it has seen before."""

from dataclasses import replace
from typing import Any

from app.db.request import Reference
from app.issuance import links
from app.issuance import routes as issuance
from app.redemption import routes as redemption
from app.secrecy import random_secret
from app.web.idempotency import reference_of
from tests.faults.cheap_wsgi import app


def fresh_reference_of(*named: Any, **more: Any) -> Reference:
    return replace(reference_of(*named, **more), key=random_secret())


for routes in (issuance, redemption):
    vars(routes)["reference_of"] = fresh_reference_of
vars(links)["hashes_of_nonce"] = lambda _link_id, _nonce: [random_secret().encode()]

__all__ = ["app"]
