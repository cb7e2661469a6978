"""How long the tour through the toolkit trains."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, option, positive


@dataclass(frozen=True)
class QuickstartOptions(Options):
    """The tour."""

    output_dir: str | None = option(
        None, "folder for everything it writes, emptied first (default: quickstart/ here)", metavar="FOLDER"
    )
    total_steps: int = positive(1600, "batches of masked language modelling")
    lm_steps: int = positive(300, "batches of language modelling")
    epochs_num: int = positive(6, "passes of the classifiers over their training file")
