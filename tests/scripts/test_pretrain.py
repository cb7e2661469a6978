"""`pretrain.py` as typed: both generations of flags, resuming, signals, and what can be wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import preprocess
import pretrain
from uer.checkpoints import read_companion, read_state, write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.data.pretrain_data import PretrainData
from uer.data.store import Store
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.training.runlog import RunLog

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2}
BERT = {
    **SIZES,
    **{"max_seq_length": 64, "dropout": 0.1, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"]},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm", "sp"], "tie_weights": True},
}
GPT2 = {
    **SIZES,
    **{"max_seq_length": 64, "dropout": 0.1, "hidden_act": "gelu_fast", "embedding": ["word", "pos"]},
    **{"remove_embedding_layernorm": True, "layernorm_positioning": "pre", "encoder": "transformer"},
    **{"mask": "causal", "target": ["lm"], "tie_weights": True},
}
CHARS = [chr(code) for code in range(0x4E00, 0x4E60)]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARS]


def corpus(labelled: bool = False) -> str:
    """Sentences in which a character follows by a rule; an empty line parts documents."""
    draw = np.random.default_rng(1)
    lines = []
    for number in range(240):
        start = int(draw.integers(0, 90))
        text = "".join(CHARS[(start + i * (number % 3 + 1)) % 96] for i in range(int(draw.integers(8, 24))))
        lines.append(f"{number % 2}\t{text}" if labelled else text)
        if number % 4 == 3 and not labelled:
            lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a vocabulary, configs and a dataset of each kind."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "other_vocab.txt").write_text("\n".join(WORDS[:-1]) + "\n典\n", encoding="utf-8")
    for name, text in (("corpus.txt", corpus()), ("labelled.txt", corpus(labelled=True))):
        (folder / name).write_text(text, encoding="utf-8")
    for name, config in (("bert.json", BERT), ("gpt2.json", GPT2)):
        (folder / name).write_text(json.dumps(config), encoding="utf-8")
    for name, flags in {
        "bert": ["--dynamic_masking"],
        "mlm": ["--dup_factor", "1"],
        "lm": [],
        "cls": ["--corpus_path", str(folder / "labelled.txt")],
    }.items():
        preprocess.main(
            [
                *("--corpus_path", str(folder / "corpus.txt"), "--vocab_path", str(folder / "vocab.txt")),
                *("--dataset_path", str(folder / f"{name}.pt"), "--seq_length", "32"),
                *("--data_processor", name, *flags),
            ]
        )
    return folder


@pytest.fixture(autouse=True)
def here(made, tmp_path):
    """The made files in the folder of the test."""
    for file in made.iterdir():
        shutil.copy(file, tmp_path / file.name)


def words(*more: str, name: str = "bert", config: str = "bert.json", steps: int = 6) -> list[str]:
    """A command line; what comes later wins."""
    return [
        *("--dataset_path", f"{name}.pt", "--vocab_path", "vocab.txt", "--config_path", config),
        *("--output_model_path", "out.bin", "--total_steps", str(steps), "--batch_size", "8"),
        *("--report_steps", "2", "--save_checkpoint_steps", "4", "--learning_rate", "0.01"),
        *("--precision", "fp32", *more),
    ]


def same(one: str, other: str) -> bool:
    """Whether two checkpoints hold the same bits, optimiser state included."""
    pairs = [(read_state(one), read_state(other))]
    files = [Path(f"{name}.state") / "optimizer.safetensors" for name in (one, other)]
    pairs.append(tuple(read_state(file) for file in files))
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


@pytest.mark.parametrize(
    ("name", "flags", "targets"),
    [
        ("bert", ["--config_path", "bert.json"], "mlm sp"),
        ("bert", ["--data_processor", "bert", "--config_path", "bert.json"], "mlm sp"),
        ("bert", ["--embedding", "word_pos_seg", "--encoder", "transformer", "--target", "bert"], "mlm sp"),
        ("mlm", ["--embedding", "word_pos_seg", "--mask", "fully_visible", "--target", "mlm"], "mlm"),
        ("mlm", ["--data_processor", "mlm", "--embedding", "word", "pos", "seg", "--target", "mlm"], "mlm"),
        ("lm", ["--data_processor", "lm", "--config_path", "gpt2.json"], "lm"),
        ("lm", ["--config_path", "gpt2.json", "--embedding", "word_pos", "--target", "lm"], "lm"),
        ("cls", ["--target", "cls", "--labels_num", "2", "--pooling", "mean"], "cls"),
    ],
)
def test_both_generations_of_flags(capsys, name, flags, targets):
    assert run(pretrain.main, words(*flags, name=name)) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "Using CPU mode for training."
    assert "Worker is training ... " in said.err
    fields = (
        (
            "| acc: {n}"
            if len(targets.split()) == 1
            else "| loss_mlm: {n}| loss_sp: {n}| acc_mlm: {n}| acc_sp: {n}"
        )
        .replace("{n}", r"\d+\.\d{3}")
        .replace("|", r"\|")
    )
    lines = re.findall(
        r"\| {8}[246]/       6 steps\| *\d+\.\d\d tokens/s\| loss *\d+\.\d\d" + fields + r"\n", said.err
    )
    assert len(lines) == 3
    assert "Wrote out.bin-6. Next: python3 " in said.err
    companion = read_companion("out.bin-6")
    assert companion.config.target == tuple(targets.split())
    assert companion.extra == {"data_processor": name, "seq_length": 32}
    assert (companion.tokenizer / "vocab.txt").is_file()
    records = [json.loads(line) for line in Path("out.bin.run/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4, 6]
    assert {f"loss_{target}" for target in targets.split()} <= records[0].keys()
    assert json.loads(Path("out.bin.run/config.json").read_text())["learning_rate"] == 0.01


def test_training_learns(capsys):
    assert (
        run(
            pretrain.main, words("--config_path", "gpt2.json", "--learning_rate", "0.02", name="lm", steps=60)
        )
        == 0
    )
    records = [json.loads(line) for line in Path("out.bin.run/metrics.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < records[0]["loss"] - 1 and records[-1]["acc_lm"] > 0.15


def test_what_is_saved_loads_into_a_fresh_model_and_starts_another_run(capsys):
    assert run(pretrain.main, words(steps=4)) == 0
    model = build_model(ModelConfig(**BERT), len(WORDS))
    state = read_state("out.bin-4")
    assert state.keys() == model.state_dict().keys()
    assert torch.equal(state["target.mlm.linear_2.weight"], state["embedding.word.embedding.weight"])
    again = [
        "--pretrained_model_path",
        "out.bin-4",
        "--output_model_path",
        "next.bin",
        "--learning_rate",
        "1e-9",
    ]
    assert run(pretrain.main, words(*again, steps=2)) == 0
    after = read_state("next.bin-2")
    assert all((after[name] - state[name]).abs().max() < 1e-6 for name in state)
    assert "Loaded " in capsys.readouterr().err


def test_another_objective_starts_from_the_body_of_a_model(capsys):
    assert run(pretrain.main, words("--target", "mlm", name="mlm", steps=2)) == 0
    flags = [
        "--pretrained_model_path",
        "out.bin-2",
        "--target",
        "mlm",
        "sp",
        "--output_model_path",
        "next.bin",
    ]
    assert run(pretrain.main, words(*flags, steps=2)) == 0
    assert "new: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [[], ["--accumulation_steps", "3", "--optimizer", "adafactor", "--scheduler", "cosine"]]
)
def test_a_resumed_run_ends_with_the_same_bits(capsys, flags):
    assert run(pretrain.main, words(*flags, "--output_model_path", "whole.bin", steps=14)) == 0
    assert run(pretrain.main, words(*flags, "--resume", steps=14)) == 0
    assert "No checkpoint of out.bin is there: the run starts at step 0." in capsys.readouterr().err
    for name in ("out.bin-14", "out.bin-12"):
        Path(name).unlink(missing_ok=True)
        shutil.rmtree(f"{name}.state", ignore_errors=True)
    newest = max(int(path.name[8:-6]) for path in Path().glob("out.bin-*.state"))
    assert run(pretrain.main, words(*flags, "--resume", steps=14)) == 0
    assert f"Resuming from out.bin-{newest}, after {newest} steps." in capsys.readouterr().err
    assert same("whole.bin-14", "out.bin-14")
    metrics = [
        Path(f"{name}.run/metrics.jsonl").read_text().splitlines() for name in ("whole.bin", "out.bin")
    ]
    steps = [[json.loads(line)["step"] for line in lines] for lines in metrics]
    assert steps[0] == steps[1]
    losses = [[json.loads(line)["loss"] for line in lines] for lines in metrics]
    assert losses[0][-1] == losses[1][-1]


def test_a_finished_run_is_said_and_left_alone(capsys):
    assert run(pretrain.main, words()) == 0
    before = Path("out.bin-6").read_bytes()
    assert run(pretrain.main, words("--resume")) == 0
    assert (
        "The run of 6 steps is finished; raise --total_steps to go on from out.bin-6."
        in capsys.readouterr().err
    )
    assert Path("out.bin-6").read_bytes() == before
    assert run(pretrain.main, words("--resume", steps=8)) == 0
    assert "--total_steps was 6 and is 8 from here on" in capsys.readouterr().err
    assert Path("out.bin-8").is_file()


def test_a_signal_saves_and_the_exit_code_is_130(capsys, monkeypatch):
    assert run(pretrain.main, words("--output_model_path", "whole.bin")) == 0
    report = RunLog.report

    def reported(log, figures):
        report(log, figures)
        if figures.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunLog, "report", reported)
    assert run(pretrain.main, words()) == 130
    said = capsys.readouterr().err
    assert "SIGTERM: stopping after this batch" in said and "Saved out.bin-2." in said
    assert "Stopped after 2 of 6 steps." in said and said.endswith("interrupted\n")
    assert run(pretrain.main, words("--resume")) == 0
    assert same("whole.bin-6", "out.bin-6")


def test_kill_and_resume_ends_with_the_same_bits():
    flags = ["--accumulation_steps", "2", "--save_checkpoint_steps", "10", "--report_steps", "1"]
    assert run(pretrain.main, words(*flags, "--output_model_path", "whole.bin", steps=60)) == 0
    command = [sys.executable, str(ROOT / "pretrain.py"), *words(*flags, "--resume", steps=60)]
    for after in (4, 25):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for line in process.stderr:
            found = re.search(r"\| +(\d+)/ +60 steps", line)
            if found and int(found.group(1)) >= after:
                break
        process.kill()
        process.wait()
        process.stderr.close()
        time.sleep(0.05)
    assert not Path("out.bin-60").exists()
    assert run(pretrain.main, words(*flags, "--resume", steps=60)) == 0
    assert same("whole.bin-60", "out.bin-60")


def fails(capsys, *flags: str, **more) -> str:
    """The one line of a run that cannot work."""
    assert run(pretrain.main, words(*flags, **more)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dataset_path", "none.pt"], "none.pt"),
        (["--vocab_path", "none.txt"], "none.txt"),
        (["--config_path", "none.json"], "none.json: does not exist"),
        (
            ["--data_processor", "mlm"],
            "the dataset was made with --data_processor bert, and the run asks for mlm",
        ),
        (
            ["--data_processor", "bert", "--target", "lm"],
            "a dataset of --data_processor bert has labels for --target mlm sp",
        ),
        (["--vocab_path", "other_vocab.txt"], "the dataset was made with another tokenizer"),
        (
            ["--max_seq_length", "16"],
            "the dataset was made with --seq_length 32, and the model has 16 positions",
        ),
        (["--batch_size", "100000"], "use a smaller --batch_size or more text"),
        (
            ["--world_size", "8", "--gpu_ranks", *"01234567"],
            "needs 8 GPUs and this machine has none; leave both out",
        ),
        (["--precision", "fp16"], "--precision fp16 needs a GPU"),
        (["--resume", "none.bin-3"], "none.bin-3 does not exist; name a checkpoint NAME-STEP with --resume"),
        (["--learning_rat", "x"], "invalid float value: 'x'"),
        (["--lerning_rate", "1"], "unknown flag '--lerning_rate'. Did you mean '--learning_rate'"),
        (["--total_steps", "0"], "--total_steps is 0; it must be a number greater than 0"),
        (["--pretrained_model_path", "vocab.txt"], "vocab.txt"),
    ],
)
def test_wrong_input_is_one_line(capsys, flags, message):
    assert message in fails(capsys, *flags)
    assert not Path("out.bin-4").exists() and not list(Path().glob(".out*"))


def test_fp16_is_the_older_spelling_of_a_precision(capsys):
    arguments = [word for word in words("--fp16") if word not in ("--precision", "fp32")]
    assert run(pretrain.main, arguments) == 2
    assert "--precision fp16 needs a GPU and this run is on the CPU" in capsys.readouterr().err
    assert run(pretrain.main, [*arguments, "--fp16_opt_level", "O0", "--total_steps", "1"]) == 0
    assert "precision fp32" in capsys.readouterr().err


def test_damaged_datasets(capsys):
    content = Path("bert.pt").read_bytes()
    for name, part in (
        ("empty", b""),
        ("cut", content[: len(content) // 2]),
        ("foreign", b"hello, world" * 9),
    ):
        Path(f"{name}.pt").write_bytes(part)
        assert f"{name}.pt: " in fails(capsys, name=name)


def test_a_model_of_other_sizes(capsys):
    config = ModelConfig(**{**BERT, "hidden_size": 32, "emb_size": 32})
    model = build_model(config, len(WORDS))
    initialize(model)
    write_state("big.bin", model.state_dict())
    assert "big.bin" in fails(capsys, "--pretrained_model_path", "big.bin")


def test_resuming_another_run_is_refused(capsys):
    assert run(pretrain.main, words(steps=4)) == 0
    assert "belongs to a run with batches of 8 rows over all workers, now they have 4" in fails(
        capsys, "--resume", "--batch_size", "4"
    )
    assert "belongs to a run with seed 7, now it is 8" in fails(capsys, "--resume", "--seed", "8")
    assert "another dataset" in fails(capsys, "--resume", "--target", "mlm", name="mlm")
    content = Path("out.bin-4").read_bytes()
    Path("out.bin-4").write_bytes(content[:-100])
    assert "out.bin-4 is truncated or damaged" in fails(capsys, "--resume")


def test_a_rerun_says_what_it_replaces(capsys):
    assert run(pretrain.main, words(steps=4)) == 0
    assert run(pretrain.main, words(steps=2)) == 0
    assert (
        "out.bin-4 is there from an earlier run and will be replaced at the first save"
        in capsys.readouterr().err
    )
    assert not Path("out.bin-4").exists() and Path("out.bin-2").is_file()


def test_print_config(capsys):
    with pytest.raises(SystemExit):
        pretrain.main(words("--print_config"))
    assert json.loads(capsys.readouterr().out)["total_steps"] == 6


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
