"""The example shop, whose bank does between confirm and order what a file says: nothing, `die`, `fail` or `slow`."""

import importlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from django_shop.wsgi import application

__all__ = ["application"]

views: Any = importlib.import_module("django_shop.views")  # its models load once the application is made


def charge_bank_card(order: str, amount: object) -> None:
    wanted = Path(os.environ["SHOP_FAULT"]).read_text()
    if wanted == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "fail":
        raise RuntimeError("the bank's own library fails")
    if wanted == "slow":
        time.sleep(0.5)


views.charge_bank_card = charge_bank_card
