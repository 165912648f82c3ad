"""The command line of `./run demo` and `scrip demo`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from app.db.embedded_install import EmbeddedError
from app.demo.folder import DemoError
from app.demo.run import Demo, Ended, Options, say_aside
from app.demo.summary import Summary

DEFAULT_PORT, DEFAULT_STORE_PORT = 8000, 8080


def main(arguments: Sequence[str]) -> int:
    """Runs the demo until it is told to end; returns the exit status."""
    asked = _parser().parse_args(arguments)
    store_port = asked.store_port if asked.store else None
    options = Options(port=asked.port, folder=asked.data, fresh=asked.fresh, store_port=store_port)

    def tell(summary: Summary) -> None:
        sys.stdout.write(f"{summary.as_json() if asked.json else summary.as_text()}\n")
        sys.stdout.flush()

    try:
        Demo(options, say_aside).run(tell)
    except Ended:
        say_aside("The demo has ended; its data stays.")
        return 0
    except (DemoError, EmbeddedError) as error:
        say_aside(f"The demo stops: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run demo",
        description="Starts PostgreSQL, the service, its worker, and an outbox for letters on this machine, "
        "with an issuer, two stores and a card to try.",
        epilog="Ctrl-C or SIGTERM ends all of it. A process of the demo that dies is started again, which is said "
        "on standard error; when it happens more than five times in a minute, the demo ends with status 1.",
    )
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="of the API; 0: any free one (default %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where the data lies (default: .scrip in the checkout)"
    )
    parser.add_argument("--fresh", action="store_true", help="first deletes the data of earlier starts in that folder")
    parser.add_argument("--store", action="store_true", help="also starts a bookshop that takes the card")
    parser.add_argument(
        "--store-port",
        type=_port,
        default=DEFAULT_STORE_PORT,
        help="of the bookshop; 0: any free one (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="prints one line of JSON when everything is ready")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number up to 65535")
    return int(text)
