"""`pretrain.py` with options that most runs do without: means, held-out text, pieces, other optimisers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import pretrain
from tests.scripts.pretraining import fails, same, words
from uer.checkpoints import read_companion, read_state
from uer.cli import run
from uer.data.pretrain_data import PretrainData
from uer.data.store import Store
from uer.training import pretraining

pytestmark = pytest.mark.usefixtures("pretraining_files")


def test_recomputing_layers_changes_no_bit():
    assert run(pretrain.main, words("--output_model_path", "kept.bin", steps=4)) == 0
    assert run(pretrain.main, words("--gradient_checkpointing", steps=4)) == 0
    assert same("kept.bin-4", "out.bin-4")


def test_a_running_mean_of_the_weights_is_saved_and_resumed(capsys):
    flags = ["--ema_decay", "0.9", "--save_total_limit", "1"]
    assert run(pretrain.main, words(*flags, "--output_model_path", "whole.bin", steps=8)) == 0
    assert sorted(path.name for path in Path().glob("whole.*-*") if path.is_file()) == [
        "whole.bin-8",
        "whole.ema.bin-8",
    ]
    assert run(pretrain.main, words(*flags, steps=4)) == 0
    assert run(pretrain.main, words(*flags, "--resume", "--total_steps", "8", "--scheduler", "linear")) == 0
    mean, last = read_state("whole.ema.bin-8"), read_state("whole.bin-8")
    assert mean.keys() == last.keys() and not torch.equal(
        mean["encoder.transformer.0.layer_norm_1.gamma"], last["encoder.transformer.0.layer_norm_1.gamma"]
    )
    assert read_companion("whole.ema.bin-8").config == read_companion("whole.bin-8").config
    Path("out.ema.bin-8").write_bytes(b"damaged")
    assert "out.ema.bin-8 is truncated or damaged" in fails(capsys, *flags, "--resume", steps=9)


def test_a_resumed_running_mean_has_the_same_bits():
    flags = ["--ema_decay", "0.9", "--accumulation_steps", "2"]
    assert run(pretrain.main, words(*flags, "--output_model_path", "whole.bin", steps=8)) == 0
    assert run(pretrain.main, words(*flags, steps=8)) == 0
    for name in ("out.bin-8", "out.ema.bin-8"):
        Path(name).unlink()
    shutil.rmtree("out.bin-8.state")
    assert run(pretrain.main, words(*flags, "--resume", steps=8)) == 0
    mean, again = read_state("whole.ema.bin-8"), read_state("out.ema.bin-8")
    assert all(torch.equal(mean[name], again[name]) for name in mean)


def test_held_out_text_is_evaluated_and_changes_no_bit(capsys):
    assert run(pretrain.main, words("--output_model_path", "plain.bin")) == 0
    assert run(pretrain.main, words("--eval_dataset_path", "bert.pt", "--eval_steps", "4")) == 0
    said = re.findall(r"Held-out text after (\d+) steps: loss ([\d.]+) \((.*)\)\n", capsys.readouterr().err)
    assert [step for step, _, _ in said] == ["4", "6"]
    assert re.fullmatch(
        r"mlm: loss [\d.]+, perplexity [\d.]+, acc [\d.]+; sp: loss [\d.]+, perplexity [\d.]+, acc [\d.]+",
        said[0][2],
    )
    records = [json.loads(line) for line in Path("out.bin.run/metrics.jsonl").read_text().splitlines()]
    found = [record for record in records if "eval_loss" in record]
    assert [record["step"] for record in found] == [4, 6] and found[0]["eval_acc_mlm"] >= 0
    assert same("plain.bin-6", "out.bin-6")


def test_the_best_checkpoint_is_kept_and_named(capsys, monkeypatch):
    losses = iter([3.0, 2.0, 5.0, 4.0])
    made = pretraining.held_out_record
    monkeypatch.setattr(
        pretraining, "held_out_record", lambda *told: {**made(*told), "eval_loss": next(losses)}
    )
    flags = ("--eval_dataset_path", "bert.pt", "--eval_steps", "2", "--save_checkpoint_steps", "2")
    assert run(pretrain.main, words(*flags, "--save_total_limit", "1", steps=8)) == 0
    assert sorted(path.name for path in Path().glob("out.bin-*.state")) == [
        "out.bin-4.state",
        "out.bin-8.state",
    ]
    assert "The checkpoint that is best on held-out text is out.bin-4.\n" in capsys.readouterr().err


def test_the_length_of_a_run_in_epochs_or_tokens(capsys):
    store = Store("lm.pt")
    length = [word for word in words(name="lm", config="gpt2.json") if word not in ("--total_steps", "6")]
    assert run(pretrain.main, [*length, "--epochs_num", "0.5"]) == 0
    steps = -(-len(store) // 16)
    assert f"--epochs_num 0.5 is {steps} steps of 8 instances." in capsys.readouterr().err
    assert Path(f"out.bin-{steps}").is_file()
    assert run(pretrain.main, [*length, "--total_tokens", "500"]) == 0
    steps = int(re.search(r"--total_tokens 500 is (\d+) steps", capsys.readouterr().err).group(1))
    tokens = sum(
        int(np.count_nonzero(PretrainData(store, batch_size=8, seed=7).get(i).inputs["seg"]))
        for i in range(steps)
    )
    assert 0.7 * 500 < tokens < 1.3 * 500 + 8 * 32
    for flags in (["--epochs_num", "1", "--total_tokens", "9"], ["--epochs_num", "1", "--total_steps", "9"]):
        assert run(pretrain.main, [*length, *flags]) == 2
        assert "both say how long to train; give one of them." in capsys.readouterr().err


def test_further_optimisers_and_frozen_parts(capsys):
    for flags in (["--optimizer", "lion"], ["--optimizer", "muon", "--layerwise_lr_decay", "0.5"]):
        assert run(pretrain.main, words(*flags, "--output_model_path", "whole.bin", steps=8)) == 0
        assert run(pretrain.main, words(*flags, steps=8)) == 0
        shutil.rmtree("out.bin-8.state")
        assert run(pretrain.main, words(*flags, "--resume", steps=8)) == 0
        assert same("whole.bin-8", "out.bin-8")
    flags = [
        "--freeze",
        "embedding",
        "--pretrained_model_path",
        "whole.bin-8",
        "--output_model_path",
        "more.bin",
    ]
    assert run(pretrain.main, words(*flags, steps=2)) == 0
    before, after = read_state("whole.bin-8"), read_state("more.bin-2")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any(name.startswith("embedding") for name in changed)
    assert "tensors are frozen: embedding.word.embedding.weight, " in capsys.readouterr().err
    assert "--freeze 'xyz' matches no parameter" in fails(capsys, "--freeze", "xyz")


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(capsys):
    before = sorted(Path().iterdir())
    with pytest.raises(SystemExit) as ended:
        pretrain.main(words("--dry_run"))
    said = capsys.readouterr().err
    assert ended.value.code == 0 and sorted(Path().iterdir()) == before
    for part in (
        "Parameters: ",
        "Optimiser (adamw): ",
        "Activations of a batch of",
        "operations",
        "it fits.",
    ):
        assert part in said


def test_batches_in_pieces_end_with_the_same_weights_and_a_resumed_run_with_the_same_bits(capsys):
    flags = ["--precision", "fp32", "--scheduler", "constant"]
    for name, *more in (("whole.bin",), ("two.bin", "--micro_batches", "2")):
        options = [*flags, "--dropout", "0", "--output_model_path", name, *more]
        assert run(pretrain.main, words(*options, steps=3)) == 0
    whole, two = read_state("whole.bin-3"), read_state("two.bin-3")
    assert all((whole[name] - two[name]).abs().max() <= 1e-5 for name in whole)
    three = [*flags, "--micro_batches", "3"]
    assert run(pretrain.main, words(*three, "--output_model_path", "cut.bin", steps=4)) == 0
    assert run(pretrain.main, words(*three, steps=2)) == 0
    capsys.readouterr()
    assert run(pretrain.main, words(*flags, "--micro_batches", "auto", "--resume", steps=4)) == 0
    assert "in 1 piece" not in capsys.readouterr().err, "the number of pieces is that of the checkpoint"
    assert same("cut.bin-4", "out.bin-4")


def test_auto_takes_the_usual_rows_in_pieces(capsys):
    flags = words(steps=2)
    flags[flags.index("--batch_size") + 1] = "auto"
    assert run(pretrain.main, flags) == 0
    assert "A batch of 32 rows is computed in 1 piece " in capsys.readouterr().err


def test_figures_of_the_machine_and_tensorboard_are_in_the_folder_of_the_run():
    assert run(pretrain.main, words("--tensorboard", steps=4)) == 0
    record = json.loads(Path("out.bin.run/metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < record["flop_utilisation"] < 2 and record["peak_memory_gb"] > 0.05
    assert list(Path("out.bin.run/tensorboard").glob("events.*"))
