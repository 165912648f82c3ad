"""A captcha's solution is good once, for its purpose and session, for ten minutes; whatever else comes is refused."""

import base64
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from app import clock, config
from app.errors import CaptchaNeeded
from app.guard import captcha
from app.guard.captcha_models import SpentCaptcha
from app.guard.tries import Visitor, one_try, watch_visitor
from app.secrecy import KeyRing, random_secret
from tests.at_once import at_once, split
from tests.guard.captchas import solved
from tests.world import World, rows

NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)
ROUNDS_OF_FUZZ = 300


@pytest.fixture
def session(database: config.Settings) -> str:
    """What a page has and no other."""
    return random_secret()


def spend(solution: str, session: str, purpose: captcha.Purpose = "claim") -> None:
    captcha.spend_solution(solution, purpose=purpose, session=session)


def is_refused(solution: str, session: str, purpose: captcha.Purpose = "claim") -> bool:
    """Whether it is refused, with a challenge that leads on."""
    try:
        spend(solution, session, purpose)
    except CaptchaNeeded as refusal:
        assert refusal.facts["challenge"]
        return True
    return False


def spent() -> int:
    return int(rows("SELECT count(*) AS n FROM spent_captcha")[0].n)


def fresh(session: str, purpose: captcha.Purpose = "claim") -> str:
    return solved(captcha.make_challenge(purpose, session))


# ── once, here, now ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_solution_is_good_once_and_the_refusals_challenge_leads_on(session: str) -> None:
    solution = fresh(session)
    spend(solution, session)
    with pytest.raises(CaptchaNeeded) as refused:
        spend(solution, session)
    challenge = refused.value.facts["challenge"]
    assert isinstance(challenge, dict)
    spend(solved(challenge), session)


def test_it_is_good_for_its_purpose_and_session_alone(session: str) -> None:
    solution = fresh(session)
    assert is_refused(solution, session, "checkout")
    assert is_refused(solution, session, "widget")
    assert is_refused(solution, random_secret())
    assert not is_refused(solution, session), "a refusal spends nothing"


def test_it_is_over_after_ten_minutes(session: str) -> None:
    with clock.set_to(NOON):
        first, second = fresh(session), fresh(session)
    with clock.set_to(NOON + timedelta(minutes=10) - timedelta(seconds=1)):
        assert not is_refused(first, session)
    with clock.set_to(NOON + timedelta(minutes=10)):
        assert is_refused(second, session)


def test_the_clock_of_this_machine_decides_nothing(session: str, monkeypatch: pytest.MonkeyPatch) -> None:
    solution = fresh(session)
    later = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    assert not is_refused(solution, session)


def test_without_a_solution_there_is_no_way(session: str) -> None:
    for missing in (None, "", 7, ["x"]):
        with pytest.raises(CaptchaNeeded):
            captcha.prove(missing, purpose="claim", session=session)
    captcha.prove(fresh(session), purpose="claim", session=session)


def test_whoever_is_not_asked_spends_none(session: str, world: World) -> None:
    solution, before = fresh(session), spent()
    who = Visitor(None, prove=lambda: captcha.prove(solution, purpose="claim", session=session))
    with one_try(watch_visitor(who)):
        pass
    assert spent() == before


# ── keys, and what is stored ────────────────────────────────────────────────────────────────────────────────────────


def test_a_challenge_outlives_the_rotation_of_its_key_but_not_the_key(database: config.Settings, session: str) -> None:
    old, new = database.keys.hashing, bytes(32)
    first, second = fresh(session), fresh(session)
    try:
        config.use(replace(database, keys=replace(database.keys, hashing=KeyRing({**old.versions, 9: new}))))
        assert not is_refused(first, session)
        assert not is_refused(fresh(session), session)
        config.use(replace(database, keys=replace(database.keys, hashing=KeyRing({9: new}))))
        assert is_refused(second, session)
    finally:
        config.use(database)


def test_a_challenge_tells_nothing_of_its_session_nor_of_its_number(session: str) -> None:
    challenges = [captcha.make_challenge("claim", session) for _ in range(2)]
    shown = json.dumps(challenges)
    assert session not in shown
    assert all("counter" not in challenge["parameters"] for challenge in challenges)
    assert challenges[0]["parameters"]["nonce"] != challenges[1]["parameters"]["nonce"]


def test_what_ended_an_hour_ago_is_forgotten(session: str) -> None:
    with clock.set_to(NOON):
        spend(fresh(session), session)
    with clock.set_to(NOON + timedelta(minutes=69)):
        captcha.forget_spent_captchas()
    assert rows("SELECT 1 FROM spent_captcha WHERE expires_at = :at", at=NOON + captcha.GOOD_FOR)
    with clock.set_to(NOON + timedelta(minutes=71)):
        assert captcha.forget_spent_captchas() > 0
    assert not rows("SELECT 1 FROM spent_captcha WHERE expires_at = :at", at=NOON + captcha.GOOD_FOR)


# ── altered and malformed ───────────────────────────────────────────────────────────────────────────────────────────


def opened(solution: str) -> Any:
    return json.loads(base64.b64decode(solution))


def closed(payload: Any) -> str:
    return base64.b64encode(json.dumps(payload).encode()).decode()


def test_an_altered_one_is_refused(session: str) -> None:
    solution = fresh(session)
    good = opened(solution)
    parameters = good["challenge"]["parameters"]
    altered = {
        "cost": 1,
        "keyPrefix": "",
        "keyLength": 0,
        "algorithm": "SHA-256",
        "nonce": "00" * 16,
        "salt": "00" * 16,
        "keySignature": None,
        "data": {"until": parameters["data"]["until"] + 60},
        "expiresAt": 4_000_000_000,
    }
    for name, value in altered.items():
        changed = {**good["challenge"], "parameters": {**parameters, name: value}}
        assert is_refused(closed({**good, "challenge": changed}), session), name
    for name in parameters.keys() - {"keyLength"}:  # which is what it was, where it is not said
        without = {each: value for each, value in parameters.items() if each != name}
        assert is_refused(closed({**good, "challenge": {**good["challenge"], "parameters": without}}), session), name
    signature = good["challenge"]["signature"]
    for other in (signature.upper(), signature[:-1], signature + "0", signature[::-1], "", None, 7, [signature]):
        assert is_refused(closed({**good, "challenge": {**good["challenge"], "signature": other}}), session), other
    for key in ("00" * 32, "", "zz", good["solution"]["derivedKey"][:-2], None, 7, [1]):
        assert is_refused(closed({**good, "solution": {**good["solution"], "derivedKey": key}}), session), key
    assert not is_refused(solution, session), "none of these spent it"


def test_the_same_solution_written_in_another_way_is_spent_with_it(session: str) -> None:
    solution = fresh(session)
    good = opened(solution)
    spend(solution, session)
    key = good["solution"]["derivedKey"]
    for other in (
        {"challenge": good["challenge"], "solution": {"counter": 0, "derivedKey": key.upper()}},
        {"solution": {**good["solution"], "time": 9}, "challenge": good["challenge"], "more": 1},
        {**good, "challenge": dict(reversed(good["challenge"].items()))},
    ):
        assert is_refused(closed(other), session)


MALFORMED = {
    "nothing": "",
    "not base64": "%%%",
    "not ASCII": "é" * 40,
    "half a pair": "\ud800",
    "a zero byte": "\0" * 8,
    "not UTF-8": base64.b64encode(b"\xff\xfe{").decode(),
    "not JSON": base64.b64encode(b"{").decode(),
    "a number": closed(7),
    "null": closed(None),
    "a text": closed("x"),
    "a list": closed([1]),
    "empty": closed({}),
    "challenge of no kind": closed({"challenge": 7, "solution": {}}),
    "challenge a list": closed({"challenge": ["parameters"], "solution": {}}),
    "parameters a list": closed({"challenge": {"parameters": []}, "solution": {}}),
    "parameters a text": closed({"challenge": {"parameters": "algorithm"}, "solution": {}}),
    "solution a text": closed({"challenge": {"parameters": {}}, "solution": "x"}),
    "deep": base64.b64encode(b"[" * 1_100).decode(),
    "deep object": base64.b64encode(b'{"a":' * 220).decode(),
    "a number of a thousand digits": base64.b64encode(b"1" * 1_150).decode(),
    "huge": "A" * 100_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_has_not_the_shape_of_a_solution_is_refused(session: str, name: str) -> None:
    assert is_refused(MALFORMED[name], session)


def test_whatever_a_good_one_is_spoilt_into_is_refused_and_cheap(session: str) -> None:
    """Wrong types, deep values, missing and doubled members: never a bug. Looking at one takes no PBKDF2."""
    solution = fresh(session)
    rng = random.Random(7)
    spoilt = [closed(spoil(opened(solution), rng)) for _ in range(ROUNDS_OF_FUZZ)]
    began = time.process_time()
    judged = [captcha._read_solution(one) for one in spoilt]
    assert not any(captcha._is_right(one, "claim", session) for one in judged if one is not None)
    assert (time.process_time() - began) / ROUNDS_OF_FUZZ < 0.005
    assert all(is_refused(one, session) for one in spoilt[:20])
    assert not is_refused(solution, session)


def spoil(payload: Any, rng: random.Random) -> Any:
    """One member somewhere becomes something else, or is gone."""
    parameters = payload["challenge"]["parameters"]
    place, name = rng.choice(
        [
            (payload, "challenge"),
            (payload, "solution"),
            (payload["challenge"], "parameters"),
            (payload["challenge"], "signature"),
            (payload["solution"], "derivedKey"),
            *((parameters, each) for each in parameters if each != "keyLength"),
        ]
    )
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    odd = [
        None,
        True,
        -1,
        0,
        2**70,
        1e308,
        float("nan"),
        "",
        "0",
        "\ud800",
        "__proto__",
        [],
        {},
        deep,
        {"__proto__": 1},
    ]
    if rng.random() < 0.2:
        del place[name]
    else:
        place[name] = rng.choice([value for value in odd if value != place[name]])
    return payload


# ── many at once ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_many_at_once_one_is_the_first(session: str) -> None:
    for _ in range(5):
        solution = fresh(session)
        passed, refused = split(at_once([lambda solution=solution: spend(solution, session)] * 12))  # type: ignore[misc]
        assert (len(passed), {type(each) for each in refused}) == (1, {CaptchaNeeded})


def test_to_look_first_and_write_then_would_let_more_than_one_pass(
    session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_first(db: Connection, payload: Any) -> bool:
        mine = bytes.fromhex(payload.challenge.signature)
        is_first = db.execute(select(SpentCaptcha.expires_at).where(SpentCaptcha.signature == mine)).first() is None
        time.sleep(0.05)
        db.execute(insert(SpentCaptcha).values(signature=mine, expires_at=NOON).on_conflict_do_nothing())
        return is_first

    monkeypatch.setattr(captcha, "_spend", look_first)
    solution = fresh(session)
    passed, _ = split(at_once([lambda: spend(solution, session)] * 4))
    assert len(passed) > 1


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_to_make_and_to_look_at_one_is_far_cheaper_than_an_argon2(session: str) -> None:
    """By the CPU's time, of which Argon2 takes 20 milliseconds and more."""
    payload = captcha._read_solution(fresh(session))
    assert payload is not None

    def least_ms(called: Callable[[], Any]) -> float:
        took = []
        for _ in range(10):
            began = time.process_time()
            called()
            took.append(time.process_time() - began)
        return min(took) * 1_000

    assert least_ms(lambda: captcha.make_challenge("claim", session)) < 4
    assert least_ms(lambda: captcha._is_right(payload, "claim", session)) < 2
