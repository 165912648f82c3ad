"""The service as it runs: gunicorn with two workers, in processes of its own."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from random import sample

from app.config import Argon2Cost, Settings
from app.config_guard import Limits
from app.key_files import make_key_files

ROOT = Path(__file__).parents[1]
#: Requests are counted as always, but whoever hammers the service from one address never meets a limit by accident.
FAR_LIMITS = Limits(
    per_client="100000000/minute",
    per_address="100000000/minute",
    per_site="100000000/minute",
    wrong_secrets="100000000/minute",
)
PATIENCE_S = 120  # a busy machine takes its time to start Python twice


def environment(settings: Settings, keys_dir: Path, port: int) -> dict[str, str]:
    """The environment variables that say the same as the settings, with the key files of `real_keys`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": settings.database_url,
        "DATABASE_POOL_SIZE": "10",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "KEYS_DIR": str(real_keys(keys_dir)),
        "SMTP_HOST": settings.smtp.host,
        "SMTP_PORT": str(settings.smtp.port),
        "SMTP_TLS": "none",
        "MAIL_FROM": settings.smtp.sender,
        **{f"ISSUE_LIMIT_{name.upper()}": str(limit) for name, limit in asdict(settings.issuing).items()},
        "LIMITS_STORAGE_URL": settings.limits.storage_url,
        "LIMIT_PER_CLIENT": settings.limits.per_client,
        "LIMIT_PER_ADDRESS": settings.limits.per_address,
        "LIMIT_PER_SITE": settings.limits.per_site,
        "LIMIT_WRONG_SECRETS": settings.limits.wrong_secrets,
    }


def real_keys(keys_dir: Path) -> Path:
    """The same keys but for the pepper, whose Argon2 costs what it must: the service refuses the tests' cheap one."""
    folder = keys_dir.with_name(f"{keys_dir.name}-real")
    if not folder.exists():
        folder.mkdir(mode=0o700)
        for path in keys_dir.glob("*.keys"):
            if path.name != "pepper.keys":
                shutil.copy2(path, folder)
        make_key_files(folder, Argon2Cost())
    return folder


@contextmanager
def served(
    settings: Settings,
    keys_dir: Path,
    log: Path,
    *,
    wsgi: str = "wsgi:app",
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Two workers on a free port, until the block ends; yields the port. `options` are gunicorn's, `environ` ours."""
    port = free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py")]
    command = [*gunicorn, "-b", f"127.0.0.1:{port}", *options, wsgi]
    env = environment(settings, keys_dir, port) | dict(environ or {})
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        _wait_until_healthy(process, port, log)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def free_port() -> int:
    """A port that nobody listens on, and that nobody else is given while its server starts.

    The kernel gives out none of these by itself, and each process of a test run has some of its own.
    """
    for port in _own_ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("they never end")


_FIRST_PORT = 12_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_own_ports = cycle(sample(range(_FIRST_PORT, _FIRST_PORT + 2_000), 2_000))


def _wait_until_healthy(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise AssertionError(f"the service did not come up:\n{log.read_text()}")
