"""One logger for the whole program, in UER's line format, on stderr and, if asked for, in a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

FORMAT = "[%(asctime)s %(levelname)s] %(message)s"
LEVELS = {"ERROR": logging.ERROR, "INFO": logging.INFO, "DEBUG": logging.DEBUG, "NOTSET": logging.NOTSET}
LEVELS["NOSET"] = LEVELS["NOTSET"]  # the spelling of UER-py 2021

logger = logging.getLogger("uer")


class _StderrHandler(logging.StreamHandler):
    """Writes to whatever `sys.stderr` is at that moment, and around a progress bar when one is drawn."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        tqdm = sys.modules.get("tqdm")
        if tqdm is None:
            super().emit(record)
        else:
            tqdm.tqdm.write(self.format(record), file=sys.stderr)


def init_logger(
    log_path: str | Path | None = None, log_level: str = "INFO", log_file_level: str = "INFO"
) -> None:
    """Send the program's lines to stderr at `log_level` and append them to `log_path` at `log_file_level`."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = False
    screen = _StderrHandler()
    screen.setLevel(LEVELS[log_level])
    handlers: list[logging.Handler] = [screen]
    if log_path:
        Path(log_path).parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log_path, encoding="utf-8")
        file.setLevel(LEVELS[log_file_level])
        handlers.append(file)
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        logger.addHandler(handler)
    logger.setLevel(min(handler.level for handler in handlers) or logging.DEBUG)
