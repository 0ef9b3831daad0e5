"""What must not be written down or shown: passwords and tokens, of addresses and of the environment."""

import logging
import os
import re
from typing import Any

HIDDEN = "***"
# Variables whose values are secrets, of the hub, of MLflow and of the stores that the catalog reaches.
VARIABLES = (
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING"),
)
# A shorter value, such as `admin`, is a word of other texts, too.
SHORTEST = 8
# `user:password@` behind a scheme, or a token alone; up to the last @ before the path, as a password may hold one.
_USER = re.compile(r"(?<=://)([^\s/?#:@'\"]*)(:[^\s/?#'\"]*)?@(?=[\w.\[-])")
_QUERY = re.compile(
    r"([?&](?:[\w.-]*(?:token|password|passwd|secret|signature|credential)|(?:api|access|account)[_-]?key|sig)=)"
    r"[^&\s#'\"`]+",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """A text with ``***`` for passwords and tokens of addresses, and for what `VARIABLES` hold.

    ``http://me:secret@host/?token=1`` becomes ``http://me:***@host/?token=***``; a name without a password, which may
    be a token, is hidden, too. Applied again it changes nothing.
    """
    if "://" in text:
        text = _USER.sub(lambda found: f"{found[1]}:{HIDDEN}@" if found[2] else f"{HIDDEN}@", text)
    text = _QUERY.sub(rf"\g<1>{HIDDEN}", text)
    for name in VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    return text


def all_redacted(value: Any) -> Any:
    """A value whose texts, at any depth, are `redacted`; keys stay."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: all_redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(all_redacted, value))
    return value


class _RedactingFormatter(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redacted(self._inner.format(record))


def redact_logs() -> None:
    """Let all handlers that there are write what they write, tracebacks included, `redacted`."""
    # Kedro takes no formatter but those of logging and its own from conf/logging.yml.
    for name in (None, *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if not isinstance(handler.formatter, _RedactingFormatter):
                handler.setFormatter(_RedactingFormatter(handler.formatter or logging.Formatter()))
