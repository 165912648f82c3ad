"""Writing a letter: a filled letter becomes a message in HTML and text that nobody's name or words can bend."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import cache, partial
from pathlib import Path

from css_inline import CSSInliner
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app.mail.delivery import Parcel
from app.mail.filling import Filled
from app.mail.letter import DueLetter
from app.web.display import display_date, display_money, last_day

TEMPLATES = Path(__file__).parent / "templates"
#: What templates may name; what a fill leaves out is None.
NAMES = (
    "issuer_name", "holder_name", "message", "amount", "claim_url", "expires_at",
    "store_name", "taken", "refunded", "link_valid_until",
)  # fmt: skip
#: The texts' one language so far. Another one is a catalogue for the `trans` blocks and a choice by locale.
LANGUAGE = "en"
LONGEST_NAME = 100
WORD_JOINER = "\N{WORD JOINER}"

#: Zero-width joiners shape Persian, Indic and emoji; every other invisible character can only deceive.
KEPT_INVISIBLE = frozenset("\u200c\u200d")
#: A dot before a letter, an at sign, a scheme: what mail programs turn into links by themselves.
LINK_MAKERS = re.compile(r"(?<=\S)\.(?=\w)|@(?=\S)|:(?=//)")


#: What would need quotes in an address header. Python's email loses the quotes where it folds a long line, and then
#: `Sam <eve@evil.example>` is no longer a name: so names go without.
HEADER_SPECIALS = re.compile(r'[()<>\[\]:;@\\,"]+')


class AddressInvalid(Exception):
    """The holder's address cannot stand in a message; the message does not repeat it."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who letters come from: MAIL_FROM as `letters@cards.example` or `Acme Cards <letters@cards.example>`."""

    name: str
    address: str

    @classmethod
    def of(cls, mail_from: str) -> "Sender":
        name, address = parseaddr(mail_from)
        return cls(_display_name(name) or "Scrip", address)


def compose(letter: DueLetter, filled: Filled, *, mail_from: str, now: datetime) -> Parcel:
    """The parcel for this try; its Message-ID is the letter's and the try's own. Raises AddressInvalid."""
    sender, recipient = Sender.of(mail_from), _recipient(filled)
    subject, text, html = _rendered(filled)
    message = EmailMessage(policy=SMTP)
    message["Date"] = format_datetime(now)
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["To"] = recipient
    message["Subject"] = subject
    message["Message-ID"] = f"<{letter.id}.{letter.tries}@{sender.address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = LANGUAGE  # after the parts, or it would move into the first
    international = not recipient.addr_spec.isascii()
    content = message.as_bytes(policy=SMTP.clone(utf8=international))
    return Parcel(sender.address, recipient.addr_spec, content, international)


def one_line(words: str) -> str:
    """A name as it may stand in a line of a letter: no line breaks, controls or invisible characters, no novel."""
    line = " ".join(_visible(words).split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1].rstrip() + "…"


def plain_lines(words: str) -> str:
    """A personal message as paragraphs of plain text: its line breaks stay, nothing invisible does."""
    lines = [" ".join(_visible(line).split()) for line in words.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def unlinked(words: str) -> str:
    """The same to the eye, but no mail program makes a link of it: a letter has one link, and it is ours."""
    return LINK_MAKERS.sub(lambda found: found[0] + WORD_JOINER, words)


def _visible(words: str) -> str:
    def shown(character: str) -> str:
        if unicodedata.category(character)[0] in "CZ" and character not in KEPT_INVISIBLE:
            return " " if character.isspace() else ""
        return character

    return "".join(map(shown, unicodedata.normalize("NFC", words)))


def _display_name(words: str) -> str:
    return one_line(HEADER_SPECIALS.sub(" ", words))


def _recipient(filled: Filled) -> Address:
    """The address with its display name. Domains beyond ASCII travel in their IDNA form."""
    local, _, domain = filled.to_address.rpartition("@")
    if not local or not domain or any(not mark.isprintable() or mark in ' <>"' for mark in filled.to_address):
        raise AddressInvalid
    try:
        ascii_domain = domain.encode("idna").decode()
        return Address(_display_name(filled.to_name or ""), username=local, domain=ascii_domain)
    except (ValueError, LookupError):
        raise AddressInvalid from None


def _rendered(filled: Filled) -> tuple[str, str, str]:
    """Subject, text and HTML."""
    values = {**dict.fromkeys(NAMES), **_tamed(filled.context)}
    values["money"] = partial(display_money, locale=filled.locale)
    values["date"] = partial(display_date, locale=filled.locale)
    values["last_day"] = last_day
    values["language"] = LANGUAGE
    template = _environment().get_template(f"{filled.template}.txt")
    subject = "".join(template.blocks["subject"](template.new_context(values)))
    text = re.sub(r"\n{3,}", "\n\n", template.render(values)).strip() + "\n"
    html = _environment().get_template(f"{filled.template}.html").render(values)
    return " ".join(subject.replace(WORD_JOINER, "").split()), text, _inliner().inline(html)


def _tamed(context: Mapping[str, object]) -> dict[str, object]:
    """Everything that people wrote, made harmless: names as one line, the message as plain lines, no links in any."""
    tamed = dict(context)
    for name in ("issuer_name", "holder_name", "store_name"):
        if (words := tamed.get(name)) is not None:
            tamed[name] = unlinked(one_line(str(words))) or None
    if (words := tamed.get("message")) is not None:
        tamed["message"] = unlinked(plain_lines(str(words))) or None
    return tamed


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    return environment


@cache
def _inliner() -> CSSInliner:
    """Many mail programs know styles on elements only; the media queries stay for those that know them."""
    return CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
