"""Commands about what bills are matched by: what nobody has billed, and how far a line may differ."""

import click

from app.cli_parties import wired


@click.group()
def bills() -> None:
    """What stores bill."""


@bills.command("unbilled")
@click.option("--period", required=True, help="What was settled before this month's end, such as 2026-11.")
@click.option("--store", "store_id", help="Of this store alone.")
@wired
def list_unbilled(period: str, store_id: str | None) -> None:
    """List what no bill has taken up: store, payment, amount, and since when."""
    from app.billing.rules import period_named
    from app.billing.unbilled import unbilled
    from app.db.transaction import transaction
    from app.ids import StoreId

    month = period_named(period)
    with transaction() as db:
        for each in unbilled(db, month, store_id=StoreId(store_id) if store_id else None):
            click.echo(f"{each.store_id}  {each.mode}  {each.payment_id}  {each.amount}  {each.first_at:%Y-%m-%d}")


@click.group()
def tolerance() -> None:
    """How far an issuer lets a bill's line differ before a person looks at it."""


@tolerance.command("set")
@click.argument("issuer_id")
@click.argument("currency")
@click.argument("tolerance_minor", type=int)
@wired
def set_tolerance(issuer_id: str, currency: str, tolerance_minor: int) -> None:
    """Let lines differ by so many minor units, either way; what is paid is the smaller amount."""
    from app.billing.tolerances import set_tolerance
    from app.ids import IssuerId

    set_tolerance(IssuerId(issuer_id), currency, tolerance_minor)
    click.echo(f"A line may differ by {tolerance_minor} minor units of {currency}.")


@tolerance.command("list")
@wired
def list_tolerances() -> None:
    """List tolerances, by issuer and currency."""
    from app.billing.tolerances import list_tolerances

    for found in list_tolerances():
        click.echo(f"{found.issuer_id}  {found.currency}  {found.tolerance_minor}")
