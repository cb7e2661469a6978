"""`pretrain.py` with a generator beside the model: flags, resuming, weights from and to elsewhere."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
from pathlib import Path

import pytest
import torch

import preprocess
import pretrain
from tests.scripts.pretraining import BERT, fails, same, words
from uer.checkpoints import read_companion, read_state
from uer.cli import run
from uer.utils.files import repository_root

pytestmark = pytest.mark.usefixtures("pretraining_files", "electra")
GENERATOR = {"hidden_size": 8, "feedforward_size": 16, "factorized_embedding_parameterization": True}
SHARES = ["word", "pos", "seg", "layer_norm"]
WORD = "embedding.word.embedding.weight"


@pytest.fixture
def electra(pretraining_files):
    """Configurations and datasets."""
    config = {**BERT, "target": ["rtd"], "generator": GENERATOR, "generator_shares": SHARES}
    Path("electra.json").write_text(json.dumps(config), encoding="utf-8")
    health = {**config, "target": ["rtd", "mts", "csp"], "csp_size": 8}
    Path("health.json").write_text(json.dumps(health), encoding="utf-8")
    for name, processor in (("electra", "electra"), ("health", "ernie_health"), ("struct", "structbert")):
        preprocess.main(
            [
                *("--corpus_path", "corpus.txt", "--vocab_path", "vocab.txt", "--seq_length", "32"),
                *("--dataset_path", f"{name}.pt", "--data_processor", processor),
            ]
        )


def electra_words(*more: str, steps: int = 6) -> list[str]:
    return words(*more, name="electra", config="electra.json", steps=steps)


def records(name: str = "out.bin") -> list[dict]:
    return [json.loads(line) for line in Path(f"{name}.run/metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_draws_the_same_tokens():
    assert run(pretrain.main, electra_words("--output_model_path", "whole.bin", steps=8)) == 0
    assert run(pretrain.main, electra_words(steps=8)) == 0
    Path("out.bin-8").unlink()
    shutil.rmtree("out.bin-8.state")
    assert run(pretrain.main, electra_words("--resume", steps=8)) == 0
    assert same("whole.bin-8", "out.bin-8")
    held = read_state("out.bin-8")
    assert torch.equal(held[WORD], held[f"generator.{WORD}"])
    assert run(pretrain.main, electra_words("--seed", "8", "--output_model_path", "other.bin", steps=8)) == 0
    assert not same("whole.bin-8", "other.bin-8")


def test_both_models_go_to_hugging_face_and_come_back(load_script, capsys):
    from transformers import AutoTokenizer, ElectraForMaskedLM, ElectraForPreTraining

    assert run(pretrain.main, electra_words()) == 0
    export = ["--load_model_path", "out.bin-6", "--output_path", "out"]
    assert load_script("scripts/export.py").main(export) == 0
    said = capsys.readouterr().err
    assert "Wrote out: ElectraForPreTraining." in said
    assert "Wrote out-generator: ElectraForMaskedLM, the generator." in said
    ids = AutoTokenizer.from_pretrained("out-generator")(
        ["一丁丂七", "丄"], padding=True, return_tensors="pt"
    )
    held, config = read_state("out.bin-6"), read_companion("out.bin-6").config
    model = _model(config, held)
    inputs = {"src": ids["input_ids"], "seg": ids["attention_mask"] * (1 + ids["token_type_ids"])}
    with torch.no_grad():
        discriminator = ElectraForPreTraining.from_pretrained("out").eval()(**ids).logits
        generator = ElectraForMaskedLM.from_pretrained("out-generator").eval()(**ids).logits
        ours = model.target.rtd.logits(model.encode(inputs).hidden)
        guesses = model.generator.target.mlm.logits(model.generator.encode(inputs).hidden)
    real = ids["attention_mask"] > 0
    torch.testing.assert_close(ours[real], discriminator[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(guesses[real], generator[real], atol=1e-5, rtol=1e-5)
    only_weights("out")
    back = ["--pretrained_model_path", "out", "--generator_path", "out-generator", "--learning_rate", "1e-9"]
    # What no update moves is there again: a rate of nothing, and no decay.
    back += ["--output_model_path", "back.bin", "--weight_decay", "0"]
    assert run(pretrain.main, electra_words(*back, steps=1)) == 0
    again = read_state("back.bin-1")
    assert again.keys() == held.keys()
    for name in held:  # Hugging Face's tables have no row for padding
        first = int(name.endswith("embedding.seg.embedding.weight"))
        assert torch.allclose(again[name][first:], held[name][first:], atol=1e-6), name
    assert read_companion("back.bin-1").config.generator_shares == tuple(SHARES)


def only_weights(folder: str) -> None:
    """Without the tokenizer, so that the one the dataset was made with is taken."""
    for file in Path(folder).iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()


def _model(config, held):
    from uer.models.build import build_model

    model = build_model(config, len(held[WORD]))
    model.load_state_dict(held)
    return model.eval()


def test_a_generator_with_other_words_keeps_them(load_script, capsys):
    for name, seed in (("one", "1"), ("two", "2")):
        assert (
            run(pretrain.main, electra_words("--output_model_path", f"{name}.bin", "--seed", seed, steps=1))
            == 0
        )
        export = ["--load_model_path", f"{name}.bin-1", "--output_path", name]
        assert load_script("scripts/export.py").main(export) == 0
    only_weights("one")
    mixed = ["--pretrained_model_path", "one", "--generator_path", "two-generator", "--learning_rate", "1e-9"]
    assert run(pretrain.main, electra_words(*mixed, "--weight_decay", "0", steps=2)) == 0
    assert "Model and generator have embeddings of their own (word pos seg)" in capsys.readouterr().err
    held = read_state("out.bin-2")
    for name, source in ((WORD, "one.bin-1"), (f"generator.{WORD}", "two.bin-1")):
        assert torch.allclose(held[name], read_state(source)[name], atol=1e-6)
    # The norms had not moved yet, so both files have the same.
    assert read_companion("out.bin-2").config.generator_shares == ("layer_norm",)
    # Without weights of its own the model takes what both share from the generator.
    alone = ["--generator_path", "two-generator", "--learning_rate", "1e-9", "--weight_decay", "0"]
    assert run(pretrain.main, electra_words(*alone, "--output_model_path", "alone.bin", steps=1)) == 0
    assert torch.allclose(read_state("alone.bin-1")[WORD], read_state("two.bin-1")[WORD], atol=1e-6)


def test_fine_tuning_passes_the_generator_over(load_script, capsys):
    assert run(pretrain.main, electra_words(steps=1)) == 0
    Path("train.tsv").write_text("label\ttext_a\n0\t一丁\n1\t丂七\n" * 4, encoding="utf-8")
    flags = ["--pretrained_model_path", "out.bin-1", "--train_path", "train.tsv", "--dev_path", "train.tsv"]
    flags += [
        "--output_model_path",
        "fine.bin",
        "--epochs_num",
        "1",
        "--batch_size",
        "4",
        "--seq_length",
        "16",
    ]
    assert run(load_script("finetune/run_classifier.py").main, flags) == 0
    assert not any(name.startswith("generator.") for name in read_state("fine.bin"))
    export = ["--load_model_path", "fine.bin", "--output_path", "fine", "--family", "bert"]
    assert load_script("scripts/export.py").main(export) == 0
    assert not Path("fine-generator").exists()


def test_weights_of_the_targets(capsys):
    assert run(pretrain.main, electra_words("--report_steps", "1", steps=1)) == 0
    first = records()[0]
    assert first["loss"] == pytest.approx(first["loss_mlm"] + 50 * first["loss_rtd"], rel=1e-6)
    assert run(pretrain.main, electra_words("--report_steps", "1", "--target_weights", "3", steps=1)) == 0
    other = records()[0]
    assert other["loss"] == pytest.approx(other["loss_mlm"] + 3 * other["loss_rtd"], rel=1e-6)
    assert other["gradient_norm"] < first["gradient_norm"]
    # In a JSON config, for targets that share a pass.
    Path("mix.json").write_text(json.dumps({**BERT, "target_weights": [1, 0]}), encoding="utf-8")
    mix = ["--weight_decay", "0", "--eval_dataset_path", "bert.pt", "--eval_steps", "1"]
    assert run(pretrain.main, words(*mix, config="mix.json", steps=2)) == 0
    last = records()
    report = next(record for record in last if "loss" in record)
    assert report["loss"] == pytest.approx(report["loss_mlm"], rel=1e-6) and report["loss_sp"] > 0
    evaluated = next(record for record in last if "eval_loss" in record)
    assert evaluated["eval_loss"] == pytest.approx(evaluated["eval_loss_mlm"], rel=1e-6)
    assert run(pretrain.main, words("--weight_decay", "0", "--output_model_path", "all.bin", steps=2)) == 0
    weighed, plain = read_state("out.bin-2"), read_state("all.bin-2")
    head = "target.sp.linear_2.weight"
    assert not torch.equal(weighed[head], plain[head])
    assert float((weighed[head] - plain[head]).abs().max()) > 1e-3  # the one has not moved


def test_settings_that_cannot_be(capsys):
    wrong = fails(capsys, "--target_weights", "1", "2", "3")
    assert "--target_weights has 3 numbers and --target 2 words (mlm sp); give one weight for each." in wrong
    assert "--target_weights is -1.0; it must be" in fails(capsys, "--target_weights", "-1", "2")
    wrong = fails(capsys, "--generator_path", "nothing")
    assert "--generator_path is for --target rtd; the model, of --target mlm sp, has no generator" in wrong
    wrong = fails(capsys, "--micro_batches", "2", name="health", config="health.json")
    assert "--target csp compares the rows of a batch with one another" in wrong
    wrong = fails(capsys, "--target", "rtd", name="electra")
    assert "--target rtd needs a generator: describe it by the key 'generator'" in wrong
    wrong = fails(capsys, name="electra")
    assert "a dataset of --data_processor electra has labels for --target rtd, not for mlm sp" in wrong
    wrong = fails(capsys, name="struct")
    assert "structbert tells 3 kinds of pairs apart, and the sp target 2; give --sp_labels_num 3." in wrong


def test_three_kinds_of_pairs_by_flag_and_no_class_for_them(load_script):
    assert run(pretrain.main, words("--sp_labels_num", "3", name="struct", steps=2)) == 0
    assert read_state("out.bin-2")["target.sp.linear_2.weight"].shape == (3, 16)
    export = ["--load_model_path", "out.bin-2", "--output_path", "out"]
    with pytest.raises(Exception, match="tells 3 kinds of pairs apart, that of BertForPreTraining 2"):
        load_script("scripts/export.py").main(export)
    assert load_script("scripts/export.py").main([*export, "--head", "mlm"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_workers_under_either_engine(engine):
    """What is shared between model and generator stays one tensor, and both learn."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    flags = ["--world_size", "2", "--backend", "gloo", "--master_ip", f"tcp://localhost:{port}"]
    assert run(pretrain.main, electra_words(*flags, "--engine", engine, steps=4)) == 0
    held = read_state("out.bin-4")
    assert torch.equal(held[WORD], held[f"generator.{WORD}"])
    assert records()[-1]["loss_rtd"] < records()[0]["loss_rtd"]


def test_all_heads_of_ernie_health_learn(load_script, capsys):
    assert run(pretrain.main, words(name="health", config="health.json")) == 0
    last = records()[-1]
    weighed = last["loss_mlm"] + 50 * last["loss_rtd"] + 20 * last["loss_mts"] + last["loss_csp"]
    assert last["loss"] == pytest.approx(weighed, rel=1e-6)
    held = read_state("out.bin-6")
    assert held["target.csp.linear_2.weight"].shape == (8, 16)
    assert held["target.mts.bias.weight"].shape == (101, 1)
    export = ["--load_model_path", "out.bin-6", "--output_path", "out"]
    assert load_script("scripts/export.py").main(export) == 0
    assert "Left out, since that class has no such heads: csp mts." in capsys.readouterr().err


def test_held_out_text_meets_the_same_draws_and_changes_no_bit():
    assert run(pretrain.main, electra_words("--output_model_path", "plain.bin", steps=4)) == 0
    evaluate = ["--eval_dataset_path", "electra.pt", "--eval_steps", "2"]
    assert run(pretrain.main, electra_words(*evaluate, "--learning_rate", "1e-9", "--weight_decay", "0")) == 0
    losses = [record["eval_loss_rtd"] for record in records() if "eval_loss" in record]
    assert len(losses) == 3 and losses == pytest.approx([losses[0]] * 3, abs=1e-6)
    assert run(pretrain.main, electra_words(*evaluate, steps=4)) == 0
    assert same("plain.bin-4", "out.bin-4")


def test_the_documented_commands(load_script, capsys):
    """As they stand, on the first lines of the text, for a step."""
    text = (repository_root() / "docs" / "training.md").read_text(encoding="utf-8")
    lines = text.split("## A generator")[1].split("```")[1].replace("\\\n", "").splitlines()[1:]
    for name in ("corpora/book_review.txt", "models/zh_en_vocab.txt", "models/electra/small_config.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        held = (repository_root() / name).read_text(encoding="utf-8").splitlines(keepends=True)
        Path(name).write_text("".join(held[:40] if name.startswith("corpora") else held), encoding="utf-8")
    for line in lines:
        _, script, *typed = shlex.split(line.replace("1000", "1"))
        if script == "pretrain.py":
            typed += ["--batch_size", "1", "--precision", "fp32"]
        assert run(load_script(script).main, typed) == 0, capsys.readouterr().err
    assert Path("electra-small-generator/model.safetensors").is_file()


def test_masking_of_a_json_config():
    """Masks drawn at batch time follow the configuration; typed flags win over it."""
    Path("rate.json").write_text(json.dumps({**BERT, "mask_rate": 0.5}), encoding="utf-8")
    counts = {}
    for name, flags in (("json", []), ("typed", ["--mask_rate", "0.15"])):
        counts[name] = _masked(pretrain.COMMAND.parse(words(*flags, config="rate.json")))
    assert counts["json"] > 2.5 * counts["typed"]


def _masked(chosen) -> int:
    from uer.opts.tokenizer import chosen_tokenizer
    from uer.training.workers import Workers

    tokenizer = chosen_tokenizer(chosen)
    data = pretrain.open_data(chosen, "bert.pt", tokenizer, tokenizer, Workers())
    return data.get(0).counts["mlm"]
