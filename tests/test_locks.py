"""Whoever sets up with pip gets the same packages, byte for byte, as whoever sets up with uv."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = {
    "requirements.lock": ("demo",),
    "requirements-dev.lock": ("demo", "test", "quality", "docs"),
}


def pinned(lock: str) -> dict[tuple[str, str], set[str]]:
    """Name and version to hashes, as pip reads them."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    matches = [re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {match.groups(): set(re.findall(r"sha256:\w+", match.string)) for match in matches if match}  # type: ignore[misc]


def locked() -> dict[tuple[str, str], set[str]]:
    """The same, as uv reads them."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    files = {
        (package["name"], package["version"]): [*package.get("wheels", []), package.get("sdist", {})]
        for package in packages
        if "version" in package
    }
    return {key: {file["hash"] for file in found if "hash" in file} for key, found in files.items()}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_uvs_and_has_uvs_hashes(lock: str) -> None:
    known = locked()
    pins = pinned(lock)
    assert len(pins) > 20
    assert {key: hashes for key, hashes in pins.items() if not hashes or known.get(key) != hashes} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_that_setup_cfg_asks_for_is_pinned(lock: str) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options"]["install_requires"]
    wanted += "".join(setup["options.extras_require"][extra] for extra in LOCKS[lock])
    names = {match.lower() for match in re.findall(r"^([\w-]+)", wanted, re.MULTILINE)}
    assert names - {name for name, _ in pinned(lock)} == set()
