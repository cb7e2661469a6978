"""Where the generated sample data goes."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, not_negative, option


@dataclass(frozen=True)
class SampleDataOptions(Options):
    """Sample data."""

    output_dir: str | None = option(
        None,
        "folder to write corpora/, datasets/ and models/ under (default: this checkout)",
        metavar="FOLDER",
    )
    seed: int = not_negative(7, "seed of everything drawn")
