"""Optimisers against UER-py's own numbers, torch.optim, transformers and float64 formulas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.optimization import Adafactor as TheirAdafactor

from uer.config.training import OPTIMIZERS as NAMES
from uer.config.training import OptimizerOptions
from uer.errors import CheckpointError
from uer.training.muon import orthogonal
from uer.training.optimizers import (
    OPTIMIZERS,
    Adafactor,
    AdamW,
    Lion,
    Muon,
    build_optimizer,
    gradient_norm,
    load_named_state,
    named_state,
)
from uer.training.parameters import is_decayed, parameter_groups
from uer.training.schedulers import build_schedule

CASES = [
    f"optim_{o}_{s}_{r}"
    for o in ("adamw", "adafactor")
    for s in ("finetune", "pretrain")
    for r in ("constant", "linear")
]


def shapes(seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    sizes = {
        "a.weight": (5, 7),
        "b.weight": (19,),
        "c.bias": (7,),
        "layer_norm.gamma": (7,),
        "encoder.m.weight": (4, 6),
        "conv.weight": (2, 3, 4, 5),
    }
    return {
        name: nn.Parameter(torch.randn(size, generator=generator, dtype=torch.float64).to(dtype))
        for name, size in sizes.items()
    }


def give_gradients(params: dict[str, nn.Parameter], step: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1000 + step)
    for param in params.values():
        drawn = torch.randn(param.shape, generator=generator, dtype=torch.float64)
        param.grad = (drawn * scale).to(param.dtype)


def groups_of(params: dict[str, nn.Parameter], decay: float, optimizer: str = "adamw") -> list[dict]:
    options = OptimizerOptions(weight_decay=decay, optimizer=optimizer, learning_rate=1e-3)
    return parameter_groups(params.items(), options)


def their_groups(params: dict[str, nn.Parameter]) -> list[dict]:
    """What a decay of 0.1 comes to in a program that takes groups as they are."""
    decayed = {True: 0.1, False: 0.0}
    return [
        {"params": [p for name, p in params.items() if is_decayed(name) is kind], "weight_decay": decay}
        for kind, decay in decayed.items()
    ]


def five_steps(*sides: tuple[dict[str, nn.Parameter], torch.optim.Optimizer]) -> None:
    """The same gradients for all."""
    for step in range(5):
        for params, optimizer in sides:
            give_gradients(params, step)
            optimizer.step()


def test_the_names_are_those_of_the_flags():
    assert tuple(OPTIMIZERS) == NAMES


@pytest.mark.parametrize("case", CASES)
def test_thirty_steps_equal_uer_pys(golden, case):
    about, tensors = golden(case)
    flags = dict(zip(about["flags"][::2], about["flags"][1::2]))
    params = {
        k.removeprefix("in.param."): nn.Parameter(v.clone())
        for k, v in tensors.items()
        if k.startswith("in.param.")
    }
    groups = [
        {"params": [(name, params[name]) for name in group["names"]], "weight_decay": group["weight_decay"]}
        for group in about["groups"]
    ]
    options = OptimizerOptions(
        learning_rate=float(flags["--learning_rate"]),
        scheduler=flags["--scheduler"],
        warmup=float(flags["--warmup"]),
    )
    optimizer = OPTIMIZERS[flags["--optimizer"]](groups, options)
    schedule = build_schedule(options, about["steps"])
    for step in range(about["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        assert schedule.rate(step) == pytest.approx(float(tensors["out.lr"][step]), rel=1e-12)
        for name, param in params.items():
            param.grad = tensors[f"in.grad.{name}"][step].clone()
        optimizer.step()
        for name, param in params.items():
            key = f"out.step{step + 1}.{name}"
            if key in tensors:
                torch.testing.assert_close(
                    param.detach(), tensors[key], atol=1e-6, rtol=1e-5 if step else 1e-6
                )


@pytest.mark.parametrize("case", [c for c in CASES if "pretrain" in c])
def test_decay_groups_equal_uer_pys(golden, case):
    about, _ = golden(case)
    for group in about["groups"]:
        assert all(is_decayed(name) == bool(group["weight_decay"]) for name in group["names"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uers_adamw_follows_its_formula(dtype):
    params, expected = shapes(dtype=dtype), shapes()
    optimizer = AdamW(groups_of(params, 0.1), lr=0.01)
    means = {name: torch.zeros_like(param) for name, param in expected.items()}
    squares = {name: torch.zeros_like(param) for name, param in expected.items()}
    for step in range(5):
        give_gradients(params, step)
        optimizer.step()
        for name, param in expected.items():
            grad = params[name].grad.double()
            means[name] = 0.9 * means[name] + 0.1 * grad
            squares[name] = 0.999 * squares[name] + 0.001 * grad**2
            param.data -= 0.01 * means[name] / (squares[name].sqrt() + 1e-6)
            param.data -= 0.01 * (0.1 if is_decayed(name) else 0.0) * param.data
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for name, param in params.items():
        torch.testing.assert_close(param.double(), expected[name], atol=tolerance, rtol=tolerance)


def test_standard_adamw_equals_torchs():
    ours, theirs = shapes(), shapes()
    optimizer = AdamW(groups_of(ours, 0.1), lr=0.01, bias_correction=True)
    reference = torch.optim.AdamW(their_groups(theirs), lr=0.01, eps=1e-6, foreach=False)
    five_steps((ours, optimizer), (theirs, reference))
    for name, param in ours.items():
        torch.testing.assert_close(param, theirs[name], atol=1e-13, rtol=1e-13)


def test_adafactor_equals_transformers_in_all_dimensions():
    ours, theirs = shapes(), shapes()
    optimizer = Adafactor(groups_of(ours, 0.1), lr=0.01)
    reference = TheirAdafactor(their_groups(theirs), lr=0.01, scale_parameter=False, relative_step=False)
    five_steps((ours, optimizer), (theirs, reference))
    for name, param in ours.items():
        torch.testing.assert_close(param, theirs[name], atol=1e-12, rtol=1e-12)


def test_lion_follows_its_formula():
    params, expected = shapes(), shapes()
    optimizer = Lion(groups_of(params, 0.1), lr=0.01)
    means = {name: torch.zeros_like(param) for name, param in expected.items()}
    for step in range(5):
        give_gradients(params, step)
        optimizer.step()
        for name, param in expected.items():
            grad = params[name].grad
            param.data *= 1 - 0.01 * (0.1 if is_decayed(name) else 0.0)
            param.data -= 0.01 * torch.sign(0.9 * means[name] + 0.1 * grad)
            means[name] = 0.99 * means[name] + 0.01 * grad
    for name, param in params.items():
        torch.testing.assert_close(param, expected[name], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("size", [(16, 16), (8, 24), (40, 10)])
def test_orthogonal_has_singular_values_near_one(size):
    matrix = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.4 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = torch.linalg.svdvals((u @ v).T @ orthogonal(matrix))
    assert inner.min() > -1e-9


def test_muon_equals_torchs_on_matrices_and_adamw_elsewhere():
    def named(seed: int = 0) -> dict[str, nn.Parameter]:
        draw = torch.Generator().manual_seed(seed)
        sizes = {
            "embedding.word.weight": (7, 5),
            "encoder.a.weight": (6, 9),
            "encoder.a.bias": (4,),
        }
        return {name: nn.Parameter(torch.randn(size, generator=draw)) for name, size in sizes.items()}

    ours, theirs = named(), named()
    optimizer = Muon(groups_of(ours, 0.1, "muon"), lr=0.01)
    matrix = theirs["encoder.a.weight"]
    muon = torch.optim.Muon(
        [matrix], lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    others = {name: param for name, param in theirs.items() if param is not matrix}
    adamw = AdamW(groups_of(others, 0.1), lr=0.01)
    for step in range(3):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        optimizer.step()
        muon.step()
        adamw.step()
    for name in others:
        assert torch.equal(ours[name], theirs[name])
    # torch's iterates in bf16
    moved = (theirs["encoder.a.weight"] - named()["encoder.a.weight"]).norm()
    assert (ours["encoder.a.weight"] - matrix).norm() < 0.02 * moved


@pytest.mark.parametrize("name", NAMES)
def test_scaled_gradients_give_the_same_step(name):
    plain, scaled = shapes(), shapes()
    options = OptimizerOptions(optimizer=name, learning_rate=0.01)
    for step in range(3):
        for params, factor in ((plain, 1.0), (scaled, 8.0)):
            if step == 0:
                params["optimizer"] = OPTIMIZERS[name](groups_of(params, 0.01, name), options)
            optimizer = params.pop("optimizer")
            give_gradients(params, step, factor)
            optimizer.step(grad_scale=torch.tensor(factor))
            params["optimizer"] = optimizer
    for key in shapes():
        torch.testing.assert_close(plain[key], scaled[key], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_found_infinity_changes_nothing(name):
    params = shapes(dtype=torch.float32)
    optimizer = OPTIMIZERS[name](groups_of(params, 0.01, name), OptimizerOptions(optimizer=name))
    give_gradients(params, 0)
    optimizer.step()
    before = {key: param.detach().clone() for key, param in params.items()}
    state = {key: value.clone() for key, value in named_state(optimizer).items()}
    give_gradients(params, 1, float("nan"))
    optimizer.step(grad_scale=torch.tensor(1.0), found_inf=torch.tensor(1.0))
    for key, param in params.items():
        assert torch.equal(param, before[key])
    for key, value in named_state(optimizer).items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("corrected", [False, True])
def test_state_carries_over_bit_for_bit(name, corrected):
    options = OptimizerOptions(optimizer=name, adam_bias_correction=corrected and name in ("adamw", "muon"))
    first, second = shapes(dtype=torch.float32), shapes(dtype=torch.float32)
    one = OPTIMIZERS[name](groups_of(first, 0.01, name), options)
    for step in range(3):
        give_gradients(first, step)
        one.step()
    two = OPTIMIZERS[name](groups_of(second, 0.01, name), options)
    load_named_state(two, {key: value.clone() for key, value in named_state(one).items()}, "x.state")
    for key, param in second.items():
        param.data.copy_(first[key].data)
    for params, optimizer in ((first, one), (second, two)):
        give_gradients(params, 3)
        optimizer.step()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_parameter_without_gradient_stays():
    params = shapes()
    optimizer = AdamW(groups_of(params, 0.5), lr=0.1)
    give_gradients(params, 0)
    params["a.weight"].grad = None
    before = params["a.weight"].detach().clone()
    optimizer.step()
    assert torch.equal(params["a.weight"], before)
    assert not any(key.endswith(":a.weight") for key in named_state(optimizer))


def test_foreign_state_is_refused():
    optimizer = AdamW(groups_of(shapes(), 0.0), lr=0.1)
    with pytest.raises(
        CheckpointError, match=r"x.state: holds the state of a parameter 'z' that is not trained now"
    ):
        load_named_state(optimizer, {"exp_avg:z": torch.zeros(1)}, "x.state")
    with pytest.raises(
        CheckpointError, match=r"x.state: the state of 'c.bias' has shape \[3\], the model's \[7\]"
    ):
        load_named_state(optimizer, {"exp_avg:c.bias": torch.zeros(3)}, "x.state")


def test_frozen_parameters_and_tied_ones():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[1].bias.requires_grad_(False)
    optimizer = build_optimizer(model, OptimizerOptions())
    assert [group["param_names"] for group in optimizer.param_groups] == [["0.weight"], ["0.bias"]]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


def test_gradient_norm():
    params = shapes()
    give_gradients(params, 0)
    expected = torch.cat([param.grad.flatten() for param in params.values()]).norm()
    assert float(gradient_norm(list(params.values()))) == pytest.approx(float(expected), rel=1e-12)
    params["c.bias"].grad[2] = float("nan")
    assert not torch.isfinite(gradient_norm(list(params.values())))
    assert float(gradient_norm([nn.Parameter(torch.zeros(2))])) == 0.0


def test_making_an_optimiser_does_not_import_torch_compile():
    code = (
        "import sys, torch; from uer.training.optimizers import AdamW; "
        "AdamW([{'params': [('a', torch.nn.Parameter(torch.zeros(2)))]}], lr=1.0).step(); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
