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

import pytest
import torch

import pretrain
from tests.scripts.pretraining import BERT, WORDS, fails, same, words
from uer.checkpoints import read_companion, read_state, write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.config.preprocess import DATA_PROCESSORS
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.training.runlog import RunLog

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("pretraining_files")


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
    assert "The report is out.bin.run/report.html." in said.err and Path("out.bin.run/report.html").is_file()
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
            pretrain.main,
            words("--config_path", "gpt2.json", "--learning_rate", "0.02", name="lm", steps=120),
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


@pytest.mark.parametrize("objective", DATA_PROCESSORS)
def test_what_to_type_next_is_a_command(objective, load_script):
    """Models that write are led to where they write, encoder-decoders to pairs of texts."""
    name, *words = pretrain.next_command(Path("m.bin-2"), objective).split(" ")
    flags = load_script(name).COMMAND.parser.format_help()
    assert all(word in flags for word in words if word.startswith("--"))
    writes = {"lm": "generate_lm", "prefixlm": "generate_lm", "mt": "generate_seq2seq"}
    writes |= dict.fromkeys(("t5", "gsg", "bart"), "run_text2text")
    assert Path(name).stem == writes.get(objective, "run_classifier")
