"""Fetch a public vocabulary or sentencepiece model by the name that UER's commands use."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.download import DownloadOptions
from uer.errors import ConfigError, EnvironmentFault, pick
from uer.utils.files import atomic_write, repository_root
from uer.utils.hub import fetch_file
from uer.utils.known_files import KNOWN_FILES, KnownFile
from uer.utils.logging import logger


def main(argv: list[str] | None = None) -> int:
    """Fetch each named file into the output folder."""
    command = Command(
        "scripts/download.py",
        "Fetch public files by name: " + ", ".join(KNOWN_FILES),
        DownloadOptions,
        words=("NAME", "+", "file name as UER's commands use it"),
    )
    chosen = command.start(argv)
    options = chosen[DownloadOptions]
    folder = Path(options.output_dir) if options.output_dir else repository_root() / "models"
    known = [pick(name, KNOWN_FILES, "file") for name in chosen.words]
    for entry in known:
        fetch(entry, folder / entry.name, options)
    return 0


def fetch(entry: KnownFile, path: Path, options: DownloadOptions) -> None:
    """Fetch one file to `path`, in the form that our commands read."""
    if entry.repo is None or entry.file is None:
        raise ConfigError(
            f"{entry.name} ({entry.what}) is on no hub known to us; UER-py's repository has it."
        )
    if path.exists() and not options.force:
        logger.info("%s is there already; --force replaces it.", path)
        return
    source = fetch_file(entry.repo, entry.file, endpoint=options.endpoint)
    if entry.form == "json_vocab":
        with atomic_write(path) as file:
            file.write("".join(f"{token}\n" for token in tokens_by_id(source)))
    else:
        with open(source, "rb") as original, atomic_write(path, "wb") as file:
            shutil.copyfileobj(original, file)
    logger.info("Wrote %s (%s, from hf:%s).", path, entry.what, entry.repo)


def tokens_by_id(source: Path) -> list[str]:
    """The tokens of a JSON vocabulary (token → id) in the order of their ids."""
    try:
        table = json.loads(source.read_text(encoding="utf-8"))
        return sorted(table, key=table.__getitem__)
    except (ValueError, TypeError) as error:
        raise EnvironmentFault(f"{source}: is no JSON vocabulary of token and id ({error}).") from error


if __name__ == "__main__":
    sys.exit(run(main))
