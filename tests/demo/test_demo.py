"""One command starts everything, a second start finds it again, and whatever happens no process is left."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.processes import wait_until

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40


class Demo:
    """The demo's parent process, over one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.shown: dict[str, Any] = {}

    def start(self, *arguments: str) -> None:
        """Starts it as a terminal would, in a process group of its own, and reads the line of JSON."""
        output = self.launch("--json", *arguments)
        line = output.readline()
        assert line, f"the demo did not start: {self.said()}"
        self.shown = json.loads(line)

    def launch(self, *arguments: str) -> Any:
        command = [sys.executable, "-P", "-m", "app.demo", "--port", "0", "--data", str(self.folder), *arguments]
        errors = self.folder.with_name("stderr").open("w")
        with errors:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        return self.process.stdout

    def said(self) -> str:
        return self.folder.with_name("stderr").read_text()

    def end(self, signum: signal.Signals) -> int:
        """Ends it, by the whole group for Ctrl-C; returns the exit status."""
        assert self.process is not None
        if signum is signal.SIGINT:
            os.killpg(self.process.pid, signum)
        else:
            self.process.send_signal(signum)
        status = self.process.wait(PATIENCE_S)
        if self.process.stdout:
            self.process.stdout.close()
        return status

    def processes(self) -> dict[int, str]:
        """What runs for this folder, by its name in the environment or the command line."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
                if os.fsencode(self.folder) in told and int(process.name) != os.getpid():
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return found

    def pid_of(self, words: str) -> int:
        """The oldest process with these words in its command line."""
        return min(pid for pid, command in self.processes().items() if words in command)

    def letters(self) -> list[dict[str, Any]]:
        letters: list[dict[str, Any]] = json.loads(
            ask(self.shown["outbox_url"], headers={"Accept": "application/json"})
        )
        return letters

    def claim(self) -> str:
        """Opens the claim link, and returns the code."""
        link = urlsplit(self.shown["claim_link"])
        body = {"key": link.fragment, "nonce": secrets.token_urlsafe(32)}
        answer = ask(
            self.shown["base_url"] + link.path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return str(json.loads(answer)["code"])

    def claim_path(self) -> str:
        link = urlsplit(self.shown["claim_link"])
        return f"{link.path}#{link.fragment}"


def ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=20) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def seeded() -> Iterator[Demo]:
    """A demo that was started afresh and ended, to copy: the first start is the slow one."""
    place = Path(tempfile.mkdtemp(prefix="scrip-test-"))
    place.chmod(0o755)
    demo = Demo(place / "demo")
    demo.folder.mkdir()
    (demo.folder / ".scrip-demo").write_text("the mark of an earlier start")
    (demo.folder / "demo.json").write_text('{"issuer": "of an earlier start"}')
    demo.start("--fresh")
    assert demo.end(signal.SIGTERM) == 0
    yield demo
    shutil.rmtree(place)


@pytest.fixture
def demo(seeded: Demo, reachable: Path) -> Iterator[Demo]:
    """A copy of it, not running; whatever a test leaves running is ended."""
    subprocess.run(["cp", "-a", seeded.folder, reachable / "demo"], check=True)
    demo = Demo(reachable / "demo")
    demo.shown = seeded.shown
    yield demo
    if demo.process is not None and demo.process.poll() is None:
        demo.end(signal.SIGTERM)


def test_the_line_of_json_says_where_everything_is(seeded: Demo) -> None:
    shown = seeded.shown
    assert list(shown) == ["base_url", "docs_url", "outbox_url", "token_url", "issuer", "stores", "claim_link"]
    assert shown["docs_url"] == shown["base_url"] + "/docs"
    assert list(shown["issuer"]) == ["client_id", "client_secret", "programme_id"]
    assert [(store["name"], *list(store)[1:]) for store in shown["stores"]] == [
        ("Bookshop", "client_id", "client_secret"),
        ("Toyshop", "client_id", "client_secret"),
    ]
    assert re.fullmatch(re.escape(shown["base_url"]) + r"/claim/link_\w{26}#[\w-]{43}", shown["claim_link"])


def test_nobody_else_can_read_what_it_keeps(seeded: Demo) -> None:
    for path in seeded.folder.iterdir():
        private = path.name in (".scrip-demo", "postgres") or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert private, path
    kept = json.loads((seeded.folder / "demo.json").read_text())
    assert kept["stores"] == seeded.shown["stores"]


def test_the_printed_commands_take_the_card_through_exchange_settle_and_reissue(demo: Demo) -> None:
    output = demo.launch()
    text = ""
    while "Ctrl-C ends" not in text:
        line = output.readline()
        assert line, demo.said()
        text += line
    demo.shown = {
        "base_url": re.search(r"(\S+)/v1$", text, re.MULTILINE).group(1),  # type: ignore[union-attr]
        "outbox_url": re.search(r"outbox +(\S+)", text).group(1),  # type: ignore[union-attr]
        "claim_link": re.search(r"\S+/claim/\S+", text).group(),  # type: ignore[union-attr]
    }
    commands = text[text.index("     CODE=") : text.index("\n4. ")]
    script = "\n".join(line for line in commands.splitlines() if not re.match(r"\d\. ", line))
    script = script.replace("XXXX-XXXX-XXXX-XXXX", demo.claim())
    run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["released"] == {"amount_minor": 2000, "currency": "GBP"}
    assert wait_until(lambda: len(demo.letters()) == 2, 10)
    assert "Bookshop" in demo.letters()[0]["text"]
    audit = text[text.index("     (. ") : text.index("\n\nCtrl-C")].replace(
        "./run scrip", f"{sys.executable} -m app.cli"
    )
    run = subprocess.run(["bash", "-c", audit], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "The books balance."), run.stdout + run.stderr
    assert demo.end(signal.SIGHUP) == 0
    assert demo.processes() == {}


def test_a_start_finds_what_a_killed_one_had_and_has_a_new_card_once_the_link_was_opened(
    demo: Demo, seeded: Demo
) -> None:
    demo.start()
    names = " ".join(demo.processes().values())
    assert all(part in names for part in ("postgres", "gunicorn", "app.cli worker", "app.demo.outbox"))
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL

    demo.start()
    assert demo.shown["issuer"] == seeded.shown["issuer"]
    assert demo.shown["stores"] == seeded.shown["stores"]
    assert demo.claim_path() == seeded.claim_path()
    demo.claim()
    assert demo.end(signal.SIGTERM) == 0
    assert demo.processes() == {}

    demo.start()
    assert demo.shown["stores"] == seeded.shown["stores"]
    assert demo.claim_path() != seeded.claim_path()
    assert [demo.claim_path() in " ".join(letter["links"]) for letter in demo.letters()] == [True, False]


def test_what_dies_is_started_again_and_loudly(demo: Demo) -> None:
    demo.start()
    for words in ("app.cli worker", "gunicorn", "app.demo.outbox", "postgres -D"):
        pid = demo.pid_of(words)
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda pid=pid: pid not in demo.processes(), 5), words  # type: ignore[misc]
    assert wait_until(lambda: demo.said().count("starting it again") == 4, 10)
    for url in (demo.shown["outbox_url"], demo.shown["base_url"] + "/healthz"):
        assert wait_until(lambda url=url: answers(url), 20), url  # type: ignore[misc]
    assert len(demo.claim()) == 19
    assert demo.end(signal.SIGINT) == 0
    assert demo.processes() == {}


def answers(url: str) -> bool:
    try:
        return bool(ask(url))
    except urllib.error.URLError:
        return False


def test_a_port_in_use_is_said_plainly_and_nothing_is_touched(reachable: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-P", "-m", "app.demo", "--data", str(reachable / "demo"), "--port", str(port)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=20)
    assert run.returncode == 1
    assert f"port {port} is in use by another program: choose another with --port" in run.stderr
    assert not (reachable / "demo" / "postgres").exists()


def test_fresh_starts_over_in_a_folder_that_bears_our_mark(seeded: Demo) -> None:
    assert "cli_" in (seeded.folder / "demo.json").read_text()
    assert len(list((seeded.folder / "outbox").glob("*.eml"))) == 1
