"""Adapters as folders in PEFT's layout: `adapter_config.json`, `adapter_model.safetensors`.

Where a Hugging Face family computes what the model does, names are theirs, and `peft` loads the folder on
the exported model; else they are ours, and a line says so. `uer.json` beside them says what `merge` needs to
write the whole model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uer.checkpoints.companion import read_companion
from uer.checkpoints.conversion import DUAL
from uer.checkpoints.export import check_head, choose_family, choose_part
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import layers_of
from uer.checkpoints.io import State, read_state, write_tensors
from uer.checkpoints.source import read_source
from uer.config.model import ModelConfig
from uer.errors import CheckpointError
from uer.models.adapters import adapted, merged_state, trained_besides
from uer.utils.files import atomic_folder
from uer.utils.logging import logger

PREFIX = "base_model.model."
FIRST, SECOND = "encoder.encoder_0.", "encoder.encoder_1."
CONFIG, WEIGHTS, OWN = "adapter_config.json", "adapter_model.safetensors", "uer.json"
FACTOR = re.compile(r"(.+)\.lora_([AB])\.weight$")


def adapter_folder(path: str | Path) -> Path:
    """Where the adapters of the model at `path` lie."""
    path = Path(path)
    return path.with_name(f"{path.name}.adapter")


def write_adapter(
    folder: str | Path,
    model: nn.Module,
    config: ModelConfig,
    *,
    labels: Any,
    extra: Mapping[str, Any],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """The adapters of a model, and what is trained beside them; the folder appears whole or not at all.

    Args:
        weights: all weights, whole, when the model does not hold them so.
    """
    weights = model.state_dict() if weights is None else weights
    made, layers, besides = model.adapters, adapted(model), trained_besides(model, weights)
    needed = [*layers, *map(_module, besides)]
    family, part, names = _names(merged_state(model, weights), config, made.family, needed, folder)
    factors = {
        name: tuple(weights[f"{name}.lora_{letter}.weight"].detach().cpu() for letter in "AB")
        for name in layers
    }
    tensors, ranks = _factors(factors, names)
    theirs = {ours: name for name, held in names.items() for ours in held}
    for name, tensor in besides.items():
        tensors[f"{PREFIX}{theirs[_module(name)]}.{name.rpartition('.')[2]}"] = tensor.contiguous()
    more = {name: rank for name, rank in ranks.items() if rank != made.rank}
    values = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": made.base,
        "r": made.rank,
        "lora_alpha": made.alpha,
        "rank_pattern": more,
        "alpha_pattern": {name: made.alpha * rank / made.rank for name, rank in more.items()},
        "lora_dropout": made.dropout,
        "target_modules": list(ranks),
        "modules_to_save": sorted({theirs[_module(name)] for name in besides}) or None,
        "bias": "none",
        "fan_in_fan_out": family == "gpt2",  # its weights are [in, out]
        "inference_mode": True,
    }
    own = {"family": family, "part": part, "model": config.to_json(), "labels": labels, "extra": dict(extra)}
    with atomic_folder(folder) as temporary:
        for file, content in ((CONFIG, values), (OWN, own)):
            text = json.dumps(content, ensure_ascii=False, indent=2)
            (temporary / file).write_text(text + "\n", encoding="utf-8")
        with open(temporary / WEIGHTS, "wb") as file:
            write_tensors(tensors, file, torch_format=False)


def _factors(
    factors: Mapping[str, tuple[Tensor, ...]], names: Mapping[str, tuple[str, ...]]
) -> tuple[State, dict[str, int]]:
    """The factors of all layers under their names, and the rank of each of theirs.

    Where one of theirs holds several of ours [out, in] side by side, its factors are A [k·r, in], those of
    the k adapted ones below each other, and B, which takes each to its own rows of the outputs.
    """
    tensors: State = {}
    ranks: dict[str, int] = {}
    for name, held in names.items():
        found = [(place, *factors[ours]) for place, ours in enumerate(held) if ours in factors]
        if not found:
            continue
        down = torch.cat([down for _, down, _ in found])
        outputs, rank = found[0][2].shape
        up = down.new_zeros(len(held) * outputs, len(down))
        for number, (place, _, own) in enumerate(found):
            rows = slice(place * outputs, (place + 1) * outputs)
            up[rows, number * rank : (number + 1) * rank] = own
        tensors[f"{PREFIX}{name}.lora_A.weight"] = down.contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = up
        ranks[name] = len(down)
    return tensors, ranks


def _module(name: str) -> str:
    """The layer of a parameter."""
    return name.rpartition(".")[0]


def _names(
    state: Mapping[str, Tensor],
    config: ModelConfig,
    came_from: str | None,
    modules: list[str],
    folder: str | Path,
) -> tuple[str | None, str, dict[str, tuple[str, ...]]]:
    """Family, head, and their name of a layer → ours of the layers in it; ours alone, and no family, where no
    family has them all, which is said.
    """
    try:
        family = choose_family(config, {"family": came_from})
        part = choose_part(state, family)
        check_head(family, config, part)
        theirs = layers_of(family, config, part)
        lacking = set(modules) - {ours for held in theirs.values() for ours in held}
        if lacking:
            raise CheckpointError(
                f"a {family.name} model has no layer like {', '.join(sorted(lacking)[:2])}."
            )
        return family.name, part, theirs
    except CheckpointError as error:
        logger.info(
            "%s has our names of layers, so peft loads it on this model alone and not on one of "
            "transformers: %s",
            folder,
            error,
        )
        return None, "", {name: (name,) for name in modules}


def merge_adapter(base: str | Path, folder: str | Path) -> tuple[State, ModelConfig, Any, dict[str, Any]]:
    """The weights of a model with an adapter taken in: state, configuration, labels, extra of its companion.

    Args:
        base: the model that the adapter was trained on. folder: in PEFT's layout.

    Raises:
        CheckpointError: a file is missing or damaged, or a layer or size is not the model's.
    """
    values, own = (_read_json(Path(folder) / name, need) for name, need in ((CONFIG, True), (OWN, False)))
    companion = read_companion(base)
    if values.get("peft_type") != "LORA" or values.get("use_dora") or values.get("bias", "none") != "none":
        raise CheckpointError(f"{folder} is no plain LoRA adapter; only these can be merged.")
    if companion is None and not own:
        raise CheckpointError(f"{base} has no companion folder, and {folder} no {OWN}: what model is it?")
    config = ModelConfig.from_json(own["model"], str(folder)) if own else companion.config
    dual = config.encoder == "dual"
    state = dict(read_source(base, DUAL if dual else (), "--load_model_path").state)  # one stream fills both
    tensors = {name.removeprefix(PREFIX): x for name, x in read_state(Path(folder) / WEIGHTS).items()}
    names, prefix = None, ""
    if own.get("family") or not own:
        family = pick_family(own["family"]) if own else choose_family(config, companion.extra)
        headed = any(name.startswith(("classifier", "score")) for name in tensors)
        names, prefix = layers_of(family, config, own.get("part", "cls" if headed else "")), family.prefix
    for module, (weight, others) in _deltas(tensors, values, base, folder).items():
        held = (module,) if names is None else names.get(module, names.get(module.removeprefix(prefix)))
        if held is None:
            raise CheckpointError(f"{folder} adapts the layer '{module}', which the model does not have.")
        state.update({f"{held[0]}.{leaf}": tensor for leaf, tensor in others.items()})
        if weight is not None:
            _take_in(state, held, weight, base, folder)
    if dual and config.tie_weights:  # one module, so the adapter names its layers once
        first = {name: x for name, x in state.items() if name.startswith(FIRST)}
        state.update({SECOND + name.removeprefix(FIRST): tensor for name, tensor in first.items()})
    extra = own.get("extra") or dict(companion.extra if companion else {})
    labels = own["labels"] if own else companion.labels
    held = [name for name in state if not name.startswith("target.") or "prompt" in extra]
    return {name: state[name] for name in held}, config, labels, extra


def _deltas(
    tensors: State, values: Mapping[str, Any], base: str | Path, folder: str | Path
) -> dict[str, tuple[Tensor | None, State]]:
    """For each layer of an adapter what is added to its weight, [out, in], and tensors that replace its."""
    found: dict[str, tuple[Tensor | None, State]] = {}
    for name, tensor in tensors.items():
        match = FACTOR.match(name)
        if match is None:
            module, _, leaf = name.rpartition(".")
            found.setdefault(module, (None, {}))[1][leaf] = tensor
        elif match.group(2) == "A":
            module = match.group(1)
            up = tensors.get(f"{module}.lora_B.weight")
            if up is None or up.shape[1] != tensor.shape[0]:
                raise _unlike(module, base, folder)
            rank, alpha = (
                _of_module(values.get(f"{what}_pattern"), module, values[key])
                for what, key in (("rank", "r"), ("alpha", "lora_alpha"))
            )
            found[module] = (float(alpha) / int(rank) * (up @ tensor), found.get(module, (None, {}))[1])
    return found


def _of_module(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """PEFT's rule: the first pattern that the end of a name matches, else the default."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _take_in(
    state: State, held: tuple[str, ...], delta: Tensor, base: str | Path, folder: str | Path
) -> None:
    """Add [k·out, in] to the weights of the k layers that it is of."""
    parts = delta.chunk(len(held)) if delta.shape[0] % len(held) == 0 else ()
    for name, part in zip(held, parts):
        weight = state.get(f"{name}.weight")
        if weight is None or weight.shape != part.shape:
            raise _unlike(name, base, folder)
        state[f"{name}.weight"] = weight + part
    if not parts:
        raise _unlike(held[0], base, folder)


def _unlike(module: str, base: str | Path, folder: str | Path) -> CheckpointError:
    return CheckpointError(
        f"{folder} has an adapter for {module} that does not fit {base}; name the model that it was trained "
        "on."
    )


def _read_json(path: Path, need: bool) -> dict[str, Any]:
    if not need and not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged ({error}); it belongs to an adapter.") from error
