"""The fake service on a port of this machine, for stores in other languages: `python -m scrip_sdk.testing`."""

import argparse
import json
import threading
from contextlib import suppress

from scrip_sdk import testing


def main() -> None:
    """Prints one line of JSON when it answers, and goes on until it is stopped; then it forgets everything."""
    arguments = argparse.ArgumentParser(prog="python -m scrip_sdk.testing", description=__doc__)
    arguments.add_argument("--port", type=int, default=0, help="a free one, unless it is named")
    arguments.add_argument("--redirect-uri", action="append", default=[], help="where hosted checkout may lead back to")
    given = arguments.parse_args()
    fake = testing.FakeScrip(redirect_uris=given.redirect_uri)
    with fake.served(given.port) as url:
        told = {
            "url": url,
            "client_id": fake.client_id,
            "client_secret": fake.client_secret,
            "store_id": fake.store_id,
            "codes": {name: vars(testing)[name] for name in testing.__all__ if name.isupper()},
        }
        print(json.dumps(told), flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
