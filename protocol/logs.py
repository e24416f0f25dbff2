"""Logs: one JSON line per event on stderr, text on a terminal. Never prompt text, never a secret."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(enc_hook=str).encode
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(logging.Formatter):
    """`{"ts", "level", "event", …}`; what was passed as `extra` follows as fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {"ts": _time(record), "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(_fields(record))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return _encode(line).decode()
        except UnicodeEncodeError:  # half a character, such as a header may bring
            return json.dumps(line, default=str)


class Plain(logging.Formatter):
    """For people: time, level, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback where there is one."""
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        text = f"{_time(record)[11:23]} {record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up(*, form: str, level: str) -> None:
    """Log to stderr. `form`: `json`, `text`, or `auto` (text on a terminal)."""
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Plain() if text else JsonLines())
    # What no line of ours says need not be found out for each: the way that Python's own documentation shows.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("aiohttp.access", "asyncio", "nats"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # An exporter whose collector is down says so for every batch: once in a while is enough, and it costs no turn.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
