"""What a store installs: a wheel that imports on urllib3 alone, says its types, and can be read by Python 3.10."""

import ast
import configparser
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import scrip_sdk

ROOT = Path(__file__).parents[2] / "plugin_sdk"
#: What a store needs no extra for.
CORE = ("", ".budget", ".calls", ".client", ".code", ".errors", ".money", ".payment", ".service", ".steps", ".tokens")

ALONE = """
import sys

class OnlyThese:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first not in sys.stdlib_module_names and first not in {"scrip_sdk", "urllib3"}:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, OnlyThese())
sys.path[:0] = sys.argv[1:]
import importlib
for name in NAMES:
    importlib.import_module("scrip_sdk" + name)
import scrip_sdk
client = scrip_sdk.Client("https://cards.example", "cli_x", "secret")
try:
    scrip_sdk.Client("https://cards.example", "cli_x", private_key="x")
except ModuleNotFoundError as error:
    print(error.name, scrip_sdk.__file__, client)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip builds it, without asking an index for what builds it."""
    if int(version("setuptools").partition(".")[0]) < 80 and os.environ.get("CI") != "true":
        pytest.skip("setuptools is too old to build a wheel (extra `test`)")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(["cp", "-r", ROOT, source], check=True)  # a build leaves things behind
    subprocess.run([sys.executable, "-c", build, folder], cwd=source, check=True, capture_output=True)
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_has_its_types_its_licence_and_all_files(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {path for path in (ROOT / "scrip_sdk").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    modules = {str(path.relative_to(ROOT)) for path in files}  # templates, scripts, migrations and py.typed among them
    assert wheel.name == f"scrip_sdk-{scrip_sdk.__version__}-py3-none-any.whl"
    assert {"scrip_sdk/py.typed", "scrip_sdk/django/migrations/0001_initial.py"} <= modules
    assert {path.suffix for path in files} >= {".html", ".js"}
    assert modules == {name for name in names if ".dist-info/" not in name}
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if not name.startswith("scrip_sdk")]


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        [place] = [name for name in opened.namelist() if name.endswith("/METADATA")]
        told = opened.read(place).decode()
        points = opened.read(place.replace("METADATA", "entry_points.txt")).decode()
    required = [line.partition(" ")[2] for line in told.splitlines() if line.startswith("Requires-Dist:")]
    assert [each.partition(">")[0].partition("<")[0] for each in required if "extra ==" not in each] == ["urllib3"]
    assert "Requires-Python: >=3.10" in told
    extras = {line.partition(": ")[2] for line in told.splitlines() if line.startswith("Provides-Extra:")}
    assert {"async", "keys", "sqlalchemy", "django", "oscar", "pretix"} <= extras
    assert "scrip = scrip_sdk.testing.plugin" in points
    assert "[pretix.plugin]\nscrip = scrip_sdk.pretix:PretixPluginMeta\nscrip_outbox = scrip_sdk.django:" in points


def test_the_installed_wheel_needs_urllib3_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    import urllib3

    beside = str(Path(urllib3.__file__).parents[1])
    script = ALONE.replace("NAMES", repr(CORE))
    run = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path), beside], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith(f"joserfc {tmp_path}/scrip_sdk/__init__.py Client(")


def test_the_version_stands_in_two_places_that_agree() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == scrip_sdk.__version__


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_module_can_be_read_by_python_3_10(path: Path) -> None:
    """Its grammar; ruff's target version and mypy look at the rest."""
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    newer = {"typing": {"Self", "assert_never", "LiteralString", "Never", "NotRequired", "Required", "override"}}
    newer |= {"enum": {"StrEnum"}, "datetime": {"UTC"}, "contextlib": {"chdir"}, "itertools": {"batched"}}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in newer:
            assert not newer[node.module] & {name.name for name in node.names}
        assert not (isinstance(node, ast.Import) and any(name.name == "tomllib" for name in node.names))
