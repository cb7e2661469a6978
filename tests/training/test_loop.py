"""The training loop: exact gradients, schedule, skipping, saving, stopping."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.training.toy import Toy, batches, rows, states, train
from uer.config.training import OPTIMIZERS, AdversarialOptions, OptimizerOptions, TrainOptions
from uer.training.adversarial import build_attack
from uer.training.ema import WeightAverage
from uer.training.engines.base import Engine
from uer.training.loop import Evaluating, Saving
from uer.training.optimizers import build_optimizer, load_named_state
from uer.training.precision import Precision
from uer.training.workers import Workers


class Catch(torch.optim.Optimizer):
    """Keeps the gradients, the rates and what it was told, and changes nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__([{"params": list(model.named_parameters())}], {"lr": 0.0})
        self.seen: list[dict[str, torch.Tensor]] = []
        self.rates: list[float] = []

    def step(self, closure=None, *, grad_scale=None, found_inf=None) -> None:
        group = self.param_groups[0]
        self.rates.append(group["lr"])
        self.seen.append({n: p.grad / grad_scale for n, p in zip(group["param_names"], group["params"])})
        self.found_inf = found_inf


def gradients(
    size: int, count: int, dtype: torch.dtype, attack: bool = False
) -> list[dict[str, torch.Tensor]]:
    """Gradients of a window of `count` batches of `size` rows; no clipping."""
    model = Toy(dtype=dtype)
    caught = Catch(model)
    options = AdversarialOptions(use_adv=attack, adv_type="pgd")
    train(
        model,
        batches(size),
        count,
        size=count,
        optimizer=caught,
        optim=OptimizerOptions(max_grad_norm=0.0),
        attack=build_attack(model, options),
    )
    return caught.seen


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("attack", [False, True])
def test_a_window_is_one_batch_however_it_is_cut(dtype, tolerance, attack):
    whole = gradients(32, 1, dtype, attack)[0]
    for size, count in ((8, 4), (4, 8), (1, 32)):
        (cut,) = gradients(size, count, dtype, attack)
        for name, grad in whole.items():
            assert (cut[name] - grad).abs().max() <= tolerance * grad.abs().max(), name


@pytest.mark.parametrize("pieces", ["2", "5", "32"])
def test_a_batch_in_pieces_has_the_same_gradient(pieces):
    whole = gradients(32, 1, torch.float64)[0]
    model = Toy(dtype=torch.float64)
    caught = Catch(model)
    unclipped = OptimizerOptions(max_grad_norm=0.0)
    train(
        model, batches(32), 1, optimizer=caught, optim=unclipped, options=TrainOptions(micro_batches=pieces)
    )
    for name, grad in whole.items():
        assert (caught.seen[0][name] - grad).abs().max() <= 1e-10 * grad.abs().max(), name


class OneOfTwo(Workers):
    """A worker of two, told what all batches of the window hold together."""

    def __init__(self, total: torch.Tensor) -> None:
        super().__init__()
        self.size, self.total = 2, total

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return self.total


def test_the_mean_over_two_workers_is_the_gradient_of_one():
    counts = rows(np.arange(32)).counts
    total = torch.tensor([counts[name] for name in sorted(counts)] + [0], dtype=torch.float64)
    halves = []
    for rank in range(2):
        model = Toy(dtype=torch.float64)
        caught = Catch(model)
        train(
            model,
            lambda step, first=16 * rank: rows(np.arange(first, first + 16)),
            1,
            optimizer=caught,
            optim=OptimizerOptions(max_grad_norm=0.0),
            workers=OneOfTwo(total),
        )
        halves.append(caught.seen[0])
    for name, grad in gradients(32, 1, torch.float64)[0].items():
        mean = (halves[0][name] + halves[1][name]) / 2
        assert (mean - grad).abs().max() <= 1e-10 * grad.abs().max(), name


def test_the_gradient_is_that_of_the_mean_over_all_predictions():
    model = Toy(dtype=torch.float64)
    batch = rows(np.arange(32))
    src, labels = (
        torch.from_numpy(batch.inputs["src"]),
        {k: torch.from_numpy(v) for k, v in batch.labels.items()},
    )
    hidden = torch.tanh(model.inner(model.embedding(src)))
    loss = F.cross_entropy(model.mlm(hidden).flatten(0, 1), labels["mlm"].flatten(), ignore_index=-100)
    (loss + F.cross_entropy(model.sp(hidden.mean(1)), labels["sp"])).backward()
    caught = gradients(4, 8, torch.float64)[0]
    for name, param in model.named_parameters():
        torch.testing.assert_close(caught[name], param.grad, atol=1e-12, rtol=1e-10)


def test_the_last_short_window_counts_its_own_predictions():
    model = Toy(dtype=torch.float64)
    caught = Catch(model)
    train(model, batches(4), 7, size=4, optimizer=caught, optim=OptimizerOptions(max_grad_norm=0.0))
    reference = Toy(dtype=torch.float64)
    other = Catch(reference)
    train(
        reference,
        lambda step: rows(np.arange(16, 28)),
        1,
        optimizer=other,
        optim=OptimizerOptions(max_grad_norm=0.0),
    )
    assert len(caught.seen) == 2
    for name, grad in other.seen[0].items():
        torch.testing.assert_close(caught.seen[1][name], grad, atol=1e-13, rtol=1e-10)


def test_clipping_scales_to_the_norm_and_never_up():
    for limit, expected in ((0.05, 0.05), (1e6, None)):
        model = Toy(dtype=torch.float64)
        caught = Catch(model)
        train(model, batches(8), 1, optimizer=caught, optim=OptimizerOptions(max_grad_norm=limit))
        norm = torch.cat([grad.flatten() for grad in caught.seen[0].values()]).norm()
        plain = torch.cat([grad.flatten() for grad in gradients(8, 1, torch.float64)[0].values()]).norm()
        assert float(norm) == pytest.approx(expected or float(plain), rel=1e-9)


def test_the_schedule_counts_updates_and_update_k_uses_its_factor_of_k_minus_1():
    model = Toy()
    caught = Catch(model)
    optim = OptimizerOptions(learning_rate=1.0, warmup=0.5)
    train(model, batches(2), 8, size=2, optimizer=caught, optim=optim)
    assert caught.rates == [0.0, 0.5, 1.0, 0.5]


def test_groups_may_scale_the_rate():
    model = Toy()
    caught = Catch(model)
    caught.param_groups[0]["lr_scale"] = 0.1
    train(
        model,
        batches(2),
        1,
        optimizer=caught,
        optim=OptimizerOptions(learning_rate=1.0, scheduler="constant"),
    )
    assert caught.rates == [0.1]


def test_training_lowers_the_loss(lines):
    model = Toy()
    train(
        model,
        batches(16, of=64),
        200,
        optim=OptimizerOptions(learning_rate=0.05),
        options=TrainOptions(report_steps=100),
    )
    reports = [line for line in lines if line.startswith("|")]
    assert [line[:25] for line in reports] == ["|      100/     200 steps", "|      200/     200 steps"]
    losses = [float(line.split("loss_mlm:")[1].split("|")[0]) for line in reports]
    assert losses[1] < losses[0] / 10
    assert "acc_mlm: 1.000" in reports[1]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_starts_at_a_window_ends_with_the_same_bits(name, precision):
    optim = OptimizerOptions(optimizer=name, learning_rate=0.02)
    common = {"size": 3, "optim": optim, "precision": Precision(precision)}
    whole = Toy(dropout=0.2)
    expected = states(whole, train(whole, batches(4), 23, **common))

    model, kept = Toy(dropout=0.2), {}
    optimizer = build_optimizer(model, optim)

    def save(step, progress):
        kept[step] = (states(model, optimizer), progress)

    train(model, batches(4), 23, optimizer=optimizer, saving=Saving(save, 5), **common)
    assert sorted(kept) == [6, 12, 15, 21, 23], (
        "at the first end of a window from each multiple on, and at the end"
    )
    state, progress = kept[12]
    torch.rand(7)  # whatever else draws in between does not matter
    again = Toy(dropout=0.2, seed=99)
    again.load_state_dict({key: state[key] for key in again.state_dict()})
    optimizer = build_optimizer(again, optim)
    load_named_state(optimizer, {key: value for key, value in state.items() if ":" in key}, "x")
    train(again, batches(4), 23, optimizer=optimizer, start=12, progress=progress, **common)
    final = states(again, optimizer)
    assert final.keys() == expected.keys()
    assert all(torch.equal(final[key], expected[key]) for key in expected)


def test_evaluation_comes_where_asked_and_at_the_end_and_leaves_no_trace():
    def run(evaluate):
        model = Toy(dropout=0.5)

        def look(step):
            seen.append((step, model.training))
            model.eval()
            torch.rand(3)

        seen = []
        train(model, batches(4), 7, size=2, period=4, evaluating=Evaluating(look, 4) if evaluate else None)
        return model.state_dict(), seen

    plain, _ = run(False)
    looked, seen = run(True)
    assert seen == [(4, True), (7, True)]
    assert all(torch.equal(plain[key], looked[key]) for key in plain)


def test_the_running_mean_follows_its_formula_and_leaves_training_alone():
    plain, model = Toy(), Toy()
    optimizer = build_optimizer(model, OptimizerOptions(learning_rate=0.02, weight_decay=0.1))
    average = WeightAverage(Engine(model, optimizer, Workers()), 0.5)
    expected = {name: param.detach().double() for name, param in model.named_parameters()}
    seen = []
    evaluating = Evaluating(
        lambda step: seen.append({n: p.detach().clone() for n, p in model.named_parameters()}), 1
    )
    train(model, batches(4), 8, average=average, evaluating=evaluating, optimizer=optimizer)
    train(plain, batches(4), 8)
    for done, weights in enumerate(seen):
        decay = min(0.5, (1 + done) / (10 + done))
        expected = {
            name: decay * mean + (1 - decay) * weights[name].double() for name, mean in expected.items()
        }
    means = dict(zip(average.engine.named, average.means))
    assert means.keys() == expected.keys()
    for name, mean in means.items():
        torch.testing.assert_close(mean.double(), expected[name], atol=1e-6, rtol=1e-5)
    with average.applied():
        assert torch.equal(model.mlm.weight, means["mlm.weight"])
        assert not torch.equal(model.mlm.weight, plain.mlm.weight)
    for name, param in model.named_parameters():
        assert torch.equal(param, dict(plain.named_parameters())[name])
