"""`--deepspeed_config`: which of its keys count here, and which our flags decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from uer.errors import ConfigError, DataError
from uer.utils.logging import logger

# Key of DeepSpeed → what decides it here.
OURS = {
    "train_batch_size": "--batch_size",
    "train_micro_batch_size_per_gpu": "--batch_size",
    "gradient_accumulation_steps": "--accumulation_steps",
    "optimizer": "--optimizer and --learning_rate",
    "scheduler": "--scheduler",
    "fp16": "--precision",
    "bf16": "--precision",
    "torch_autocast": "--precision",
    "gradient_clipping": "--max_grad_norm",
    "steps_per_print": "--report_steps",
    "activation_checkpointing": "--gradient_checkpointing",
}


OFFLOADED = ("offload_optimizer", "offload_param")


def zero_config(path: Path, partly_used: bool = False) -> dict[str, Any]:
    """What DeepSpeed is told: the file's keys, but for those that our flags decide, which are said.

    Args:
        partly_used: the model may leave out weights in a step. DeepSpeed would pass over their gradients of
            all batches but a window's last one where the optimiser is offloaded, so it is not.

    Raises:
        DataError: the file cannot be read or is no JSON object.
        ConfigError: its stage of ZeRO is not 1, 2 or 3, or it offloads to a disk.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            "does not exist; name a JSON file with --deepspeed_config.", path=str(path)
        ) from error
    except ValueError as error:
        raise DataError(f"is not JSON ({error}).", path=str(path)) from error
    if not isinstance(config, dict):
        raise DataError(f"holds a {type(config).__name__}, not a JSON object.", path=str(path))
    stage = config.get("zero_optimization", {}).get("stage")
    if stage not in (1, 2, 3):
        raise ConfigError(
            f"{path}: zero_optimization.stage is {json.dumps(stage)}; give 1, 2 or 3, or take --engine ddp."
        )
    for key in OFFLOADED:
        place = (config["zero_optimization"].get(key) or {}).get("device", "none")
        if place not in ("cpu", "none"):
            raise ConfigError(
                f"{path}: zero_optimization.{key}.device is {json.dumps(place)}; give cpu or none (a "
                "checkpoint is put together from what stands in memory)."
            )
    ours = [key for key in config if key in OURS]
    if ours:
        words = ", ".join(f"{key} (decided by {OURS[key]})" for key in ours)
        logger.info("%s: these keys have no effect here: %s.", path, words)
    kept = {key: value for key, value in config.items() if key not in OURS}
    if partly_used and kept["zero_optimization"].pop("offload_optimizer", None):
        logger.info(
            "%s: offload_optimizer has no effect here, for this model does not use all weights in each step.",
            path,
        )
    return {
        **kept,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "steps_per_print": 10**9,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
