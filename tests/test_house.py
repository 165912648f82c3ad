"""The house stays as it was drawn: who may know whom, and what every module says of itself."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = Path(sys.executable).with_name("lint-imports")

#: One line for each contract that breaks it.
PLANTED = {
    "Later stages of the money's path know earlier ones": ("app/ledger/transfer.py", "import app.issuance.issue"),
    "Inside a room: routes and pages": ("app/redemption/rules.py", "import app.redemption.models"),
    "Verbs know nothing of HTTP": ("app/redemption/void.py", "from flask import request"),
    "Rules and plain modules are read and tested without web": ("app/money.py", "import sqlalchemy"),
    "Verbs of one room do not know each other (redemption)": (
        "app/redemption/refund.py",
        "import app.redemption.settle",
    ),
    "Verbs of one room do not know each other (checkout)": ("app/checkout/cancel.py", "import app.checkout.approve"),
    "Verbs of one room do not know each other (issuance)": ("app/issuance/issue.py", "import app.issuance.claim"),
    "The stores' SDK is a distribution of its own": ("plugin_sdk/scrip_sdk/money.py", "import app.money"),
    "The SDK's core runs on urllib3 alone": ("plugin_sdk/scrip_sdk/client.py", "import sqlalchemy"),
}


def broken(folder: Path) -> list[str]:
    """The contracts that a copy of the house breaks."""
    run = subprocess.run(
        [LINT, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{folder / 'plugin_sdk'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    report = run.stdout + run.stderr
    assert "Contracts: " in report, report
    found = re.findall(r"^(.*) BROKEN", report, re.MULTILINE)
    assert run.returncode == (1 if found else 0), report
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The house without its furniture."""
    if not LINT.exists():
        pytest.skip("import-linter is not installed (extra `quality`)")
    for package in ("app", "plugin_sdk/scrip_sdk"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def test_the_house_keeps_its_contracts_and_knows_every_module(copy: Path) -> None:
    assert broken(copy) == []
    (copy / "app" / "somewhere.py").write_text('"""A module that has no place on the map."""\n')
    assert len(broken(copy)) == 1


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_violation_is_caught(copy: Path, contract: str) -> None:
    place, line = PLANTED[contract]
    with (copy / place).open("a") as module:
        module.write(f"\n{line}\n")
    assert any(name.startswith(contract) for name in broken(copy))


MODULES = sorted(path for path in (ROOT / "app").rglob("*.py"))
SDK_MODULES = sorted((ROOT / "plugin_sdk").rglob("*.py"))


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "path", [path for path in [*MODULES, *SDK_MODULES] if path != ROOT / "app" / "__init__.py"], ids=ids
)
def test_every_module_begins_with_a_sentence_that_says_what_it_is_for(path: Path) -> None:
    first, _, rest = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")
    assert first.endswith((".", ";", ":")) or rest, f"{ids(path)} begins with {first!r}"
    assert path.read_text().startswith('"""')


@pytest.mark.parametrize("path", [*MODULES, *SDK_MODULES], ids=ids)
def test_a_file_has_one_subject_and_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_rules_load_neither_web_nor_database() -> None:
    rules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES if path.name == "rules.py"]
    heavy = "{'flask', 'sqlalchemy', 'psycopg', 'marshmallow', 'authlib'}"
    script = f"import sys, {', '.join(rules)}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_whatever_lies_beside_the_code_is_installed_with_it() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    installed = set(re.findall(r"\*\*/\*(\.\w+)", setup["options.package_data"]["*"]))
    lying = {path.suffix for path in (ROOT / "app").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert lying - installed - {""} == {".py"}  # a licence has no suffix


def test_no_mapped_class_is_aliased() -> None:
    """SQLAlchemy completes such an alias at its first use. Two threads that did so at once, in a worker that had just
    been forked, read a card that was there as not found; tables can be aliased, for nothing of them is completed later.
    """
    assert [path for path in MODULES if "aliased(" in path.read_text()] == []


def test_mappings_are_complete_before_a_worker_is_forked() -> None:
    script = """
from app import factory
from app.db.base import Base
before = Base.registry._new_mappers
factory.config.use = factory.logs.configure = factory.request_limits.use_storage = lambda *_: None
factory.wire(type("Settings", (), {"log_level": "INFO"})())
print(before, Base.registry._new_mappers)
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]
