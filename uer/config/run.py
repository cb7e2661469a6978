"""What every script takes: where it logs and how much it says."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, option

LOG_LEVELS = ("ERROR", "INFO", "DEBUG", "NOTSET", "NOSET")  # NOSET is the spelling of UER-py 2021


@dataclass(frozen=True)
class LogOptions(Options):
    """Logging."""

    log_path: str | None = option(None, "append the log to this file too", metavar="FILE")
    log_level: str = option("INFO", "least level shown on the screen", choices=LOG_LEVELS)
    log_file_level: str = option("INFO", "least level written to --log_path", choices=LOG_LEVELS)
    verbose: bool = option(False, "say more, as --log_level DEBUG does: what became of each tensor")
