"""The example shop's settings, with less patience: what is tried is what happens when it is over."""

from django_shop.settings import *  # noqa: F403 – a settings module is a namespace

SCRIP = {"CONNECT_S": 1, "READ_S": 1.5, "TOTAL_S": 3, "DELIVER_BUDGET_S": 2}
