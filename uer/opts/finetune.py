"""The flags that all fine-tuning scripts share, and those that all their inference twins share."""

from __future__ import annotations

from typing import Any

from uer.cli import Chosen, Command
from uer.config.finetune import FinetuneOptions, SingleTextOptions
from uer.config.inference import InferenceOptions
from uer.config.model import ModelConfig
from uer.config.options import Options
from uer.config.tokenizer import TokenizerOptions
from uer.config.training import AdversarialOptions, OptimizerOptions, TrainOptions
from uer.errors import ConfigError


def finetune_command(script: str, description: str, *groups: type[Options], **more: Any) -> Command:
    """The command of `finetune/<script>.py`, with the options that only it has."""
    common = (ModelConfig, TokenizerOptions, OptimizerOptions, TrainOptions, AdversarialOptions)
    return Command(
        f"finetune/{script}.py",
        description,
        FinetuneOptions,
        *groups,
        *common,
        compat=("fp16_opt_level",),
        model="new",
        **more,
    )


def training_options(chosen: Chosen) -> dict[str, Any]:
    """The arguments of `uer.tasks.finetune.Finetuning` that the command line gives."""
    return {
        "options": chosen[FinetuneOptions],
        "training": chosen[TrainOptions],
        "optimization": chosen[OptimizerOptions],
        "adversarial": chosen[AdversarialOptions],
        "settings": chosen.effective(),
    }


def text_options(chosen: Chosen) -> dict[str, Any]:
    """The arguments of `uer.tasks.text.TextTask` in fine-tuning."""
    options = chosen[FinetuneOptions]
    return {
        "seq_length": options.seq_length,
        "single_text_sep": chosen[SingleTextOptions].single_text_sep,
        "overflow": options.overflow,
    }


def inference_command(script: str, description: str, *groups: type[Options]) -> Command:
    """The command of `inference/<script>.py`, with the options that only it has."""
    return Command(
        f"inference/{script}.py",
        f"{description} The saved model says by itself what it is: --load_model_path, --test_path and "
        "--prediction_path are enough.",
        InferenceOptions,
        *groups,
        ModelConfig,
        TokenizerOptions,
        model="saved",
        model_flag="load_model_path",
    )


def saved_setting(chosen: Chosen, name: str, default: Any, *, fixed: bool = True) -> Any:
    """A setting of prediction: the one typed, else the saved model's, else the default.

    Raises:
        ConfigError: `fixed`, and what was typed is not what the model was trained with.
    """
    typed = chosen.written.get(name)
    saved = None if chosen.companion is None else chosen.companion.extra.get(name)
    if fixed and None not in (typed, saved) and typed != saved:
        raise ConfigError(
            f"--{name} is {_word(typed)}, but the model of --load_model_path was trained with "
            f"{_word(saved)}; leave it out."
        )
    return next(value for value in (typed, saved, default) if value is not None)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def saved_text_options(chosen: Chosen) -> dict[str, Any]:
    """The arguments of `uer.tasks.text.TextTask` in prediction: as the model was trained unless typed."""
    return {
        "seq_length": saved_setting(chosen, "seq_length", InferenceOptions.seq_length, fixed=False),
        "single_text_sep": saved_setting(chosen, "single_text_sep", SingleTextOptions.single_text_sep),
    }
