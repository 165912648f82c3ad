"""Steps of holders: open a link, ask for a new one or for a fresh code, read a letter."""

from app.ids import LinkId
from app.issuance.claim import claim_link
from app.redemption.reissue import fresh_code, resend_link
from app.secrecy import random_secret
from tests.simulation import holder_rules
from tests.simulation.acting import AGE, WHICH, Acting
from tests.simulation.facts import (
    claimed_facts,
    nothing,
)
from tests.simulation.letters import keys_by_letter
from tests.simulation.model import Card
from tests.simulation.steps import step


class HolderSteps(Acting):
    """Three browsers, with good keys and bad ones."""

    @step(20, which=WHICH, age=AGE, browser=[0, 0, 0, 1, 2], odd_key=[False] * 9 + [True])
    def claim(self, which: int, age: int, browser: int, odd_key: bool) -> None:
        card, nonce = self._card(which), self.nonces[browser]
        place = self._link(card, age)
        key = random_secret() if odd_key or not card.links[place].keys else card.links[place].keys[-1]
        link_id = LinkId(card.links[place].id)
        done = self.walk.take(
            "claim",
            card,
            lambda: claim_link(link_id, key=key, nonce=nonce, opened_by="Firefox"),
            lambda card, now: holder_rules.claim(card, card.links[place], key=key, nonce=nonce, now=now),
            claimed_facts,
        )
        if done.refused is None:
            card.codes[-1].text = done.answer.code

    @step(3, which=WHICH, age=AGE)
    def receive(self, which: int, age: int) -> None:
        """The letter with the link is sent, perhaps once more: another key opens the same link."""
        self._receive(self._card(which), -1 - age)

    @step(4, which=WHICH, age=AGE)
    def resend(self, which: int, age: int) -> None:
        card = self._card(which)
        place = self._link(card, age)
        key = (card.links[place].keys or (random_secret(),))[0]
        link_id = LinkId(card.links[place].id)
        self.walk.take(
            "resend",
            card,
            lambda: resend_link(link_id, key=key),
            lambda card, now: holder_rules.resend(card, card.links[place], key=key, now=now),
            nothing,
        )

    @step(4, which=WHICH, age=AGE)
    def another_code(self, which: int, age: int) -> None:
        card = self._card(which)
        place = self._place(card.links, age)
        link_id = LinkId(card.links[place].id)
        done = self.walk.take(
            "fresh code",
            card,
            lambda: fresh_code(link_id),
            lambda card, now: holder_rules.fresh_code(card, card.links[place], now=now),
            claimed_facts,
        )
        if done.refused is None:
            card.codes[-1].text = done.answer.code

    def _receive(self, card: Card, place: int) -> None:
        if -place > len(card.links) or card.links[place].letter is None:
            return
        place += len(card.links)
        is_wanted = card.links[place].state == "waiting" and self.walk.now < card.links[place].ends_at
        link_id = LinkId(card.links[place].id)
        done = self.walk.take(
            "letter",
            card,
            lambda: keys_by_letter(link_id),
            lambda *_: {"keys": int(is_wanted)},
            lambda keys: {"keys": len(keys)},
        )
        card.links[place].keys += tuple(done.answer)

    def _link(self, card: Card, age: int) -> int:
        """The place of a link; where nobody has its key yet, its letter comes first."""
        place = self._place(card.links, age)
        if not card.links[place].keys:
            self._receive(card, place - len(card.links))
        return place
