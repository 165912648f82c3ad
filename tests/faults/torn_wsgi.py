"""The service with a refund that keeps its answer in another transaction than its effect, and forgetful of browsers."""

from dataclasses import replace
from typing import Any

from app.db.request import CLAIM_REQUEST, Reference, find_answer, keep_answer
from app.db.together import together
from app.db.transaction import transaction
from app.issuance import links
from app.redemption import routes
from app.redemption.refund import Refund, refund_payment
from app.secrecy import random_secret
from tests.faults import fuse
from tests.faults.cheap_wsgi import app


def refund_in_two_transactions(*named: Any, reference: Reference, **more: Any) -> Refund:
    with transaction() as db:
        if again := find_answer(db, reference, Refund):
            return again
    refund = refund_payment(*named, reference=replace(reference, key=random_secret()), **more)
    with transaction() as db:
        db.execute(CLAIM_REQUEST, reference.claim)
        together(db, keep_answer(reference, refund))
    return refund


vars(routes)["refund_payment"] = refund_in_two_transactions
vars(links)["hashes_of_nonce"] = lambda _link_id, _nonce: [random_secret().encode()]
fuse.lay(app)
