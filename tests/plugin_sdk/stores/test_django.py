"""scrip_sdk.django in Django itself, against the real service: once on PostgreSQL, and the outbox on SQLite too."""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.service import Store, assert_books_balance
from tests.plugin_sdk.stores.store_process import Database, run_python, store_environment
from tests.service import ROOT

INSIDE = Path(__file__).parent / "django_inside"
pytestmark = pytest.mark.slow

APP = ROOT / "plugin_sdk" / "scrip_sdk" / "django"
DOCUMENTATION = ROOT / "docs" / "plugins-django.md"
EXAMPLES = ROOT / "plugin_sdk" / "examples"


def environment(store: Store, *more: Mapping[str, str]) -> dict[str, str]:
    path = [ROOT / "plugin_sdk", EXAMPLES, INSIDE, ROOT / "tests" / "plugin_sdk"]
    return store_environment(
        store.environment, {"PYTHONPATH": ":".join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}, *more
    )


def run_inside(env: Mapping[str, str], *arguments: str) -> str:
    """Runs tests inside Django, in an interpreter of its own; what failed is shown here."""
    options = [
        "-q",
        "--noconftest",
        "-p",
        "inside_plugin",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        str(INSIDE),
    ]
    command = ["-W", "error", "-m", "pytest", *options, "-o", "python_files=inside_*.py", *arguments]
    return run_python(command, env=env, cwd=INSIDE).stdout


def test_inside_django_on_postgresql(store: Store, faults: FaultProxy, own_store_database: Database) -> None:
    codes = json.dumps([store.card().code for _ in range(48)])
    said = run_inside(environment(store, own_store_database.environment, {"INSIDE_CODES": codes}), str(INSIDE))
    assert " passed" in said and "skipped" not in said
    assert_books_balance(store)


def test_inside_django_on_sqlite_without_time_zones(store: Store, faults: FaultProxy, tmp_path: Path) -> None:
    codes = json.dumps([store.card().code for _ in range(16)])
    more = {"INSIDE_CODES": codes, "INSIDE_SQLITE": str(tmp_path / "shop.sqlite3"), "INSIDE_USE_TZ": "no"}
    chosen = ["-k", "outbox or placing or rolled_back or typed_again or refunds or many"]
    assert " passed" in run_inside(environment(store, more), "inside_outbox.py", "inside_payments.py", *chosen)


def test_the_documentation_shows_the_example_shop_as_it_is() -> None:
    """Each line of its Python stands in the shop that the tests run."""
    run = [*(EXAMPLES / "django_shop").glob("*.py"), INSIDE / "inside_own_tests.py"]
    shop = {line.strip() for path in run for line in path.read_text().splitlines()}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    assert len(blocks) == 4
    assert not {line.strip() for block in blocks for line in block.splitlines()} - shop


def test_the_documentation_lists_every_setting_with_its_default_and_every_check() -> None:
    said = DOCUMENTATION.read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", said, re.MULTILINE))
    source = ast.parse((APP / "settings.py").read_text())
    [settings] = [each for each in source.body if isinstance(each, ast.ClassDef)]
    fields = {each.target.id.upper(): each.value for each in settings.body if isinstance(each, ast.AnnAssign)}  # type: ignore[union-attr]
    names = {name for name in fields if name != "PRIVATE_KEY"} | {"CLIENT_SECRET_FILE", "PRIVATE_KEY_FILE"}
    assert rows.keys() == names
    for name, default in fields.items():
        if isinstance(default, ast.Constant) and default.value is not None:
            shown = rows[name].strip("` ")
            assert shown == f"{default.value:g}" if isinstance(default.value, float) else shown == str(default.value)
    ids = re.findall(r"scrip\.[EWI]\d{3}", (APP / "checks.py").read_text())
    assert sorted(set(re.findall(r"scrip\.[EWI]\d{3}", said))) == sorted(set(ids)) and len(set(ids)) == len(ids)
