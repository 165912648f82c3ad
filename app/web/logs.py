"""Logs: one JSON object a line, from every logger of the process, with secrets masked before they are written."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from app.web.context import acting
from app.web.traces import trace_of

MASK = "[masked]"

#: Whatever looks like one of our secrets, wherever it stands: codes, claim keys and client secrets, JWTs, addresses.
_SECRETS = re.compile(
    r"""
      (?<![0-9A-Za-z])(?:[0-9A-HJKMNP-TV-Z]{4}[-\ ]){3}[0-9A-HJKMNP-TV-Z]{4}(?![0-9A-Za-z])  # a code in groups
    | (?<![0-9A-Za-z])(?:[0-9A-Za-z]{4}-){3}[0-9A-Za-z]{4}(?![0-9A-Za-z])                      # … as somebody typed it
    | (?<![0-9A-Za-z_-])[0-9A-HJKMNP-TV-Z]{16}(?![0-9A-Za-z_-])                                # a code in one piece
    | (?<![\w-])scrip_(?:live|test)_[\w-]+                                                      # a client secret
    | (?<![\w-])ct_[\w-]{43}(?![\w-])                                                           # a code token
    | eyJ[\w-]{8,}\.[\w-]+\.[\w-]*                                                            # a JWT
    | eyJ[\w+/-]{100,}=*                                                                        # a captcha's solution
    | (?<![\w-])[\w-]{43}(?![\w-])                                                              # 256 bits in base64
    | (?<=%3[Aa])[\w-]{43}(?![\w-])                                                            # … in a request_uri
    | (?i:bearer|basic)\s+[\w.~+/=-]{8,}                                                       # an Authorization header
    | [^\s"'<>@,;:=]+@[^\s"'<>@,;:=]+\.[A-Za-z]{2,}                                             # an e-mail address
    | (?<=://)[^\s/:@]+:[^\s/@]+(?=@)                                                           # a password in a URL
    """,
    re.VERBOSE,
)
_SECRET_NAMES = re.compile(
    r"(?i)^(code|code_token|key|nonce|secret|client_secret|password|access_token|authorization|captcha|email|address)$"
)


def configure(level: str) -> None:
    """Sends structlog and the standard library's loggers through the same masking to standard error."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _who,
        _traced,
        mask_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("sqlalchemy.engine", "authlib", "urllib3"):  # their DEBUG holds parameters and tokens
        logging.getLogger(name).setLevel(logging.WARNING)


def mask_text(text: str) -> str:
    """The text with everything that looks like a secret or an address masked."""
    return _SECRETS.sub(MASK, text)


def mask_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor: masks names that promise a secret, and secrets in any text at any depth."""
    return {name: _masked(name, value) for name, value in event.items()}


def _masked(name: object, value: Any) -> Any:
    if isinstance(name, str) and _SECRET_NAMES.match(name) and value is not None:
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, bytes):
        return MASK
    if isinstance(value, Mapping):
        return {key: _masked(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(None, inner) for inner in value]
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(name, str) and name.startswith("_"):  # structlog's own
        return value
    return mask_text(str(value))


def _traced(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What was raised and where, never what it said: an exception's text may quote a code, an address or a row."""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["trace"] = trace_of(error)
    return event


def _who(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    who = acting.get()
    event.setdefault("actor", who.actor)
    if who.request_id:
        event.setdefault("request_id", who.request_id)
    return event
