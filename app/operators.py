"""Who runs a command: the account of a person, as the operating system knows it."""

import os
import pwd
from pathlib import Path

#: The account that this process's session was logged in as. It outlives su and sudo (audit(7), pam_loginuid).
LOGIN_UID = Path("/proc/self/loginuid")
#: What the kernel says where nobody has logged in: a service, a container.
NOBODY = 2**32 - 1


def operator() -> str:
    """`operator:` and the account's name.

    Never by LOGNAME, USER or SUDO_UID: anybody can set those. Where nobody has logged in it is the process's real user.
    """
    uid = login_uid()
    uid = os.getuid() if uid is None else uid
    try:
        return f"operator:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"operator:{uid}"


def login_uid(file: Path = LOGIN_UID) -> int | None:
    """The user who logged in, None where the kernel does not say."""
    try:
        uid = int(file.read_text())
    except (OSError, ValueError):
        return None
    return None if uid == NOBODY else uid
