"""What people read is true: tables say what the code says, links lead somewhere, examples do what they claim."""

import inspect
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask
from joserfc.errors import JoseError

from app import errors
from app.cli import scrip
from app.config import Settings
from app.environment import UnsafeSettings
from app.factory import LETTERS
from app.oauth.clients import add_client
from app.oauth.keys import jwks
from app.oauth.scopes import ALL_SCOPES, PARTY_SCOPES
from app.redemption.payment import sign_balance
from app.web.problems import HTTP_SLUGS, STATUS
from tests.checkout.shop import Pushed, Shopper, bookshop_of, challenge_of
from tests.service import real_keys
from tests.world import World

ROOT = Path(__file__).parents[1]
#: A FlaskClient whose answers are read without asking each time whether they are JSON.
Browser = Any
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """A page from one heading to the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{name} has no heading {heading!r}"
    return found[1]


def table_rows(text: str) -> list[list[str]]:
    """The cells of every table row that begins with something in backticks; backticks around a whole cell are gone."""
    lines = re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    return [[re.sub(r"^`([^`]*)`$", r"\1", cell.strip()) for cell in line.split(" | ")] for line in lines]


# ── links and commands ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_or_a_heading(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        led_to = (path.parent / name).resolve() if name else path
        assert led_to.exists(), f"{path.name} links to {target}"
        assert led_to.is_relative_to(ROOT)
        if anchor:
            assert anchor in headings(led_to), f"{path.name} links to {target}"


def headings(path: Path) -> set[str]:
    """The anchors that a page's headings get."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"^([a-z-]+)$", page("docs/index.md"), re.MULTILINE))
    assert listed == {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}


def test_run_knows_every_command_that_the_pages_name() -> None:
    known = set(re.findall(r"^  \./run (\w+)", (ROOT / "run").read_text(), re.MULTILINE))
    named = {command for path in PAGES for command in re.findall(r"\./run (\w+)", path.read_text(encoding="utf-8"))}
    assert {"demo", "test"} <= named - {"alone"} <= known


def test_every_command_of_scrip_is_in_the_table_and_no_other() -> None:
    told = set(re.findall(r"`scrip ([a-z -]+)`", "".join(row_starts("docs/operating.md", "Commands"))))
    real = dict(commands(scrip))
    assert told == set(real)
    options = {name for command in real.values() for each in command.params for name in each.opts if name[0] == "-"}
    assert options == {name for name in options if name in page("docs/operating.md")}
    for path in PAGES:
        for words in re.findall(r"(?:\./run |`)scrip ([a-z]+(?: [a-z-]+)?)", path.read_text(encoding="utf-8")):
            assert any(f"{words} ".startswith(f"{each} ") for each in told), f"{path.name}: scrip {words}"


def row_starts(name: str, heading: str) -> Iterator[str]:
    """The first cells of a section's tables."""
    return (line.split(" | ")[0] for line in re.findall(r"^\| .* \|$", section(name, heading), re.MULTILINE))


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command by all of its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{before}{name}", command


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Asked(dict[str, str]):
    """An environment that notes which settings are asked for."""

    def __init__(self, content: Mapping[str, str]) -> None:
        super().__init__(content)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def settings_table() -> dict[str, str]:
    """Each setting of the service with its default."""
    return {row[0]: row[1] for row in table_rows(section("docs/operating.md", "Settings")) if len(row) == 3}


def is_of_commands(default: str) -> bool:
    """The second table names, where the first has the default, the commands that read the setting."""
    return default.lstrip("`").startswith("scrip ")


@pytest.fixture
def least(keys_dir: Path) -> dict[str, str]:
    """The settings that must be given."""
    return {
        "DATABASE_URL": "postgresql+psycopg://scrip_service:pw@127.0.0.1/scrip",
        "PUBLIC_URL": "https://cards.example",
        "TRUSTED_PROXIES": "127.0.0.1",
        "KEYS_DIR": str(real_keys(keys_dir)),
        "SMTP_HOST": "mail.example",
        "MAIL_FROM": "cards@cards.example",
    }


def test_the_settings_table_names_what_the_code_reads_and_nothing_else(least: dict[str, str]) -> None:
    environment = Asked(least)
    Settings.from_env(environment)
    told = settings_table()
    of_commands = {name for name, default in told.items() if is_of_commands(default)}
    assert set(told) - of_commands == environment.names
    source = (ROOT / "app" / "cli.py").read_text()
    read_by_commands = set(re.findall(r'(?:_env|environ\.get)\("([A-Z_]+)"\)', source))
    assert of_commands == read_by_commands - environment.names


def test_a_required_setting_is_asked_for_by_name(least: dict[str, str]) -> None:
    required = {name for name, default in settings_table().items() if default == "required"}
    assert required == set(least)
    for name in required:
        with pytest.raises(UnsafeSettings, match=name):
            Settings.from_env({each: value for each, value in least.items() if each != name})


def test_the_documented_defaults_are_those_of_the_code(least: dict[str, str]) -> None:
    for name, default in settings_table().items():
        if default not in ("required", "none") and not is_of_commands(default):
            assert Settings.from_env(least | {name: default}) == Settings.from_env(least), name


# ── refusals, operations, letters, events, rooms ────────────────────────────────────────────────────────────────────


def test_the_table_of_refusals_is_that_of_the_code_in_the_same_order() -> None:
    told = [(row[0], int(row[1]), row[2]) for row in table_rows(section("docs/problems.md", "Refusals"))]
    refusals = [
        each
        for _, each in inspect.getmembers_static(errors, inspect.isclass)
        if issubclass(each, errors.Refusal) and each is not errors.Refusal and each.__module__ == errors.__name__
    ]
    refusals.sort(key=lambda each: inspect.getsourcelines(each)[1])
    assert told == [(each.slug, STATUS[each], (each.__doc__ or "").strip().splitlines()[0]) for each in refusals]


def test_the_table_of_http_errors_is_that_of_the_code() -> None:
    told = {int(row[1]): row[0] for row in table_rows(section("docs/problems.md", "From HTTP itself"))}
    assert told == HTTP_SLUGS


def test_every_operation_is_described_with_its_scope_and_no_other(app: Flask) -> None:
    text = page("docs/api.md")
    told = {(method, path) for method, path in re.findall(r"^\| `([A-Z]+) (/[^`]*)`", text, re.MULTILINE)}
    real = {
        (
            method,
            re.sub(r"<(?:[^:>]+:)?(\w+)>", lambda name: "{link_id}" if name[1] == "link_id" else "{id}", rule.rule),
        )
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}
        if "static" not in rule.endpoint
    }
    assert told == real
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/v1"):
            scopes = inspect.unwrap(
                app.view_functions[rule.endpoint], stop=lambda view: hasattr(view, "required_scopes")
            )
            path = re.sub(r"<[^>]+>", "{id}", rule.rule)
            method = "POST" if "POST" in (rule.methods or ()) else "GET"
            row = next(row for row in table_rows(text) if row[0] == f"{method} {path}")
            assert row[1] in (*getattr(scopes, "required_scopes", ()), "any store scope"), row


def test_every_scope_is_described_for_its_party() -> None:
    told = {row[0]: row[1] for row in table_rows(section("docs/api.md", "Who is calling"))}
    assert set(told) == set(ALL_SCOPES)
    for scope in {scope for scopes in PARTY_SCOPES.values() for scope in scopes}:
        parties = [f"{party}s" for party, scopes in PARTY_SCOPES.items() if scope in scopes]
        assert told[scope] == " and ".join(parties).replace("finances", "finance"), scope


def test_every_letter_is_described() -> None:
    assert {row[0] for row in table_rows(section("docs/money-path.md", "Letters"))} == set(LETTERS)


def test_every_kind_of_event_is_described() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    written = set(re.findall(r'event_of\(\s*"(\w+)"', code)) | {"letter_sent", "letter_failed", "letter_dropped"}
    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", section("docs/money-path.md", "The history"))) == written


def test_every_room_is_on_the_map() -> None:
    told = {row[0] for row in table_rows(section("docs/house.md", "The rooms"))}
    assert told == {f"app/{path.parent.name}/" for path in (ROOT / "app").glob("*/__init__.py")}


def test_the_map_is_the_contract() -> None:
    contract = re.search(r"containers =\n    app\nlayers =\n(.*?)exhaustive", page("setup.cfg"), re.DOTALL)
    drawn = re.search(r"```text\n(.*?)```", section("docs/house.md", "Who may import whom"), re.DOTALL)
    assert contract is not None and drawn is not None
    floors = [re.sub(r"[()]", "", line).split() for line in contract[1].strip().splitlines()]
    assert [line.partition("  ")[0].split() for line in re.sub(r"^ ", "", drawn[1], flags=re.M).splitlines()] == floors


# ── the story and the examples ──────────────────────────────────────────────────────────────────────────────────────


def test_readme_and_story_test_tell_the_same_story() -> None:
    story = re.search(r"<!-- story.*?-->(.*?)<!-- end of story -->", page("README.md"), re.DOTALL)
    assert story is not None
    walked = page("tests/story/test_money_path.py")
    amounts = {int(minor.replace("_", "")) for minor in re.findall(r"money\(([\d_]+)\)", walked)}
    assert {int(whole) * 100 + int(rest) for whole, rest in re.findall(r"(\d+)\.(\d\d) GBP", story[1])} == amounts
    for name in ("Acme", "Sam", "Bookshop", "Toyshop"):
        assert name in story[1]
        assert name.lower() in walked.lower()


def examples(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL)


@pytest.mark.parametrize("name", ["docs/api.md", "docs/problems.md", "docs/balance-token.md", "docs/checkout.md"])
def test_every_json_example_is_json(name: str) -> None:
    assert [json.loads(example) for example in examples(name, "json")]


def headers_of(client: Browser, kind: str, party_id: str) -> dict[str, str]:
    party: dict[str, Any] = {f"{kind}_id": party_id}
    made = add_client(name=kind, mode="test", scopes=PARTY_SCOPES[kind], **party)
    form = {"grant_type": "client_credentials"}
    answer = client.post("/oauth/token", data=form, auth=(made.client_id, made.client_secret))
    return {"Authorization": f"Bearer {answer.json['access_token']}", "Idempotency-Key": secrets.token_hex()}


def test_the_examples_of_the_api_have_the_shapes_that_the_service_answers(client: Browser, world: World) -> None:
    programme, card, payment, settlement = [json.loads(example) for example in examples("docs/api.md", "json")][1:]
    issuer, store = headers_of(client, "issuer", world.issuer_id), headers_of(client, "store", world.bookshop)

    made = client.post("/v1/programmes", json=programme, headers=issuer)
    assert made.status_code == 201, made.text
    assert made.json.items() >= programme.items()
    given = {name: programme[name] for name in ("name", "currency", "card_min_minor", "card_max_minor", "valid_days")}
    by_default = client.post("/v1/programmes", json=given, headers=issuer | {"Idempotency-Key": "defaults"})
    assert by_default.json.items() >= programme.items()

    asked = re.search(r"-d '(\{\n.*?\})'", section("docs/api.md", "Issue a card"), re.DOTALL)
    assert asked is not None
    wanted = json.loads(asked[1]) | {"programme": made.json["id"]}
    issued = client.post("/v1/cards", json=wanted, headers=issuer | {"Idempotency-Key": "issue-1001"})
    assert issued.status_code == 201, issued.text
    assert shape(issued.json) == shape(card)

    code = world.claim(issued.json["claim_link"]).code
    order = {"code": code, "order_reference": "order-123"}
    exchanged = client.post("/v1/payments", json=order, headers=store | {"Idempotency-Key": "exchange-123"})
    assert shape(exchanged.json) == shape(payment)

    path, amount = f"/v1/payments/{exchanged.json['id']}", {"amount_minor": 3000, "currency": "GBP"}
    over = client.post(f"{path}/settlements", json={"amount": {**amount, "amount_minor": 6000}}, headers=store)
    settled = client.post(f"{path}/settlements", json={"amount": amount, "final": True}, headers=store)
    assert shape(settled.json) == shape(settlement)
    assert {**over.json, "instance": ""} == {**json.loads(examples("docs/problems.md", "json")[0]), "instance": ""}


def test_the_examples_of_the_checkout_are_what_the_service_takes_and_answers(app: Flask, world: World) -> None:
    pushed_shape, token_shape = [json.loads(example) for example in examples("docs/checkout.md", "json")]
    asked = re.search(r"authorization_details='(\[\{.*?\}\])'", page("docs/checkout.md"), re.DOTALL)
    assert asked is not None
    shop, shopper = bookshop_of(app, world), Shopper(app.test_client())
    first = shop.ask(authorization_details=asked[1], code_challenge=challenge_of("v" * 43))
    assert shape(first.get_json()) == shape(pushed_shape)
    assert first.get_json()["expires_in"] == pushed_shape["expires_in"]
    pushed = Pushed(first.get_json()["request_uri"], "v" * 43, shop.credentials.client_id)
    told = shop.redeem(shopper.pay(pushed, world.code().code), pushed).get_json()
    assert shape(told) == shape(token_shape)
    [detail], [example] = told["authorization_details"], token_shape["authorization_details"]
    assert {**detail, "payment_id": ""} == {**example, "payment_id": ""}


def shape(value: Any) -> Any:
    """Which fields there are, and which of them are empty."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in sorted(value.items())}
    return value is None


def test_the_example_of_wrong_fields_is_what_the_service_says(client: Browser, world: World) -> None:
    wrong = {"kode": "x", "order_reference": "order-123", "amount": {"amount_minor": 1.5, "currency": "GBP"}}
    answer = client.post("/v1/payments", json=wrong, headers=headers_of(client, "store", world.bookshop))
    assert {**answer.json, "instance": ""} == {**json.loads(examples("docs/problems.md", "json")[1]), "instance": ""}


def test_the_page_on_balance_tokens_reads_a_real_one_and_refuses_others(world: World) -> None:
    scope: dict[str, Any] = {}
    exec(examples("docs/balance-token.md", "python")[0], scope)
    payment = world.payment(5_000).payment
    token = sign_balance(payment) or ""
    good = {"jwks": jwks(), "service": "http://127.0.0.1:8000", "store_id": world.bookshop, "payment_id": payment.id}
    assert scope["read_balance"](token, **good) == (5_000, "GBP")

    header, claims, signature = token.split(".")
    spoilt = f"{header}.{claims}.{signature[:20]}{'A' if signature[20] != 'A' else 'B'}{signature[21:]}"
    unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoic2NyaXAtYmFsYW5jZStqd3QifQ.{claims}."
    for bad in (spoilt, unsigned):
        with pytest.raises((JoseError, ValueError)):
            scope["read_balance"](bad, **good)
    for other in ({"service": "https://else.example"}, {"store_id": world.toyshop}, {"payment_id": "pay_other"}):
        with pytest.raises((JoseError, ValueError)):
            scope["read_balance"](token, **good | other)


def test_nothing_speaks_of_where_it_was_written() -> None:
    """The pages speak of the project alone, and stand without any other folder."""
    for path in [*PAGES, ROOT / "docs" / "conf.py", ROOT / "docs" / "code_vectors.json"]:
        assert not re.search(r"/(?:work|root|tmp)/|@@|TODO|FIXME", path.read_text(encoding="utf-8")), path
