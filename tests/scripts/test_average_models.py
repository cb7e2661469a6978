"""Averages of checkpoints: the mean, its companion, and what cannot be averaged."""

from __future__ import annotations

import pytest
import torch

from tests.checkpoints.folders import make
from uer.checkpoints import load_into, read_companion, read_state, write_state
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.models.build import build_model
from uer.tokenizers import build_tokenizer, load_tokenizer

CONFIG = ModelConfig(
    emb_size=8, hidden_size=8, heads_num=2, layers_num=1, feedforward_size=8, tie_weights=True
)


@pytest.fixture
def main(load_script):
    return load_script("scripts/average_models.py").main


def paths(*names):
    return ["--model_list_path", *map(str, names), "--output_model_path", "mean.bin"]


def test_the_mean_of_models(main, tmp_path):
    models = []
    for number in range(3):
        torch.manual_seed(number)
        models.append(build_model(CONFIG, 9))
        write_state(
            tmp_path / f"m{number}.bin", models[-1].state_dict(), config=CONFIG, extra={"seq_length": 8}
        )
    assert main(paths(*(tmp_path / f"m{number}.bin" for number in range(3)))) == 0
    states = [model.state_dict() for model in models]
    mean = read_state("mean.bin")
    assert mean.keys() == states[0].keys()
    for name, tensor in mean.items():
        expected = torch.stack([state[name] for state in states]).double().mean(0).float()
        assert torch.equal(tensor, expected)
    # What was one tensor in all files is one tensor in the average, and the file is not larger than each of
    # them.
    assert mean["target.mlm.linear_2.weight"].data_ptr() == mean["embedding.word.embedding.weight"].data_ptr()
    companion = read_companion("mean.bin")
    assert companion.config == CONFIG and companion.extra == {"seq_length": 8}


def test_vintages_may_differ(main, tmp_path):
    write_state(tmp_path / "a", {"embedding.word_embedding.weight": torch.zeros(2, 2)})
    write_state(tmp_path / "b", {"embedding.word.embedding.weight": torch.ones(2, 2)})
    main(paths("a", "b"))
    assert torch.equal(read_state("mean.bin")["embedding.word.embedding.weight"], torch.full((2, 2), 0.5))


def test_half_precision_is_summed_in_double(main, tmp_path):
    for number in range(8):
        write_state(tmp_path / str(number), {"a": torch.full((3,), 40000.0 + number).half()})
    main(paths(*range(8)))
    assert read_state("mean.bin")["a"].dtype == torch.float16
    assert torch.equal(read_state("mean.bin")["a"], torch.full((3,), 40000.0).half())


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"a": torch.ones(2)}, {"b": torch.ones(2)}, "other lacks a, which the other file has"),
        ({"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(2)}, "one lacks b"),
        ({"a": torch.ones(2)}, {"a": torch.ones(3)}, r"a is \[2\] torch\.float32 in one and \[3\]"),
        ({"a": torch.ones(2)}, {"a": torch.ones(2).half()}, r"and \[2\] torch\.float16 in other"),
        ({"a": torch.tensor([1])}, {"a": torch.tensor([2])}, "a holds whole numbers that differ"),
    ],
)
def test_other_models_are_refused(main, one, other, message):
    write_state("one", one)
    write_state("other", other)
    with pytest.raises(CheckpointError, match=message):
        main(paths("one", "other"))


def test_other_configurations_are_refused(main):
    write_state("one", {"a": torch.ones(2)}, config=CONFIG)
    write_state("other", {"a": torch.ones(2)}, config=CONFIG.replace(layernorm="uer"))
    with pytest.raises(CheckpointError, match="layernorm is normal for one and uer for other"):
        main(paths("one", "other"))


def test_other_vocabularies_are_refused(main, tmp_path):
    for name, word in (("one", "甲"), ("other", "乙")):
        (tmp_path / "vocab.txt").write_text(f"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{word}\n", encoding="utf-8")
        tokenizer = build_tokenizer("bert", vocab_path=tmp_path / "vocab.txt")
        write_state(name, {"a": torch.ones(2)}, config=CONFIG, tokenizer=tokenizer)
    with pytest.raises(CheckpointError, match="one and other have other tokenizers"):
        main(paths("one", "other"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": ["1", "0"]},
            r"the order of the labels is \['0', '1'\] for one and \['1', '0'\] for other",
        ),
        ({"extra": {"task": "dbqa"}}, "the task is classifier for one and dbqa for other"),
    ],
)
def test_other_labels_and_tasks_are_refused(main, changes, message):
    same = {"config": CONFIG, "labels": ["0", "1"], "extra": {"task": "classifier"}}
    write_state("one", {"a": torch.ones(2)}, **same)
    write_state("other", {"a": torch.ones(2)}, **{**same, **changes})
    with pytest.raises(CheckpointError, match=message):
        main(paths("one", "other"))


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", "ForMaskedLM"), ("gpt2", "LMHeadModel"), ("t5", "ForConditionalGeneration")],
)
def test_the_mean_of_hugging_face_folders(main, tmp_path, family, head):
    theirs = [make(family, head, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "other"))]
    main(paths("one", "other"))
    companion = read_companion("mean.bin")
    tokenizer = load_tokenizer(companion.tokenizer)
    assert tokenizer.fingerprint() == load_tokenizer(tmp_path / "one").fingerprint()
    assert not list(companion.folder.rglob("*.safetensors"))
    (tmp_path / "mean").mkdir()
    half = {
        name: (tensor + theirs[1].state_dict()[name]) / 2 for name, tensor in theirs[0].state_dict().items()
    }
    theirs[0].load_state_dict(half)
    theirs[0].save_pretrained(tmp_path / "mean")
    models = [build_model(companion.config, len(tokenizer)) for _ in range(2)]
    load_into(models[0], "mean.bin")
    load_into(models[1], tmp_path / "mean")
    expected = models[1].state_dict()
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-5)


def test_folders_of_other_vocabularies_are_refused(main, tmp_path):
    for name in ("one", "other"):
        make("bert", "ForMaskedLM", tmp_path / name)
    words = (tmp_path / "other" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    (tmp_path / "other" / "vocab.txt").write_text("\n".join([*words[:5], *words[5:][::-1]]), encoding="utf-8")
    with pytest.raises(CheckpointError, match="one and other have other tokenizers"):
        main(paths("one", "other"))


def test_one_file_is_no_average(main):
    with pytest.raises(CheckpointError, match="--model_list_path names 1 file"):
        main(paths("one"))
    with pytest.raises(ConfigError, match="--model_list_path"):
        main(["--output_model_path", "x"])


def test_a_missing_file(main):
    write_state("one", {"a": torch.ones(2)})
    with pytest.raises(CheckpointError, match=r"two does not exist; .* --model_list_path"):
        main(paths("one", "two"))


@pytest.fixture
def three(tmp_path):
    """Three models of one kind, and their states."""
    states = []
    for number in range(3):
        torch.manual_seed(number)
        states.append(build_model(CONFIG, 9).state_dict())
        write_state(tmp_path / f"{number}.bin", states[-1], config=CONFIG)
    return states


@pytest.mark.parametrize(
    ("flags", "shares"),
    [
        (["--weights", "1", "2", "5"], [1 / 8, 2 / 8, 5 / 8]),
        (["--ema_decay", "0.9"], [0.81, 0.09, 0.1]),
    ],
)
def test_weighted_and_running_means(main, three, flags, shares):
    main([*paths("0.bin", "1.bin", "2.bin"), *flags])
    for name, tensor in read_state("mean.bin").items():
        expected = sum(share * state[name].double() for share, state in zip(shares, three))
        torch.testing.assert_close(tensor, expected.float())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--weights", "1", "2"], "--weights has 2 numbers and --model_list_path 3 files"),
        (["--ema_decay", "1.5"], "--ema_decay is 1.5"),
        (["--weights", "1", "1", "1", "--ema_decay", "0.5"], "--weights and --ema_decay say each how"),
    ],
)
def test_senseless_means(main, three, flags, message):
    with pytest.raises(ConfigError, match=message):
        main([*paths("0.bin", "1.bin", "2.bin"), *flags])


def test_a_soup_needs_classifiers(main, three, tmp_path):
    (tmp_path / "dev.tsv").write_text("label\ttext_a\n0\tx\n")
    with pytest.raises(CheckpointError, match="no classifier that says by itself"):
        main([*paths("0.bin", "1.bin"), "--soup_path", "dev.tsv"])
