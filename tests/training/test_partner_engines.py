"""Models beside the one that is trained (teachers, students, generators), two workers under every engine."""

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
from uer.training.state import OPTIMIZER, state_folder

CHARS = [chr(code) for code in range(0x4E00, 0x4E60)]
SIZES = {
    **{"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2},
    **{"max_seq_length": 64, "dropout": 0.0, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"]},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm"], "tie_weights": True},
}
GENERATOR = {"hidden_size": 8, "feedforward_size": 16, "factorized_embedding_parameterization": True}
CONFIGS = {
    "mlm": SIZES,
    "teacher": {**SIZES, "layers_num": 4},
    "students": {
        **{**SIZES, "target": ["mlm", "students"]},
        "students": [
            {"layers_num": 1, "target": ["attention"]},
            {"layers_num": 2, "hidden_size": 8, "emb_size": 8},
        ],
    },
    "health": {
        **{**SIZES, "target": ["rtd", "mts", "csp"], "csp_size": 8, "generator": GENERATOR},
        "generator_shares": ["word", "pos", "seg"],
    },
}
ENGINES = {
    "fsdp": ("--engine", "fsdp"),
    **{f"zero{stage}": ("--deepspeed", "--deepspeed_config", f"zero{stage}.json") for stage in (2, 3)},
}
TAUGHT = ("--teacher_path", "teacher.bin-4", "--target")
CASES = {
    "taught": ("mlm", "mlm", *TAUGHT, "mlm", "soft", "cosine", "contrast", "attention"),
    "layers": ("mlm", "mlm", *TAUGHT, "states", "scores"),  # nobody reads what the last layer gives
    "students": ("mlm", "students"),
    "health": ("health", "health"),
}
WHERE = [
    *(("taught", engine) for engine in ENGINES),
    *(("layers", engine) for engine in ("zero2", "zero3")),
    *(("students", engine) for engine in ("fsdp", "zero2")),
    *(("health", engine) for engine in ("zero2", "zero3")),
]
STEPS, HALF = 6, 4


def words(output: str, batch_size: int, data: str, config: str, *more: str) -> list[str]:
    return [
        *("--dataset_path", f"{data}.pt", "--vocab_path", "vocab.txt", "--config_path", f"{config}.json"),
        *("--output_model_path", output, "--total_steps", str(STEPS), "--batch_size", str(batch_size)),
        *("--report_steps", "1", "--save_checkpoint_steps", str(HALF), "--learning_rate", "0.01"),
        *("--accumulation_steps", "2", "--precision", "fp32", "--backend", "gloo", *more),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One process, then two workers under every engine. What a generator draws is its worker's own matter, so
    there DDP stands for one process.
    """
    before, path = Path.cwd(), tmp_path_factory.mktemp("partners")
    os.chdir(path)
    draw = np.random.default_rng(1)
    text = ["".join(draw.choice(CHARS, int(draw.integers(8, 24)))) for _ in range(60)]
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARS]) + "\n")
    Path("corpus.txt").write_text("\n".join(text) + "\n")
    for name, config in CONFIGS.items():
        Path(f"{name}.json").write_text(json.dumps(config))
    for stage in (2, 3):
        Path(f"zero{stage}.json").write_text(json.dumps({"zero_optimization": {"stage": stage}}))
    files = ["--corpus_path", "corpus.txt", "--vocab_path", "vocab.txt", "--seq_length", "32"]
    for data, kind in (("mlm", "mlm"), ("health", "ernie_health")):
        more = ("--dup_factor", "1") if kind == "mlm" else ()
        preprocess.main([*files, "--dataset_path", f"{data}.pt", "--data_processor", kind, *more])
    try:
        assert run(pretrain.main, words("teacher.bin", 8, "mlm", "teacher")) == 0
        runs = []
        for name in ("taught", "layers", "students"):
            assert run(pretrain.main, words(f"{name}.bin", 8, *CASES[name])) == 0
        for name, engine in WHERE:
            runs.append(words(f"{name}-{engine}.bin", 4, *CASES[name], *ENGINES[engine]))
        runs.append(words("health.bin", 4, *CASES["health"]))
        # each goes on under the other engine
        for name, engine, source in (("taught", "zero3", "fsdp"), ("students", "fsdp", "zero2")):
            go_on = ("--resume", f"{name}-{source}.bin-{HALF}")
            runs.append(words(f"{name}-on.bin", 4, *CASES[name], *ENGINES[engine], *go_on))
        two_workers([["pretrain.py", *flags] for flags in runs])
    finally:
        os.chdir(before)
    return path


@pytest.mark.parametrize(("name", "engine"), WHERE)
def test_the_numbers_of_one_process(folder, name, engine):
    one, two = folder / f"{name}.bin", folder / f"{name}-{engine}.bin"
    records = [json.loads(line) for line in Path(f"{one}.run/metrics.jsonl").read_text().splitlines()]
    terms = [key for key in records[0] if key.startswith("loss") or key == "gradient_norm"]
    assert len(terms) >= 3
    for key in terms:
        assert losses(two, key) == pytest.approx(losses(one, key), rel=1e-5, abs=1e-6), key
    for step in (HALF, STEPS):
        same(read_state(f"{one}-{step}"), read_state(f"{two}-{step}"), 1e-5)
        states = (read_state(state_folder(f"{file}-{step}") / OPTIMIZER) for file in (one, two))
        same(*states, 1e-5)


@pytest.mark.parametrize("name", ["taught", "students"])
def test_a_run_goes_on_under_another_engine(folder, name):
    same(read_state(folder / f"{name}.bin-{STEPS}"), read_state(folder / f"{name}-on.bin-{STEPS}"), 1e-5)


def test_what_model_and_generator_share_stays_one_tensor(folder):
    word = "embedding.word.embedding.weight"
    for name in ("health", "health-zero2", "health-zero3"):
        held = read_state(folder / f"{name}.bin-{STEPS}")
        assert torch.equal(held[word], held[f"generator.{word}"])
        found = losses(folder / f"{name}.bin", "loss_rtd")
        assert np.mean(found[-2:]) < found[0]
