"""Serves `/metrics` to Prometheus on a port of its own: what all processes counted, and what waits in the database."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client import CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.environment import UnsafeSettings
from app.errors import Busy

PATH = "/metrics"
#: Whose files hold what processes counted that are gone.
NOBODY = 0
#: Whoever sends slowly holds a thread for so long.
PATIENCE_S = 10

#: Name of a gauge, what it means, its value.
Gauge = tuple[str, str, float]

log = structlog.get_logger(__name__)


def serve(folder: Path, bind: str, read_gauges: Callable[[], Iterable[Gauge]]) -> None:
    """Serves until the process is ended. One for each folder, on the machine where the processes run that count there.

    `bind` is an address and a port; `read_gauges` asks the database, and may raise Busy. Raises UnsafeSettings.
    """
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal():
        raise UnsafeSettings(f"METRICS_BIND must be an address and a port, such as 127.0.0.1:9464, not {bind!r}")
    registry = CollectorRegistry()
    registry.register(_Collected(folder, read_gauges))
    in_brackets = host.startswith("[")
    server_class = _ServerV6 if in_brackets else ThreadingWSGIServer
    try:
        server = make_server(host.strip("[]"), int(port), _at_its_path(make_wsgi_app(registry)), server_class, _Handler)
    except (OSError, OverflowError) as error:
        raise UnsafeSettings(f"METRICS_BIND: nothing can listen on {bind}: {error}") from None
    log.info("metrics_served", bind=bind)
    server.serve_forever()


class _Collected(Collector):
    def __init__(self, folder: Path, read_gauges: Callable[[], Iterable[Gauge]]) -> None:
        self.folder, self.read_gauges, self.lock = folder, read_gauges, Lock()

    def collect(self) -> Iterator[Metric]:
        """All there is. While the database is away, what must be asked for there is missing, and that is told."""
        with self.lock:
            gather(self.folder)
            yield from MultiProcessCollector(None, str(self.folder)).collect()
        try:
            gauges = list(self.read_gauges())
        except Busy:
            gauges = []
        up = ("scrip_database_up", "Whether the database answered this scrape, and in time.", float(bool(gauges)))
        for name, meaning, value in (up, *gauges):
            yield GaugeMetricFamily(name, meaning, value)


def gather(folder: Path) -> None:
    """Adds the files of processes that are gone to nobody's, so that they do not become more and more.

    Nothing is lost: a counter that fell would look to Prometheus as if it had begun anew.
    """
    for path in folder.glob("*.db"):
        kind, _, pid = path.stem.rpartition("_")
        if int(pid) == NOBODY or _is_running(int(pid)):
            continue
        if path.stat().st_size:
            gathered = MmapedDict(str(folder / f"{kind}_{NOBODY}.db"))
            for key, value, stamp, _ in MmapedDict.read_all_values_from_file(path):
                before, _ = gathered.read_value(key)
                gathered.write_value(key, max(before, value) if kind == "gauge_max" else before + value, stamp)
            gathered.close()
        path.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _at_its_path(app: Callable[..., Any]) -> Callable[..., Any]:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == PATH:
            return app(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"Only {PATH} is here.\n".encode()]

    return answer


class _ServerV6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Keeps no access log."""

    timeout = PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Says nothing."""
