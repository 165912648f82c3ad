"""Requests that somebody sends to break or to stop the service, byte by byte."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.api import Machine
from tests.web.bodies import card_body

#: Parts of one connection's bytes.
Parts = Iterable[bytes]
MIB = 2**20


def head(machine: Machine, *lines: bytes, path: str = "/v1/cards") -> bytes:
    """Of a POST that is good until here, and these lines more."""
    good = [
        f"POST {path} HTTP/1.1".encode(),
        b"Host: 127.0.0.1",
        b"Content-Type: application/json",
        b"Idempotency-Key: hostile",
        f"Authorization: Bearer {machine.access_token}".encode(),
    ]
    return b"\r\n".join([*good, *lines, b"", b""])


def sized(machine: Machine, body: bytes, *lines: bytes) -> Parts:
    return [head(machine, b"Content-Length: %d" % len(body), *lines), body]


def chunked(machine: Machine, chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield head(machine, b"Transfer-Encoding: chunked")
    for chunk in chunks:
        yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


def bodies(programme_id: str) -> dict[str, bytes]:
    """Bodies with their true length."""
    good: dict[str, Any] = card_body(programme_id)

    def named(name: str) -> bytes:
        return json.dumps({**good, "holder": {**good["holder"], "name": name}}).encode()

    text = json.dumps(good)
    return {
        "arrays 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
        "arrays 30,000 deep": b"[" * 30_000 + b"]" * 30_000,
        "objects 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "100,000 fields": json.dumps({f"f{n}": n for n in range(100_000)}).encode(),
        "6,000 fields": json.dumps({f"f{n}": n for n in range(6_000)}).encode(),
        "a field 6,000 times": b"{" + b'"a":1,' * 6_000 + b'"a":1}',
        "NaN": text.replace("5000", "NaN").encode(),
        "Infinity": text.replace("5000", "-Infinity").encode(),
        "1e400": text.replace("5000", "1e400").encode(),
        "60,000 digits": text.replace("5000", "9" * 60_000).encode(),
        "100,000 digits": text.replace("5000", "9" * 100_000).encode(),
        "1e999999999": text.replace("5000", "1e999999999").encode(),
        "NUL in a text": named("a\0b"),
        "half a surrogate pair": named("a\ud800b"),
        "bidi that ends a line": named("a\u202e\u2028\x85"),
        "a text of 60,000 zero-width characters": named("\u200b" * 10_000),
        "UTF-16": text.encode("utf-16"),
        "UTF-32": text.encode("utf-32"),
        "a byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "a name twice": text.replace('"deliver"', '"deliver": "link", "deliver"').encode(),
        "no UTF-8": b'{"a": "\xff\xfe"}',
        "nothing": b"",
    }


def requests(machine: Machine, programme_id: str) -> dict[str, Callable[[], Parts]]:
    """Each by its name: what is sent, made anew each time."""
    made: dict[str, Callable[[], Parts]] = {
        name: lambda body=body: sized(machine, body)  # type: ignore[misc]
        for name, body in bodies(programme_id).items()
    }
    bomb = gzip.compress(bytes(20 * MIB))
    zeros = [bytes(MIB // 16)] * 16 * 100
    return made | {
        "100 MB": lambda: [head(machine, b"Content-Length: %d" % (100 * MIB)), *zeros],
        "100 MB in chunks": lambda: chunked(machine, zeros),
        "100 MB in one chunk": lambda: [head(machine, b"Transfer-Encoding: chunked"), b"6400000\r\n", *zeros],
        "a gzip bomb": lambda: sized(machine, bomb, b"Content-Encoding: gzip"),
        "a gzip bomb in transfer": lambda: [head(machine, b"Transfer-Encoding: gzip, chunked"), b"0\r\n\r\n"],
        **{name: lambda raw=raw: [raw] for name, raw in _framing(machine).items()},  # type: ignore[misc]
    }


def _framing(machine: Machine) -> dict[str, bytes]:
    """What proxies and servers read differently: the shapes of request smuggling, and of no HTTP at all."""
    inner = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    te, end = b"Transfer-Encoding: chunked", b"0\r\n\r\n"

    def request(*lines: bytes, then: bytes = b"") -> bytes:
        return head(machine, *lines) + then

    return {
        "CL and TE": request(b"Content-Length: 4", te, then=b"1\r\nZ\r\nQ\r\n" + end),
        "TE and CL": request(te, b"Content-Length: 4", then=end + inner),
        "two lengths": request(b"Content-Length: 2", b"Content-Length: 40", then=b"{}" + inner),
        "a list of lengths": request(b"Content-Length: 2, 40", then=b"{}" + inner),
        "a length with a sign": request(b"Content-Length: +2", then=b"{}" + inner),
        "a length below zero": request(b"Content-Length: -2", then=b"{}"),
        "a length in words": request(b"Content-Length: two", then=b"{}"),
        "a length of other digits": request("Content-Length: ²".encode("latin-1"), then=b"{}"),
        "a length of 30 digits": request(b"Content-Length: " + b"9" * 30, then=b"{}"),
        "TE that is none": request(b"Transfer-Encoding: xchunked", then=end),
        "TE twice": request(te, b"Transfer-Encoding: identity", then=end),
        "TE after a tab": request(b"Transfer-Encoding:\tchunked, identity", then=end),
        "TE with a space before the colon": request(b"Transfer-Encoding : chunked", then=end + inner),
        "TE after a vertical tab": request(b"Transfer-Encoding: \x0bchunked", then=end + inner),
        "TE on a folded line": request(b"X: y", b" Transfer-Encoding: chunked", then=end + inner),
        "TE for HTTP/1.0": request(te, then=end).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        "a chunk of no size": request(te, then=b"\r\n{}\r\n" + end),
        "a chunk below zero": request(te, then=b"-1\r\n{}\r\n" + end),
        "a chunk of 2^64": request(te, then=b"10000000000000000\r\n{}\r\n" + end),
        "a chunk in 0x": request(te, then=b"0x2\r\n{}\r\n" + end),
        "a chunk that is longer": request(te, then=b"2\r\n{}xx\r\n" + end),
        "a chunk's line without its end": request(te, then=b"2\n{}\n0\n\n" + end),
        "NUL in a header": request(b"X: a\0b"),
        "a bare CR in a header": request(b"X: a\rContent-Length: 2"),
        "a header without a name": request(b": x"),
        "a header without a colon": request(b"x"),
        "200 headers": request(*[b"X-%d: y" % number for number in range(200)]),
        "a header of 20,000 characters": request(b"X: " + b"y" * 20_000),
        "a header of a megabyte": request(b"X: " + b"y" * MIB),
        "a path of 5,000 characters": b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        "an endless line": b"G" * (2 * MIB),
        "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160) + b"\r\n\r\n",
        "no HTTP": b"\0\1\2\3\r\n\r\n",
        "garbage after a good request": inner + b"\0garbage\r\n\r\n",
        "a method of odd letters": b"G\xc3\x89T / HTTP/1.1\r\nHost: x\r\n\r\n",
    }
