"""The demo takes and deletes only folders that are its own."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.embedded_install import EmbeddedError, can_traverse, install
from app.demo import folder as folder_module
from app.demo.folder import DataFolder, DemoError


@pytest.fixture
def place(reachable: Path) -> Path:
    return reachable / "demo"


@pytest.fixture
def folder(place: Path) -> Iterator[DataFolder]:
    """An open one."""
    folder = DataFolder(place)
    folder.open()
    yield folder
    folder.close()


@pytest.mark.usefixtures("folder")
def test_a_new_folder_is_marked_and_closed_to_others(place: Path) -> None:
    assert "--fresh" in (place / ".scrip-demo").read_text()
    assert stat.S_IMODE(place.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    assert stat.S_IMODE(DataFolder(place).private("keys").stat().st_mode) == 0o700


def test_an_empty_folder_that_only_its_owner_may_enter_is_taken(place: Path) -> None:
    place.mkdir(mode=0o700)
    folder = DataFolder(place)
    folder.open()
    folder.close()
    account = install().account
    assert account is None or can_traverse(place, account)


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(place: Path) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(DemoError, match="not the demo's"):
        DataFolder(place).open()
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


def test_the_command_refuses_to_freshen_a_foreign_folder(place: Path) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    command = [sys.executable, "-m", "app.demo", "--fresh", "--port", "0", "--data", str(place)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert "not the demo's" in ended.stderr
    assert (place / "thesis.txt").read_text() == "mine"


def test_clearing_deletes_all_but_mark_and_lock_and_follows_no_link(folder: DataFolder, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("stays")
    folder.write("demo.json", {"a": 1})
    (folder.private("outbox") / "letter.eml").write_text("x")
    (folder.path / "link").symlink_to(tmp_path)
    folder.clear()
    assert {path.name for path in folder.path.iterdir()} == {".scrip-demo", "lock"}
    assert (tmp_path / "outside.txt").exists()


def test_a_folder_in_use_is_refused(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOCK_PATIENCE_S", 0.1)
    second = DataFolder(folder.path)
    with pytest.raises(DemoError, match=f"in use by process {os.getpid()}: stop that demo first"):
        second.open()
    folder.close()
    second.open()
    second.close()


def test_what_is_kept_is_written_whole_and_for_the_owner_only(folder: DataFolder) -> None:
    folder.write("demo.json", {"secret": "x"})
    assert folder.read("demo.json") == {"secret": "x"}
    assert folder.read("other.json") == {}
    assert stat.S_IMODE((folder.path / "demo.json").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root is PostgreSQL somebody else")
def test_as_root_a_folder_out_of_postgresqls_reach_is_refused_with_advice_and_not_made(reachable: Path) -> None:
    private = reachable / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match="--data /var/lib/scrip/demo"):
        DataFolder(private / "demo").open()
    assert not (private / "demo").exists()


def test_the_default_folder_is_one_that_postgresql_reaches() -> None:
    account = install().account
    chosen = folder_module.default_folder()
    assert chosen.name == ".scrip" or (account is not None and chosen.parent == Path("/var/lib/scrip"))
