"""The service without its locks, and with a pause between what is read and what is written."""

import os
import time
from typing import Any

import pytest

from app.config import Settings
from app.factory import create_app
from app.redemption import confirm, extend, holds, refund, settle, void
from tests.redemption.without_locks import take_out_locks

#: So that what races would lose is lost on any machine.
GAP_S = 0.1


def lock_payment(*args: Any, **more: Any) -> holds.Locked:
    locked = holds.lock_payment(*args, **more)
    time.sleep(GAP_S)
    return locked


take_out_locks(pytest.MonkeyPatch())
for verb in (confirm, extend, refund, settle, void):
    verb.lock_payment = lock_payment  # type: ignore[attr-defined]
app = create_app(Settings.from_env(os.environ))
