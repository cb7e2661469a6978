"""Frozen outputs of other programs (the golden folder `zoo`), for the families that our key maps cover."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from uer.checkpoints import load_into, read_companion
from uer.checkpoints.families.convert import OUTPUTS, to_ours, to_theirs
from uer.checkpoints.folder import open_folder
from uer.checkpoints.io import read_state
from uer.models.build import build_body, build_model
from uer.models.model import Model
from uer.tasks.body import task_body
from uer.tasks.choice import ChoiceModel
from uer.tasks.classifier import ClassifierModel
from uer.tasks.extractive_qa import QaModel
from uer.tasks.ner import NerModel

# Class of the oracle → model_type; cases of these classes whose inputs are the plain ones below can be
# checked.
CLASSES = {
    "BertForPreTraining": "bert",
    "ErnieForPreTraining": "ernie",
    "ErnieMModel": "ernie_m",
    "MegatronBertForPreTraining": "megatron-bert",
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
# Classes of PaddleNLP; those that train several models name the part that is checked as one of its own.
PADDLE = {
    "ErnieForPretraining": "ernie",
    "UIE": "ernie",
    "SkepForSequenceClassification": "skep",
    "ElectraForTotalPretraining": "electra",
    "ErnieHealthForTotalPretraining": "electra",
    "BertForPretraining": "bert",
    "AlbertForPretraining": "albert",
    "DistilBertForMaskedLM": "distilbert",
    "RobertaForMaskedLM": "roberta",
    "TinyBertForPretraining": "tinybert",
    "ErnieGramModel": "ernie-gram",
}
HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")
PREFIXES = {
    "Bert",
    "Albert",
    "DistilBert",
    "Roberta",
    "TinyBert",
    "Ernie",
    "Electra",
    "ErnieM",
    "Skep",
    "ErnieGram",
}
PADDLE |= {f"{name}For{head}": name.lower() for name in sorted(PREFIXES) for head in HEADS}
SECOND_CHOICE = (1, 9)
"""place and token in which the second choice differs from the first"""
PLAIN = {
    "in.input_ids",
    "in.attention_mask",
    "in.token_type_ids",
    "in.task_type_ids",
    "in.mlm_labels",
    "in.nsp_labels",
    "in.start_labels",
    "in.end_labels",
    "in.decoder_input_ids",
    "in.labels",
}
EXTRA = {"in.raw_input_ids", "in.generator_labels", "in.uniform_noise", "in.disc_input_ids", "in.disc_labels"}
EXTRA |= {"in.candidate_ids"}


def class_of(path: Path) -> str | None:
    """The class that computed a case, if it is one that we can check."""
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    inputs = {name for name in meta["tensors"] if name.startswith("in.")}
    oracle = str(meta.get("oracle", ""))
    paddle = re.match(r"PaddleNLP \S+ \(paddlepaddle \S+\) (\w+)", oracle)
    if paddle is not None:
        return paddle.group(1) if paddle.group(1) in PADDLE and inputs <= PLAIN | EXTRA else None
    if "brightmart/albert_zh" in oracle:
        return "albert_zh"
    match = re.search(
        r"^transformers \S+ (\w+)(?: with lm_head replaced by an untied linear)?$",
        oracle,
    )
    if (
        match is None or match.group(1) not in CLASSES or meta.get("id") == "F43"
    ):  # F43 adds speakers to GPT-2
        return None
    return match.group(1) if inputs <= PLAIN else None


def check(path: Path, folder: Path) -> dict[str, float]:
    """The largest difference of every output of a case, relative to 1 + |its value|; "back" counts tensors
    that our key map does not give back to the bit.
    """
    cls = class_of(path)
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    tensors = load_file(path.with_suffix(".safetensors"))
    state = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("state.")}
    found: dict[str, float] = {}
    for role, own_cls, own in _models(cls, state):
        place = folder / role
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text(json.dumps(_description(cls, own_cls, meta)))
        save_file(own, place / "model.safetensors", metadata={"format": "pt"})
        found[f"{role}back"] = float(_not_given_back(place))
        with torch.no_grad():
            for name, ours, theirs in _compared(cls, role, place, tensors):
                found[role + name] = float(((ours - theirs).abs() / (1 + theirs.abs())).max())
    return found


def _models(cls: str, state: dict[str, Tensor]) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
    """The models of a case: (role, class, tensors); some train a generator and a discriminator at once."""
    classes = {"generator.": "ElectraGenerator", "discriminator.": "ElectraDiscriminator"}
    if cls == "ErnieHealthForTotalPretraining":
        classes["discriminator."] = "ErnieHealthDiscriminator"
    if not cls.endswith("TotalPretraining"):
        yield "", cls, state
        return
    for role, own in classes.items():
        yield role, own, {n.removeprefix(role): t for n, t in state.items() if n.startswith(role)}


def _description(cls: str, own: str, meta: dict) -> dict:
    config = meta["config"]
    if meta["oracle"].startswith("PaddleNLP"):
        return {"architectures": [own], "paddlenlp_version": "2.8.1", "model_type": PADDLE[cls], **config}
    if cls == "albert_zh":
        return config
    return {"architectures": [cls], "model_type": CLASSES[cls], **config}


def _not_given_back(folder: Path) -> int:
    """The tensors of a folder that differ after they were ours."""
    model = open_folder(folder)
    state, config = read_state(folder), model.config()
    ours, left, _ = to_ours(model.family, state, config, model.parts)
    assert not left, list(left)
    names = [
        part for part in model.parts if part not in ("mlm", "sp") or f"target.{part}.linear_2.bias" in ours
    ]
    words = ours.get("tgt_embedding.word.embedding.weight", ours["embedding.word.embedding.weight"])
    for output in OUTPUTS:
        ours.setdefault(output, words)
    theirs, _ = to_theirs(model.family, ours, config, " ".join(names), every_name=True)
    theirs |= {model.family.prefix + name: tensor for name, tensor in theirs.items()}  # a head that is lost
    again = theirs.keys() & state.keys()
    lost = [name for name in state.keys() - again if not re.search(LOST, name)]
    assert not lost, lost
    return sum(_moved(name, state[name], theirs[name]) for name in again)


# Buffers, copies, and a pooler that a head does not read.
LOST = r"position_ids|token_type_ids|pooler|predictions\.(?:decoder\.)?bias|decoder\.weight|lm_head\."
LOST += r"|embed_tokens|encoder\.embed_positions|predictions\.decoder_bias|vocab_projector\.weight"
LOST += r"|final_logits_bias|fit_dense|rel_pos_embeddings"


def _moved(name: str, before: Tensor, after: Tensor) -> bool:
    if "position" in name and before.shape == after.shape and not after[:2].any():
        before, after = before[2:], after[2:]  # rows in front that no token takes
    return not torch.equal(before, after)


def _compared(
    cls: str, role: str, folder: Path, tensors: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What to compare of a case: (name, ours, theirs)."""
    model = _built(cls, folder, tensors)
    ids = tensors["in.input_ids"]
    if role == "discriminator.":
        ids = tensors.get("in.disc_input_ids", tensors.get("out.disc_input_ids"))
    real = tensors.get("in.attention_mask", torch.ones_like(ids))
    inputs = {"src": ids, "seg": real * (1 + tensors.get("in.token_type_ids", torch.zeros_like(ids)))}
    if "in.task_type_ids" in tensors:
        inputs["task"] = tensors["in.task_type_ids"]
    out = model.eval().encode(inputs, all_layers=True)
    seen = real > 0
    if "in.decoder_input_ids" in tensors:
        yield from _decoded(model, tensors, out.hidden, real)
        return
    for number, layer in enumerate(out.layers):
        name = f"out.{role}hidden.{number}"
        if name in tensors:
            yield f"hidden.{number}", layer[seen], tensors[name][seen]
    if "out.cls_logits" in tensors:
        yield "cls", model.logits(inputs), tensors["out.cls_logits"]
    yield from _downstream(model, inputs, out.hidden, seen, tensors)
    yield from _token_heads(role, model, out.hidden, seen, tensors)
    yield from _first_token_heads(model, out.hidden[:, 0], tensors)
    if role == "discriminator." or "out.start_prob" in tensors:
        yield from _spare_heads(folder, model, out.hidden, seen, tensors)


def _built(cls: str, folder: Path, tensors: dict[str, Tensor]) -> Model:
    config = read_companion(folder).config
    vocab_size = next(
        t
        for name, t in tensors.items()
        if re.search(r"(?:word_embeddings|wte|shared)\.weight$|/word_embeddings$", name)
    ).shape[0]
    if cls.endswith("TokenClassification"):
        model: Model = NerModel.build(config, vocab_size, crf=False, padded=False)
    elif cls.endswith("QuestionAnswering"):
        model = QaModel.build(config, vocab_size)
    elif cls.endswith("MultipleChoice"):
        model = ChoiceModel.build(config, vocab_size)
    elif cls.endswith("SequenceClassification"):
        model = ClassifierModel(
            task_body(config, vocab_size), labels_num=tensors["out.cls_logits"].shape[1], pooling="first"
        )
    elif "out.mlm_logits" not in tensors and "out.pooled" in tensors:
        model = build_model(config.replace(target=("sp",)), vocab_size)
    elif "out.mlm_logits" in tensors or "out.logits" in tensors or folder.name == "generator.":
        model = build_model(config, vocab_size)
    else:
        model = build_body(config, vocab_size)
    new = (r"target\.sp\.linear_2\.",) if "out.nsp_logits" not in tensors else ()
    load_into(model, folder, allow_new=new)
    if cls == "AlbertForPretraining":  # whose head alone has the library's epsilon there
        model.target.mlm.layer_norm.eps = 1e-5
    return model


def _downstream(
    model: Model, inputs: dict[str, Tensor], hidden: Tensor, seen: Tensor, tensors: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    if "out.tok_logits" in tensors:
        yield "tok", model.output_layer(hidden)[seen], tensors["out.tok_logits"][seen]
    if "out.start_logits" in tensors:
        for number, name in enumerate(("start", "end")):
            yield name, model.output_layer(hidden)[..., number][seen], tensors[f"out.{name}_logits"][seen]
    if "out.choice_logits" in tensors:
        both = {name: torch.stack([x, x], 1) for name, x in inputs.items()}
        place, token = SECOND_CHOICE
        both["src"][:, 1, place] = token
        both["choice"] = torch.ones(both["src"].shape[:2], dtype=torch.long)
        yield "choice", model.logits(both), tensors["out.choice_logits"]


def _token_heads(
    role: str, model: Model, hidden: Tensor, seen: Tensor, tensors: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    for name in ("out.mlm_logits", "out.generator_logits"):
        if name in tensors and role != "discriminator.":
            yield "mlm", model.target.mlm.logits(hidden)[seen], tensors[name][seen]
    if "out.logits" in tensors:
        yield "lm", model.target.lm.logits(hidden)[seen], tensors["out.logits"][seen]


def _first_token_heads(
    model: Model, first: Tensor, tensors: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    for name in ("out.nsp_logits", "out.sop_logits"):
        if name in tensors:
            yield name[4:7], model.target.sp.logits(first), tensors[name]
    if "out.pooled" in tensors:
        pooler = model.output_layer_1 if hasattr(model, "output_layer_1") else model.target.sp.linear_1
        yield "pooled", torch.tanh(pooler(first)), tensors["out.pooled"]


def _spare_heads(
    folder: Path, model: Model, hidden: Tensor, seen: Tensor, tensors: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Heads that stand beside the model: the key map's tensors, in the formulas of their papers."""
    family = open_folder(folder)
    state, _, _ = to_ours(family.family, read_state(folder), family.config(), family.parts)

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    for side in ("start", "end"):
        if f"out.{side}_prob" in tensors:
            ours = torch.sigmoid(linear(f"output_layer_{side}", hidden).squeeze(-1))
            yield side, ours[seen], tensors[f"out.{side}_prob"][seen]
    for name in ("out.disc_logits", "out.rtd_logits"):
        if name in tensors:
            ours = linear("target.rtd.linear_2", F.gelu(linear("target.rtd.linear_1", hidden))).squeeze(-1)
            yield "rtd", ours[seen], tensors[name][seen]
    if "out.mts_logits" in tensors:
        candidates = tensors["in.candidate_ids"]
        vectors = model.embedding.word.embedding(candidates)
        scores = (vectors @ F.gelu(linear("target.mts.linear", hidden)).unsqueeze(-1)).squeeze(-1)
        ours = scores + state["target.mts.bias.weight"][candidates].squeeze(-1)
        yield "mts", ours[seen], tensors["out.mts_logits"][seen]
        first = F.gelu(linear("target.csp.linear_1", hidden[:, 0]))
        yield "csp", linear("target.csp.linear_2", first), tensors["out.csp_logits"]


def _decoded(
    model: Model, tensors: dict[str, Tensor], hidden: Tensor, real: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    yield "encoder", hidden[real > 0], tensors["out.encoder"][real > 0]
    target = {"tgt_in": tensors["in.decoder_input_ids"]}
    decoded = model.decode(target, hidden, real).hidden
    if "out.decoder" in tensors:
        yield "decoder", decoded, tensors["out.decoder"]
    yield "lm", model.target.lm.logits(decoded), tensors["out.logits"]
