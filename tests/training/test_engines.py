"""Two workers under every engine: the numbers of one process; each goes on from the checkpoint of another."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import preprocess
import pretrain
from tests.training.engine_runs import losses, same, two_workers
from uer.checkpoints import read_state
from uer.cli import run
from uer.training.state import OPTIMIZER, averaged_path, read_checkpoint, state_folder

CHARS = [chr(code) for code in range(0x4E00, 0x4E60)]
CONFIG = {
    **{"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2},
    **{"max_seq_length": 64, "dropout": 0.0, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"]},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm"], "tie_weights": True},
}
ENGINES = {
    "ddp": ("--engine", "ddp"),
    "fsdp": ("--engine", "fsdp", "--gradient_checkpointing"),
    "zero1": ("--deepspeed", "--deepspeed_config", "zero1.json"),
    "zero2": ("--engine", "deepspeed", "--deepspeed_config", "zero2.json"),
    "zero3": ("--deepspeed", "--deepspeed_config", "zero3.json", "--gradient_checkpointing"),
    "offloaded": ("--deepspeed", "--deepspeed_config", "offloaded.json"),
}
STEPS, HALF = 7, 4  # windows of 2 batches: the last one is short
ADAM = ("--adam_bias_correction",)
# Optimisers that look at whole matrices, with a running mean of the weights. The gradient of a key's bias is
# zero but for rounding, which Adafactor would blow up.
WHOLE = {
    name: ("--optimizer", name, "--ema_decay", "0.5", "--freeze", r"linear_layers\.1\.bias")
    for name in ("adafactor", "muon")
}
WHOLE_UNDER = [
    *(("adafactor", engine, "one") for engine in ("fsdp", "zero2", "zero3")),
    *(("muon", engine, "one") for engine in ("fsdp", "zero1", "zero3")),
    *(("adafactor", "zero3", "adafactor-fsdp"), ("adafactor", "fsdp", "adafactor-zero2")),
    *(("muon", "zero1", "muon-zero3"), ("muon", "fsdp", "muon-zero1")),
]


def words(name: str, batch_size: int, *more: str) -> list[str]:
    return [
        *("--dataset_path", "mlm.pt", "--vocab_path", "vocab.txt", "--config_path", "config.json"),
        *("--output_model_path", name, "--total_steps", str(STEPS), "--batch_size", str(batch_size)),
        *("--report_steps", "2", "--save_checkpoint_steps", str(HALF), "--learning_rate", "0.01"),
        *("--accumulation_steps", "2", "--precision", "fp32", "--backend", "gloo", *more),
        *("--eval_dataset_path", "mlm.pt", "--eval_steps", "4"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One process, then all engines by two workers, each once through and once from another's checkpoint."""
    before, path = Path.cwd(), tmp_path_factory.mktemp("engines")
    os.chdir(path)
    draw = np.random.default_rng(1)
    text = ["".join(draw.choice(CHARS, int(draw.integers(8, 24)))) for _ in range(60)]
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARS]) + "\n")
    Path("corpus.txt").write_text("\n".join(text) + "\n")
    Path("config.json").write_text(json.dumps(CONFIG))
    for stage in (1, 2, 3):
        zero = {"stage": stage}
        if stage == 2:
            zero["offload_optimizer"] = {"device": "cpu"}
        Path(f"zero{stage}.json").write_text(
            json.dumps({"zero_optimization": zero, "gradient_clipping": 3.0, "fp16": {"enabled": True}})
        )
    zero = {"stage": 3, **{f"offload_{part}": {"device": "cpu"} for part in ("optimizer", "param")}}
    Path("offloaded.json").write_text(json.dumps({"zero_optimization": zero}))
    files = ["--corpus_path", "corpus.txt", "--vocab_path", "vocab.txt", "--dataset_path", "mlm.pt"]
    preprocess.main([*files, "--data_processor", "mlm", "--seq_length", "32", "--dup_factor", "1"])
    try:
        assert run(pretrain.main, words("one.bin", 8, *ADAM)) == 0
        runs = [words(f"{name}.bin", 4, *ADAM, *flags) for name, flags in ENGINES.items()]
        names = list(ENGINES)
        for name, source in zip(names, [names[-1], *names]):
            go_on = ("--resume", f"{source}.bin-{HALF}")
            runs.append(words(f"{name}-from-{source}.bin", 4, *ADAM, *ENGINES[name], *go_on))
        for name, flags in WHOLE.items():
            assert run(pretrain.main, words(f"{name}.bin", 8, *flags)) == 0
        for name, engine, source in WHOLE_UNDER:
            flags, output = (*WHOLE[name], *ENGINES[engine]), f"{name}-{engine}.bin"
            if source != "one":
                flags, output = (*flags, "--resume", f"{source}.bin-{HALF}"), f"{name}-{engine}-on.bin"
            runs.append(words(output, 4, *flags))
        runs = [["pretrain.py", *flags] for flags in runs]
        Path("said.txt").write_text(two_workers(runs))
    finally:
        os.chdir(before)
    return path


@pytest.mark.parametrize("name", ENGINES)
def test_the_numbers_of_one_process(folder, name):
    for key in ("loss", "gradient_norm", "eval_loss"):
        assert losses(folder / f"{name}.bin", key) == pytest.approx(losses(folder / "one.bin", key), rel=1e-5)
    for step in (HALF, STEPS):
        one, two = folder / f"one.bin-{step}", folder / f"{name}.bin-{step}"
        same(read_state(one), read_state(two), 1e-5)
        same(*(read_state(state_folder(file) / OPTIMIZER) for file in (one, two)), 1e-5)
        assert read_checkpoint(two).training["progress"] == read_checkpoint(one).training["progress"]
    assert (folder / f"{name}.bin-{STEPS}.meta").is_dir() and len(
        list(folder.glob(f"{name}.bin-*.state"))
    ) == 2


@pytest.mark.parametrize(("name", "source"), zip(ENGINES, [list(ENGINES)[-1], *ENGINES]))
def test_each_goes_on_from_the_checkpoint_of_another(folder, name, source):
    file = folder / f"{name}-from-{source}.bin"
    same(read_state(f"{file}-{STEPS}"), read_state(folder / f"one.bin-{STEPS}"), 1e-5)
    states = [state_folder(path) / OPTIMIZER for path in (f"{file}-{STEPS}", folder / f"one.bin-{STEPS}")]
    same(*map(read_state, states), 1e-5)


@pytest.mark.parametrize(("name", "engine", "source"), WHOLE_UNDER)
def test_optimisers_of_whole_matrices_and_running_means(folder, name, engine, source):
    one, two = folder / f"{name}.bin", folder / f"{name}-{engine}{'' if source == 'one' else '-on'}.bin"
    if source == "one":
        for key in ("loss", "gradient_norm", "eval_loss"):
            assert losses(two, key) == pytest.approx(losses(one, key), rel=1e-5)
    steps = (HALF, STEPS) if source == "one" else (STEPS,)
    for step in steps:
        files = [(f"{file}-{step}", averaged_path(f"{file}-{step}")) for file in (one, two)]
        for ours, theirs in zip(*files):
            same(read_state(ours), read_state(theirs), 1e-5)
        same(*(read_state(state_folder(plain) / OPTIMIZER) for plain, _ in files), 1e-5)
    assert not torch.equal(*(read_state(file)["embedding.word.embedding.weight"] for file in files[1]))


def test_keys_of_the_deepspeed_file_that_flags_decide_are_said(folder):
    said = (folder / "said.txt").read_text()
    assert (
        "zero1.json: these keys have no effect here: gradient_clipping (decided by --max_grad_norm), "
        "fp16 (decided by --precision)." in said
    )
