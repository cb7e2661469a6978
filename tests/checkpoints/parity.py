"""One parity check for all families: the class of `transformers`, tiny and random, against our model of its
folder.

Weights: matrices N(0, std), gains 1 + N(0, 0.1), biases N(0, 0.1), so that a forgotten bias, gain or tie
shows; two scales, since each hides mistakes that the other shows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.checkpoints.parity_cases import Case, V
from uer.checkpoints import load_into, read_companion, read_state
from uer.checkpoints.export import export_folder
from uer.checkpoints.families import pick_family
from uer.checkpoints.source import read_source
from uer.layers.activations import activation
from uer.layers.pooling import pool
from uer.models.build import build_body, build_model
from uer.models.model import Model
from uer.tasks.classifier import ClassifierModel

B, L, T, CHOICES = 3, 11, 7, 2
SCALES = (0.15, 0.02)
POOLED = ("bert", "albert", "ernie", "megatron-bert")
# A pooler that nothing was trained on is not kept.
LOSES_POOLER = {("roberta", ""), ("xlm-roberta", "")}


def draw(model: nn.Module, std: float, seed: int) -> None:
    """Random numbers for all parameters; sinusoids stay what they are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            numbers = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(std * numbers)
            else:
                parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.1 * numbers)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_(0.0, 0.1, generator=generator)


def build_theirs(case: Case, std: float, seed: int) -> nn.Module:
    """Their model in evaluation mode."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    cls = getattr(transformers, case.cls)
    model = cls(cls.config_class(**case.settings)).eval()
    if case.family in ("t5-v1_1", "mt5") and hasattr(model, "lm_head"):
        # transformers 5 ties these whatever the configuration says; the released weights are not tied.
        model.lm_head = nn.Linear(model.config.d_model, V, bias=False)
    draw(model, std, seed)
    return model


def save_theirs(model: nn.Module, folder: Path) -> None:
    """Their folder; saved tensor by tensor where their own method would drop an untied output layer."""
    model.config.architectures = [type(model).__name__]
    if hasattr(model, "lm_head") and hasattr(model, "shared"):
        model.config.save_pretrained(folder)
        state = {name: t for name, t in model.state_dict().items() if "embed_tokens" not in name}
        if model.lm_head.weight is model.shared.weight:
            del state["lm_head.weight"]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        model.save_pretrained(folder)


class TokenHead(Model):
    """One linear layer on every token: sequence labelling and question answering."""

    def __init__(self, body: Model, labels_num: int) -> None:
        super().__init__(body.config, embedding=body.embedding, encoder=body.encoder)
        self.output_layer = nn.Linear(body.config.hidden_size, labels_num)


class ChoiceHead(Model):
    """A dense layer and a score on the first token of each choice."""

    def __init__(self, body: Model) -> None:
        super().__init__(body.config, embedding=body.embedding, encoder=body.encoder)
        width = body.config.hidden_size
        self.output_layer_1, self.output_layer = nn.Linear(width, width), nn.Linear(width, 1)
        self.act = activation(body.config.head_act)


def build_ours(case: Case, folder: Path) -> Model:
    """Our model of a folder, with nothing but the folder to go by."""
    companion = read_companion(folder)
    config = companion.config
    if case.part in ("", "rtd"):
        model = build_body(config, V)
        if case.family in POOLED:
            model = build_model(config.replace(target=("sp",)), V)
    elif case.part == "cls":
        body = build_body(config, V)
        model = ClassifierModel(body, labels_num=config.labels_num, pooling=config.pooling)
    elif case.part in ("tok", "qa"):
        model = TokenHead(build_body(config, V), config.labels_num)
    elif case.part == "choice":
        model = ChoiceHead(build_body(config, V))
    else:
        model = build_model(config, V)
    allow = (r"target\.sp\.linear_2\.",) if case.part == "" else ()
    load_into(model, folder, allow_new=allow)
    state = read_source(folder).state
    model.further = {name: state[name] for name in state if name.startswith("target.rtd.")}
    return model.eval()


def replaced(head: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
    """The logits [B, L] of ELECTRA's discriminator: whether each token was replaced."""
    names = [f"target.rtd.linear_{number}" for number in (1, 2)]
    first, second = ((head[f"{name}.weight"], head[f"{name}.bias"]) for name in names)
    return nn.functional.linear(nn.functional.gelu(nn.functional.linear(hidden, *first)), *second).squeeze(-1)


@dataclass
class Inputs:
    """A batch: a full row, one padded on the right, one on the left."""

    ids: Tensor
    real: Tensor
    types: Tensor
    labels: Tensor
    tgt: Tensor
    tgt_real: Tensor


def inputs_of(case: Case, pad: int, seed: int) -> Inputs:
    """Random inputs; heads on the first token get no row padded on the left, since theirs would read the
    padding.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = 2 if case.part in ("cls", "sp", "mlm sp", "choice") else B

    def numbers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    real = torch.ones(B, L, dtype=torch.long)
    real[1, -3:] = 0
    real[2, :2] = 0
    tgt_real = torch.ones(B, T, dtype=torch.long)
    tgt_real[1, -2:] = 0
    types = numbers(0, 2, B, L)
    if case.family in ("roberta", "xlm-roberta") and case.settings["type_vocab_size"] == 1:
        types.zero_()
    labels = numbers(5, V, B, L).masked_fill((numbers(0, 2, B, L) == 0) | (real == 0), -100)
    if case.part == "lm" and not case.decodes:
        # Behind padding on the left, theirs predict the first token of a row from what stands at the padding.
        labels[2, 2] = -100
    ids = numbers(5, V, B, L).masked_fill(real == 0, pad)
    tgt = numbers(5, V, B, T).masked_fill(tgt_real == 0, pad)
    return Inputs(*(x[:rows] for x in (ids, real, types, labels, tgt, tgt_real)))


def differences(case: Case, folder: Path, std: float, seed: int) -> dict[str, float]:
    """The largest difference of every output, relative to 1 + |their value|: ours of their folder against
    theirs.
    """
    theirs = build_theirs(case, std, seed)
    save_theirs(theirs, folder)
    ours = build_ours(case, folder)
    batch = inputs_of(case, theirs.config.pad_token_id or 0, seed)
    with torch.no_grad():
        compare = _sequence_to_sequence if case.decodes else _encoder
        return {
            name: float(((one - other).abs() / (1 + other.abs())).max())
            for name, one, other in compare(case, ours, theirs, batch)
        }


def _encoder(
    case: Case, ours: Model, theirs: nn.Module, batch: Inputs
) -> Iterator[tuple[str, Tensor, Tensor]]:
    keywords: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.real}
    inputs = {"src": batch.ids, "seg": batch.real * (1 + batch.types)}
    if case.family not in ("distilbert", "gpt2"):
        keywords["token_type_ids"] = batch.types
    if case.family not in ("roberta", "xlm-roberta"):  # which count real tokens, as we do unasked
        inputs["pos"] = torch.arange(L).expand_as(batch.ids)
    if case.part == "choice":
        keywords = {name: x[:, None].repeat(1, CHOICES, 1) for name, x in keywords.items()}
        keywords["input_ids"][:, 1, 0] = 7
        inputs = {name: x.repeat_interleave(CHOICES, 0) for name, x in inputs.items()}
        inputs["src"][1::CHOICES, 0] = 7
    keywords.update(_labels(case, batch))
    out = theirs(**keywords, output_hidden_states=True)
    hidden = ours.encode(inputs).hidden
    seen = inputs["seg"] > 0
    yield "hidden", hidden[seen], out.hidden_states[-1][seen]
    yield from _heads(case, ours, inputs, hidden, seen, out, batch)


def _labels(case: Case, batch: Inputs) -> dict[str, Tensor]:
    """The labels their class takes."""
    rows = torch.arange(len(batch.ids)) % 2
    if case.part == "mlm sp":
        name = "sentence_order_label" if case.family == "albert" else "next_sentence_label"
        return {"labels": batch.labels, name: rows}
    if case.part in ("mlm", "lm"):
        return {"labels": batch.labels}
    return {"labels": rows} if case.part in ("cls", "choice", "sp") else {}


def _heads(
    case: Case, ours: Model, inputs: dict, hidden: Tensor, seen: Tensor, out: Any, batch: Inputs
) -> Iterator[tuple[str, Tensor, Tensor]]:
    rows = torch.arange(len(batch.ids)) % 2
    if case.part in ("mlm", "mlm sp", "lm"):
        kind = case.part.split()[0]
        logits = out.prediction_logits if case.part == "mlm sp" else out.logits
        yield "logits", getattr(ours.target, kind).logits(hidden)[seen], logits[seen]
        labels = batch.labels
        if kind == "lm":  # their labels are the tokens themselves, ours what comes next
            labels = torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], -100)], 1)
        terms = ours(inputs, {kind: labels.masked_fill(~seen, -100), "sp": rows})
        yield "loss", sum(term.loss_sum / term.count for term in terms.values()), out.loss
    if case.part == "rtd":
        yield "logits", replaced(ours.further, hidden)[seen], out.logits[seen]
    if case.part == "mlm sp":
        logits = out.sop_logits if case.family == "albert" else out.seq_relationship_logits
        yield "sentences", ours.target.sp.logits(hidden[:, 0]), logits
    elif case.part == "sp":
        yield "sentences", ours.target.sp.logits(hidden[:, 0]), out.logits
    elif case.part == "cls":
        yield "logits", ours.logits(inputs), out.logits
        term = ours(inputs, {"cls": rows})["cls"]
        yield "loss", term.loss_sum / term.count, out.loss
    elif case.part == "tok":
        yield "logits", ours.output_layer(hidden)[seen], out.logits[seen]
    elif case.part == "qa":
        theirs = torch.stack([out.start_logits, out.end_logits], -1)
        yield "logits", ours.output_layer(hidden)[seen], theirs[seen]
    elif case.part == "choice":
        first = pool("first", hidden, inputs["seg"])
        logits = ours.output_layer(ours.act(ours.output_layer_1(first))).view(-1, CHOICES)
        yield "logits", logits, out.logits
    elif case.part == "" and case.family in POOLED:
        full = seen[:, 0]
        yield "pooled", torch.tanh(ours.target.sp.linear_1(hidden[full, 0])), out.pooler_output[full]


def _sequence_to_sequence(
    case: Case, ours: Model, theirs: nn.Module, batch: Inputs
) -> Iterator[tuple[str, Tensor, Tensor]]:
    labels = batch.tgt.roll(-1, 1).masked_fill(batch.tgt_real == 0, -100)
    keywords = {"labels": labels} if case.part == "lm" else {}
    out = theirs(
        input_ids=batch.ids,
        attention_mask=batch.real,
        decoder_input_ids=batch.tgt,
        decoder_attention_mask=batch.tgt_real,
        output_hidden_states=True,
        **keywords,
    )
    source = {"src": batch.ids, "seg": batch.real, "pos": torch.arange(L).expand_as(batch.ids)}
    target = {"tgt_in": batch.tgt, "tgt_seg": batch.tgt_real}
    hidden = ours.encode(source).hidden
    decoded = ours.decode(target, hidden, batch.real).hidden
    seen, tgt_seen = batch.real > 0, batch.tgt_real > 0
    yield "encoder", hidden[seen], out.encoder_last_hidden_state[seen]
    yield "decoder", decoded[tgt_seen], out.decoder_hidden_states[-1][tgt_seen]
    if case.part == "lm":
        yield "logits", ours.target.lm.logits(decoded)[tgt_seen], out.logits[tgt_seen]
        term = ours({**source, **target}, {"lm": labels})["lm"]
        yield "loss", term.loss_sum / term.count, out.loss


def round_trip(case: Case, folder: Path, std: float, seed: int) -> list[str]:
    """Their folder, read by us, exported, read by them: the tensors that did not come back to the bit."""
    theirs = build_theirs(case, std, seed)
    save_theirs(theirs, folder / "theirs")
    ours = build_ours(case, folder / "theirs")
    companion = read_companion(folder / "theirs")
    export_folder(
        folder / "ours",
        {**ours.state_dict(), **ours.further},
        ours.config,
        pick_family(case.family),
        case.part,
        labels=companion.labels,
        extra=companion.extra,
    )
    before = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    if case.family in ("t5-v1_1", "mt5"):  # which they would tie
        after = read_state(folder / "ours")
        before = {name: before[name] for name in before if "embed_tokens" not in name}
    else:
        again, report = type(theirs).from_pretrained(folder / "ours", output_loading_info=True)
        assert not report["unexpected_keys"] and not report["mismatched_keys"], report
        missing = [name for name in report["missing_keys"] if "pooler" not in name]
        assert not missing, report
        after = again.state_dict()
    return [name for name in before if not _same(case, name, before[name], after.get(name))]


def _same(case: Case, name: str, before: Tensor, after: Tensor | None) -> bool:
    if "pooler" in name and (case.family, case.part) in LOSES_POOLER:
        return True
    if after is None or (name == "cls.predictions.bias" and case.variant == "untied"):
        return after is not None  # of an untied head they use decoder.bias alone
    if name.endswith(("embed_positions.weight", "position_embeddings.weight")) and case.family in (
        "bart",
        "roberta",
        "xlm-roberta",
    ):
        before, after = before[2:], after[2:]  # two rows in front that no token takes
    return torch.equal(before, after)
