#!/usr/bin/env python3
"""Pre-train a model on the dataset that preprocess.py wrote; see docs/training.md."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uer.cli import Chosen, Command, run
from uer.config.model import ModelConfig
from uer.config.preprocess import MaskingOptions
from uer.config.tokenizer import TargetTokenizerOptions, TokenizerOptions
from uer.config.training import DistributedOptions, OptimizerOptions, PretrainOptions, TrainOptions
from uer.errors import ConfigError
from uer.opts.compat import DEEPSPEED_TRAINING
from uer.opts.tokenizer import chosen_target_tokenizer, tokenizer_of_dataset
from uer.utils.logging import logger
from uer.utils.seed import set_seed

if TYPE_CHECKING:
    from torch import Tensor

    from uer.data.pretrain_data import PretrainData
    from uer.models.model import Model
    from uer.tokenizers.base import Tokenizer
    from uer.training.workers import Workers

COMMAND = Command(
    "pretrain.py",
    "Pre-train a model on the dataset that preprocess.py wrote.",
    PretrainOptions,
    TrainOptions,
    OptimizerOptions,
    ModelConfig,
    TokenizerOptions,
    TargetTokenizerOptions,
    MaskingOptions,
    DistributedOptions,
    compat=("instances_buffer_size", "fp16_opt_level", *DEEPSPEED_TRAINING),
    model="new",
)


def main(argv: list[str] | None = None) -> int:
    """Options → log, device → dataset, tokenizers → checkpoint to resume → model → data → training."""
    chosen = COMMAND.parse(argv)
    files, training = chosen[PretrainOptions], chosen[TrainOptions]
    chosen.start_log()

    from uer.training.launch import launch_workers

    script, words = Path(__file__).resolve(), sys.argv[1:] if argv is None else argv
    if (code := launch_workers(script, words, chosen[DistributedOptions])) is not None:
        return code

    from uer.data.objectives.base import TokenIds
    from uer.data.store import Store
    from uer.training.devices import choose_workers
    from uer.training.pretraining import pretrain
    from uer.training.run import Means
    from uer.training.state import Checkpoints, fingerprint
    from uer.training.workers import Workers

    workers = choose_workers(chosen[DistributedOptions])
    made_with = TokenIds.from_json(Store(files.dataset_path).header["tokenizer"])
    tokenizer = tokenizer_of_dataset(chosen, made_with)
    tgt_tokenizer = chosen_target_tokenizer(chosen, tokenizer)
    data = open_data(chosen, files.dataset_path, tokenizer, tgt_tokenizer, workers)
    held_out = None
    if files.eval_dataset_path is not None:
        held_out = open_data(chosen, files.eval_dataset_path, tokenizer, tgt_tokenizer, Workers())
    settings, dataset = {**chosen.effective(), "world_size": workers.size}, fingerprint(data.store.header)
    checkpoints = Checkpoints(files.output_model_path, files.save_total_limit)
    found = checkpoints.find(files.resume, {"options": settings, "dataset": dataset})

    set_seed(training.seed)
    model = build(chosen, len(tokenizer), len(tgt_tokenizer), found.path if found else None)
    model.to(workers.device)
    source = files.pretrained_model_path or (found and found.path)
    last = pretrain(
        model,
        data.get,
        Means(training, chosen[OptimizerOptions], workers, chosen[DistributedOptions], settings),
        total_steps=total_steps(chosen, data, workers.size),
        held_out=None if held_out is None else held_out.once,
        files=files,
        checkpoints=checkpoints,
        found=found,
        facts={"dataset": dataset, "data": facts(data)},
        write_weights=weights_writer(model, tokenizer, tgt_tokenizer, data, source),
    )
    workers.close()
    logger.info("Wrote %s. Next: python3 %s", last, next_command(last, data.store.header["objective"]))
    return 0


def open_data(
    chosen: Chosen, path: str, tokenizer: Tokenizer, tgt_tokenizer: Tokenizer, workers: Workers
) -> PretrainData:
    """A dataset, held against what was chosen."""
    from uer.data.pretrain_data import PretrainData, check_dataset
    from uer.data.store import Store

    store, training = Store(path), chosen[TrainOptions]
    check_dataset(
        store,
        data_processor=chosen.data_processor,
        targets=chosen[ModelConfig].target,
        fingerprint=tokenizer.fingerprint(),
        target_fingerprint=tgt_tokenizer.fingerprint(),
        vocab_size=len(tokenizer),
        max_seq_length=positions(chosen[ModelConfig]),
        sp_labels_num=chosen[ModelConfig].sp_labels_num if "sp" in chosen[ModelConfig].target else None,
    )
    static = store.header["masking"] is not None  # then a configuration says how it was made at best
    masks = set(MaskingOptions.names()) & {*chosen.written, *(() if static else chosen.config)}
    held_out = path != chosen[PretrainOptions].dataset_path
    return PretrainData(
        store,
        batch_size=min(training.batch_size, len(store)) if held_out else training.batch_size,
        seed=training.seed,
        rank=workers.rank,
        world_size=workers.size,
        masking=chosen[MaskingOptions] if masks else None,
        tokenizer=tokenizer,
        group_by_length=chosen[PretrainOptions].group_by_length,
        taught=chosen[ModelConfig].taught,
    )


def total_steps(chosen: Chosen, data: PretrainData, world_size: int) -> int:
    """Batches of the run, from `--total_steps`, `--epochs_num` or `--total_tokens`.

    Raises:
        ConfigError: two of them were typed.
    """
    files, batch_size = chosen[PretrainOptions], chosen[TrainOptions].batch_size * world_size
    other = next((name for name in ("epochs_num", "total_tokens") if getattr(files, name) is not None), None)
    if other is None:
        return files.total_steps
    if "total_steps" in chosen.written:
        raise ConfigError(f"--total_steps and --{other} both say how long to train; give one of them.")
    if other == "epochs_num":
        steps = math.ceil(files.epochs_num * len(data.store) / batch_size)
    else:
        steps = math.ceil(files.total_tokens / data.mean_tokens / batch_size)
    logger.info("--%s %s is %d steps of %d instances.", other, getattr(files, other), steps, batch_size)
    return steps


def positions(config: ModelConfig) -> int | None:
    """The longest row the embedding has positions for; None where any length will do."""
    limited = {"pos", "sinusoidalpos"} & {*config.embedding, *(config.tgt_embedding or ())}
    return config.max_seq_length if limited else None


def build(chosen: Chosen, vocab_size: int, tgt_vocab_size: int, resumed: Path | None) -> Model:
    """The model with its first weights: the checkpoint's, `--pretrained_model_path`'s, or fresh ones."""
    from uer.checkpoints import SEGMENT_TABLE, adapt_config, load_into
    from uer.checkpoints.teacher import load_teacher, with_teacher
    from uer.models.build import build_model
    from uer.models.initialize import initialize

    files, config = chosen[PretrainOptions], chosen[ModelConfig]
    source = resumed or files.pretrained_model_path
    if source is not None:
        config = adapt_config(config, source)
    config = with_teacher(config, files.teacher_path)
    model = build_model(config, vocab_size, tgt_vocab_size)
    if resumed is not None:
        load_into(model, resumed, flag="--resume")
    elif source is not None:
        beside = (rf"{name}\." for name in config.partners)
        new = (r"target\.", SEGMENT_TABLE, *beside)
        load_into(model, source, allow_new=new, allow_missing=files.allow_missing)
    else:
        initialize(model, deep_init=files.deep_init)
    if files.generator_path is not None and resumed is None:
        fill_generator(model, files.generator_path, beside=source is not None)
    if files.teacher_path is not None:
        load_teacher(model, files.teacher_path)
    weigh(chosen, model)
    return model


def fill_generator(model: Model, path: str, *, beside: bool) -> None:
    """`--generator_path`; `beside`: the model has weights of its own.

    Raises:
        ConfigError: the model has no generator.
    """
    from uer.checkpoints.partners import load_generator

    if model.generator is None:
        raise ConfigError(
            f"--generator_path is for --target rtd; the model, of --target {' '.join(model.config.target)}, "
            "has no generator: leave it out."
        )
    load_generator(model, path, flag="--generator_path", beside=beside)


def weigh(chosen: Chosen, model: Model) -> None:
    """`--target_weights`, and what does not go with the targets.

    Raises:
        ConfigError: there are not as many weights as targets, or batches in pieces whose rows are compared.
    """
    targets, weights = chosen[ModelConfig].target, chosen[PretrainOptions].target_weights
    if weights and len(weights) != len(targets):
        raise ConfigError(
            f"--target_weights has {len(weights)} numbers and --target {len(targets)} words "
            f"({' '.join(targets)}); give one weight for each."
        )
    model.target_weights = dict(zip(targets, weights))
    for name, target in model.target.named_children():
        if getattr(target, "compares_rows", False) and chosen[TrainOptions].micro_batches != "1":
            raise ConfigError(
                f"--target {name} compares the rows of a batch with one another, so it cannot be computed in "
                "pieces; leave --micro_batches (and --batch_size auto) out."
            )


def weights_writer(
    model: Model,
    tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    data: PretrainData,
    source: str | Path | None,
) -> Callable[[Path, dict[str, Tensor]], None]:
    """Writes weights of the model, which began from `source`, to a path, with its companion folder."""
    from uer.checkpoints import write_state
    from uer.checkpoints.teacher import without_teacher
    from uer.tasks.setup import inherited

    header = data.store.header
    companion = {"data_processor": header["objective"], "seq_length": header["options"]["seq_length"]}
    companion = {**inherited(source), **companion}
    tokenizers = {"tokenizer": tokenizer}
    if tgt_tokenizer is not tokenizer:
        tokenizers["tgt_tokenizer"] = tgt_tokenizer
    config = without_teacher(model.config)
    return partial(write_state, config=config, extra=companion, **tokenizers)


def facts(data: PretrainData) -> dict[str, Any]:
    """What the report says of the dataset."""
    header = data.store.header
    counts = {f"{name} read": count for name, count in header["counts"].items()}
    return {
        "file": str(data.store.path),
        "data processor": header["objective"],
        "instances": len(data.store),
        "tokens of an instance, on average": round(data.mean_tokens, 1),
        **counts,
    }


def next_command(model: Path, objective: str) -> str:
    """What to type with the model."""
    writers = {"lm": "generate_lm", "prefixlm": "generate_lm", "mt": "generate_seq2seq"}
    if objective in writers:
        files = f"--load_model_path {model} --test_path PROMPTS --prediction_path OUT"
        return f"scripts/{writers[objective]}.py {files}"
    name = "run_text2text" if objective in ("t5", "gsg", "bart") else "run_classifier"
    return f"finetune/{name}.py --pretrained_model_path {model} --train_path TRAIN --dev_path DEV"


if __name__ == "__main__":
    sys.exit(run(main))
