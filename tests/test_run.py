"""`./run` sets up once, with whatever works on this machine, and says so when nothing does.

The set-up itself, with the real uv and pip, is run by `.ci/run` in fresh clones.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

STORES_LOCK, PRETIX_LOCK = "plugin_sdk/requirements-stores.lock", "plugin_sdk/requirements-pretix.lock"
#: Stands for a Python: notes what it is asked, makes an environment of itself, and fails to install when told to.
PYTHON = """#!/bin/sh
echo "$0 $*" >>"{log}"
case "$*" in
*ensurepip*) exit 0 ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip --version") [ -e "{log}.has-pip" ] ;;
"-m pip install"*) touch "{log}.has-pip" && [ ! -e "{log}.offline" ] ;;
esac
"""
#: A version manager's shim for a version that is not installed: there, executable, and of no use.
SHIM = "#!/bin/sh\necho 'python3.13: command not found' >&2\nexit 127\n"


class Machine:
    """A checkout, and a PATH on which only a few programs are."""

    def __init__(self, place: Path) -> None:
        self.checkout, self.bin, self.log = place / "check out", place / "bin", place / "log"
        self.checkout.mkdir()
        self.bin.mkdir()
        for name in ("run", "uv.lock", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(ROOT / name, self.checkout)
        (self.checkout / "plugin_sdk").mkdir()
        for lock in (STORES_LOCK, PRETIX_LOCK):
            shutil.copy(ROOT / lock, self.checkout / lock)
        for name in ("cat", "cksum", "dirname", "sh", "cp", "mkdir", "touch"):
            (self.bin / name).symlink_to(shutil.which(name) or name)
        self.install("python3.13", SHIM)
        self.install("python3", PYTHON.format(log=self.log))

    def install(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(self.bin), "HOME": "/", "PYTHON": "python3.13"}
        return subprocess.run([self.checkout / "run", *arguments], env=env, capture_output=True, text=True, timeout=20)

    def asked(self) -> list[str]:
        """What its Pythons were asked to do since the last look."""
        asked = self.log.read_text().splitlines()
        self.log.write_text("")
        return [line.replace(str(self.checkout), "HERE").replace(str(self.bin), "BIN") for line in asked]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_alone_it_explains_itself(machine: Machine) -> None:
    explained = machine.run()
    assert explained.returncode == 0
    assert all(f"./run {command}" in explained.stdout for command in ("demo", "test", "lint", "docs", "scrip"))
    mistaken = machine.run("dmeo")
    assert (mistaken.returncode, mistaken.stdout, mistaken.stderr) == (2, "", explained.stdout)


def test_it_takes_a_python_that_works_and_sets_up_once(machine: Machine) -> None:
    first = machine.run("demo", "--json", "--data", "a b")
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    asked = machine.asked()
    assert "BIN/python3 -m venv HERE/.venv" in asked
    assert [line for line in asked if "--require-hashes -r HERE/requirements.lock" in line]
    assert asked[-1] == "HERE/.venv/bin/python -P -m app.demo --json --data a b"

    assert machine.run("demo").stderr == ""
    assert machine.asked() == ["HERE/.venv/bin/python -P -m app.demo"]


def test_what_the_tests_need_includes_what_the_demo_needs(machine: Machine) -> None:
    machine.run("test", "-x")
    asked = machine.asked()
    assert [line for line in asked if "--require-hashes -r HERE/requirements-dev.lock" in line]
    assert [line for line in asked if "HERE/.venv-stores/bin/python -m pip install" in line and STORES_LOCK in line]
    assert [line for line in asked if "HERE/.venv-pretix/bin/python -m pip install" in line and PRETIX_LOCK in line]
    assert asked[-1] == "HERE/.venv/bin/python -m pytest -x"
    machine.run("demo")
    assert machine.asked() == ["HERE/.venv/bin/python -P -m app.demo"]


def test_only_the_demo_with_a_store_needs_what_stores_run_on(machine: Machine) -> None:
    machine.run("demo")
    assert not any(".venv-stores" in line for line in machine.asked())
    machine.run("demo", "--store")
    asked = machine.asked()
    assert "BIN/python3 -m venv HERE/.venv-stores" in asked
    assert asked[-1] == "HERE/.venv/bin/python -P -m app.demo --store"
    machine.run("demo", "--store")
    assert machine.asked() == ["HERE/.venv/bin/python -P -m app.demo --store"]


def test_a_changed_lock_sets_up_again(machine: Machine) -> None:
    machine.run("demo")
    with (machine.checkout / "requirements.lock").open("a") as lock:
        lock.write("# another\n")
    machine.asked()
    machine.run("demo")
    assert any("-m pip install" in line for line in machine.asked())


def test_a_set_up_that_fails_is_said_and_tried_again(machine: Machine) -> None:
    offline = Path(f"{machine.log}.offline")
    offline.touch()
    for command in ("demo", "test", "lint"):
        failed = machine.run(command)
        assert failed.returncode == 1
        assert "could not set itself up" in failed.stderr
        assert "app.demo" not in machine.log.read_text()
    offline.unlink()
    assert machine.run("demo").returncode == 0


def test_uv_is_preferred_and_pip_is_what_remains_when_it_fails(machine: Machine) -> None:
    machine.install("uv", f'#!/bin/sh\necho "uv $*" >>"{machine.log}"\nexit 1\n')
    assert machine.run("demo").returncode == 0
    asked = machine.asked()
    assert any(line.startswith("uv sync --project HERE --frozen") and "--extra demo" in line for line in asked)
    assert any("-m pip install" in line for line in asked)
