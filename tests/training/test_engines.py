"""Two workers under every engine: the numbers of one process; each goes on from the checkpoint of another."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import preprocess
import pretrain
from uer.checkpoints import read_state
from uer.cli import run
from uer.training.state import OPTIMIZER, read_checkpoint, state_folder

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
}
STEPS, HALF = 7, 4  # windows of 2 batches: the last one is short


def words(name: str, batch_size: int, *more: str) -> list[str]:
    return [
        *("--dataset_path", "mlm.pt", "--vocab_path", "vocab.txt", "--config_path", "config.json"),
        *("--output_model_path", name, "--total_steps", str(STEPS), "--batch_size", str(batch_size)),
        *("--report_steps", "2", "--save_checkpoint_steps", str(HALF), "--learning_rate", "0.01"),
        *("--accumulation_steps", "2", "--precision", "fp32", "--backend", "gloo", *more),
        *("--adam_bias_correction", "--eval_dataset_path", "mlm.pt", "--eval_steps", "4"),
    ]


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("localhost", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def two_workers(runs: list[list[str]]) -> str:
    """Run all of them by two workers; what the first one said."""
    script = str(Path(__file__).with_name("engine_runs.py"))
    command = [sys.executable, script, json.dumps(runs), json.dumps(free_ports(len(runs)))]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "OMP_NUM_THREADS": "1"}
    workers = []
    for rank in range(2):
        env = {**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with open(f"said-{rank}.txt", "wb") as out:
            workers.append(subprocess.Popen(command, env=env, stdout=out, stderr=out))
    codes = [worker.wait(timeout=300) for worker in workers]
    said = [Path(f"said-{rank}.txt").read_text() for rank in range(2)]
    assert codes == [0, 0], "\n".join(text[-3000:] for text in said)
    return said[0]


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
    files = ["--corpus_path", "corpus.txt", "--vocab_path", "vocab.txt", "--dataset_path", "mlm.pt"]
    preprocess.main([*files, "--data_processor", "mlm", "--seq_length", "32", "--dup_factor", "1"])
    try:
        assert run(pretrain.main, words("one.bin", 8)) == 0
        runs = [words(f"{name}.bin", 4, *flags) for name, flags in ENGINES.items()]
        names = list(ENGINES)
        for name, source in zip(names, [names[-1], *names]):
            go_on = ("--resume", f"{source}.bin-{HALF}")
            runs.append(words(f"{name}-from-{source}.bin", 4, *ENGINES[name], *go_on))
        Path("said.txt").write_text(two_workers(runs))
    finally:
        os.chdir(before)
    return path


def losses(file: Path, key: str = "loss") -> list[float]:
    records = map(json.loads, (Path(f"{file}.run") / "metrics.jsonl").read_text().splitlines())
    return [record[key] for record in records if key in record]


def same(one: dict, other: dict, tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].shape == other[name].shape, name
        assert (one[name] - other[name]).abs().max() <= tolerance, name


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


def test_keys_of_the_deepspeed_file_that_flags_decide_are_said(folder):
    said = (folder / "said.txt").read_text()
    assert (
        "zero1.json: these keys have no effect here: gradient_clipping (decided by --max_grad_norm), "
        "fp16 (decided by --precision)." in said
    )
