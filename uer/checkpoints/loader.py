"""A file of weights meets a model: every tensor is accounted for, or the load is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from uer.checkpoints.advice import Difference, refusal
from uer.checkpoints.arithmetic import differences
from uer.checkpoints.companion import read_companion
from uer.checkpoints.report import LoadReport
from uer.checkpoints.source import read_source
from uer.config.model import PARTNERS, ModelConfig
from uer.errors import CheckpointError
from uer.models.initialize import initialize
from uer.utils.logging import logger

# A model may ask for segments that the file does not know: a zero table leaves its numbers as they are.
SEGMENT_TABLE = r"^embedding\.(?:.*\.)?seg\.embedding\.weight$"

# Tensors of a file that a model rightly has no place for, unless it has that part: (pattern, part, reason).
SPARE = (
    (r"^target\.", "target.{}", "the head of pre-training; this model has none of that kind"),
    (r"^(?:output_layers?(?:_[12]|_start|_end)?|classifier|crf)\.", "{}", "the head of another task"),
    (r"^(?:decoder|tgt_embedding)\.", "{}", "this model has no decoder"),
    (rf"^(?:{'|'.join(PARTNERS)})\.", "{}", "a model that stood beside this one in pre-training"),
)


def adapt_config(config: ModelConfig, path: str | Path, flag: str = "--pretrained_model_path") -> ModelConfig:
    """The configuration with what only the file can decide, for a model that is to be built for it.

    A sinusoidal table in the file selects the layout of 2021. A dual embedding has its second norm only if
    the file holds one, and its streams are one module only if they agree there. A file with a companion has
    said all this already.
    """
    if not {"sinusoidalpos", "dual"} & {*config.embedding, *(config.tgt_embedding or ())}:
        return config
    if read_companion(path) is not None:
        return config
    found = read_source(path, flag=flag)
    changes: dict[str, object] = {}
    if found.tables:
        changes["sinusoid"] = "2021"
    if "dual" in config.embedding:
        changes["dual_stream_norm"] = any(".stream_0_layer_norm." in name for name in found.state)
        if config.tie_weights and _streams_differ(found.state):
            changes["tie_weights"] = False
    changes = {name: value for name, value in changes.items() if getattr(config, name) != value}
    for name, value in changes.items():
        logger.info("%s decides %s: %s.", path, name, value)
    return config.replace(**changes) if changes else config


def _streams_differ(state: Mapping[str, Tensor]) -> bool:
    """Whether a dual file holds two streams with different numbers."""
    pairs = ((name, re.sub(r"(embedding|encoder)_0\.", r"\1_1.", name)) for name in state)
    return any(
        one != other and other in state and not _same(state[one], state[other]) for one, other in pairs
    )


def load_into(
    model: nn.Module,
    path: str | Path,
    *,
    allow_new: Iterable[str] = (),
    allow_missing: str | None = None,
    flag: str = "--pretrained_model_path",
    adopt: bool = False,
) -> LoadReport:
    """Fill a model from a file or folder; log one line, and a table at DEBUG.

    Args:
        model: any module whose `state_dict` has the names of UER-py 2024.
        allow_new: regular expressions, matched at the start of a name: tensors that may be absent from the
            file (or have another shape there) and are then initialised afresh: weights N(0, 0.02), biases 0,
            norms 1 and 0, a segment table 0. Fine-tuning names its head and `SEGMENT_TABLE`; inference names
            nothing.
        allow_missing: `--allow_missing`, a regular expression searched in a name: the user's leave for
            tensors to be absent, of another shape, or left over.
        flag: the flag that named the path, for messages.
        adopt: for a model that will not be trained: tensors of the file, mapped from it, take the place of
            parameters of their type, and nothing is copied.

    Raises:
        CheckpointError: the file cannot be read, or tensors are missing, left over or of another shape; the
            message names up to ten, the names the file speaks, and what to change. The model is then
            untouched.
    """
    path = Path(path)
    found = read_source(path, model.state_dict().keys(), flag)
    targets = model.state_dict(keep_vars=True)
    report = LoadReport(str(path), found.vintage, unused=dict(found.aside))
    difference = _compare(targets, found.state, tuple(allow_new), _compiled(allow_missing), report)
    if difference:
        raise CheckpointError(refusal(path, found, targets, difference))
    _fill(model, targets, found.state, report, adopt)
    _say(model, path, report)
    return report


def _compiled(allow_missing: str | None) -> re.Pattern | None:
    if allow_missing is None:
        return None
    try:
        return re.compile(allow_missing)
    except re.error as error:
        raise CheckpointError(
            f"--allow_missing '{allow_missing}' is no regular expression: {error}."
        ) from error


def _compare(
    targets: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    allow_new: tuple[str, ...],
    allow_missing: re.Pattern | None,
    report: LoadReport,
) -> Difference:
    """Sort every name into the report, or into what speaks against the load."""
    difference = Difference()
    tied = _tied_groups(targets)
    for name, parameter in targets.items():
        shape = tuple(parameter.shape)
        new = any(re.match(pattern, name) for pattern in allow_new) or _matches(allow_missing, name)
        if name not in state:
            if any(other in state for other in tied.get(name, ())):
                continue  # it shares its tensor with a name that the file holds
            (report.new if new else difference.missing).append(name)
        elif tuple(state[name].shape) == shape:
            report.loaded[name] = shape
        elif new:
            report.new.append(name)
            report.mismatched[name] = (tuple(state[name].shape), shape)
        else:
            difference.shape[name] = (tuple(state[name].shape), shape)
    for name in state:
        if name not in targets:
            reason = "--allow_missing" if _matches(allow_missing, name) else _spare(name, targets)
            if reason is None:
                difference.left.append(name)
            else:
                report.unused[name] = reason
    if not report.loaded and not difference.shape:
        difference.missing = difference.missing or list(targets)
    return difference


def _matches(pattern: re.Pattern | None, name: str) -> bool:
    return pattern is not None and pattern.search(name) is not None


def _spare(name: str, targets: Mapping[str, Tensor]) -> str | None:
    """Why the model has no place for a tensor of the file, or None when no rule explains it."""
    top, second = [*name.split("."), ""][:2]
    for pattern, part, reason in SPARE:
        if re.match(pattern, name):
            prefix = part.format(second if part.startswith("target") else top) + "."
            return None if any(target.startswith(prefix) for target in targets) else reason
    return None


def _tied_groups(targets: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """name → all names of the same parameter, for parameters with several names."""
    groups: dict[int, list[str]] = {}
    for name, parameter in targets.items():
        groups.setdefault(id(parameter), []).append(name)
    return {name: tuple(group) for group in groups.values() if len(group) > 1 for name in group}


def _fill(
    model: nn.Module,
    targets: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    report: LoadReport,
    adopt: bool,
) -> None:
    """Copy (or adopt) what was loaded, untie what the file keeps apart, initialise what is new."""
    filled: set[int] = set()
    with torch.no_grad():
        for group in dict.fromkeys(_tied_groups(targets).values()):
            _untie(model, group, state, report)
        for name, parameter in model.state_dict(keep_vars=True).items():
            if id(parameter) in filled:
                continue
            if name in report.loaded:
                if adopt and state[name].dtype == parameter.dtype:
                    parameter.data = state[name].contiguous()
                else:
                    parameter.copy_(state[name])
                report.parameters += parameter.numel()
                filled.add(id(parameter))
        initialize(model, names=report.new)
        for name in report.new:
            if re.match(SEGMENT_TABLE, name):
                targets[name].zero_()
    if report.untied and isinstance(getattr(model, "config", None), ModelConfig):
        _record_ties(model)


def _untie(model: nn.Module, group: tuple[str, ...], state: Mapping[str, Tensor], report: LoadReport) -> None:
    """Where a file holds different tensors under tied names, the file wins: names stay tied only where they
    agree.

    Raises:
        CheckpointError: the names belong to one shared module (the streams of a tied dual model).
    """
    classes: list[list[str]] = []
    for name in group:
        if name in report.loaded:
            like = next((names for names in classes if _same(state[name], state[names[0]])), None)
            if like is None:
                classes.append([name])
            else:
                like.append(name)
    if len(classes) < 2:
        return
    owners = [model.get_submodule(names[0].rpartition(".")[0]) for names in classes]
    if len(set(owners)) < len(owners):
        raise CheckpointError(
            f"{report.source} holds different tensors for {' and '.join(names[0] for names in classes)}, "
            "which this model computes with one module; leave out --tie_weights."
        )
    for names in classes[1:]:
        own = nn.Parameter(model.get_parameter(names[0]).detach().clone())
        for name in names:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, own)
    report.untied.append(tuple(names[0] for names in classes))


def _record_ties(model: nn.Module) -> None:
    """The configuration that is saved later says what is tied now."""
    held, config = model.state_dict(keep_vars=True), model.config
    word, tgt_word = (held.get(f"{side}.word.embedding.weight") for side in ("embedding", "tgt_embedding"))
    output = held.get("target.mlm.linear_2.weight", held.get("target.lm.output_layer.weight"))
    source = tgt_word if tgt_word is not None and "target.mlm.linear_2.weight" not in held else word
    model.config = config.replace(
        tie_weights=config.tie_weights and output is source,
        share_embedding=config.share_embedding and tgt_word is word,
    )


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other)


def _say(model: nn.Module, path: Path, report: LoadReport) -> None:
    logger.info(report.line())
    logger.debug("%s", report.table())
    config = getattr(model, "config", None)
    if not isinstance(config, ModelConfig):
        return
    companion = read_companion(path)
    if companion is not None:
        if "dual" not in (config.encoder, companion.config.encoder):
            others = differences(config, companion.config, structure=False)
            if others:
                logger.info("The model computes otherwise than %s says: %s.", path, ", ".join(others))
    elif config.layernorm == "normal" and any(name.endswith(".gamma") for name in report.loaded):
        logger.info("%s: trained by UER-py? --layernorm uer reproduces its numbers exactly.", path)
