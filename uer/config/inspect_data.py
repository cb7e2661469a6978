"""What `scripts/inspect_dataset.py` and `scripts/check_data.py` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, not_negative, option, positive


@dataclass(frozen=True)
class InspectDataOptions(Options):
    """What is shown."""

    samples: int = not_negative(3, "instances or rows to show")
    seed: int = not_negative(7, "seed of what is drawn when a batch is made")


@dataclass(frozen=True)
class InspectDatasetOptions(InspectDataOptions):
    """What is shown of a dataset."""

    batch_size: int = positive(32, "rows of the batches whose padding is estimated")
    verify: bool = option(True, "true or false: read the whole file and compare its checksums")
