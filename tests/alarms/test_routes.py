"""Alarms over the API: a party reads those that concern it, and nobody else's."""

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from app.db.transaction import transaction
from app.ids import new_id
from app.oauth.access_token import make_access_token
from tests.api import Api, Machine, api_of, assert_problem
from tests.guard.ground import NOON, make_alarm
from tests.world import World

SHOWN = {
    "id", "mode", "rule", "group", "currency", "state", "first_at", "last_at", "ended_at", "acknowledged_at",
    "figure", "peak", "threshold", "what", "why", "advice",
}  # fmt: skip


@pytest.fixture
def api(client: FlaskClient, world: World) -> Api:
    return api_of(client, world)


@pytest.fixture
def made(api: Api) -> dict[str, str]:
    """Alarms of everybody, by whose they are."""
    world = api.world
    card_id = new_id("card")
    ids = iter(sorted(new_id("alarm") for _ in range(6)))  # those of one millisecond are in no order
    return {
        "store": make_alarm("wrong_codes_store", world.bookshop, world.bookshop, id=next(ids)),
        "other store": make_alarm("wrong_codes_store", world.toyshop, world.toyshop, id=next(ids)),
        "issuer": make_alarm(
            "issued_count", world.issuer_id, world.issuer_id, ended_at=NOON + timedelta(hours=1), id=next(ids)
        ),
        "card": make_alarm("code_elsewhere", card_id, world.issuer_id, id=next(ids)),
        "overall": make_alarm("wrong_codes_overall", world.bookshop, None, id=next(ids)),
        "address": make_alarm("openings_address", world.toyshop, None, id=next(ids)),
    }


def listed(machine: Machine, **query: str) -> list[str]:
    answer = machine.get("/v1/alarms", **query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.get_json()["items"]]


def test_a_party_reads_its_own_alarms_and_no_other(api: Api, made: dict[str, str]) -> None:
    seen = {
        "bookshop": (api.bookshop, ["store"]),
        "toyshop": (api.toyshop, ["other store"]),
        "acme": (api.acme, ["issuer", "card"]),
    }
    for machine, own in seen.values():
        assert listed(machine) == sorted(made[name] for name in own)
        for name, alarm_id in made.items():
            answer = machine.get(f"/v1/alarms/{alarm_id}")
            if name in own:
                assert answer.get_json()["id"] == alarm_id
            else:
                assert_problem(answer, 404, "not-found")


def test_an_alarm_says_what_happened_and_not_who_looks_after_it(api: Api, made: dict[str, str]) -> None:
    with transaction() as db:
        said = "UPDATE alarm SET acknowledged_at = $1, acknowledged_by = 'operator:sam' WHERE id = $2"
        db.exec_driver_sql(said, (NOON, made["store"]))
    shown = api.bookshop.get(f"/v1/alarms/{made['store']}").get_json()
    assert set(shown) == SHOWN
    assert (shown["group"], shown["state"]) == ({"kind": "store", "id": api.world.bookshop}, "open")
    assert (shown["figure"], shown["peak"], shown["threshold"]) == (20, 30, 10)
    assert shown["acknowledged_at"].startswith("2026-06-10T12:00:00")
    assert "scrip" not in shown["advice"] and "sam" not in str(shown)


def test_lists_are_narrowed_and_paged(api: Api, made: dict[str, str]) -> None:
    assert listed(api.acme, state="open") == [made["card"]]
    assert listed(api.acme, state="ended") == [made["issuer"]]
    first = api.acme.get("/v1/alarms", limit="1").get_json()
    assert first["next"] == made["issuer"]
    assert listed(api.acme, after=first["next"]) == [made["card"]]
    assert listed(api.acme, after=made["overall"]) == []
    assert_problem(api.acme.get("/v1/alarms", state="closed"), 422, "invalid-request", "/state")


def test_other_scopes_read_none(api: Api, made: dict[str, str]) -> None:
    for machine, scope in ((api.bookshop, "settle"), (api.acme, "issue")):
        bearer = {"Authorization": f"Bearer {make_access_token(machine.known, [scope])}"}
        for path in ("/v1/alarms", f"/v1/alarms/{made['store']}"):
            assert_problem(machine.client.get(path, headers=bearer), 403, "insufficient-scope")
