"""How gunicorn serves Scrip, in production and in the demo; its command line and GUNICORN_CMD_ARGS go over this."""

import gc
import os
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger


class MaskedLogger(Logger):
    """Hands gunicorn's messages to the root logger, whose handler masks secrets (app/web/logs.py)."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


wsgi_app = "wsgi:app"
bind = "127.0.0.1:8000"
workers = 2
#: gunicorn's threads, but a request gets one only when all of it is here.
worker_class = "app.web.whole_requests.WholeRequestWorker"
#: They take turns at Python's lock, and wait at most for each other's database: more of them are only slower.
threads = 4
#: Of one process, slow and idle ones included; each may keep up to 96 KiB of a request, or an answer but for files.
worker_connections = 400
#: Read once, then forked. Nothing connects before the fork: app/db/engine.py gives each process its own pool.
preload_app = True


def when_ready(_arbiter: Any) -> None:
    """Before the first fork: the collector leaves alone what is loaded; processes share its memory and end sooner."""
    gc.freeze()


# `Client_Cert` must not pass for `Client-Cert`, which only a proxy may send.
header_map = "drop"
# Nothing that a request says of our own address or scheme is taken, not even from a proxy: PUBLIC_URL says it.
forwarder_headers = ""
secure_scheme_headers = {}

# The control socket would let whoever reaches it stop the service; nothing of ours uses it.
control_socket_disable = True
# A busy disk must not make a worker look dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# The service writes its own log, which says less: no query, no address, no header.
accesslog = None
loglevel = "warning"
logger_class = MaskedLogger

timeout = 30
graceful_timeout = 20
keepalive = 5
# An Idempotency-Key has up to 255 characters, an access token somewhat over 1,000; nobody needs more than this.
limit_request_line = 2048
limit_request_fields = 50
limit_request_field_size = 8190
