"""Whether a store and the service agree on every payment: compared row by row, and with the books."""

from tests.plugin_sdk.stores.service import Store, Sums, assert_books_balance
from tests.plugin_sdk.stores.store_process import Database


def sums_of_django(database: Database) -> dict[str, Sums]:
    """What the store's own record says of each payment that took money (`scrip_sdk.django`)."""
    query = "SELECT payment_id, settled_minor, refunded_minor FROM scrip_payment WHERE settled_minor > 0"
    return {row.payment_id: Sums(row.settled_minor, row.refunded_minor) for row in database.rows(query)}


def assert_same_sums(store: Store, database: Database) -> dict[str, Sums]:
    """Both sides say the same of every payment, and the books balance; returns what they say."""
    found = sums_of_django(database)
    assert found == store.sums()
    assert_books_balance(store)
    return found
