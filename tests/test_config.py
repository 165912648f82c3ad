"""The service refuses to start with what is missing or unsafe, and says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import Argon2Cost, Settings, read_keys
from app.environment import UnsafeSettings
from app.key_files import draw_epoch, make_key_files, write_key_lines
from tests.service import ROOT


@pytest.fixture
def safe(tmp_path: Path) -> dict[str, str]:
    """An environment that the service starts with."""
    make_key_files(tmp_path / "keys", Argon2Cost())
    return {
        "DATABASE_URL": "postgresql+psycopg://scrip_service:pw@db.example/scrip",
        "PUBLIC_URL": "https://cards.example",
        "KEYS_DIR": str(tmp_path / "keys"),
        "SMTP_HOST": "mail.example",
        "MAIL_FROM": "cards@cards.example",
        "TRUSTED_PROXIES": "127.0.0.1",
    }


def test_behind_tls_the_proxies_are_named(safe: dict[str, str]) -> None:
    """Without them all strangers are one, and whoever of them is wrong makes all wait."""
    with pytest.raises(UnsafeSettings, match="TRUSTED_PROXIES is not set"):
        Settings.from_env(safe | {"TRUSTED_PROXIES": " "})
    assert Settings.from_env(safe | {"TRUSTED_PROXIES": "none"}).trusted_proxies == ()
    assert Settings.from_env(safe | {"TRUSTED_PROXIES": "socket"}).trusts_socket
    Settings.from_env(safe | {"TRUSTED_PROXIES": "", "PUBLIC_URL": "http://127.0.0.1:8000"})


def test_a_safe_environment_is_taken_with_its_defaults(safe: dict[str, str]) -> None:
    settings = Settings.from_env(safe)
    assert (settings.public_url, settings.loopback) == ("https://cards.example", False)
    assert (settings.smtp.security, settings.smtp.port) == ("starttls", 587)
    assert (settings.argon2.memory_kib, settings.argon2.time_cost) == (19_456, 2)


def test_a_captcha_costs_something_but_not_a_shoppers_patience(safe: dict[str, str]) -> None:
    for cost in (20, 40_000):
        assert Settings.from_env(safe | {"CAPTCHA_COST": str(cost)}).captcha_cost == cost
    for wrong in ("19", "40001", "-1", "1e3", "many"):
        with pytest.raises(UnsafeSettings, match="CAPTCHA_COST"):
            Settings.from_env(safe | {"CAPTCHA_COST": wrong})


@pytest.mark.parametrize("name", ["DATABASE_URL", "PUBLIC_URL", "KEYS_DIR", "SMTP_HOST", "MAIL_FROM"])
def test_what_is_missing_is_named(safe: dict[str, str], name: str) -> None:
    for value in ("", " "):
        with pytest.raises(UnsafeSettings, match=name):
            Settings.from_env(safe | {name: value})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"PUBLIC_URL": "http://cards.example"}, "must be https"),
        ({"PUBLIC_URL": "https://cards.example/shop"}, "must be an origin"),
        ({"PUBLIC_URL": "cards.example"}, "must be an origin"),
        ({"DATABASE_URL": "sqlite:///scrip.db"}, "DATABASE_URL must be postgresql"),
        ({"DATABASE_URL": "postgresql+psycopg://postgres:pw@db.example/scrip"}, "scrip_service"),
        ({"DATABASE_URL": "postgresql+psycopg://scrip_migrator:pw@db.example/scrip"}, "scrip_service"),
        ({"MAIL_FROM": "cards"}, "MAIL_FROM must be an address"),
        ({"SMTP_TLS": "none"}, "for loopback only"),
        ({"SMTP_TLS": "ssl"}, "must be one of"),
        ({"SMTP_PORT": "587a"}, "SMTP_PORT must be a whole number"),
        ({"SMTP_PASSWORD_FILE": "/nowhere"}, "SMTP_PASSWORD_FILE cannot be read"),
        ({"ARGON2_MEMORY_KIB": "19455"}, "ARGON2_MEMORY_KIB"),
        ({"ARGON2_TIME_COST": "1"}, "ARGON2_TIME_COST"),
        ({"LOG_LEVEL": "TRACE"}, "LOG_LEVEL"),
        ({"LINK_VALID_DAYS": "0"}, "LINK_VALID_DAYS"),
        ({"ISSUE_LIMIT_CLIENT_MINOR": "-1"}, "ISSUE_LIMIT_CLIENT_MINOR must be a whole number of at least 0"),
        ({"ISSUE_LIMIT_ISSUER_CARDS": str(10**12 + 1)}, "ISSUE_LIMIT_ISSUER_CARDS must be at most"),
        ({"OAUTH_FAPI_ONLY": "true"}, "OAUTH_FAPI_ONLY must be one of"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES must be networks"),
        ({"TRUSTED_PROXIES": "proxy.example"}, "TRUSTED_PROXIES must be networks"),
        ({"CLIENT_CERTIFICATE_HEADER": "Client-Cert", "TRUSTED_PROXIES": "none"}, "needs TRUSTED_PROXIES"),
        ({"CLIENT_CERTIFICATE_HEADER": "Client_Cert", "TRUSTED_PROXIES": "10.0.0.1"}, "letters, digits and dashes"),
        ({"PROMETHEUS_MULTIPROC_DIR": "/nowhere"}, "must be a folder that this account can write to"),
        ({"PROMETHEUS_MULTIPROC_DIR": "/tmp"}, "written to by others: chmod 700"),
        ({"KEYS_DIR": "/nowhere"}, "scrip keys init"),
        ({"ALARM_WRONG_CODES_STORE": "0"}, "ALARM_WRONG_CODES_STORE must be a whole number"),
        ({"ALARM_RATES": "JPY=0"}, "ALARM_RATES must be such as"),
        ({"ALARM_RATES": "yen=150"}, "ALARM_RATES must be such as"),
        ({"ALARM_EMAIL": "ops"}, "ALARM_EMAIL must be addresses"),
        ({"ALARM_EMAIL": "ops@cards.example,Sam <sam@cards.example>"}, "ALARM_EMAIL must be addresses"),
        ({"ALARM_WEBHOOK_URL": "http://hooks.example/in"}, "ALARM_WEBHOOK_URL must be https"),
        ({"ALARM_WEBHOOK_URL": "https://sam:pw@hooks.example/in"}, "ALARM_WEBHOOK_URL must be an address"),
        ({"ALARM_WEBHOOK_URL": "https://hooks.example/in"}, "needs ALARM_WEBHOOK_SECRET_FILE"),
        (
            {"ALARM_WEBHOOK_URL": "https://hooks.example/in", "ALARM_WEBHOOK_SECRET_FILE": "/nowhere"},
            "ALARM_WEBHOOK_SECRET_FILE cannot be read",
        ),
        ({"LIMITS_STORAGE_URL": "memory://"}, "must be pg://"),
        ({"LIMITS_STORAGE_URL": "pg://db.example/scrip"}, "must be pg://"),
        ({"LIMITS_STORAGE_URL": "memcached://db.example"}, "must be pg://"),
        ({"LIMIT_PER_CLIENT": "0/minute"}, "LIMIT_PER_CLIENT must be a number of requests"),
        ({"LIMIT_PER_ADDRESS": "1200 per minute"}, "LIMIT_PER_ADDRESS must be a number of requests"),
        ({"LIMIT_PER_SITE": "1/minute;2/hour"}, "LIMIT_PER_SITE must be a number of requests"),
        ({"LIMIT_WRONG_SECRETS": "many"}, "LIMIT_WRONG_SECRETS must be a number of requests"),
    ],
)
def test_what_is_unsafe_is_refused_with_advice(safe: dict[str, str], changed: dict[str, str], said: str) -> None:
    with pytest.raises(UnsafeSettings, match=said):
        Settings.from_env(safe | changed)


@pytest.mark.parametrize("content", ["", "whsec_", "whsec_c2hvcnQ=", "not base64!", "whsec_" + "A" * 120])
def test_a_webhook_secret_that_is_none_is_refused(safe: dict[str, str], tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_text(content)
    asked = {"ALARM_WEBHOOK_URL": "https://hooks.example/in", "ALARM_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")}
    with pytest.raises(UnsafeSettings, match="must hold whsec_"):
        Settings.from_env(safe | asked)


def test_what_alarms_need_is_read_and_its_secrets_are_not_shown(safe: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_" + "QUJD" * 8 + "\n")
    asked = {
        "ALARM_WEBHOOK_URL": "http://127.0.0.1:8099/in?key=planted",
        "ALARM_WEBHOOK_SECRET_FILE": str(tmp_path / "secret"),
        "ALARM_EMAIL": "ops@cards.example, night@cards.example",
        "ALARM_RATES": "JPY=150, HUF=350",
        "ALARM_NEW_LINKS": "7",
    }
    alarms = Settings.from_env(safe | asked).alarms
    assert alarms.emails == ("ops@cards.example", "night@cards.example")
    assert (alarms.webhook_secret, alarms.rates) == (b"ABC" * 8, {"JPY": 150, "HUF": 350})
    assert (alarms.thresholds.new_links, alarms.thresholds.openings) == (7, 30)
    assert not any(secret in repr(alarms) for secret in ("planted", "ABC", "ops@"))


def test_a_storage_whose_package_is_missing_is_refused(safe: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    redis = safe | {"LIMITS_STORAGE_URL": "rediss://:hush@redis.example/0"}
    settings = Settings.from_env(redis)
    assert "hush" not in repr(settings)
    monkeypatch.setattr("app.config_guard.find_spec", lambda _: None)
    with pytest.raises(UnsafeSettings, match="pip install redis"):
        Settings.from_env(redis)


def test_a_key_file_that_others_can_read_is_refused(safe: dict[str, str]) -> None:
    (Path(safe["KEYS_DIR"]) / "sealing.keys").chmod(0o440)
    with pytest.raises(UnsafeSettings, match="chmod 400"):
        Settings.from_env(safe)


@pytest.mark.parametrize("content", ["", "1", "1:short", "x:" + "A" * 43, "256:" + "A" * 43, "1:" + "ä" * 43])
def test_a_malformed_key_file_is_refused(safe: dict[str, str], content: str) -> None:
    path = Path(safe["KEYS_DIR"]) / "sealing.keys"
    path.chmod(0o600)
    path.write_text(content)
    with pytest.raises(UnsafeSettings, match="sealing"):
        Settings.from_env(safe)


def test_a_pepper_epoch_that_hashes_too_cheaply_is_refused(safe: dict[str, str]) -> None:
    path = Path(safe["KEYS_DIR"]) / "pepper.keys"
    write_key_lines(path, {1: draw_epoch(Argon2Cost(memory_kib=8_192))})
    with pytest.raises(UnsafeSettings, match="epoch 1 hashes with less"):
        Settings.from_env(safe)


def test_making_key_files_again_changes_none(tmp_path: Path) -> None:
    assert len(make_key_files(tmp_path / "keys", Argon2Cost())) == 5
    before = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    assert make_key_files(tmp_path / "keys", Argon2Cost()) == []
    assert {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before
    assert all(path.stat().st_mode & 0o777 == 0o400 for path in (tmp_path / "keys").iterdir())
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_nothing_that_prints_settings_prints_a_secret(safe: dict[str, str]) -> None:
    settings = Settings.from_env(safe)
    shown = repr(settings) + repr(read_keys(Path(safe["KEYS_DIR"])))
    assert "pw@" not in shown
    assert "KeyRing(versions [1])" in shown


def test_the_server_and_the_commands_say_it_in_one_line(safe: dict[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **safe, "PUBLIC_URL": "http://cards.example"}
    for command in (["-c", "import wsgi"], ["-m", "app.cli", "issuer", "list"]):
        ended = subprocess.run(
            [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 1
        assert ended.stderr == ("scrip: PUBLIC_URL must be https: codes and access tokens would travel in clear\n"), (
            ended.stderr
        )
