"""Frozen outputs of `transformers` (the golden folder `zoo`), for the families that our key maps cover."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from uer.checkpoints import load_into, read_companion
from uer.models.build import build_model
from uer.models.model import Model
from uer.tasks.body import task_body
from uer.tasks.classifier import ClassifierModel

# Class of the oracle → model_type; cases of these classes whose inputs are the plain ones below can be
# checked.
CLASSES = {
    "BertForPreTraining": "bert",
    "RobertaForMaskedLM": "roberta",
    "AlbertForPreTraining": "albert",
    "ElectraForMaskedLM": "electra",
    "ElectraForSequenceClassification": "electra",
    "DistilBertForMaskedLM": "distilbert",
    "GPT2LMHeadModel": "gpt2",
    "BartForConditionalGeneration": "bart",
    "T5ForConditionalGeneration": "t5",
    "MT5ForConditionalGeneration": "mt5",
}
PLAIN = {
    "in.input_ids",
    "in.attention_mask",
    "in.token_type_ids",
    "in.mlm_labels",
    "in.nsp_labels",
    "in.decoder_input_ids",
    "in.labels",
}


def class_of(path: Path) -> str | None:
    """The class that computed a case, if it is one that we can check."""
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    match = re.search(
        r"^transformers \S+ (\w+)(?: with lm_head replaced by an untied linear)?$",
        str(meta.get("oracle", "")),
    )
    if (
        match is None or match.group(1) not in CLASSES or meta.get("id") == "F43"
    ):  # F43 adds speakers to GPT-2
        return None
    inputs = {name for name in meta["tensors"] if name.startswith("in.")}
    return match.group(1) if inputs <= PLAIN else None


def check(path: Path, folder: Path) -> dict[str, float]:
    """The largest difference of every output of a case, relative to 1 + |its value|."""
    cls = class_of(path)
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    tensors = load_file(path.with_suffix(".safetensors"))
    config = {"architectures": [cls], "model_type": CLASSES[cls], **meta["config"]}
    (folder / "config.json").write_text(json.dumps(config))
    state = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("state.")}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    found = {}
    with torch.no_grad():
        for name, ours, theirs in _compared(cls, folder, tensors):
            found[name] = float(((ours - theirs).abs() / (1 + theirs.abs())).max())
    return found


def _compared(cls: str, folder: Path, tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    config = read_companion(folder).config
    vocab_size = next(
        t for name, t in tensors.items() if re.search(r"(?:word_embeddings|wte|shared)\.weight$", name)
    ).shape[0]
    if cls.endswith("SequenceClassification"):
        labels = tensors["out.cls_logits"].shape[1]
        model: Model = ClassifierModel(task_body(config, vocab_size), labels_num=labels, pooling="first")
    else:
        model = build_model(config, vocab_size)
    load_into(model, folder)
    ids = tensors["in.input_ids"]
    real = tensors.get("in.attention_mask", torch.ones_like(ids))
    inputs = {"src": ids, "seg": real * (1 + tensors.get("in.token_type_ids", torch.zeros_like(ids)))}
    out = model.eval().encode(inputs, all_layers=True)
    seen = real > 0
    if "in.decoder_input_ids" in tensors:
        yield from _decoded(model, tensors, out.hidden, real)
        return
    for number, layer in enumerate(out.layers):
        yield f"hidden.{number}", layer[seen], tensors[f"out.hidden.{number}"][seen]
    if "out.mlm_logits" in tensors:
        yield "mlm", model.target.mlm.logits(out.hidden)[seen], tensors["out.mlm_logits"][seen]
    if "out.logits" in tensors:
        yield "lm", model.target.lm.logits(out.hidden)[seen], tensors["out.logits"][seen]
    for name in ("out.nsp_logits", "out.sop_logits"):
        if name in tensors:
            yield name[4:7], model.target.sp.logits(out.hidden[:, 0]), tensors[name]
    if "out.cls_logits" in tensors:
        yield "cls", model.logits(inputs), tensors["out.cls_logits"]


def _decoded(
    model: Model, tensors: dict[str, Tensor], hidden: Tensor, real: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    yield "encoder", hidden[real > 0], tensors["out.encoder"][real > 0]
    target = {"tgt_in": tensors["in.decoder_input_ids"]}
    decoded = model.decode(target, hidden, real).hidden
    if "out.decoder" in tensors:
        yield "decoder", decoded, tensors["out.decoder"]
    yield "lm", model.target.lm.logits(decoded), tensors["out.logits"]
