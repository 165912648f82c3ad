"""The service as it runs, with the tests' own pepper, whose Argon2 is cheap: hashing is not what is tried here."""

import os

from app import config

config.ARGON2_FLOOR_KIB = config.ARGON2_FLOOR_TIME = 1
os.environ["KEYS_DIR"] = os.environ["KEYS_DIR"].removesuffix("-real")

from wsgi import app  # noqa: E402 – reads the settings

__all__ = ["app"]
