"""Training where the model lies on a GPU, as far as a machine without one can tell: see `card.py`."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from tests.training.card import CARD, Card, OnCard, on_card, pretend
from uer.config.model import ModelConfig
from uer.config.training import AdversarialOptions, OptimizerOptions, TrainOptions
from uer.data.batch import Batch
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.tasks.classifier import ClassifierModel
from uer.tasks.ner import NerModel
from uer.tasks.simcse import SimcseModel
from uer.training.adversarial import build_attack
from uer.training.ema import WeightAverage
from uer.training.engines.base import Engine
from uer.training.loop import fit
from uer.training.optimizers import build_optimizer
from uer.training.precision import Precision
from uer.training.report import pretraining_line
from uer.training.runlog import RunLog
from uer.training.schedulers import build_schedule
from uer.training.windows import Windows
from uer.training.workers import Workers

VOCAB = 40
FROZEN = r"linear_layers\.1\.bias|encoder.*\.?bias|gate_b|conv_b"  # some have a gradient of rounding alone
BERT = {
    **{"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2},
    **{"max_seq_length": 32, "dropout": 0.0, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"]},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm", "sp"], "tie_weights": True},
}
WORDS = {**BERT, "embedding": ["word"]}
SMALL = {"hidden_size": 8, "feedforward_size": 16, "factorized_embedding_parameterization": True}
STUDENTS = [{"layers_num": 1, "target": ["attention"]}, {"layers_num": 2, "target": ["states", "scores"]}]
CONFIGS = {
    "bert": BERT,
    "gpt": {**BERT, "mask": "causal", "target": ["lm"]},
    "unilm": {**BERT, "mask": "causal_with_prefix", "target": ["lm"]},
    "t5": {
        **{**WORDS, "tgt_embedding": ["word"], "decoder": "transformer", "target": ["lm"]},
        **{"relative_position_embedding": True, "layernorm": "t5"},
    },
    "health": {**BERT, "target": ["rtd", "mts", "csp"], "csp_size": 8, "generator": SMALL},
    "students": {**BERT, "target": ["mlm", "students"], "students": STUDENTS},
    "lstm": {**WORDS, "encoder": "bilstm", "target": ["bilm"]},
    "gatedcnn": {**WORDS, "encoder": "gatedcnn", "target": ["lm"], "kernel_size": 3, "block_size": 2},
}
TASKS = {
    "classifier": lambda config: ClassifierModel.build(config.replace(labels_num=3), VOCAB),
    "ner": lambda config: NerModel.build(config.replace(labels_num=3), VOCAB, crf=True),
    "simcse": lambda config: SimcseModel.build(config, VOCAB),
}


def batch(kind: str) -> Batch:
    """Four rows of four lengths, with labels for everything."""
    draw = np.random.default_rng(3)
    seg = (np.arange(12) < np.array([12, 9, 5, 7])[:, None]).astype(np.int64)
    src = draw.integers(5, VOCAB, seg.shape) * seg
    masked = np.where((draw.random(seg.shape) < 0.3) & (seg > 0), src, -100)
    every = np.where(seg > 0, src, -100)
    inputs, labels = {"src": src, "seg": seg}, {"mlm": masked, "sp": draw.integers(0, 2, 4), "lm": every}
    if kind == "unilm":
        inputs["seg"] = seg * (1 + (np.arange(12) > 3))
    if kind == "t5":
        inputs |= {"tgt_in": src, "tgt_seg": seg}
    if kind == "simcse":
        inputs = {f"{name}_{side}": x for side in (0, 1) for name, x in inputs.items()}
    if kind == "ner":
        inputs["first"] = seg
    if kind in TASKS:
        labels = {"cls": draw.integers(0, 3, 4), "ner": np.where(seg > 0, src % 3, -100)}
    labels |= {f"bilm_{way}": every for way in ("forward", "backward")}
    counts = dict.fromkeys(
        (*labels, "rtd", "mts", "csp", *(f"{name}_{k}" for k in (0, 1) for name in ("attention", "states"))),
        4,
    )
    return Batch(inputs, labels, {**counts, "scores_1": 4}, np.arange(4))


def trained(kind: str, card: bool, optimizer: str, attacked: bool) -> dict[str, torch.Tensor]:
    """The weights after four batches."""
    torch.manual_seed(0)
    config = ModelConfig.pick(CONFIGS.get(kind, {**BERT, "pooling": "mean"}))
    model = TASKS[kind](config) if kind in TASKS else build_model(config, VOCAB)
    initialize(model)
    device = CARD if card else torch.device("cpu")
    if card:
        on_card(model)
    options = OptimizerOptions(learning_rate=0.01, optimizer=optimizer, freeze=FROZEN)
    made = build_optimizer(model, options)
    with Card() if card else nullcontext():
        engine = Engine(model, made, Workers(device))
        fit(
            model,
            lambda step: batch(kind),
            TrainOptions(report_steps=2, gradient_checkpointing=kind == "gpt"),
            optimizer=made,
            engine=engine,
            schedule=build_schedule(options, 9),
            windows=Windows(4, 2),
            precision=Precision("fp32", device),
            log=RunLog(pretraining_line, total=4, quiet=True),
            attack=build_attack(model, AdversarialOptions(use_adv=attacked), engine),
            average=WeightAverage(engine, 0.9),
            workers=engine.workers,
        )
    weights = {name: param.detach() for name, param in model.named_parameters()}
    return {name: x.held if isinstance(x, OnCard) else x for name, x in weights.items()}


@pytest.mark.parametrize(
    ("kind", "optimizer", "attacked"),
    [
        *((kind, "adamw", False) for kind in (*CONFIGS, *TASKS) if kind not in ("classifier", "students")),
        *(
            ("classifier", "adamw", True),
            ("students", "adamw", False),
            ("gpt", "muon", False),
            ("bert", "adafactor", False),
        ),
    ],
)
def test_a_model_on_a_card_is_trained_to_the_same_weights(monkeypatch, kind, optimizer, attacked):
    pretend(monkeypatch)
    here, there = (trained(kind, card, optimizer, attacked) for card in (False, True))
    near = 2e-3 if optimizer == "muon" else 1e-4  # it makes matrices orthogonal in bf16 on a GPU
    for name, value in here.items():
        torch.testing.assert_close(there[name], value, rtol=1e-3, atol=near, msg=name)


def test_what_is_left_behind_is_found():
    with Card(), pytest.raises(RuntimeError, match="is given tensors of the CPU and of a GPU"):
        torch.zeros(2, device="cuda") + torch.arange(2)
    with Card():
        assert (torch.zeros(2).to("cuda") + torch.arange(2, device="cuda") * 2).tolist() == [0.0, 2.0]
        assert (torch.ones(2, device="cuda") * 3).to("cpu").tolist() == [3.0, 3.0]
