"""Which parameters are trained, which of them decay, at which share of the learning rate."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from uer.config.model import PARTNERS
from uer.config.training import OptimizerOptions
from uer.errors import ConfigError

# Parameters whose names hold one of these are not decayed: biases and all norms (T5's: `layer_norm….weight`).
UNDECAYED = ("bias", "gamma", "beta", "layer_norm")
EMBEDDING = re.compile(rf"(?:(?:{'|'.join(PARTNERS)})\.)?(?:tgt_)?embedding\.")
LAYER = re.compile(r"\b((?:encoder|decoder)\b.*?\.(?:transformer|transformer_decoder))\.(\d+)\.")


def is_decayed(name: str) -> bool:
    """Whether weight decay applies to the parameter of this name."""
    return not any(part in name for part in UNDECAYED)


def is_layer_matrix(name: str, param: nn.Parameter) -> bool:
    """Whether this is a matrix inside encoder or decoder, not a table and not a head: what Muon is for."""
    inside = name.startswith(("encoder.", "decoder.")) and is_decayed(name)
    return inside and param.dim() == 2 and "embedding" not in name


def freeze(model: nn.Module, pattern: str | None) -> list[str]:
    """Leave the parameters in whose names the regular expression is found as they are; their names.

    Raises:
        ConfigError: it is no regular expression, matches nothing, or everything.
    """
    if pattern is None:
        return []
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--freeze '{pattern}' is no regular expression: {error}.") from error
    named = dict(model.named_parameters())
    frozen = [name for name in named if found.search(name)]
    if not frozen or len(frozen) == len(named):
        which = "no parameter" if not frozen else "all parameters"
        names = list(named)
        raise ConfigError(
            f"--freeze '{pattern}' matches {which}; the names of this model are like {names[0]}, "
            f"{names[len(names) // 2]}, {names[-1]}."
        )
    for name in frozen:
        named[name].requires_grad_(False)
    return frozen


def rate_shares(names: Iterable[str], decay: float) -> dict[str, float]:
    """Layer-wise decay of the rate: 1 above the layers, ×`decay` a layer down, the embeddings lowest.

    Layers are counted in each stack (encoder, decoder, streams of a dual one, a partner's) by itself (Howard
    and Ruder 2018).
    """
    names = list(names)
    depths: dict[str, int] = {}
    for name in names:
        if match := LAYER.search(name):
            stack = name[: match.end(1)]
            depths[stack] = max(depths.get(stack, 0), int(match.group(2)) + 1)
    shares = {}
    for name in names:
        match = LAYER.search(name)
        if match:
            below = depths[name[: match.end(1)]] - int(match.group(2))
        elif EMBEDDING.match(name):
            below = max(depths.values(), default=0) + 1
        else:
            below = 0
        shares[name] = decay**below
    return shares


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], options: OptimizerOptions
) -> list[dict[str, Any]]:
    """The trained parameters in groups of equal decay, share of the rate (`lr_scale`), kind (`matrix`)."""
    trained = [(name, param) for name, param in named if param.requires_grad]
    shares = rate_shares([name for name, _ in trained], options.layerwise_lr_decay)
    groups: dict[tuple, list[tuple[str, nn.Parameter]]] = {}
    for name, param in trained:
        matrix = options.optimizer == "muon" and is_layer_matrix(name, param)
        groups.setdefault((not is_decayed(name), matrix, shares[name]), []).append((name, param))
    return [
        {
            "params": params,
            "weight_decay": 0.0 if undecayed else options.weight_decay,
            "lr_scale": share,
            "matrix": matrix,
        }
        for (undecayed, matrix, share), params in sorted(groups.items(), key=lambda item: item[0])
    ]
