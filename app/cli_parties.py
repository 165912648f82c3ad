"""Commands about parties: who funds cards, who takes them, and their machines."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, TextIO

import click

from app.config import Settings

MODE = click.Choice(["live", "test"])


def wired(command: Callable[..., None]) -> Callable[..., None]:
    """A command that needs the settings and the database."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from app.factory import wire

        wire(Settings.from_env())
        command(*args, **kwargs)

    return run


@click.group()
def issuer() -> None:
    """Who funds cards."""


@issuer.command("add")
@click.argument("name")
@click.option("--mode", type=MODE, required=True)
@wired
def add_issuer(name: str, mode: str) -> None:
    """Add an issuer; prints its ID."""
    from app.issuance.issuer import add_issuer

    click.echo(add_issuer(name, mode=mode).id)


@issuer.command("list")
@wired
def list_issuers() -> None:
    """List issuers."""
    from app.issuance.issuer import list_issuers

    for found in list_issuers():
        click.echo(f"{found.id}  {found.mode}  {found.name}")


@click.group()
def store() -> None:
    """Who takes cards."""


@store.command("add")
@click.argument("name")
@click.option("--mode", type=MODE, required=True)
@wired
def add_store(name: str, mode: str) -> None:
    """Add a store; prints its ID."""
    from app.redemption.store import add_store

    click.echo(add_store(name, mode=mode).id)


@store.command("list")
@wired
def list_stores() -> None:
    """List stores."""
    from app.redemption.store import list_stores

    for found in list_stores():
        click.echo(f"{found.id}  {found.mode}  {found.name}")


@store.command("origins")
@click.argument("store_id", metavar="STORE")
@click.argument("origins", nargs=-1, metavar="[ORIGIN]...")
@wired
def set_store_origins(store_id: str, origins: tuple[str, ...]) -> None:
    """Let pages of these origins show the store's field for codes, in place of all before; none without any."""
    from app.redemption.store import set_origins

    click.echo("\n".join(set_origins(store_id, origins)) or "No page may show the field.")


@store.command("limit-refunds")
@click.argument("store_id")
@click.argument("currency")
@click.argument("limit_minor", type=int, required=False)
@wired
def limit_refunds(store_id: str, currency: str, limit_minor: int | None) -> None:
    """Limit what clients with a secret may refund in a day, in minor units; without a number there is no limit."""
    from app.ids import StoreId
    from app.redemption.refund_limit import limit_refunds

    limit_refunds(StoreId(store_id), currency, limit_minor)
    click.echo("No limit." if limit_minor is None else f"At most {limit_minor} minor units of {currency} a day.")


@store.command("allow-refunds")
@click.argument("store_id")
@click.argument("currency")
@click.argument("allowance_minor", type=int, required=False, default=0)
@wired
def allow_refunds(store_id: str, currency: str, allowance_minor: int) -> None:
    """Let a store refund so much more than it is owed, in minor units; without a number, nothing more."""
    from app.ids import StoreId
    from app.redemption.refund_cover import allow_refunds

    allow_refunds(StoreId(store_id), currency, allowance_minor)
    click.echo(f"Refunds may exceed what is owed by {allowance_minor} minor units of {currency}.")


@click.group()
def client() -> None:
    """The machines of issuers, of stores and of finance."""


@client.command("add")
@click.argument("name")
@click.option("--issuer", "issuer_id", help="The issuer that it acts for.")
@click.option("--store", "store_id", help="The store that it acts for.")
@click.option("--finance", is_flag=True, help="It acts for the finance of its mode.")
@click.option("--mode", type=MODE, required=True)
@click.option("--scope", "scopes", multiple=True, help="Again for each scope; all of its party's without any.")
@click.option("--jwks", type=click.File(), help="A JWK Set of its public keys: it signs who it is, and has no secret.")
@click.option("--tls-subject", help="How its certificates name it, such as san_dns=pay.shop.example: it has no secret.")
@click.option("--tier", type=click.Choice(["basic", "fapi"]), help="basic: a secret, though it may issue cards.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where shoppers go back to; again for each.")
@wired
def add_client(
    scopes: tuple[str, ...], jwks: TextIO | None, tls_subject: str | None, tier: str | None, **asked: Any
) -> None:
    """Add a client; prints its ID, and its secret, if it has one, this once."""
    from app.oauth.clients import add_certified_client, add_client, add_keyed_client
    from app.oauth.scopes import KEYED_SCOPES, PARTY_SCOPES

    asked["scopes"] = (
        scopes or PARTY_SCOPES["finance" if asked["finance"] else "issuer" if asked["issuer_id"] else "store"]
    )
    if jwks is not None and tls_subject is not None:
        raise click.UsageError("A client is known by keys or by certificates, not by both.")
    has_secret = jwks is None and tls_subject is None
    if has_secret and (tier == "fapi" or (tier is None and KEYED_SCOPES.intersection(asked["scopes"]))):
        raise click.UsageError(
            "Such a client should hold a key: name its --jwks or --tls-subject, or insist on a secret by --tier basic."
        )
    if tier == "basic" and not has_secret:
        raise click.UsageError("A client of tier basic has a secret.")
    if jwks is not None:
        click.echo(f"client_id      {add_keyed_client(**asked, jwks=_json_of(jwks))}")
    elif tls_subject is not None:
        kind, _, value = tls_subject.partition("=")
        click.echo(f"client_id      {add_certified_client(**asked, tls_subject=(kind, value))}")
    else:
        made = add_client(**asked)
        click.echo(f"client_id      {made.client_id}\nclient_secret  {made.client_secret}")


@client.command("list")
@wired
def list_clients() -> None:
    """List clients, without their secrets."""
    from app.oauth.clients import list_clients

    for found in list_clients():
        state = "disabled" if found.disabled_at else "enabled"
        scopes = " ".join(sorted(found.scopes))
        click.echo(
            f"{found.client_id}  {found.party_id}  {state}  {found.tier}  {found.auth_method}  {scopes}  {found.name}"
        )


@client.command("rotate")
@click.argument("client_id")
@click.option(
    "--jwks", type=click.File(), help="The public keys of a client that signs who it is, in place of all it had."
)
@wired
def rotate_client(client_id: str, jwks: TextIO | None) -> None:
    """Give a client another secret, or other keys; the secret before lives on until the next rotation."""
    from app.oauth.client_secrets import rotate_secret
    from app.oauth.clients import replace_keys

    if jwks is None:
        click.echo(f"client_secret  {rotate_secret(client_id).client_secret}")
    else:
        click.echo("\n".join(f"kid  {kid}" for kid in replace_keys(client_id, _json_of(jwks))))


@client.command("redirect-uris")
@click.argument("client_id")
@click.argument("redirect_uris", nargs=-1)
@wired
def replace_redirect_uris(client_id: str, redirect_uris: tuple[str, ...]) -> None:
    """Let a store's client send its shoppers back to these addresses, and to no other."""
    from app.oauth.clients import replace_redirect_uris

    replace_redirect_uris(client_id, redirect_uris)
    click.echo(f"{len(redirect_uris)} redirect URIs.")


@client.command("disable")
@click.argument("client_id")
@wired
def disable_client(client_id: str) -> None:
    """Refuse a client from now on, and within a second the access tokens that it has."""
    from app.oauth.clients import disable_client

    disable_client(client_id)
    click.echo("Disabled.")


def _json_of(file: TextIO) -> object:
    try:
        found: object = json.load(file)
    except ValueError:
        raise click.BadParameter("this is not JSON", param_hint="--jwks") from None
    return found
