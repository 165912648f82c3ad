"""Large bodies on a real gunicorn: slow senders hold no thread, memory stays flat, and strangers get no file."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from flask import Flask

from app import config
from app.oauth.bearer import may_send_large
from app.web import spool
from app.web.requests import MAX_BODY_BYTES, Large, allow_large, large_at
from app.web.spool import (
    FIRST_S,
    FREE_CHUNKS,
    LEAST_BYTES_PER_S,
    LEAST_CHUNK_BYTES,
    MOST_AT_ONCE,
    MOST_OF_ONE,
    MOST_S,
    Announced,
    NoRoom,
    Spool,
    announced,
)
from tests.api import Api, Machine, api_of, store_machine
from tests.billing.files import HEADER, this_month
from tests.fuzz.test_hostile import Served, serving
from tests.fuzz.wire import one_by_one, peaks_kib, send, workers
from tests.world import make_world, rows

MIB = 2**20
#: How much a worker may grow over a body of 60 MB.
MOST_GROWTH_KIB = 25 * 1024


def head(token: str, *lines: str, reference: str = "r", path: str = "/v1/bills") -> bytes:
    query = f"?period={this_month()}&reference={reference}"
    good = [
        f"POST {path}{query} HTTP/1.1",
        "Host: x",
        "Content-Type: text/csv",
        "Idempotency-Key: k",
        f"Authorization: Bearer {token}",
    ]
    return "\r\n".join([*good, *lines, "", ""]).encode()


# ── by its head ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def large() -> Iterator[None]:
    before = large_at("/v1/bills")
    allow_large("/v1/bills", Large(10 * MIB, {"Bearer good": "str_1"}.get))
    yield
    if before is not None:
        allow_large("/v1/bills", before)


SMALL = f"Content-Length: {MAX_BODY_BYTES}"
LONG = f"Content-Length: {MAX_BODY_BYTES + 1}"


@pytest.mark.usefixtures("large")
def test_a_large_body_is_known_by_path_length_and_access_token() -> None:
    body_at = len(head("good", LONG))
    assert announced(head("good", LONG)) == Announced(body_at, MAX_BODY_BYTES + 1, 10 * MIB, "str_1")
    chunked = head("good", "Transfer-Encoding: chunked")
    assert announced(chunked + b"5\r\n") == Announced(len(chunked), None, 10 * MIB, "str_1")


NOT_LARGE = {
    "not all of its head": head("good", LONG)[:-2],
    "a small one": head("good", SMALL),
    "no length": head("good"),
    "too large a one": head("good", f"Content-Length: {10 * MIB + 1}"),
    "another path": head("good", LONG, path="/v1/cards"),
    "a path below": head("good", LONG, path="/v1/bills/x"),
    "another method": head("good", LONG).replace(b"POST", b"PUT"),
    "no access token": head("bad", LONG),
    "two of them": head("good", LONG, "Authorization: Bearer good"),
    "two lengths": head("good", LONG, LONG),
    "length and chunks": head("good", LONG, "Transfer-Encoding: chunked"),
    "other coding": head("good", "Transfer-Encoding: gzip, chunked"),
}


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("arrived", NOT_LARGE.values(), ids=NOT_LARGE)
def test_everything_else_is_left_to_the_parser(arrived: bytes) -> None:
    assert announced(arrived) is None


def test_chunks_are_whole_when_the_last_of_them_is_here() -> None:
    begin = b"POST / HTTP/1.1\r\n\r\n"
    for chunks, whole in (
        (b"2\r\n{}\r\n0\r\n\r\n", True),
        (b"2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n", True),
        (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", True),
        (b"2\r\n{}\r\n0\r\n\r", False),
        (b"ffffffffffffffffffff\r\n{}\r\n0\r\n\r\n", False),
        (b"zz\r\n", True),  # refused by the parser
        (b"1" * 9_000, True),
    ):
        for cut in range(len(chunks) if whole and len(chunks) < 100 else 0):
            if chunks != b"zz\r\n":
                assert not is_whole(begin, chunks[:cut])
        assert is_whole(begin, chunks) is whole, chunks[:20]


def is_whole(begin: bytes, chunks: bytes) -> bool:
    kept = Spool(Announced(len(begin), None, MIB, "str_1"), begin)
    try:
        for at in range(0, len(chunks), 3):
            kept.take(chunks[at : at + 3])
        return kept.is_whole
    finally:
        kept.close()


def test_only_so_many_at_once_and_each_gives_its_place_back() -> None:
    kept = [Spool(Announced(0, 1, 1, f"str_{n % 2}"), b"") for n in range(MOST_AT_ONCE)]
    with pytest.raises(NoRoom):
        Spool(Announced(0, 1, 1, "str_2"), b"")
    for each in kept:
        each.close()
        each.close()
    Spool(Announced(0, 1, 1, "str_2"), b"").close()


def test_one_sender_leaves_room_for_others() -> None:
    kept = [Spool(Announced(0, 1, 1, "str_1"), b"") for _ in range(MOST_OF_ONE)]
    with pytest.raises(NoRoom):
        Spool(Announced(0, 1, 1, "str_1"), b"")
    for each in (*kept, Spool(Announced(0, 1, 1, "str_2"), b"")):
        each.close()


@pytest.mark.parametrize(("size", "is_minced"), [(1, True), (LEAST_CHUNK_BYTES, False)])
def test_chunks_without_number_are_not_all_looked_at(size: int, is_minced: bool) -> None:
    chunks = (b"%x\r\n" % size + b"x" * size + b"\r\n") * (2 * FREE_CHUNKS)
    with closing(Spool(Announced(0, None, 10 * MIB, "str_1"), chunks)) as kept:
        assert not kept.is_whole
        assert kept.is_too_long is is_minced


def test_who_is_slower_than_the_least_speed_on_the_whole_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(spool, "monotonic", lambda: now[0])
    with closing(Spool(Announced(0, 128 * MIB, 128 * MIB, "str_1"), b"")) as kept:
        kept.take(bytes(MIB))
        now[0] += FIRST_S + MIB / LEAST_BYTES_PER_S
        told = [kept.is_late]
        now[0] += 1
        told.append(kept.is_late)
        kept.size = 128 * MIB
        told.append(kept.is_late)
        now[0] += MOST_S
        assert [*told, kept.is_late] == [False, True, False, True]


def test_a_full_disk_is_no_room_and_holds_no_place() -> None:
    for _ in range(MOST_AT_ONCE + 1):
        kept = Spool(Announced(0, 1, 1, "str_1"), b"")
        kept._file.close()
        kept._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        with pytest.raises(NoRoom):
            kept.take(b"x")
        kept.close()


def test_only_a_good_access_token_with_the_scope_is_worth_a_file(api: Api) -> None:
    assert may_send_large(f"Bearer {api.bookshop.access_token}", scope="bill")
    for shown in ("", "Bearer ", "Bearer x", f"Basic {api.bookshop.access_token}", f"Bearer {api.acme.access_token}"):
        assert not may_send_large(shown, scope="bill")


# ── on a real gunicorn ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def service(
    app: Flask, database: config.Settings, keys_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Machine]]:
    log = tmp_path_factory.mktemp("large") / "gunicorn.log"
    with serving(app, database, keys_dir, log) as served:
        world = make_world()
        yield served, store_machine(app.test_client(), world.bookshop)
    assert '"bug"' not in log.read_text()
    assert "Traceback" not in log.read_text()


def csv_of(megabytes: int) -> bytes:
    row = f"{'pay_01k9qn1d8p0000000000000000'},10.00,GBP\n".encode()
    return f"{HEADER}\n".encode() + row * (megabytes * MIB // len(row))


@pytest.mark.slow
def test_a_large_bill_arrives_with_flat_memory_by_length_and_in_chunks(service: tuple[Served, Machine]) -> None:
    served, store = service
    small = f"{HEADER}\n".encode()
    for _ in one_by_one(served.port):  # a worker's first request is the dearest
        begin = head(store.access_token, f"Content-Length: {len(small)}", "Connection: close", reference="small")
        assert send(served.port, [begin, small]).status == 202
    before = peaks_kib(served.port)
    content = csv_of(60)
    token = store.access_token
    sized = [head(token, f"Content-Length: {len(content)}", reference="sized"), content]
    assert send(served.port, sized).status == 202
    pieces = [content[at : at + 4 * MIB] for at in range(0, len(content), 4 * MIB)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    in_chunks = [head(token, "Transfer-Encoding: chunked", reference="chunks"), *chunks, b"0\r\n\r\n"]
    assert send(served.port, in_chunks).status == 202
    after = peaks_kib(served.port)
    assert max(after[pid] - before[pid] for pid in before) < MOST_GROWTH_KIB, (before, after)
    found = rows(
        "SELECT reference, sum(octet_length(content)) AS length FROM bill JOIN bill_part ON bill_id = bill.id"
        " WHERE store_id = :store AND reference IN ('sized', 'chunks') GROUP BY 1",
        store=store.known.party_id,
    )
    assert {row.reference: row.length for row in found} == {"sized": len(content), "chunks": len(content)}


@pytest.mark.slow
def test_slow_senders_hold_no_thread_and_no_more_than_their_places(service: tuple[Served, Machine]) -> None:
    served, store = service
    token, content = store.access_token, csv_of(1)
    with ExitStack() as stack:
        slow = []
        for _ in range(40):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 30))
            connection.sendall(head(token, f"Content-Length: {10 * MIB}", reference="slow") + content[:70_000])
            slow.append(connection)
        statuses = [status_of(connection) for connection in slow]
        kept = statuses.count(None)
        assert 1 <= kept <= 2 * MOST_AT_ONCE
        assert set(statuses) <= {None, 503}
        for _ in range(5):
            assert served.health() == 200
        until = time.monotonic() + 25
        while any(status_of(each) is None and is_open(each) for each in slow):
            assert time.monotonic() < until, "who sends nothing more may stay for ever"
            time.sleep(0.5)
    whole = [head(token, f"Content-Length: {len(content)}", reference="after"), content]
    assert send(served.port, whole).status == 202, "the places are free again"
    assert len(workers(served.port)) == 2


def status_of(connection: socket.socket) -> int | None:
    """What was answered so far."""
    connection.settimeout(0.3)
    try:
        text = connection.recv(4_096, socket.MSG_PEEK)
    except (TimeoutError, OSError):
        return None
    return int(text.split(b" ")[1]) if text.startswith(b"HTTP/1.1 ") else None


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    with suppress(TimeoutError):
        try:
            return connection.recv(1) != b""
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            return False
    return True


@pytest.mark.slow
def test_strangers_get_no_file_and_others_no_larger_bodies(service: tuple[Served, Machine]) -> None:
    served, store = service
    content = csv_of(1)
    length = f"Content-Length: {len(content)}"
    for _ in range(2 * MOST_AT_ONCE + 2):
        assert send(served.port, [head("eyJ.none.x", length), content[:70_000]]).status == 401
    assert send(served.port, [head(store.access_token, length, path="/v1/payments"), content]).status in (413, 415)
    too_long = f"Content-Length: {129 * MIB}"
    assert send(served.port, [head(store.access_token, too_long), content]).status in (400, 413)
    cut = send(served.port, [head(store.access_token, length, reference="cut"), content[:80_000]], ends=True)
    assert cut.status in (None, 400)
    assert rows("SELECT id FROM bill WHERE store_id = :store AND reference = 'cut'", store=store.known.party_id) == []


@pytest.fixture
def api(app: Flask) -> Api:
    return api_of(app.test_client(), make_world())
