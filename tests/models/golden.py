"""Golden cases: numbers that UER-py itself computed on tiny random models (`tests/golden/uer-*`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from uer.checkpoints.loader import adapt_config, load_into
from uer.config.model import ModelConfig

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TARGETS_2021 = {
    "bert": ("mlm", "sp"),
    "albert": ("mlm", "sp"),
    "mlm": ("mlm",),
    "bilm": ("bilm",),
    "cls": ("cls",),
}


@dataclass
class Case:
    """One case: what UER was told, the tensors it was given, and those it gave."""

    era: str
    meta: dict[str, Any]
    tensors: dict[str, Tensor]

    def state(self) -> dict[str, Tensor]:
        """Weights under the names of the time."""
        return {k.removeprefix("state."): v for k, v in self.tensors.items() if k.startswith("state.")}

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def config(self, **changes: Any) -> ModelConfig:
        """UER's configuration in our words, with UER's own layer norm."""
        known = {k: v for k, v in self.meta["config"].items() if k in ModelConfig.names()}
        flags = [*self.meta.get("extra_flags", []), *self.meta.get("flags", [])]
        if "--labels_num" in flags:
            known["labels_num"] = int(flags[flags.index("--labels_num") + 1])
        known["bidirectional"] = "--bidirectional" in flags
        known.setdefault("target", ())
        if self.era == "2021":
            known = _of_2021(known)
        if known.get("layernorm", "normal") == "normal":
            known["layernorm"] = "uer"
        return ModelConfig(**{**known, **changes})


def _of_2021(values: dict[str, Any]) -> dict[str, Any]:
    """The dialect of 2021: one word for an embedding, a target that implies the rest."""
    values = dict(values)
    for key in ("embedding", "tgt_embedding"):
        if isinstance(values.get(key), str):
            values[key] = values[key].split("_")
    if isinstance(values.get("target"), str):
        values["target"] = TARGETS_2021.get(values["target"], ("lm",))
    for key in ("stream_0", "stream_1"):
        if key in values:
            values[key] = _of_2021(values[key])
    return values


def load_case(path: Path) -> Case:
    """The case `path` (without suffix)."""
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    era = "2021" if "2021" in (meta.get("era", ""), path.parent.name.removeprefix("uer-")) else "2024"
    return Case(era, meta, load_file(path.with_suffix(".safetensors")))


def loaded(model_of: Any, case: Case, folder: Path, **changes: Any) -> torch.nn.Module:
    """The model `model_of(config)` with the case's weights, through our loader and its aliases."""
    path = folder / "model.safetensors"
    save_file(case.state(), path)
    config = adapt_config(case.config(**changes), path)
    model = model_of(config)
    load_into(model, path)
    return model.eval()


def furthest(ours: Tensor, theirs: Tensor, where: Tensor | None = None) -> float:
    """The largest absolute difference, at the positions `where`."""
    difference = (ours.float() - theirs.float()).abs()
    return float((difference if where is None else difference[where]).max())
