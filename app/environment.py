"""Environment variables, read one by one: each reader says what is missing or unsafe."""

import os
import re
import stat
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path


class UnsafeSettings(Exception):
    """A setting is missing or unsafe; the message says which, and what to do."""


def required(environ: Mapping[str, str], name: str, meaning: str) -> str:
    if value := environ.get(name, "").strip():
        return value
    raise UnsafeSettings(f"{name} is not set: {meaning}")


def whole(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int | None = None) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise UnsafeSettings(f"{name} must be a whole number of at least {least}, not {text!r}")
    if most is not None and int(text) > most:
        raise UnsafeSettings(f"{name} must be at most {most}, not {text!r}")
    return int(text)


def one_of(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default."""
    value = environ.get(name) or choices[0]
    if value not in choices:
        raise UnsafeSettings(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def trusted_proxies(
    environ: Mapping[str, str], *, is_loopback: bool
) -> tuple[tuple[IPv4Network | IPv6Network, ...], bool]:
    """The networks of TRUSTED_PROXIES, and whether a socket in the file system is one of them.

    Behind TLS everybody comes through a proxy. Without its word all strangers have its address, and one of them who is
    wrong too often, or asks too much, makes all of them wait.
    """
    words = [word.strip() for word in environ.get("TRUSTED_PROXIES", "").split(",") if word.strip()]
    if not words and not is_loopback:
        raise UnsafeSettings(
            "TRUSTED_PROXIES is not set: the networks of the proxies that end TLS, such as 127.0.0.1, or `socket`; "
            "`none` if you want all strangers to be one"
        )
    try:
        found = tuple(ip_network(word) for word in words if word not in ("none", "socket"))
    except ValueError as error:
        raise UnsafeSettings(f"TRUSTED_PROXIES must be networks such as 10.0.0.0/24, with commas: {error}") from None
    return found, "socket" in words


def believed_header(environ: Mapping[str, str], name: str) -> str | None:
    """Anybody can send a header: one that is believed needs a proxy that is."""
    header = environ.get(name, "").strip() or None
    if header and not re.fullmatch("[A-Za-z0-9-]+", header):
        raise UnsafeSettings(f"{name} must be a name of letters, digits and dashes, not {header!r}")
    if header and trusted_proxies(environ, is_loopback=True) == ((), False):
        raise UnsafeSettings(f"{name} needs TRUSTED_PROXIES: the addresses that may send it")
    return header


def own_folder(environ: Mapping[str, str], name: str) -> Path | None:
    """A folder that is there, in which this account may write and nobody else."""
    folder = Path(environ[name]) if environ.get(name) else None
    if folder is None:
        return None
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UnsafeSettings(f"{name} must be a folder that this account can write to: {folder} is none")
    if stat.S_IMODE(folder.stat().st_mode) & 0o022:
        raise UnsafeSettings(f"{folder} can be written to by others: chmod 700 it")
    return folder


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
