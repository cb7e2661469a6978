"""The targets that learn from a teacher: which of its layers, and whether both fit together."""

from __future__ import annotations

from torch import nn

from uer.config.model import ModelConfig
from uer.errors import ConfigError

HEADS = ("mlm", "lm")  # what gives logits for the soft target


def soft_head(config: ModelConfig) -> str:
    """The target whose head gives the logits that the soft target compares.

    Raises:
        ConfigError: the model has none.
    """
    for name in HEADS:
        if name in config.target:
            return name
    raise ConfigError("--target soft compares guesses of tokens; add the target mlm or lm.")


def layer_map(config: ModelConfig) -> tuple[int, ...]:
    """For each layer the teacher's, from 1 on, that it learns from, 0: none; evenly spread unless
    `--teacher_layers` says.

    Raises:
        ConfigError: the numbers do not fit, or the layers of one are no multiple of the other's.
    """
    own, theirs = config.layers_num, config.partner("teacher").layers_num
    if config.teacher_layers is None:
        if theirs % own:
            raise ConfigError(
                f"the teacher has {theirs} layers, no multiple of the model's {own}; say with "
                "--teacher_layers which of them each layer learns from."
            )
        return tuple(theirs // own * number for number in range(1, own + 1))
    if len(config.teacher_layers) != own or max(config.teacher_layers) > theirs:
        raise ConfigError(
            f"--teacher_layers is {' '.join(map(str, config.teacher_layers))}; give {own} numbers, one for "
            f"each layer of the model, from 1 to {theirs}, the teacher's layers, or 0 for none."
        )
    return config.teacher_layers


def build_teacher_target(name: str, target: type[nn.Module], config: ModelConfig) -> nn.Module:
    """One of the targets that learn from a teacher.

    Raises:
        ConfigError: model and teacher do not fit together for it.
    """
    teacher = config.partner("teacher")
    if name in ("cosine", "contrast"):
        _same(config, teacher, name, "hidden_size")
        return target()
    if name == "soft":
        return target(soft_head(config), config.soft_temperature)
    for one in (config, teacher):
        if one.encoder != "transformer" or one.has_residual_attention:
            raise ConfigError(
                f"--target {name} compares the layers of transformers, without --has_residual_attention."
            )
    if name == "states":
        return target(config.hidden_size, teacher.hidden_size, layer_map(config))
    _same(config, teacher, name, "heads_num")
    if config.mask != teacher.mask:
        raise ConfigError(
            f"--mask is {config.mask} and the teacher's {teacher.mask}; --target {name} needs one."
        )
    return target() if name == "attention" else target(layer_map(config))


def _same(config: ModelConfig, teacher: ModelConfig, name: str, field: str) -> None:
    own, theirs = getattr(config, field), getattr(teacher, field)
    if own != theirs:
        raise ConfigError(
            f"{field} is {own} and the teacher's {theirs}; --target {name} compares them one by one: make "
            "them equal, or leave it out."
        )
