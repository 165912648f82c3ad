"""No code, token, link's key or client secret stands in what a store logs; all else stands as it was."""

import base64
import copy
import json
import logging
import pickle
import re
import string
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scrip_sdk.code import ALPHABET, read_code
from scrip_sdk.masking import MASK, MaskingFilter, install_masking, mask_record, mask_text
from tests.plugin_sdk.logging_state import logging_stays

CODE = "S5FR-5EZY-B8FS-5CWB"
BARE = CODE.replace("-", "")
CODE_TOKEN = "ct_" + "aB3_-xYz9" * 4 + "0123456"
CLAIM_KEY = "_nJPHls2wq" * 4 + "abc"
CLIENT_SECRET = "scrip_live_" + "Zx-9_" * 8 + "abc"
JWT = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjbGkifQ.c2lnbmF0dXJl"
BASIC = base64.b64encode(f"cli_01m84qez5yf32tqrxjsmfnpt7b:{CLIENT_SECRET}".encode()).decode()
SECRETS = (CODE_TOKEN, CLAIM_KEY, CLIENT_SECRET, JWT, BASIC)
#: What a store logs all day long.
ORDINARY = (
    "Order order-123 placed: pay_01m84qf1bgfsdrt5wy3xxw2v4q settles 30.00 GBP, req_01m84qf1yqenzsdhs93svbbq7y",
    "550e8400-e29b-41d4-a716-446655440000 200 OK in 12 ms at 2026-11-28 15:08:30,123",
    "GET /catalogue/the-pragmatic-programmer_1234/?page=2&sort=price HTTP/1.1",
    "9780201616224 is out of stock; 4111 1111 1111 1112 is no card of ours",
    "S5FR-5EZY-B8FS-5CWX has a typing mistake",
    "cli_01m84qez5yf32tqrxjsmfnpt7b asked for a token; an object_with_a_long_name_ct_short",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    r"C:\new\u0041ccount %s %d 100% of it",
    "in test_where_no_shopper_was_named_none_may_be_ of this_is_the_name_of_a_test_of_43_characters",
    "the cat sat on a mat now, and so on and so on",
    "2026/11/28 15:08 GET /shop/book/0042/view.html 10.0.0.1 app.shop.cart.view 1.2.3.4 4242.4242.4242",
    "AT&amp;T &lt;b&gt; caf%C3%A9 %E2%82%AC 12, 50%&nbsp;off &#9999999; &#0; %E0%80%80",
)


def code_of(body: str) -> str:
    """The code with these fifteen characters."""
    return next(body + last for last in ALPHABET if read_code(body + last))


codes = st.text(ALPHABET, min_size=15, max_size=15).map(code_of)
#: What may stand right beside a code: anything but letters and digits, which would make it something else.
ALNUM = string.ascii_letters + string.digits
left = st.text().filter(lambda text: not (text and text[-1] in ALNUM))
right = st.text().filter(lambda text: not (text and text[0] in ALNUM))


@st.composite
def typed(draw: st.DrawFn) -> str:
    """A code as somebody may type it, and a checkout would take it."""
    code = draw(codes)
    if draw(st.booleans()):
        code = code.lower()
    if draw(st.booleans()):
        code = code.replace("0", draw(st.sampled_from("0Oo"))).replace("1", draw(st.sampled_from("1IiLl")))
    kind = draw(st.sampled_from(("bare", "fours", "anyhow")))
    if kind == "fours":
        return draw(st.sampled_from("- ")).join(code[place : place + 4] for place in range(0, 16, 4))
    if kind == "anyhow":
        assume(any(map(str.isdigit, code)))  # letters only, in other groups than fours, are taken for prose
        between = st.sampled_from(("", "", "", "-", " ", " - "))
        code = code[0] + "".join(draw(between) + character for character in code[1:])
    return code


def as_url(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def as_last_letter_of_url(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


def as_last_letter_of_json(text: str) -> str:
    return re.sub("(....)", r"\\u\1", text.encode("utf-16-be", "surrogatepass").hex())


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "repr": repr,
    "URL": as_url,
    "URL in URL": lambda text: as_url(as_url(text)),
    "URL to the last letter": as_last_letter_of_url,
    "JSON in a URL": lambda text: as_url(json.dumps(text)),
    "JSON to the last letter": as_last_letter_of_json,
    "a form": lambda text: as_url(text).replace("%20", "+"),
}


@settings(deadline=None)
@given(code=typed(), before=left, after=right, how=st.sampled_from(sorted(ENCODINGS)))
@example(code=BARE, before="%", after="%41", how="plain")
@example(code="5EZY-B8FS-5CWB-S5FK", before="%", after="", how="URL")
@example(code=CODE, before="50%", after="\\u0041", how="JSON in a URL")
@example(code=CODE, before="\n", after="\t", how="repr")
@example(code=BARE, before="\U000108b0", after="", how="repr")
@example(code=f"{CODE[:9]} {CODE[9:]}", before="=", after="&", how="a form")
def test_nothing_of_a_planted_code_remains(code: str, before: str, after: str, how: str) -> None:
    """Wherever it stands and however it is written: not four of its characters, and a mask says that it was there."""
    assume(read_code(code))
    encode = ENCODINGS[how]
    masked = mask_text(encode(before + code + after))
    assert MASK in masked
    assert mask_text(masked) == masked
    bare = encode(code).strip("\"'")
    four = len(bare) // 4
    elsewhere = encode(before) + encode(after) + MASK
    assert not [piece for piece in slices(bare, four) if piece in masked and piece not in elsewhere]


BETWEEN = ("\u2013", "\u2012", "\u2014", "\u2212", "\u00a0", "\u202f", " \u2013 ", "_", ".", "/", "\t", ", ")
ENTITIES = ("&nbsp;", "&#45;", "&#x2D;", "&#160;", "&ndash;", "&amp;ndash;", "&#8211;")


@pytest.mark.parametrize("how", ["plain", "JSON", "JSON in JSON", "repr", "URL", "JSON in a URL"])
@pytest.mark.parametrize("between", [*BETWEEN, *ENTITIES])
def test_groups_of_four_are_a_code_whatever_is_between_them(between: str, how: str) -> None:
    encode = ENCODINGS[how]
    for code in (CODE, CODE.lower(), "TEST-V401-004W-8000"):
        masked = mask_text(encode(f"typed {code.replace('-', between)}; x"))
        assert masked == encode("typed MASK; x").replace("MASK", MASK)
        mistyped = encode(f"typed {code[:-1].replace('-', between)}5; x")
        assert mask_text(mistyped) == mistyped


def test_one_in_32_texts_of_that_shape_is_masked_and_no_more() -> None:
    """Of all that end in another character, whatever the rest, one has the check."""
    for between in BETWEEN:
        texts = [f"on {CODE[:-1].replace('-', between)}{last} it was" for last in ALPHABET]
        assert sum(mask_text(text) != text for text in texts) == 1


@settings(deadline=None)
@given(st.text())
def test_a_text_without_a_secret_is_unchanged(text: str) -> None:
    assume(not any(len(run) >= 16 for run in text.replace("-", "").replace(" ", "").replace("+", "").split()))
    assert mask_text(text) == text


@pytest.mark.parametrize("text", ORDINARY)
def test_what_a_store_logs_all_day_is_unchanged(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize("secret", SECRETS, ids=("code token", "claim key", "client secret", "JWT", "HTTP Basic"))
@pytest.mark.parametrize("how", ["plain", "JSON", "URL", "URL in URL", "JSON in a URL", "repr"])
def test_other_secrets_are_masked_too(secret: str, how: str) -> None:
    for text in (secret, f"key={secret}&x=1", f"https://scrip.example/claim/link_0#{secret}", f"{{'a': '{secret}'}}"):
        masked = mask_text(ENCODINGS[how](text))
        assert MASK in masked
        assert not {secret[place : place + 12] for place in range(len(secret) - 12)} & set(slices(masked, 12))


def slices(text: str, length: int) -> Iterator[str]:
    return (text[place : place + length] for place in range(len(text) - length + 1))


@pytest.mark.parametrize(
    "hostile",
    ["A", "A ", "AAAA-", "eyJ", "-", "%41", "%25", "\\", "AAAA.", "AAAA - ", "&amp;", "ct_", "scrip_live_", "Y2xp"],
)
def test_no_text_takes_long(hostile: str) -> None:
    """Whoever sends long requests that are logged must not stop the store: 200,000 characters take some tenths of a
    second, and what took the square of their number would take minutes."""
    begun = time.process_time()
    mask_text(hostile * (200_000 // len(hostile)))
    assert time.process_time() - begun < 10


# ── records ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Basket:
    """Something of a store's own that shows a code when it is rendered."""

    def __repr__(self) -> str:
        return f"<Basket {CODE}>"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError(CODE)


class Kept(logging.Handler):
    """Keeps what it would have written, as text and as fields."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.records.append(record)

    def handleError(self, record: logging.LogRecord) -> None:
        raise AssertionError("a log line vanished") from sys.exc_info()[1]

    @property
    def everything(self) -> str:
        return "\n".join([*self.lines, *(repr(vars(record)) for record in self.records)])


@pytest.fixture
def kept() -> Iterator[Kept]:
    """The only handler of a logger of the test's own, which is there before the masking is installed."""
    logger, handler = logging.getLogger("tests.masking"), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    with logging_stays():
        yield handler
    logger.handlers.clear()
    logger.filters.clear()


#: Ways in which a line may hold a code.
WAYS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    (f"typed {CODE}", (), {}),
    ("typed %s", (CODE,), {}),
    ("typed %r in %s", (CODE, "a basket"), {}),
    ("typed %(code)s", ({"code": CODE},), {}),
    ("form %s", ({"fields": [("code", BARE.lower())], "more": {"deep": [CODE]}},), {}),
    ("basket %s", (Basket(),), {}),
    ("baskets %s", ([Basket(), {"set": {CODE}}],), {}),
    ("error %s", (ValueError(f"no such code: {CODE}"),), {}),
    ("bytes %s", (CODE.encode(),), {}),
    ("%s-%s", ("S5FR-5EZY", "B8FS-5CWB"), {}),  # only both together are a code
    ("too few %s %s", (CODE,), {}),
    ("no number %d", (CODE,), {}),
    ("no name %(name)s", ({"code": CODE},), {}),
    ("100% of " + CODE, (), {}),
    ("extra", (), {"extra": {"code": CODE, "form": {"code": [CODE]}, "basket": Basket()}}),
    ("stack", (), {"stack_info": True}),
]


def log_everything(logger: logging.Logger) -> int:
    """Returns how many lines."""
    for message, args, more in WAYS:
        logger.info(message, *args, **more)
    try:
        try:
            raise KeyError(CODE)
        except KeyError as error:
            raise RuntimeError("while exchanging") from error
    except RuntimeError:
        logger.exception("failed")
        logger.error("failed once more", exc_info=True)
    logger.info({"event": "structured", "code": CODE})
    return len(WAYS) + 3


@pytest.mark.parametrize("through", ["filter", "factory"])
def test_no_line_shows_a_code_and_no_line_vanishes(kept: Kept, through: str) -> None:
    logger = logging.getLogger("tests.masking")
    if through == "factory":
        logger.removeHandler(kept)
        install_masking()
        logger.addHandler(kept)  # later than the masking
        assert kept.filters == []
    else:
        kept.addFilter(MaskingFilter())
    lines = log_everything(logger)
    assert len(kept.lines) == lines
    for secret in (CODE, BARE, BARE.lower(), "5EZY", "B8FS"):
        assert secret not in kept.everything, secret
    assert kept.lines.count(f"INFO typed {MASK}") == 3
    assert any("RuntimeError: while exchanging" in line and f"KeyError: '{MASK}'" in line for line in kept.lines)


def test_a_probe_finds_all_of_them_without_the_masking() -> None:
    """The search that finds nothing above finds what is there."""
    assert (
        sum(CODE in f"{message} {args} {more}" for message, args, more in WAYS) == len(WAYS) - 2
    )  # in halves, and on the stack


def test_a_line_without_a_secret_keeps_its_arguments_and_its_error(kept: Kept) -> None:
    """Formatters that write them one by one, and services that collect errors, get what they always did."""
    kept.addFilter(MaskingFilter())
    order, error = SimpleNamespace(number=7), ValueError("no stock")
    try:
        raise error
    except ValueError:
        logging.getLogger("tests.masking").exception("order %s of %d", order, 7, extra={"order": order})
    [record] = kept.records
    assert record.args == (order, 7)
    assert vars(record)["order"] is order
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_formatters_that_take_the_arguments_apart_still_find_them(kept: Kept) -> None:
    """As uvicorn's does with those of its access log."""
    kept.addFilter(MaskingFilter())
    logging.getLogger("tests.masking").info('%s - "%s %s" %d', "192.0.2.1", "GET", f"/?code={CODE}", 200)
    assert kept.records[0].args == ("192.0.2.1", "GET", f"/?code={MASK}", 200)


def test_an_object_that_cannot_be_rendered_is_neither_shown_nor_loses_the_line(kept: Kept) -> None:
    install_masking()
    logging.getLogger("tests.masking").info("basket %s", Broken())
    logging.getLogger("tests.masking").info("extra", extra={"basket": Broken()})
    assert len(kept.lines) == 2
    assert CODE not in kept.everything.replace(repr(Broken), "")


def test_it_is_installed_once(kept: Kept) -> None:
    install_masking()
    install_masking()
    factory: Any = logging.getLogRecordFactory()
    assert [type(each) for each in kept.filters] == [MaskingFilter]
    assert factory.factory is logging.LogRecord


def test_a_record_can_still_be_copied_and_sent_to_another_process(kept: Kept) -> None:
    install_masking()
    logging.getLogger("tests.masking").info("one", extra={"order": "order-1"})
    for again in (copy.copy(kept.records[0]), pickle.loads(pickle.dumps(kept.records[0]))):
        assert (again.getMessage(), vars(again)["order"]) == ("one", "order-1")
    made = logging.makeLogRecord({"msg": f"from afar {CODE}", "code": CODE})
    assert vars(made)["code"] == MASK


def test_text_that_a_formatter_had_kept_is_masked(kept: Kept) -> None:
    """A handler without the filter came first, and its formatter wrote the traceback into the record."""
    record = logging.makeLogRecord({"msg": "x", "exc_text": f"KeyError: {CODE}", "stack_info": f"code = {CODE}"})
    mask_record(record)
    assert CODE not in repr(vars(record))


def test_tracebacks_of_groups_and_notes_are_masked() -> None:
    error = ExceptionGroup("several", [ValueError(CODE)])
    error.add_note(f"typed {CODE}")
    record = logging.makeLogRecord({"msg": "x", "exc_info": (type(error), error, None)})
    assert CODE in "".join(traceback.format_exception(error))
    mask_record(record)
    assert record.exc_text is not None
    assert "several" in record.exc_text
    assert CODE not in record.exc_text
