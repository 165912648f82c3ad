"""Letters as they are read: what each kind says, and what no name or message can make of them."""

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest

from app.ids import CardId, LinkId
from app.mail.composing import AddressInvalid, Sender, compose, one_line, plain_lines, unlinked
from app.mail.filling import Filled
from app.mail.letter import DueLetter
from app.money import Money

NOW = datetime(2026, 11, 23, 10, 2, tzinfo=UTC)
URL = "https://cards.example/claim/link_01kbx2m9p8q7r6s5t4v3w2x1y0#Zk3q8v1yBqXH0oO2yP8bq4hVnXb1m7gC9t5uL2sE0aI"
KINDS = ("claim", "reissue", "new_link", "hold_expired", "receipt", "refund")
RIGHT_TO_LEFT = "\N{RIGHT-TO-LEFT OVERRIDE}"


def gbp(amount_minor: int) -> Money:
    return Money(amount_minor, "GBP")


def context(**changes: Any) -> dict[str, Any]:
    whole = {
        "issuer_name": "Acme",
        "holder_name": "Sam",
        "message": None,
        "amount": gbp(2_000),
        "claim_url": URL,
        "expires_at": NOW + timedelta(days=365),
        "link_valid_until": NOW + timedelta(days=90),
        "store_name": "Bookshop",
        "taken": gbp(3_000),
        "refunded": gbp(1_000),
    }
    return {**whole, **changes}


def written(kind: str, *, to: str = "sam@holder.example", name: str | None = "Sam", **changes: Any) -> EmailMessage:
    """The message as its reader's program takes it apart."""
    filled = Filled(to, name, changes.pop("locale", "en_GB"), kind, context(**changes))
    letter = DueLetter("let_1", kind, CardId("card_1"), LinkId("link_1"), {}, 2)
    parcel = compose(letter, filled, mail_from="Scrip <letters@scrip.example>", now=NOW)
    return message_from_bytes(parcel.content, policy=policy.default)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def html_of(message: EmailMessage) -> str:
    body = message.get_body(("html",))
    assert body is not None
    return str(body.get_content())


class Page(HTMLParser):
    """The elements, links and words of a letter."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.links: list[str | None] = []
        self.attributes: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] != ["style"]:
            self.words += data


@pytest.mark.parametrize(
    ("kind", "subject", "says"),
    [
        ("claim", "Your £20.00 gift card from Acme", "Acme has sent you a gift card worth £20.00."),
        ("reissue", "£20.00 left on your gift card from Acme", "Bookshop took £30.00 from your gift card from Acme."),
        ("new_link", "A new link to your gift card from Acme", "It opens your gift card from Acme."),
        ("hold_expired", "Your gift card from Acme is free again", "Bookshop held your gift card from Acme"),
        ("receipt", "Bookshop took £30.00 from your gift card", "Bookshop took £30.00 from your gift card from Acme."),
        ("refund", "Bookshop gave £10.00 back to your gift card", "Bookshop gave £10.00 back to your gift card"),
    ],
)
def test_each_kind_says_what_happened(kind: str, subject: str, says: str) -> None:
    message = written(kind)
    assert message["Subject"] == subject
    for words in (text_of(message), Page(html_of(message)).words):
        assert says in " ".join(words.split())
        assert "£20.00" in words
        assert "Spend it by 22 November 2027" in words
        assert "The link can be opened until 20 February 2027." in words
        assert "Nobody from Scrip or a store will ever call or write to ask for your code." in words


@pytest.mark.parametrize("kind", KINDS)
def test_a_letter_has_one_link_twice_and_nothing_else_that_leads_out(kind: str) -> None:
    message = written(kind)
    page = Page(html_of(message))
    assert page.links == [URL, URL]
    assert page.words.count(URL) == 1
    assert text_of(message).count("http") == 1
    assert not {"img", "script", "link", "iframe", "form", "object", "svg"} & set(page.elements)
    assert not {"src", "srcset", "background", "onclick"} & set(page.attributes)
    assert "url(" not in html_of(message)


@pytest.mark.parametrize("kind", KINDS)
def test_a_letter_without_a_link_promises_none(kind: str) -> None:
    message = written(kind, claim_url=None, link_valid_until=None)
    page = Page(html_of(message))
    assert page.links == []
    for words in (text_of(message), page.words):
        assert "This link" not in words
        assert "button" not in words
        assert "Keep this letter to yourself" not in words


def test_a_receipt_tells_what_is_left_and_who_holds_it() -> None:
    spent = written("receipt", claim_url=None, amount=gbp(0))
    assert "Nothing is left." in text_of(spent)
    assert "Spend it by" not in text_of(spent)
    held = written("receipt", claim_url=None, amount=gbp(2_000))
    assert "The store still holds your card for the order." in " ".join(text_of(held).split())


def test_what_is_unknown_is_left_out() -> None:
    message = written("reissue", holder_name=None, store_name=None, taken=None, expires_at=None, link_valid_until=None)
    for words in (text_of(message), Page(html_of(message)).words):
        assert "Hello" not in words
        assert "None" not in words
        assert "took" not in words
    assert "A store took £30.00" in text_of(written("receipt", store_name=None))


def test_a_fill_may_leave_out_what_the_letter_has_no_use_for() -> None:
    filled = Filled("sam@holder.example", None, None, "claim", {"issuer_name": "Acme", "amount": gbp(2_000)})
    letter = DueLetter("let_1", "claim", CardId("card_1"), None, {}, 1)
    parcel = compose(letter, filled, mail_from="letters@scrip.example", now=NOW)
    message = message_from_bytes(parcel.content, policy=policy.default)
    assert (message["From"], message["To"]) == ("Scrip <letters@scrip.example>", "sam@holder.example")
    assert "£20.00" in text_of(message)


def test_money_and_dates_are_the_holders_own() -> None:
    message = written("claim", locale="de_DE")
    assert "20,00\N{NO-BREAK SPACE}£" in text_of(message)
    assert "22. November 2027" in text_of(message)


def test_the_headers_of_a_letter() -> None:
    message = written("claim")
    assert message["Date"] == "Mon, 23 Nov 2026 10:02:00 +0000"
    assert message["From"] == "Scrip <letters@scrip.example>"
    assert message["To"] == "Sam <sam@holder.example>"
    assert message["Message-ID"] == "<let_1.2@scrip.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "en"
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_the_message_travels_in_seven_bits_and_short_lines() -> None:
    filled = Filled("sam@holder.example", "Zoë", "en_GB", "claim", context(message="Grüße " * 300))
    letter = DueLetter("let_1", "claim", CardId("card_1"), LinkId("link_1"), {}, 1)
    content = compose(letter, filled, mail_from="Scrip <letters@scrip.example>", now=NOW).content
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", content) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["issuer_name", "holder_name", "store_name"])
def test_a_hostile_name_stays_a_name(kind: str, field: str) -> None:
    hostile = (
        f"<script>alert(1)</script>\r\nBcc: eve@evil.example\r\n\r\n{RIGHT_TO_LEFT}<a href='https://evil.example'>"
    )
    message = written(kind, name=hostile, **{field: hostile})
    assert message["Bcc"] is None
    assert [address.addr_spec for address in message["To"].addresses] == ["sam@holder.example"]
    assert "\n" not in message["Subject"]
    page = Page(html_of(message))
    assert "script" not in page.elements
    assert page.links == [URL, URL]
    for words in (str(message["Subject"]), str(message["To"]), text_of(message), html_of(message)):
        assert RIGHT_TO_LEFT not in words
    assert re.search("^Bcc", text_of(message), re.MULTILINE) is None


def test_a_hostile_message_is_quoted_as_plain_text_without_links() -> None:
    hostile = "<script>alert(1)</script>\nSee https://evil.example or www.evil.example\n\n\n\n" + RIGHT_TO_LEFT
    hostile += "{{ 7 * 7 }}"
    message = written("claim", message=hostile)
    page = Page(html_of(message))
    assert "script" not in page.elements
    assert page.links == [URL, URL]
    for words in (text_of(message), page.words):
        assert "<script>alert(1)</script>" in words
        assert "https://evil" not in words
        assert "evil.example" not in words
        assert RIGHT_TO_LEFT not in words
        assert "{{ 7 * 7 }}" in words
    quoted = [line for line in text_of(message).splitlines() if line.startswith(">")]
    assert len(quoted) == 4


def test_only_the_first_letter_carries_the_message() -> None:
    for kind in KINDS[1:]:
        assert "Happy birthday" not in text_of(written(kind, message="Happy birthday"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("  Sam \t\r\n Smith ", "Sam Smith"),
        ("Sa\u200bm\ufeff\u202e\u2066\x00\x7f\u00ad", "Sam"),
        ("Sam\u2028Smith\u0085Jr", "Sam Smith Jr"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("x" * 200, "x" * 99 + "…"),
        ("Zoe\u0308", "Zoë"),
        ("", ""),
    ],
)
def test_a_name_is_one_visible_line(words: str, line: str) -> None:
    assert one_line(words) == line


def test_a_message_keeps_its_lines_and_nothing_invisible() -> None:
    assert plain_lines("\n Dear Sam,\r\n\r\n\r\n\r\nall the  best\u202e\u2028Kim\n") == "Dear Sam,\n\nall the best\nKim"


@pytest.mark.parametrize(
    "words", ["https://evil.example", "www.evil.example", "eve@evil.example", "evil.example/x?y=z"]
)
def test_what_mail_programs_turn_into_links_is_broken_invisibly(words: str) -> None:
    assert unlinked(words) != words
    assert unlinked(words).replace("\N{WORD JOINER}", "") == words
    assert re.search(r"\w\.\w|://|@\w", unlinked(words)) is None


def test_ordinary_words_stay_as_they_are() -> None:
    assert unlinked("Dear Sam. All the best: Kim & Co. at 10:02") == "Dear Sam. All the best: Kim & Co. at 10:02"


@pytest.mark.parametrize(
    "address",
    ["", "sam", "@holder.example", "sam@", "sam@a\r\nb", "sam smith@holder.example", "<sam@holder.example>",
     '"sam"@holder.example', "sam@" + "x" * 64 + ".example", "sam@holder..example", "sam\x00@holder.example"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(AddressInvalid) as caught:
        written("claim", to=address)
    assert str(caught.value) == ""


@pytest.mark.parametrize(
    "address", ["sam@holder.example", "sam+cards@holder.example", "o'neill@holder.example", "a/b=c@holder.example"]
)
def test_an_ordinary_address_is_kept_to_the_letter(address: str) -> None:
    assert written("claim", to=address)["To"].addresses[0].addr_spec == address


@pytest.mark.parametrize(
    ("mail_from", "name", "address"),
    [
        ("letters@scrip.example", "Scrip", "letters@scrip.example"),
        ("Acme Cards <letters@scrip.example>", "Acme Cards", "letters@scrip.example"),
        ('"Cards, by Acme" <letters@scrip.example>', "Cards by Acme", "letters@scrip.example"),
    ],
)
def test_the_sender_may_have_a_name(mail_from: str, name: str, address: str) -> None:
    assert Sender.of(mail_from) == Sender(name, address)
