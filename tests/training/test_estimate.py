"""What training is said to take, held against what it then takes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from tests.training.toy import Toy, rows
from uer.config.model import ModelConfig
from uer.config.training import OPTIMIZERS, OptimizerOptions, TrainOptions
from uer.data.batch import IGNORE, Batch
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.tasks.classifier import ClassifierModel
from uer.tasks.ner import NerModel
from uer.training import estimate as estimate_module
from uer.training.estimate import (
    Estimate,
    dry_run,
    estimate,
    free_memory,
    operations,
    product_rate,
    settle_pieces,
)
from uer.training.flops import recurrent_flops
from uer.training.memory import recompute_layers
from uer.training.optimizers import build_optimizer, named_state
from uer.training.precision import Precision
from uer.training.windows import to_tensors
from uer.training.workers import Workers
from uer.utils.logging import init_logger

CPU = torch.device("cpu")
left_to_group = estimate_module._left_to_group
VOCAB, LENGTH = 300, 64
SIZES = {"hidden_size": 64, "emb_size": 64, "feedforward_size": 128, "heads_num": 2, "layers_num": 3}
KINDS = {
    "bert": {"embedding": ("word", "pos", "seg"), "target": ("mlm", "sp"), "tie_weights": True},
    "gpt": {"embedding": ("word", "pos"), "target": ("lm",), "mask": "causal"},
    "gru": {"embedding": ("word",), "target": ("mlm",), "encoder": "gatedcnn"},
    "t5": {
        **{"embedding": ("word",), "tgt_embedding": ("word",), "decoder": "transformer", "target": ("lm",)},
        **{"relative_position_embedding": True, "layernorm": "t5", "layernorm_positioning": "pre"},
    },
    "lstm": {"embedding": ("word",), "target": ("mlm",), "encoder": "lstm"},
    "classifier": {"embedding": ("word", "pos", "seg"), "target": ("mlm",)},
    "ner": {"embedding": ("word", "pos", "seg"), "target": ("mlm",)},
}
TASKS = {
    "classifier": lambda config: ClassifierModel.build(config.replace(labels_num=3), VOCAB),
    "ner": lambda config: NerModel.build(config.replace(labels_num=5), VOCAB, crf=True),
}
WIDE = {"hidden_size": 256, "emb_size": 256, "feedforward_size": 1024, "heads_num": 4, "layers_num": 6}
CONVOLUTIONS = {"kernel_size": 3, "block_size": 2}


def model_and_batch(kind: str, count: int = 24, length: int = LENGTH, **more):
    """A model, and rows of many lengths."""
    values = {**SIZES, "max_seq_length": length, "dropout": 0.1, "hidden_act": "gelu", **KINDS[kind], **more}
    if kind == "gru":
        values |= CONVOLUTIONS
    config = ModelConfig.pick(values)
    model = TASKS[kind](config) if kind in TASKS else build_model(config, VOCAB)
    initialize(model)
    draw = np.random.default_rng(3)
    lengths = draw.integers(length // 4, length + 1, count)
    seg = (np.arange(length) < lengths[:, None]).astype(np.int64)
    src = draw.integers(5, VOCAB, seg.shape) * seg
    some = np.where((draw.random(seg.shape) < 0.15) & (seg > 0), src, IGNORE)
    every, inputs = np.where(seg > 0, src, IGNORE), {"src": src, "seg": seg}
    if kind == "t5":
        inputs |= {"tgt_in": src[:, : length // 2], "tgt_seg": seg[:, : length // 2]}
    if kind == "ner":
        inputs["first"] = seg
    labels = {
        "bert": {"mlm": some, "sp": draw.integers(0, 2, count)},
        "gpt": {"lm": every},
        "t5": {"lm": every[:, : length // 2]},
        "classifier": {"cls": draw.integers(0, 3, count)},
        "ner": {"ner": np.where(seg > 0, src % 5, IGNORE)},
    }
    return model, Batch.counted(inputs, labels.get(kind, {"mlm": some}), np.arange(count))


def uncounted(kind, batch) -> int:
    """Operations of the LSTM kernel, which torch does not count: three layers, four gates, E + H numbers."""
    rows = batch.inputs["seg"].sum(axis=1)
    return 3 * 2 * 3 * 4 * 64 * (64 + 64) * len(rows) * rows.max() if kind == "lstm" else 0


def real_tokens(batch) -> int:
    """Of all sides."""
    return sum(np.count_nonzero(x) for name, x in batch.inputs.items() if name.endswith("seg"))


def measured(model, batch, precision):
    """Operations of a step; bytes that torch still holds between its forward and backward pass; its peak,
    where the gradients of an earlier batch are there already.

    The gradient of the output layer, which is made in the forward pass, is not among the activations.
    """
    converted = to_tensors(batch)
    names = ("target.mlm.linear_2", "target.lm.output_layer")
    head = [p for name, m in model.named_modules() if name in names for p in m.parameters()]
    heads = sum(p.numel() * p.element_size() for p in head)
    model.train()
    with precision.autocast():
        terms = model(converted.inputs, converted.labels)
    sum(term.loss_sum for term in terms.values()).backward()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        with precision.autocast():
            terms = model(converted.inputs, converted.labels)
        loss = sum(term.loss_sum for term in terms.values())
        with record_function("between"):
            torch.zeros(1)
        loss.backward()
    model.zero_grad()
    events = list(seen.profiler.kineto_results.events())
    between = next(event for event in events if event.name() == "between").start_ns()
    memory = sorted(
        ((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"),
        key=lambda event: event[0],
    )
    peak = int(np.cumsum([size for _, size in memory]).max())
    with FlopCounterMode(display=False) as counter, precision.autocast():
        sum(t.loss_sum for t in model(converted.inputs, converted.labels).values()).backward()
    model.zero_grad()
    return counter.get_total_flops(), sum(size for at, size in memory if at <= between) - heads, peak


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_operations_and_activations_are_what_is_then_measured(kind, precision):
    model, batch = model_and_batch(kind)
    precision = Precision(precision)
    optimizer = build_optimizer(model, OptimizerOptions())
    found = estimate(model, batch, precision, optimizer, device=CPU)
    flops, activations, _ = measured(model, batch, precision)
    assert found.flops == pytest.approx(flops + uncounted(kind, batch), rel=0.15)
    assert found.activations == pytest.approx(activations, rel=0.15)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.rows == 24 and found.tokens == real_tokens(batch)


def test_operations_of_a_card_s_recurrent_layers_follow_their_shapes():
    """All layers are one call there: [S, T, E], matrices and biases of each layer."""
    counted = recurrent_flops()
    weights = [(32, 5), (32, 8), (32,), (32,), (32, 8), (32, 8), (32,), (32,)]
    forward = 2 * 3 * 7 * (32 * 5 + 3 * 32 * 8)
    assert counted[torch.ops.aten._cudnn_rnn]((3, 7, 5), weights, 4, None) == forward
    assert counted[torch.ops.aten._cudnn_rnn_backward]((3, 7, 5), weights, 4, (9,)) == 2 * forward
    for kernel in counted:
        assert next(iter(kernel.default._schema.arguments)).name == "input"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_multiplied_counts_the_same(kind, precision, monkeypatch):
    model, batch = model_and_batch(kind)
    found = estimate_module.one_pass(model, batch, Precision(precision), CPU)
    monkeypatch.setattr(estimate_module, "Unmultiplied", contextlib.nullcontext)
    assert found == estimate_module.one_pass(model, batch, Precision(precision), CPU)


def test_only_what_is_counted_is_left_out():
    a, b, out = torch.full((2, 3), 2.0), torch.ones(3, 4), torch.ones(2, 4)
    with estimate_module.Unmultiplied():
        assert not (a @ b).any() and torch.equal(a + a, torch.full((2, 3), 4.0))
        torch.mm(a, b, out=out)
    assert torch.equal(out, torch.full((2, 4), 6.0)), "what is written into another tensor is computed"


@pytest.mark.parametrize("kind", KINDS)
def test_operations_alone_take_one_pass_and_are_those_of_all_rows(kind):
    model, batch = model_and_batch(kind)
    flops, *_ = measured(model, batch, Precision("fp32"))
    found = operations(model, batch, Precision("fp32"), device=CPU)
    assert found == pytest.approx((flops + uncounted(kind, batch)) / real_tokens(batch), rel=0.1)
    recompute_layers(model, True)
    again = operations(model, batch, Precision("fp32"), device=CPU)
    assert again == found, "layers computed twice count once"


def test_operations_follow_the_formula():
    model, batch = model_and_batch("bert")
    found = estimate(model, batch, Precision("fp32"), build_optimizer(model, OptimizerOptions()), device=CPU)
    h, f, layers, pairs = 64, 128, 3, 24 * LENGTH**2  # attention over short rows includes their padding
    tokens, labelled = batch.inputs["seg"].sum(), batch.labels["mlm"] != IGNORE
    labelled[:, 0] = True  # of the first token the sentences are told apart
    read = labelled.sum()  # of the last layer only these are computed, over the keys and values of all
    flops = (
        6 * ((layers - 1) * (4 * h * h + 2 * h * f) + 2 * h * h) * tokens + 6 * (2 * h * h + 2 * h * f) * read
    )
    flops += 12 * h * ((layers - 1) * pairs + read * LENGTH) + 6 * batch.counts["mlm"] * (h * VOCAB + h * h)
    assert found.flops == pytest.approx(flops, rel=0.15)


@pytest.mark.parametrize(
    ("kind", "precision"), [("bert", "fp32"), ("gpt", "bf16"), ("t5", "fp32"), ("ner", "bf16")]
)
def test_recomputed_layers_keep_less_and_compute_more(kind, precision):
    """What is kept until then, and the one layer that is being computed again: the peak of a step."""
    model, batch = model_and_batch(kind, 8, 128, **WIDE)
    precision, optimizer = Precision(precision), build_optimizer(model, OptimizerOptions())
    plain, saved = (
        estimate(model, batch, precision, optimizer, device=CPU, recompute=recompute)
        for recompute in (False, True)
    )
    assert saved.activations < 0.5 * plain.activations and saved.flops > 1.2 * plain.flops
    model.train()
    peak = measured(model, batch, precision)[2]
    assert saved.activations == pytest.approx(peak, rel=0.15)
    utilisation = saved.machine(precision).flops_per_token
    assert utilisation == pytest.approx(plain.flops_per_token, rel=0.1), "layers computed twice count once"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_an_optimiser_is_what_it_then_is(name):
    model, batch = model_and_batch("bert")
    optimizer = build_optimizer(model, OptimizerOptions(optimizer=name))
    found = estimate(model, batch, Precision("fp32"), optimizer, device=CPU)
    assert not named_state(optimizer) and all(p.grad is None for p in model.parameters())
    converted = to_tensors(batch)
    sum(term.loss_sum for term in model(converted.inputs, converted.labels).values()).backward()
    optimizer.step()
    state = named_state(optimizer).values()
    assert found.optimizer == pytest.approx(sum(x.numel() * x.element_size() for x in state), rel=0.15)
    grads = sum(p.grad.numel() * 4 for p in model.parameters() if p.grad is not None)
    assert found.gradients == pytest.approx(grads, rel=0.15)


def test_nothing_moves():
    model, batch = model_and_batch("bert")
    before = {name: x.clone() for name, x in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model.eval()
    estimate(model, batch, Precision("bf16"), build_optimizer(model, OptimizerOptions()), device=CPU)
    assert torch.equal(torch.rand(3), expected) and not model.training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


GIGA = Estimate(10, 8, 1e9, 1e9, 2e9, 1e9, 9e9, rows=32, tokens=4000, flops=1e12)


@pytest.mark.parametrize(("free", "pieces"), [(100e9, 1), (13e9, 2), (9e9, 3), (6e9, 20), (4e9, 32)])
def test_as_many_pieces_as_memory_asks_for(free, pieces):
    assert GIGA.pieces(free) == pieces
    if free > 4e9:
        assert GIGA.in_pieces(pieces).total <= 0.9 * free
        assert pieces == 1 or GIGA.in_pieces(pieces - 1).total > 0.9 * free


def test_what_a_dry_run_says(capsys):
    init_logger()
    with pytest.raises(SystemExit) as ended:
        dry_run(GIGA, Workers(), "lion")
    said = capsys.readouterr().err
    assert ended.value.code == 0 and "Nothing was trained or written (--dry_run)." in said
    assert "Parameters: 10, 2 of them frozen; 1.00 GB, gradients 1.00 GB" in said
    assert "Optimiser (lion): 2.00 GB" in said and "32 rows (4,000 real tokens): 9.00 GB" in said
    assert "it fits." in GIGA.lines(100e9, "lion")[-1]
    assert "does not fit; try --batch_size auto" in GIGA.lines(10e9, "lion")[-1]


def test_auto_becomes_a_number_and_a_number_stays(monkeypatch, capsys):
    init_logger()
    monkeypatch.setattr("uer.training.estimate.free_memory", lambda device: 8e9)
    assert settle_pieces(TrainOptions(micro_batches="auto"), GIGA, Workers()).micro_batches == "3"
    assert "A batch of 32 rows is computed in 3 pieces" in capsys.readouterr().err
    assert settle_pieces(TrainOptions(micro_batches="5"), GIGA, Workers()).micro_batches == "5"


class Two(Workers):
    """One of two; the other one needs so many pieces."""

    def __init__(self, other: int) -> None:
        super().__init__()
        self.size, self.other = 2, other

    def any(self, flag):
        return torch.maximum(flag, torch.tensor(float(self.other)))


def test_workers_share_a_machine_and_make_as_many_pieces(monkeypatch):
    auto = TrainOptions(micro_batches="auto")
    monkeypatch.setattr("uer.training.estimate.free_memory", lambda device: 16e9)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert settle_pieces(auto, GIGA, Two(1)).micro_batches == "3", "each has half of the memory"
    assert settle_pieces(auto, GIGA, Two(7)).micro_batches == "7", "the other worker needs more"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert settle_pieces(auto, GIGA, Two(1)).micro_batches == "1", "the other one is on another machine"


def test_what_a_card_keeps_for_itself_is_free(monkeypatch):
    card = {"mem_get_info": (100, 900), "memory_reserved": 50, "memory_allocated": 20}
    for name, value in card.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory(torch.device("cuda", 0)) == 130


def test_the_machine_has_memory_and_a_rate():
    assert free_memory(CPU) > 1e7


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, []),
        ({"memory.max": "max", "memory.current": "5"}, []),
        ({"memory.max": "100", "memory.current": "70", "memory.stat": "anon 9\ninactive_file 25"}, [55]),
        ({"memory.max": "100", "memory.current": "130", "memory.stat": "anon 9"}, [0]),
        (
            {
                "memory/memory.limit_in_bytes": "50",
                "memory/memory.usage_in_bytes": "20",
                "memory/memory.stat": "total_inactive_file 4",
            },
            [34],
        ),
    ],
)
def test_a_containers_limit_counts(tmp_path, monkeypatch, files, left):
    """Pages of files that nobody uses are given back before anything fails."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert left_to_group(tmp_path) == left
    monkeypatch.setattr(estimate_module, "_left_to_group", lambda: [7])
    assert free_memory(CPU) == 7
    assert 1e8 < product_rate(Precision("fp32")) < 1e15


def test_a_model_of_ones_own_is_counted_too():
    model = Toy()
    optimizer = build_optimizer(model, OptimizerOptions())
    found = estimate(model, rows(np.arange(16)), Precision("fp32"), optimizer, device=CPU)
    assert found.flops > 0 and found.tokens == 96 and found.rows == 16
