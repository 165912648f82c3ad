"""The service that has forgotten what it did under a key: every repeat is done again."""

import os
from typing import Any

from app.config import Settings
from app.db import request
from app.factory import create_app
from app.redemption import confirm, exchange, extend, refund, settle, void


def forget(*_: Any, **__: Any) -> None:
    return None


for module in (request, confirm, exchange, extend, refund, settle, void):
    module.answer_again = forget  # type: ignore[attr-defined]
exchange.find_answer = forget  # type: ignore[attr-defined]
app = create_app(Settings.from_env(os.environ))
