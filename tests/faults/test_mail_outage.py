"""A mail server that is away, or slow, while cards go their whole way: nothing waits for it but letters, none is lost.

The long forms: `SCRIP_OUTAGE_S=60 ./run test tests/faults/test_mail_outage.py` keeps it away for a minute, and
`SCRIP_SMTP_STAGE_S=22` makes it take so long for each command.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import config
from app.ids import CardId, PaymentId
from app.issuance.address import correct_address
from app.issuance.holder_data import HolderData
from app.jobs.worker import LONGEST_PAUSE_BUSY_S
from app.mail.delivery import COMMAND_S
from app.mail.rules import LEASE, SLOW_S
from app.redemption.reissue import reissue_card
from tests.faults.post import differences, eventually, link_in, post_office, states_of_letters, worker
from tests.mail.post_office import PostOffice, opened
from tests.world import World, gbp, make_world, reference, rows

OUTAGE_S = float(os.environ.get("SCRIP_OUTAGE_S", "2"))
STAGE_S = float(os.environ.get("SCRIP_SMTP_STAGE_S", "1"))
#: A worker that found the mail server away looks again after this, at the latest; the rest is the machine's.
MOST_WAIT_S = 1.2 * LONGEST_PAUSE_BUSY_S + 60
#: In a long outage a fast machine makes thousands of letters, which go one by one.
MOST_EACH_S = 0.2

#: What must arrive at an address, in order: the letter's kind, and what its link is worth, where it still has one.
Wanted = list[tuple[str, int | None]]


def only_issued(world: World, email: str) -> Wanted:
    by_email(world, email)
    return [("claim", 5_000)]


def issued_and_reissued(world: World, email: str) -> Wanted:
    """The first letter is superseded before it could go."""
    card_id = by_email(world, email)
    reissue_card(card_id, issuer_id=world.issuer_id, deliver="email", reference=reference(world.issuer_id))
    return [("new_link", 5_000)]


def address_corrected(world: World, email: str) -> Wanted:
    card_id = by_email(world, "wrong-" + email)
    correct_address(card_id, email, issuer_id=world.issuer_id, reference=reference(world.issuer_id))
    return [("claim", 5_000)]


def settled_in_part(world: World, email: str) -> Wanted:
    world.settle(paid(world, email), 3_000)
    return [("reissue", 2_000)]


def settled_whole(world: World, email: str) -> Wanted:
    world.settle(paid(world, email), 5_000)
    return [("receipt", None)]


def settled_and_reissued(world: World, email: str) -> Wanted:
    """The letter about the settlement tells of it all the same, but without the link that died meanwhile."""
    payment_id = paid(world, email)
    world.settle(payment_id, 3_000)
    card = world.card_of(payment_id)
    reissue_card(card.id, issuer_id=world.issuer_id, deliver="email", reference=reference(world.issuer_id))
    return [("reissue", None), ("new_link", 2_000)]


def hold_expired(world: World, email: str) -> Wanted:
    paid(world, email, hold_ttl_s=1)
    return [("hold_expired", 5_000)]


PATHS: tuple[Callable[[World, str], Wanted], ...] = (
    only_issued,
    issued_and_reissued,
    address_corrected,
    settled_in_part,
    settled_whole,
    settled_and_reissued,
    hold_expired,
)


@pytest.mark.slow
def test_while_the_mail_server_is_away_all_goes_on_and_then_every_wanted_letter_arrives_once(
    own_database: config.Settings, keys_dir: Path
) -> None:
    office, world = post_office(), make_world()
    wanted: dict[str, Wanted] = {}
    with worker(keys_dir):
        back_at_s = time.monotonic() + OUTAGE_S
        while not wanted or time.monotonic() < back_at_s:
            for path in PATHS:
                email = f"{path.__name__}-{len(wanted)}@holder.example"
                wanted[email] = path(world, email)
        eventually(lambda: not rows(DUE_HOLDS), "holds expire although letters cannot go")
        with opened(office):
            patience_s = MOST_WAIT_S + MOST_EACH_S * len(wanted)
            eventually(lambda: "queued" not in dict(states_of_letters()), "all letters go", within_s=patience_s)
            check_arrived(world, office, wanted)
            walk_on(world, office, [email for email in wanted if email.startswith("only_issued")])
    assert set(dict(states_of_letters())) == {"sent", "dropped"}
    assert differences() == []


@pytest.mark.slow
def test_a_slow_mail_server_delays_letters_and_nothing_else(own_database: config.Settings, keys_dir: Path) -> None:
    """A hold ends on time, and a letter that was begun is finished, while the server dawdles at each command."""
    office, world = post_office(), make_world()
    office.stage_s = STAGE_S
    ended_meanwhile: list[bool] = []

    def wait_for_the_expiry() -> None:
        """The server answers the first letter only when the hold has ended, which it does beside it."""
        if not ended_meanwhile:
            eventually(lambda: not rows(DUE_HOLDS), "the hold expires while a letter is under way")
            ended_meanwhile.append(True)

    office.before_answer = wait_for_the_expiry
    world.issue(deliver="email")
    with opened(office):
        paid(world, "sam@holder.example", hold_ttl_s=1)
        with worker(keys_dir):
            patience_s = 60 + 20 * STAGE_S
            eventually(lambda: states_of_letters() == [("sent", 2)], "both letters go", within_s=patience_s)
    assert ended_meanwhile == [True]
    assert len(office.letters) == 2


def test_a_letter_is_given_up_by_nobody_before_its_lease_is_over() -> None:
    """The slowest server that is still waited for takes less than the lease, so that nobody else sends it meanwhile."""
    data, end_of_data = COMMAND_S, COMMAND_S
    assert SLOW_S + data + end_of_data < LEASE.total_seconds()


# ── the way of a card ───────────────────────────────────────────────────────────────────────────────────────────────

DUE_HOLDS = "SELECT id FROM payment WHERE state = 'held' AND expires_at < created_at + interval '1 minute'"


def by_email(world: World, email: str) -> CardId:
    return world.issue(deliver="email", holder=HolderData(email, "Sam")).id


def paid(world: World, email: str, **more: Any) -> PaymentId:
    """An open payment on a card whose link the issuer delivered."""
    card = world.issue(holder=HolderData(email, "Sam"))
    return world.exchange(world.claim(card.claim_link).code, **more).payment.id


def check_arrived(world: World, office: PostOffice, wanted: dict[str, Wanted]) -> None:
    """Each address got exactly its letters, in order; those with a link open what they promise."""
    arrived: dict[str, list[str | None]] = {email: [] for email in wanted}
    for recipient, message in zip(office.recipients, office.letters, strict=True):
        arrived[recipient].append(link_in(message))
    kinds = "SELECT kind FROM letter WHERE state = 'sent'"
    assert Counter(row.kind for row in rows(kinds)) == Counter(kind for all_of in wanted.values() for kind, _ in all_of)
    for email, letters in wanted.items():
        links = sorted(arrived[email], key=lambda link: link is not None)
        assert [link is not None for link in links] == [worth is not None for _, worth in letters], email
        if letters[-1][1] is not None and not email.startswith("only_issued"):
            assert world.claim(links[-1]).balance == gbp(letters[-1][1])


def walk_on(world: World, office: PostOffice, emails: list[str]) -> None:
    """The rest of the path by the links that were mailed at last: claim, exchange, settle, reissue."""
    links = {to: link_in(message) for to, message in zip(office.recipients, office.letters, strict=True)}
    before = len(office.letters)
    for email in emails:
        payment = world.exchange(world.claim(links[email]).code).payment
        world.settle(payment.id, 3_000)
    eventually(lambda: len(office.letters) == before + len(emails), "the reissue letters go")
    for message in office.letters[before:]:
        assert world.claim(link_in(message)).balance == gbp(2_000)
