"""Golden cases of training, for whole folders of them (`tests/models/golden_checks.py`): optimisers,
schedules and adversarial steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.models.golden import Case, load_case, loaded
from uer.config.training import AdversarialOptions, OptimizerOptions
from uer.tasks.body import task_body
from uer.tasks.classifier import ClassifierModel
from uer.training.adversarial import build_attack
from uer.training.optimizers import OPTIMIZERS
from uer.training.schedulers import build_schedule

Check = Callable[[Path, Path], dict[str, float]]
PILED_UP = {"pgd_projected": 4e-5}
"""four steps along normed gradients pile up rounding: float64 is so far from UER's own float32 there"""


def checker(meta: Mapping[str, Any]) -> Check | None:
    """The check of a case of training, or None when it is another's."""
    if "optimizer_defaults" in meta:
        return optimiser
    if any(name.startswith("out.lr.") for name in meta.get("tensors", {})):
        return schedule
    return attack if "attacked_parameters" in meta else None


def _options(case: Case, **more: Any) -> OptimizerOptions:
    """What UER's flags say."""
    flags = dict(zip(case.meta["flags"][::2], case.meta["flags"][1::2]))
    known = {
        name: float(flags[f"--{name}"])
        for name in ("learning_rate", "warmup", "lr_decay")
        if f"--{name}" in flags
    }
    return OptimizerOptions(**{**known, "scheduler": flags.get("--scheduler", "linear"), **more})


def apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to 1 + |value|."""
    return float(((ours - theirs).abs() / (1 + theirs.abs())).max())


def optimiser(path: Path, folder: Path) -> dict[str, float]:
    """All weights after the steps that UER kept, and the learning rate of each."""
    case = load_case(path.with_suffix(""))
    name = case.meta["flags"][case.meta["flags"].index("--optimizer") + 1]
    first = {key: x for key, x in case.tensors.items() if key.startswith("in.param.")}
    params = {key.removeprefix("in.param."): nn.Parameter(x.clone()) for key, x in first.items()}
    groups = [
        {"params": [(key, params[key]) for key in group["names"]], "weight_decay": group["weight_decay"]}
        for group in case.meta["groups"]
    ]
    options = _options(case, optimizer=name)
    trained, rates = OPTIMIZERS[name](groups, options), build_schedule(options, case.meta["steps"])
    found = {"weights": 0.0, "rate": 0.0}
    for step in range(case.meta["steps"]):
        for group in trained.param_groups:
            group["lr"] = rates.rate(step)
        found["rate"] = max(
            found["rate"], abs(rates.rate(step) - float(case["out.lr"][step])) / options.learning_rate
        )
        for key, param in params.items():
            param.grad = case[f"in.grad.{key}"][step].clone()
        trained.step()
        for key, param in params.items():
            if (after := f"out.step{step + 1}.{key}") in case.tensors:
                found["weights"] = max(found["weights"], apart(param.detach(), case[after]))
    return found


def schedule(path: Path, folder: Path) -> dict[str, float]:
    """The rates of each scheduler, relative to the highest."""
    case = load_case(path.with_suffix(""))
    found = {}
    for key, rates in case.tensors.items():
        options = _options(case, scheduler=key.removeprefix("out.lr."))
        ours = build_schedule(options, case.meta["total"])
        differences = (abs(ours.rate(t) - rate) for t, rate in enumerate(rates.tolist()))
        found[options.scheduler] = max(differences) / options.learning_rate
    return found


def attack(path: Path, folder: Path) -> dict[str, float]:
    """Losses of all passes, tables as they stand in each, and the gradients that are left."""
    case = load_case(path.with_suffix(""))
    found = {name: _attacked(case, folder, name, told) for name, told in case.meta["variants"].items()}
    return {name: max(0.0, off - PILED_UP.get(name, 0.0)) for name, off in found.items()}


def _attacked(case: Case, folder: Path, variant: str, told: dict[str, Any]) -> float:
    """The largest difference under one attack; a weight that is not put back is one too."""
    size, labels = case.meta["vocab_size"], case.meta["labels_num"]
    build = partial(ClassifierModel, labels_num=labels, pooling="first")
    model = loaded(lambda config: build(task_body(config, size)), case, folder).train()
    inputs, passes = {name: case[f"in.{name}"] for name in ("src", "seg")}, []

    def backward() -> None:
        """One pass; its loss and the weights as they stand are kept."""
        term = model(inputs, {"cls": case["in.tgt"]})["cls"]
        loss = term.loss_sum / term.count
        passes.append((loss.detach(), {name: x.detach().clone() for name, x in model.named_parameters()}))
        loss.backward()

    moves = build_attack(model, AdversarialOptions(use_adv=bool(told), **told))
    backward()
    if moves is not None:
        moves(backward)
    off = [apart(torch.stack([loss for loss, _ in passes]), case[f"out.{variant}.losses"])]
    off += [apart(x.detach(), passes[0][1][name]) for name, x in model.named_parameters()]
    for key, theirs in case.tensors.items():
        kind, _, name = key.removeprefix(f"out.{variant}.").partition(".")
        if key.startswith(f"out.{variant}.") and kind != "losses":
            table = kind.removeprefix("forward")
            off.append(
                apart(
                    model.get_parameter(name).grad if kind == "grad" else passes[int(table)][1][name], theirs
                )
            )
    return max(off)
