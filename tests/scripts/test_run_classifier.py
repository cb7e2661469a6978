"""`run_classifier.py` and its inference twin as a user types them: what they write, and what they refuse."""

import json
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.tasks import scripts
from tests.tasks.scripts import TINY, Folder, finetune, sentence, words
from uer.checkpoints import read_companion, read_state
from uer.errors import CheckpointError, ConfigError, DataError
from uer.utils.files import repository_root

train, infer = partial(finetune, "run_classifier"), partial(scripts.infer, "run_classifier")


@pytest.fixture
def folder(tmp_path):
    """64 random texts with random labels, names and integers, and pairs."""
    folder, rng = Folder(tmp_path), random.Random(1)
    rows = [[rng.randrange(3), sentence(rng)] for _ in range(64)]
    folder.table("rows.tsv", ["label", "text_a"], rows)
    names = ("neutral", "good", "bad")
    folder.table(
        "names.tsv", ["text_a", "id", "label"], [[b, f"#{i}", names[a]] for i, (a, b) in enumerate(rows)]
    )
    folder.table("pairs.tsv", ["label", "text_a", "text_b"], [[a, b, sentence(rng, 1, 4)] for a, b in rows])
    return folder


@pytest.mark.parametrize(
    "rows, flags", [("rows.tsv", {}), ("names.tsv", {"pooling": "max"}), ("pairs.tsv", {})]
)
def test_64_rows_are_memorised_and_predicted(folder, capsys, rows, flags):
    settings = {"pooling": "mean", "epochs_num": 35, "learning_rate": 5e-3, "report_steps": 3, **flags}
    assert train(folder, rows, test_path=folder / rows, **settings) == 0
    log = capsys.readouterr().err
    assert "INFO] Batch size: 16" in log and "INFO] The number of training instances: 64" in log
    assert "INFO] Epoch id: 1, Training steps: 3, Avg loss: 1." in log
    assert "INFO] Epoch id: 2, Training steps: 2, Avg loss: 1." in log
    assert "INFO] Start training." in log and "INFO] Test set evaluation." in log
    assert log.count("Acc. (Correct/Total): ") == 36
    assert infer(folder, rows, output_logits=True, output_prob=True) == 0
    assert capsys.readouterr().out == "The number of prediction instances:  64\n"
    header, predictions = folder.read("out.tsv")
    assert header == ["label", "logits", "prob"]
    columns, gold = folder.read(rows)
    place = columns.index("label")
    right = sum(p[0] == g[place] for p, g in zip(predictions, gold))
    assert right / 64 >= 0.95
    assert f"Acc. (Correct/Total): {right / 64:.4f} ({right}/64) " in log.rsplit("Test set evaluation.")[-1]
    names = sorted({g[place] for g in gold})
    for label, logits, prob in predictions:
        logits, prob = torch.tensor([[float(x) for x in t.split(" ")] for t in (logits, prob)])
        torch.testing.assert_close(logits.softmax(0), prob)
        assert names[int(logits.argmax())] == label
    assert {path.name for path in folder.path.iterdir()} >= {"model.bin", "model.bin.meta", "model.bin.run"}


def test_the_saved_model_says_what_it_is(folder):
    train(folder, "names.tsv", seq_length=20, single_text_sep="false", pooling="max")
    companion = read_companion(folder / "model.bin")
    assert companion.labels == ["bad", "good", "neutral"]
    assert companion.extra == {"task": "classifier", "seq_length": 20, "single_text_sep": False}
    assert (companion.config.pooling, companion.config.labels_num) == ("max", 3)
    state = read_state(folder / "model.bin")
    assert {name for name in state if name.startswith("output")} == {
        f"output_layer_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")
    }
    record = [
        json.loads(line) for line in Path(folder / "model.bin.run/metrics.jsonl").read_text().splitlines()
    ]
    assert len([r for r in record if "dev_acc" in r]) == 2
    infer(folder, keep_columns=["id", "label"], test_path=folder / "names.tsv")
    header, rows = folder.read("out.tsv")
    assert header == ["label", "id", "input_label"]
    assert [row[1] for row in rows] == [f"#{i}" for i in range(64)]


def test_the_same_command_gives_the_same_model(folder):
    train(folder)
    first = read_state(folder / "model.bin")
    train(folder, output_model_path=folder / "again.bin")
    second = read_state(folder / "again.bin")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_plain_file_of_weights_needs_the_full_list_of_flags(folder):
    train(folder)
    infer(folder, output_logits=True)
    expected = folder.read("out.tsv")
    torch.save(read_state(folder / "model.bin"), folder / "uer.bin")
    described = {"config_path": folder.config, "vocab_path": folder.vocab, "labels_num": 3}
    old = {"load_model_path": folder / "uer.bin", "output_logits": True}
    for style in (
        {"embedding": "word_pos_seg", "encoder": "transformer", "mask": "fully_visible"},
        {"embedding": ["word", "pos", "seg"]},
    ):
        infer(folder, **old, **described, **style)
        assert folder.read("out.tsv") == expected
    del described["labels_num"]  # the size of the head says it
    infer(folder, **old, **described)
    assert folder.read("out.tsv") == expected
    with pytest.raises(CheckpointError, match=r"--labels_num is 4, but .*uer.bin tells 3 labels apart"):
        infer(folder, **old, **described, labels_num=4)
    with pytest.raises(ConfigError, match=r"uer.bin has no companion folder"):
        infer(folder, **old, vocab_path=folder.vocab)


def test_flags_may_repeat_the_companion_but_not_contradict_it(folder):
    train(folder)
    infer(folder, vocab_path=folder.vocab, config_path=folder.config, labels_num=3, seq_length=64)
    other = folder.write("other.txt", Path(folder.vocab).read_text() + "X\n")
    for flags, message in [
        ({"labels_num": 2}, "--labels_num is 2, but the companion folder of --load_model_path says 3"),
        ({"vocab_path": other}, r"--vocab_path .*other.txt is another tokenizer than the saved model's own"),
        (
            {"pooling": "mean"},
            "--pooling is 'mean', but the companion folder of --load_model_path says 'first'",
        ),
        (
            {"single_text_sep": "false"},
            "--single_text_sep is false, but the model of --load_model_path was trained with true",
        ),
    ]:
        with pytest.raises(ConfigError, match=message):
            infer(folder, **flags)


def test_fine_tuning_starts_from_a_saved_model(folder, capsys):
    train(folder)
    capsys.readouterr()
    train(
        folder,
        pretrained_model_path=folder / "model.bin",
        output_model_path=folder / "next.bin",
        vocab_path=None,
        config_path=None,
    )
    assert "Loaded " in capsys.readouterr().err
    assert read_companion(folder / "next.bin").config.hidden_size == TINY["hidden_size"]
    folder.table("two.tsv", ["label", "text_a"], [[i % 2, "a b"] for i in range(8)])
    train(folder, "two.tsv", pretrained_model_path=folder / "model.bin", vocab_path=None, config_path=None)
    assert len(read_companion(folder / "model.bin").labels) == 2
    with pytest.raises(ConfigError, match=r"another tokenizer than the saved model's own"):
        other = folder.write("other.txt", Path(folder.vocab).read_text() + "X\n")
        train(folder, pretrained_model_path=folder / "next.bin", vocab_path=other)


def test_soft_targets_and_attacks(folder):
    rng = random.Random(0)
    rows = [[i % 2, sentence(rng), f"{2 - i % 2 * 4} {i % 2 * 4 - 2}"] for i in range(16)]
    folder.table("soft.tsv", ["label", "text_a", "logits"], rows)
    train(folder, "soft.tsv", soft_targets=True, soft_alpha=0.7, epochs_num=20)
    infer(folder, "soft.tsv", output_logits=True)
    for (_, logits), row in zip(folder.read("out.tsv")[1], rows):
        assert abs(float(logits.split()[0]) - float(row[2].split()[0])) < 1.5
    plain = {}
    for name, flags in {
        "none": {},
        "fgm": {"use_adv": True, "fgm_epsilon": 0.5},
        "pgd": {"use_adv": True, "adv_type": "pgd"},
    }.items():
        train(folder, epochs_num=1, **flags)
        plain[name] = read_state(folder / "model.bin")["output_layer_1.weight"]
    assert not torch.equal(plain["none"], plain["fgm"])
    assert not torch.equal(plain["none"], plain["pgd"])


def test_a_best_metric_and_a_wrong_one(folder):
    train(folder, best_metric="macro_f1")
    with pytest.raises(ConfigError, match="--best_metric 'macro_f' is unknown; choose from acc, macro_f1"):
        train(folder, best_metric="macro_f")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "dev.tsv: the file is empty"),
        ("label\ttext_a\n", "dev.tsv: there is no row under the header"),
        ("label\ttext\n0\ta\n", "dev.tsv:1: the column 'text_a' is missing"),
        ("label\ttext_a\n0\ta\n1\n", "dev.tsv:3: the row has 1 of 2 columns"),
        ("label\ttext_a\n0\ta\n7\tb\n", "dev.tsv:3: the label '7' is not among those of .*rows.tsv: 0, 1, 2"),
    ],
)
def test_faulty_development_files_stop_before_training(folder, text, message):
    with pytest.raises(DataError, match=message):
        train(folder, dev_path=folder.write("dev.tsv", text))
    assert not (folder.path / "model.bin").exists()


def test_missing_files(folder):
    for flag in ("train_path", "dev_path"):
        with pytest.raises(DataError, match=r"nowhere.tsv: the file does not exist"):
            train(folder, **{flag: folder / "nowhere.tsv"})
    with pytest.raises(CheckpointError, match=r"nowhere.bin"):
        train(folder, pretrained_model_path=folder / "nowhere.bin")
    with pytest.raises(CheckpointError, match=r"model.bin"):
        infer(folder, config_path=folder.config, vocab_path=folder.vocab, labels_num=2)


def test_a_head_that_is_not_there(folder):
    train(folder)
    body = {name: x for name, x in read_state(folder / "model.bin").items() if not name.startswith("output")}
    torch.save(body, folder / "body.bin")
    with pytest.raises(CheckpointError, match="this is no model of this task: fine-tune one first"):
        infer(folder, load_model_path=folder / "body.bin", config_path=folder.config, vocab_path=folder.vocab)


def test_a_vocabulary_that_does_not_fit_the_weights(folder):
    train(folder)
    torch.save(read_state(folder / "model.bin"), folder / "uer.bin")
    other = folder.write("other.txt", Path(folder.vocab).read_text() + "X\n")
    with pytest.raises(CheckpointError, match="the vocabulary has 32 tokens and the file 31"):
        train(folder, pretrained_model_path=folder / "uer.bin", vocab_path=other)


def test_faulty_rows_leave_no_predictions(folder):
    train(folder)
    folder.write("bad.tsv", "text_a\ttext_b\na\tb\nc\n")
    with pytest.raises(DataError, match=r"bad.tsv:3: the row has 1 of 2 columns"):
        infer(folder, "bad.tsv")
    with pytest.raises(DataError, match="the column 'where' is missing"):
        infer(folder, keep_columns=["where"])
    assert not (folder.path / "out.tsv").exists()
    assert not [path for path in folder.path.iterdir() if path.suffix == ".tmp"]
    with pytest.raises(ConfigError, match="--prediction_path must be given"):
        infer(folder, prediction_path=None)


def test_standing_in_a_pipe(folder):
    train(folder)
    infer(folder)
    expected = (folder.path / "out.tsv").read_text()
    command = [
        sys.executable,
        str(repository_root() / "inference" / "run_classifier_infer.py"),
        *words(load_model_path=folder / "model.bin"),
    ]
    process = subprocess.Popen(
        [*command, "--test_path", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    rows = (folder.path / "rows.tsv").read_text().splitlines(keepends=True)
    process.stdin.writelines(rows[:2])
    process.stdin.flush()
    answer = [process.stdout.readline(), process.stdout.readline()]  # before the rest is sent
    out, log = process.communicate("".join(rows[2:]), timeout=60)
    assert process.returncode == 0, log
    assert "".join(answer) + out == expected
    assert "The number of prediction instances:  64" in log


def test_a_language_model_without_segments_becomes_a_classifier(folder, capsys):
    from uer.checkpoints import write_state
    from uer.config.model import ModelConfig
    from uer.models.build import build_model
    from uer.models.initialize import initialize

    sizes = {
        name: TINY[name]
        for name in ("emb_size", "hidden_size", "feedforward_size", "heads_num", "layers_num")
    }
    config = ModelConfig(
        **sizes,
        max_seq_length=32,
        embedding=("word", "pos"),
        mask="causal",
        layernorm_positioning="pre",
        remove_embedding_layernorm=True,
        target=("lm",),
        tie_weights=True,
    )
    model = build_model(config, 31)
    initialize(model)
    write_state(folder / "gpt2.bin", model.state_dict())
    folder.write("gpt2.json", json.dumps({**config.to_json(), "embedding": ["word", "pos"]}))
    capsys.readouterr()
    train(
        folder,
        config_path=folder / "gpt2.json",
        pretrained_model_path=folder / "gpt2.bin",
        embedding="word_pos_seg",
        remove_embedding_layernorm=True,
        encoder="transformer",
        mask="causal",
        layernorm_positioning="pre",
        pooling="last",
        epochs_num=1,
    )
    log = capsys.readouterr().err
    assert "; new: embedding.seg.embedding, output_layer_1, output_layer_2; unused: target.lm" in log
    infer(folder)
    assert len(folder.read("out.tsv")[1]) == 64


def test_flags_that_a_classifier_has_no_use_for(folder, capsys):
    old = {"fp16_opt_level": "O1", "target": "bert", "embedding": "word_pos_seg", "max_seq_length": 32}
    assert train(folder, epochs_num=1, **old) == 0
    assert "--fp16_opt_level is accepted for old command lines and has no effect" in capsys.readouterr().err
    new = {"target": ["mlm", "sp"], "tie_weights": True, "tgt_embedding": ["word"], "decoder": "transformer"}
    assert train(folder, epochs_num=1, share_embedding=True, has_lmtarget_bias=True, **new) == 0
    with pytest.raises(ConfigError, match="--encoder dual"):
        train(folder, encoder="dual")
    with pytest.raises(
        ConfigError, match=r"a sequence of .* tokens meets a model of 4 positions; lower --seq_length"
    ):
        train(folder, max_seq_length=4)


def test_evaluating_by_steps_and_stopping_early(folder, capsys):
    settings = {"epochs_num": 10, "learning_rate": 1e-12, "eval_steps": 2}
    train(folder, early_stopping="macro_f1:3", **settings)
    log = capsys.readouterr().err
    assert log.count("Acc. (Correct/Total): ") == 4  # the first is the best, three more bring nothing
    assert "No better score in 3 evaluations (--early_stopping): training ends here." in log
    assert "The best model is that of epoch 1 (step 2), score" in log
    train(folder, early_stopping="2", **settings)
    assert capsys.readouterr().err.count("Acc. (Correct/Total): ") == 3
    with pytest.raises(ConfigError, match="--early_stopping 'f' is unknown"):
        train(folder, early_stopping="f:3")
    with pytest.raises(
        ConfigError, match="--early_stopping is acc:0; it must be METRIC:PATIENCE, as in acc:3"
    ):
        train(folder, early_stopping="acc:0")


def test_the_area_under_the_curve_chooses(folder, capsys):
    train(folder, best_metric="auc", class_weights=True)
    assert ", AUC: 0." in capsys.readouterr().err
    train(folder)
    assert ", AUC: " not in capsys.readouterr().err  # three labels: only when asked for


def test_a_dry_run_trains_nothing_and_a_run_leaves_its_report(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        train(folder, dry_run=True)
    said = capsys.readouterr().err
    assert ended.value.code == 0 and "it fits." in said and "Epoch id" not in said
    assert not Path(folder / "model.bin").exists() and not Path(folder / "model.bin.run").exists()
    assert train(folder, tensorboard=True, micro_batches="auto", report_steps=2) == 0
    run = Path(folder / "model.bin.run")
    assert list((run / "tensorboard").glob("events.*"))
    page = (run / "report.html").read_text(encoding="utf-8")
    for part in (
        "Best accuracy",
        "Utilisation",
        "Peak memory",
        "batches of an epoch",
        "finished: 8 of 8 steps",
    ):
        assert part in page


def test_rows_in_pieces_give_the_same_model(folder):
    train(folder, output_model_path=folder / "whole.bin")
    train(folder, output_model_path=folder / "cut.bin", micro_batches=3)
    whole, cut = read_state(folder / "whole.bin"), read_state(folder / "cut.bin")
    assert all((whole[name] - cut[name]).abs().max() <= 1e-5 for name in whole)
