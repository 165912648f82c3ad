"""The world of a walk: three programmes of two issuers, three stores, and a store of the live mode."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.ids import IssuerId, ProgrammeId, StoreId
from app.issuance.issuer import add_issuer
from app.issuance.programme import ProgrammeTerms, create_programme
from app.redemption.store import add_store
from tests.simulation.model import DAY, MINUTE, Terms
from tests.world import TERMS, reference

#: The plain programme; one whose links open again, with short times and only two stores; one of another issuer.
PROGRAMMES: dict[str, tuple[str, Terms]] = {
    "plain": ("acme", Terms(100, 50_000, 365 * DAY, False, 30 * MINUTE, 7 * DAY, 30 * DAY)),
    "again": (
        "acme",
        Terms(1, 9_999, 20 * DAY, True, 10 * MINUTE, 2 * DAY, 3 * DAY, frozenset({"bookshop", "toyshop"})),
    ),
    "other": ("globex", Terms(100, 50_000, 100 * DAY, False, 30 * MINUTE, 40 * DAY, 60 * DAY)),
}
STORES = ("bookshop", "toyshop", "gameshop")
#: Same name, other mode: no test card may ever be taken there.
LIVE_STORE = "liveshop"


@dataclass(frozen=True)
class Parties:
    """Identifiers by name."""

    issuers: dict[str, IssuerId]
    stores: dict[str, StoreId]
    programmes: dict[str, ProgrammeId]


def make_parties() -> Parties:
    """A world of its own, in a database that others may share."""
    issuers = {name: add_issuer(name.title(), mode="test").id for name in ("acme", "globex")}
    stores = {name: add_store(name.title(), mode="test").id for name in STORES}
    programmes = {name: _programme(issuers[issuer], terms, stores) for name, (issuer, terms) in PROGRAMMES.items()}
    return Parties(issuers, {**stores, LIVE_STORE: add_store("Liveshop", mode="live").id}, programmes)


def _programme(issuer_id: IssuerId, terms: Terms, stores: dict[str, StoreId]) -> ProgrammeId:
    wanted: dict[str, Any] = {
        "card_min_minor": terms.least,
        "card_max_minor": terms.most,
        "valid_days": terms.lives.days,
        "link_policy": "fresh_code_each_open" if terms.can_open_again else "single_use",
        "hold_ttl_s": _seconds(terms.hold),
        "confirmed_ttl_s": _seconds(terms.confirmed),
        "hold_max_s": _seconds(terms.longest),
        "stores": sorted(stores[name] for name in terms.stores) if terms.stores else None,
    }
    asked = ProgrammeTerms(**{**TERMS, **wanted})
    return create_programme(asked, issuer_id=issuer_id, mode="test", reference=reference(issuer_id)).id


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
