"""What every downstream script does around its task: configuration, weights, device, files of the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from uer.checkpoints import SEGMENT_TABLE, adapt_config, load_into, read_companion, write_state
from uer.checkpoints.adapters import adapter_folder, write_adapter
from uer.config.finetune import RunOptions
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.models.adapters import Adapters, add_adapters, merged_state
from uer.models.initialize import initialize
from uer.training.precision import Precision, choose_precision
from uer.utils.logging import logger

if TYPE_CHECKING:
    from uer.checkpoints.companion import Companion
    from uer.tokenizers.base import Tokenizer

T = TypeVar("T")
SCRIPTS = {
    "classifier": "run_classifier",
    "multi_label": "run_classifier_multi_label",
    "regression": "run_regression",
    "ner": "run_ner",
    "multi_task": "run_classifier_mt",
    "siamese": "run_classifier_siamese",
    "simcse": "run_simcse",
    "prompt": "run_classifier_prompt",
    "extractive_qa": "run_cmrc",
    "c3": "run_c3",
    "chid": "run_chid",
    "text2text": "run_text2text",
    "uie": "run_uie",
}
"""task → the name of its scripts"""


def encoder_config(config: ModelConfig) -> ModelConfig:
    """The configuration of a downstream encoder: no decoder, one stream.

    Raises:
        ConfigError: the encoder is a dual one, which has its own scripts.
    """
    if config.encoder == "dual":
        raise ConfigError(
            "--encoder dual reads two texts apart, as run_classifier_siamese.py does; take another one."
        )
    return one_sided(config)


def one_sided(config: ModelConfig) -> ModelConfig:
    """The configuration without a decoder."""
    return config.replace(decoder=None, tgt_embedding=None, share_embedding=False)


def start_config(config: ModelConfig, options: RunOptions, **changes: Any) -> ModelConfig:
    """The configuration of a task's model: the chosen one, what the pre-trained file decides, `changes`."""
    if options.pretrained_model_path:
        config = adapt_config(config, options.pretrained_model_path)
    return config.replace(**changes)


def start_weights(model: nn.Module, options: RunOptions, *, head: Iterable[str]) -> None:
    """First values: from the pre-trained file, fresh for the head; all fresh when there is no file.

    Args:
        head: regular expressions of the parameters that a pre-trained file does not hold.
    """
    if options.pretrained_model_path is None:
        logger.info("No --pretrained_model_path: the model starts from random weights.")
        initialize(model)
    else:
        load_into(
            model,
            options.pretrained_model_path,
            allow_new=(*head, SEGMENT_TABLE),
            allow_missing=options.allow_missing,
        )
    if options.peft is not None:
        put_adapters(model, options, head)


def put_adapters(model: nn.Module, options: RunOptions, head: Iterable[str]) -> None:
    """Adapters as the options say; only they and the head are trained then.

    Raises:
        ConfigError: there is no pre-trained file, so what lies below the adapters would stay random; or the
            model has no such layers.
    """
    if options.pretrained_model_path is None:
        raise ConfigError(
            f"--peft {options.peft} leaves the weights below the adapters as they are; name trained ones "
            "with --pretrained_model_path."
        )
    companion = read_companion(options.pretrained_model_path)
    made = Adapters(
        options.lora_rank,
        options.lora_alpha,
        options.lora_dropout,
        options.pretrained_model_path,
        None if companion is None else companion.extra.get("family"),
    )
    layers = add_adapters(model, made, targets=options.lora_targets, head=tuple(head))
    trained = sum(x.numel() for x in model.parameters() if x.requires_grad)
    total = sum(x.numel() for x in model.parameters())
    logger.info(f"{len(layers)} layers have adapters: {trained:,} of {total:,} parameters are trained.")


def load_saved(
    model: nn.Module, path: str, companion: Companion | None, *, task: str, flag: str = "--load_model_path"
) -> None:
    """Weights of a fine-tuned model; nothing may be missing.

    Raises:
        CheckpointError: the file does not fit, or its companion says that it is of another task.
    """
    check_task(path, companion, task)
    load_into(model, path, flag=flag)


def check_task(path: str, companion: Companion | None, task: str) -> None:
    """A model says what task it is of.

    Raises:
        CheckpointError: it is of another one.
    """
    theirs = None if companion is None else companion.extra.get("task")
    if theirs not in (None, task):
        raise CheckpointError(
            f"{path} is a model of the task '{theirs}', not '{task}'; "
            f"predict with inference/{SCRIPTS.get(theirs, theirs)}_infer.py."
        )


def twin(task: str) -> str:
    """The script that predicts with a task's models, from the root of the repository."""
    return f"inference/{SCRIPTS[task]}_infer.py"


def pick_device() -> torch.device:
    """The GPU if one is visible, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(name: str, model: nn.Module) -> Precision:
    """The precision for a model where it lies; said in one line."""
    device = next(model.parameters()).device
    precision, reason = choose_precision(name, device, model.config.hidden_size)
    logger.info(f"Precision: {precision.name} ({reason}).")
    return precision


def inherited(source: str | Path | None) -> dict[str, Any]:
    """What a model keeps in its companion of the one that it begins from: its family among Hugging Face's,
    and the ids that texts begin and end with.
    """
    companion = None if source is None else read_companion(source)
    known = {} if companion is None else companion.extra
    return {name: x for name, x in known.items() if name == "family" or name.endswith("_token_id")}


def save_model(
    path: str | Path,
    model: nn.Module,
    config: ModelConfig,
    tokenizer: Tokenizer,
    *,
    labels: Any = None,
    extra: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Weights (adapters taken in) and companion folder; the file alone is what UER-py loads.

    Args:
        weights: all weights, whole, when the model does not hold them so.
    """
    about = {"labels": labels, "extra": extra or {}}
    write_state(path, merged_state(model, weights), config=config, tokenizer=tokenizer, **about)
    if getattr(model, "adapters", None) is not None:
        write_adapter(adapter_folder(path), model, config, weights=weights, **about)
