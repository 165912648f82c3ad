"""Starts everything that Scrip needs on this machine, keeps it running, and ends all of it."""

import hashlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from app.db.embedded import EmbeddedPostgres
from app.demo.answers import wait_for_answer
from app.demo.children import Child, Children, end_leftovers
from app.demo.first_card import IssuerApi, ready_card
from app.demo.folder import ROOT, DataFolder, default_folder
from app.demo.shop import start_shop
from app.demo.sockets import LOOPBACK, Sockets, open_sockets, port_of
from app.demo.summary import Summary

PREPARE_PATIENCE_S, PORT_PATIENCE_S = 60.0, 5.0
LOOK_EVERY_S = 0.2
STATE, PREPARED, PASSWORDS = "demo.json", "prepared.json", "roles.json"


#: What operators have beyond the service: `scrip migrate` and `scrip audit`.
OPERATORS_ROLES = {"MIGRATE": "migrator", "READER": "reader"}
ENVIRONMENT = "environment"


class Ended(BaseException):
    """Somebody asked this process to end."""


@dataclass(frozen=True)
class Options:
    """What was asked for; a port of 0 is any free one."""

    port: int
    folder: Path | None
    fresh: bool
    #: Of the shop; None: there is none.
    store_port: int | None = None


@dataclass
class Demo:
    """One running demo."""

    options: Options
    say: Callable[[str], None]
    folder: DataFolder = field(init=False)
    database: EmbeddedPostgres = field(init=False)
    children: Children = field(init=False)
    sockets: Sockets | None = None

    def __post_init__(self) -> None:
        self.folder = DataFolder(self.options.folder or default_folder())
        self.database = EmbeddedPostgres(self.folder.path / "postgres")
        self.children = Children(self.folder, self.say)

    def run(self, tell: Callable[[Summary], None]) -> None:
        """Starts everything, tells where it is once it answers, and keeps it running until Ended.

        Raises DemoError and EmbeddedError with advice. Whatever happens, nothing of it is left running.
        """
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, _raise_ended)
        try:
            tell(self._start())
            self._keep_running()
        finally:
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(signum, signal.SIG_IGN)
            self.children.stop()
            self.database.stop()
            self.folder.close()
            if self.sockets is not None:
                self.sockets.close()

    def _start(self) -> Summary:
        self.folder.open()
        leftovers = end_leftovers(self.folder)
        self.sockets = sockets = open_sockets(
            self.options.port, PORT_PATIENCE_S if leftovers else 0, self.options.store_port
        )
        if self.options.fresh:
            self.database.end_leftover()
            self.folder.clear()
        self.database.start()
        environment = self._environment(sockets)
        operator = environment | {f"DATABASE_{of}_URL": self._url(role) for of, role in OPERATORS_ROLES.items()}
        self.folder.write_text(ENVIRONMENT, _as_shell(operator))
        self._prepare(operator)
        self._start_children(environment, sockets)
        wait_for_answer(port_of(sockets.web), "/healthz", self.children.refuse_deaths)
        state = self._ready_card(sockets.base_url)
        shop = start_shop(self.folder, self.children, self.database, sockets, state["stores"][0], self.say)
        return Summary(sockets.base_url, sockets.outbox_url, self.folder.path, state, shop)

    def _prepare(self, operator: dict[str, str]) -> None:
        """Makes roles, schema, keys and parties, when this folder or this release is new."""
        wanted = _release()
        if self.folder.read(PREPARED).get("release") != wanted or not self.folder.read(STATE):
            self.say("Preparing the database …")
            admin = operator | {"DATABASE_ADMIN_URL": self.database.admin_url}
            child = Child("prepare", ["-m", "app.demo.seed", str(self.folder.path)], admin)
            self.children.run(child, patience_s=PREPARE_PATIENCE_S)
            self.folder.write(PREPARED, {"release": wanted})

    def _start_children(self, environment: dict[str, str], sockets: Sockets) -> None:
        """All at once: each takes about a second to load. They inherit sockets that listen already."""
        web, pages, mail = sockets.web.fileno(), sockets.pages.fileno(), sockets.mail.fileno()
        config = [f"--config={ROOT / 'gunicorn.conf.py'}", "--graceful-timeout=2"]
        serve = ["-m", "gunicorn", *config, f"--bind=fd://{web}", "--workers=2", "--threads=8"]
        keep = ["-m", "app.demo.outbox", str(self.folder.private("outbox")), str(mail), str(pages)]
        self.children.start(Child("web", serve, environment, [web]))
        self.children.start(Child("worker", ["-m", "app.cli", "worker"], environment))
        self.children.start(Child("outbox", keep, environment, [mail, pages]))

    def _ready_card(self, base_url: str) -> dict[str, Any]:
        state = self.folder.read(STATE)
        issuer = state["issuer"]
        api = IssuerApi(base_url, issuer["client_id"], issuer["client_secret"])
        state["card"] = ready_card(api, state.get("card", {}), self.folder.private("outbox"))
        self.folder.write(STATE, state)
        return state

    def _keep_running(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            if self.database.pid is None:
                self.children.count_death("PostgreSQL ended", self.database.log)
                self.database.start()
            self.children.revive()

    def _environment(self, sockets: Sockets) -> dict[str, str]:
        """The settings of the service, as in production, and nothing of the caller's that could steer it."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "DATABASE_URL": self._url("service"),
            "PUBLIC_URL": sockets.base_url,
            "KEYS_DIR": str(self.folder.private("keys")),
            "SMTP_HOST": LOOPBACK,
            "SMTP_PORT": str(port_of(sockets.mail)),
            "SMTP_TLS": "none",
            "MAIL_FROM": "Scrip demo <cards@scrip.example>",
        }

    def _url(self, role: str) -> str:
        """The URL of a role of the database; its password is drawn once."""
        passwords = self.folder.read(PASSWORDS)
        if role not in passwords:
            passwords[role] = secrets.token_urlsafe(32)
            self.folder.write(PASSWORDS, passwords)
        return self.database.url("scrip", user=f"scrip_{role}", password=passwords[role])


def _release() -> str:
    """What the database was prepared for: the migrations of this checkout."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "migrations" / "versions").glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _as_shell(environment: dict[str, str]) -> str:
    """Settings for a shell to read, so that the operator's commands work on the demo too."""
    names = [name for name in environment if name not in ("PATH", "HOME")]
    return "".join(f"export {name}={quote(environment[name])}\n" for name in names)


def _raise_ended(signum: int, frame: object) -> None:
    raise Ended


def say_aside(text: str) -> None:
    """Tells a person, on standard error: standard output is for what was asked for."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
