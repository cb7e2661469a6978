"""Adapters as folders in PEFT's layout: `adapter_config.json`, `adapter_model.safetensors`.

Where a Hugging Face family computes what the model does, names are theirs, and `peft` loads the folder on the
exported model; else they are ours. `uer.json` beside them says what `merge` needs to write the whole model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from uer.checkpoints.companion import read_companion
from uer.checkpoints.export import check_head, choose_family, choose_part
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import names_of
from uer.checkpoints.families.family import Family
from uer.checkpoints.io import State, read_state, write_tensors
from uer.checkpoints.source import read_source
from uer.config.model import ModelConfig
from uer.errors import CheckpointError
from uer.models.adapters import adapted, merged_state, trained_besides
from uer.utils.files import atomic_folder

PREFIX = "base_model.model."
CONFIG, WEIGHTS, OWN = "adapter_config.json", "adapter_model.safetensors", "uer.json"
FACTOR = re.compile(r"(.+)\.lora_([AB])\.weight$")


def adapter_folder(path: str | Path) -> Path:
    """Where the adapters of the model at `path` lie."""
    path = Path(path)
    return path.with_name(f"{path.name}.adapter")


def write_adapter(
    folder: str | Path, model: nn.Module, config: ModelConfig, *, labels: Any, extra: Mapping[str, Any]
) -> None:
    """The adapters of a model, and what is trained beside them; the folder appears whole or not at all."""
    made, layers, besides = model.adapters, adapted(model), trained_besides(model)
    family, part, names = _names(merged_state(model), config, made.family, [*layers, *map(_module, besides)])
    tensors: State = {}
    for name, layer in layers.items():
        for letter, factor in (("A", layer.lora_A), ("B", layer.lora_B)):
            tensors[f"{PREFIX}{names[name]}.lora_{letter}.weight"] = factor.weight.detach().cpu().contiguous()
    for name, tensor in besides.items():
        tensors[f"{PREFIX}{names[_module(name)]}.{name.rpartition('.')[2]}"] = tensor.contiguous()
    values = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": made.base,
        "r": made.rank,
        "lora_alpha": made.alpha,
        "lora_dropout": made.dropout,
        "target_modules": [names[name] for name in layers],
        "modules_to_save": sorted({names[_module(name)] for name in besides}) or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    own = {"family": family, "part": part, "model": config.to_json(), "labels": labels, "extra": dict(extra)}
    with atomic_folder(folder) as temporary:
        for file, content in ((CONFIG, values), (OWN, own)):
            text = json.dumps(content, ensure_ascii=False, indent=2)
            (temporary / file).write_text(text + "\n", encoding="utf-8")
        with open(temporary / WEIGHTS, "wb") as file:
            write_tensors(tensors, file, torch_format=False)


def _module(name: str) -> str:
    """The layer of a parameter."""
    return name.rpartition(".")[0]


def _names(
    state: Mapping[str, Tensor], config: ModelConfig, came_from: str | None, modules: list[str]
) -> tuple[str | None, str, dict[str, str]]:
    """Family, head, and the name of each layer there; ours, and no family, where none has them all."""
    try:
        family = choose_family(config, {"family": came_from})
        part = choose_part(state, family)
        check_head(family, config, part)
        theirs = module_names(family, config, part)
        return family.name, part, {name: theirs[name] for name in modules}
    except (CheckpointError, KeyError):
        return None, "", {name: name for name in modules}


def module_names(family: Family, config: ModelConfig, part: str) -> dict[str, str]:
    """Our name of a layer → theirs, for the layers that both have whole and in the same orientation."""
    pairs = names_of(family, config, part)
    return {_module(ours): _module(theirs) for ours, theirs in pairs.items()}


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
    state = dict(read_source(base, flag="--load_model_path").state)
    tensors = {name.removeprefix(PREFIX): x for name, x in read_state(Path(folder) / WEIGHTS).items()}
    if own.get("family") or not own:
        family = pick_family(own["family"]) if own else choose_family(config, companion.extra)
        part = own.get("part", "cls" if any("classifier" in name for name in tensors) else "")
        ours = {theirs: name for name, theirs in module_names(family, config, part).items()}
        tensors = {_renamed(name, ours, folder): x for name, x in tensors.items()}
    _take_in(state, tensors, float(values["lora_alpha"]) / int(values["r"]), base, folder)
    extra = own.get("extra") or dict(companion.extra if companion else {})
    labels = own["labels"] if own else companion.labels
    held = [name for name in state if not name.startswith("target.") or "prompt" in extra]
    return {name: state[name] for name in held}, config, labels, extra


def _renamed(name: str, ours: Mapping[str, str], folder: str | Path) -> str:
    """Our name of a tensor of an adapter."""
    match = FACTOR.match(name)
    module = match.group(1) if match else _module(name)
    known = ours.get(module)
    if known is None:
        raise CheckpointError(f"{folder} adapts the layer '{module}', which the model does not have.")
    return known + name[len(module) :]


def _take_in(state: State, tensors: State, scale: float, base: str | Path, folder: str | Path) -> None:
    """Add the products of the factors to the weights, and put the other tensors in their places."""
    for name, tensor in tensors.items():
        match = FACTOR.match(name)
        if match is None:
            state[name] = tensor
        elif match.group(2) == "A":
            weight, up = f"{match.group(1)}.weight", tensors.get(f"{match.group(1)}.lora_B.weight")
            if up is None or weight not in state or state[weight].shape != (up.shape[0], tensor.shape[1]):
                raise CheckpointError(
                    f"{folder} has an adapter for {match.group(1)} that does not fit {base}; name the model "
                    "that it was trained on."
                )
            state[weight] = state[weight] + scale * (up @ tensor)


def _read_json(path: Path, need: bool) -> dict[str, Any]:
    if not need and not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged ({error}); it belongs to an adapter.") from error
