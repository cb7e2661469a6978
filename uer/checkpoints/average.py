"""The mean of several checkpoints of one model (Izmailov et al. 2018, https://arxiv.org/abs/1803.05407)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from uer.checkpoints.companion import Companion, read_companion
from uer.checkpoints.io import State
from uer.checkpoints.report import listed
from uer.checkpoints.source import read_whole
from uer.errors import CheckpointError
from uer.tokenizers import load_tokenizer


def average(
    paths: Sequence[str | Path], shares: Sequence[float] | None = None
) -> tuple[State, Companion | None]:
    """The mean of every tensor, under the names of UER-py 2024, and the companion of the first of them.

    One tensor at a time is summed, in float64; the files stay on disk. Tensors of whole numbers must agree.

    Args:
        shares: how much each file counts, summing to 1; None: all the same.

    Raises:
        CheckpointError: fewer than two files, or they are not of one model: other names, shapes, types,
            configurations, tasks, labels or vocabularies.
    """
    if len(paths) < 2:
        raise CheckpointError(
            f"--model_list_path names {len(paths)} file; an average needs two or more of one model."
        )
    states = [read_whole(path, "--model_list_path") for path in paths]
    companions = [read_companion(path) for path in paths]
    for path, state, companion in zip(paths[1:], states[1:], companions[1:]):
        _check_names(paths[0], states[0], path, state)
        _check_companions(paths[0], companions[0], path, companion)
    out: State = {}
    done: dict[tuple[int, ...], Tensor] = {}
    for name in states[0]:
        parts = [state[name] for state in states]
        key = tuple(part.data_ptr() for part in parts)
        if key not in done or parts[0].numel() == 0:
            done[key] = _mean(name, parts, paths, shares)
        out[name] = done[key]
    return out, companions[0]


def _mean(
    name: str, parts: list[Tensor], paths: Sequence[str | Path], shares: Sequence[float] | None
) -> Tensor:
    first = parts[0]
    if not first.is_floating_point():
        for path, part in zip(paths[1:], parts[1:]):
            if not torch.equal(first, part):
                raise CheckpointError(
                    f"{name} holds whole numbers that differ between {paths[0]} and {path}; their mean would "
                    "mean nothing."
                )
        return first
    if shares is not None:
        return sum(part.to(torch.float64) * share for part, share in zip(parts, shares)).to(first.dtype)
    total = first.to(torch.float64)
    for part in parts[1:]:
        total += part
    return (total / len(parts)).to(first.dtype)


def _check_names(first: str | Path, one: State, path: str | Path, other: State) -> None:
    lacking = [name for name in one if name not in other]
    extra = [name for name in other if name not in one]
    if lacking or extra:
        where, names = (path, lacking) if lacking else (first, extra)
        raise CheckpointError(
            f"{where} lacks {listed(names, 3)}, which the other file has ({first} and {path} are averaged); "
            "name checkpoints of one model."
        )
    for name in one:
        if one[name].shape != other[name].shape or one[name].dtype != other[name].dtype:
            shapes = [f"{list(tensor.shape)} {tensor.dtype}" for tensor in (one[name], other[name])]
            raise CheckpointError(
                f"{name} is {shapes[0]} in {first} and {shapes[1]} in {path}; name checkpoints of one model."
            )


def _check_companions(
    first: str | Path, one: Companion | None, path: str | Path, other: Companion | None
) -> None:
    if one is None or other is None:
        return
    said = [
        {
            **{field: getattr(model.config, field) for field in model.config.names()},
            "the task": model.extra.get("task"),
            "the order of the labels": model.labels,
        }
        for model in (one, other)
    ]
    for field, value in said[0].items():
        if value != said[1][field]:
            raise CheckpointError(
                f"{field} is {value} for {first} and {said[1][field]} for {path}, by their companions; name "
                "checkpoints of one model."
            )
    for own, its in ((one.tokenizer, other.tokenizer), (one.tgt_tokenizer, other.tgt_tokenizer)):
        prints = {load_tokenizer(folder).fingerprint() for folder in (own, its) if folder is not None}
        if len(prints) > 1:
            raise CheckpointError(
                f"{first} and {path} have other tokenizers, by their companions; name checkpoints of one "
                "model."
            )
