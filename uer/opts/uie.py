"""What extraction by prompts is told: in training by flags, in prediction by the saved model."""

from __future__ import annotations

from typing import Any

from uer.cli import Chosen
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.config.uie import UieFiles, UieInferenceOptions, UieOptions, UieRunOptions
from uer.opts.finetune import saved_setting


def uie_options(chosen: Chosen) -> dict[str, Any]:
    """The arguments of `uer.tasks.uie.UieTask` in fine-tuning."""
    options, asking = chosen[UieRunOptions], chosen[UieOptions]
    return {
        "seq_length": options.seq_length,
        "overflow": options.overflow,
        "threshold": asking.threshold,
        "negative_ratio": asking.negative_ratio,
        "lang": asking.schema_lang,
        "seed": chosen[TrainOptions].seed,
    }


def saved_uie_options(chosen: Chosen) -> dict[str, Any]:
    """The same in prediction; a model that was not fine-tuned here reads as much as it has positions for."""
    most = min(UieFiles.seq_length, chosen[ModelConfig].max_seq_length)
    return {
        "seq_length": saved_setting(chosen, "seq_length", most, fixed=False),
        "threshold": saved_setting(chosen, "threshold", UieInferenceOptions.threshold, fixed=False),
        "lang": saved_setting(chosen, "schema_lang", UieInferenceOptions.schema_lang),
    }
