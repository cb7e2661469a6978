"""Which public files to fetch, and where to put them."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, option


@dataclass(frozen=True)
class DownloadOptions(Options):
    """Fetching public files."""

    output_dir: str | None = option(None, "folder to put them in (default: models/ here)", metavar="FOLDER")
    endpoint: str | None = option(
        None, "another hub than the usual one (default: HF_ENDPOINT)", metavar="URL"
    )
    force: bool = option(False, "replace a file that is there already")
