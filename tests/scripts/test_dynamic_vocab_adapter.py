"""A model learns another vocabulary: kept rows, rows made of pieces, ties, companions, refusals."""

from __future__ import annotations

import pytest
import torch

from tests.checkpoints.folders import WORDS, make
from uer.checkpoints import load_into, read_companion, read_state, write_state
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.models.build import build_model
from uer.tokenizers import build_tokenizer, load_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OLD = [*SPECIAL, "un", "##able", "##do", "甲", "乙", "do"]
NEW = [*SPECIAL, "甲", "undoable", "##able", "丙", "甲乙", "un"]
CONFIG = ModelConfig(
    emb_size=8,
    hidden_size=8,
    heads_num=2,
    layers_num=1,
    feedforward_size=8,
    target=("mlm",),
    tie_weights=True,
)


@pytest.fixture
def main(tmp_path, load_script):
    for name, tokens in (("old.txt", OLD), ("new.txt", NEW)):
        (tmp_path / name).write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return load_script("scripts/dynamic_vocab_adapter.py").main


FILES = ["--old_model_path", "old.bin", "--new_vocab_path", "new.txt", "--new_model_path", "new.bin"]
OLD_VOCAB = ["--old_vocab_path", "old.txt"]


def test_rows_move_and_new_ones_are_made(main, capsys):
    torch.manual_seed(1)
    model = build_model(CONFIG, len(OLD))
    old = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    old["target.mlm.linear_2.bias"] = torch.arange(float(len(OLD)))
    write_state(
        "old.bin", {**model.state_dict(), "target.mlm.linear_2.bias": old["target.mlm.linear_2.bias"]}
    )
    assert main([*FILES, *OLD_VOCAB]) == 0
    assert (
        "11 tokens become 11: 8 kept, 2 new from the mean of their pieces, 1 new at random, 3"
        in capsys.readouterr().err
    )
    new = read_state("new.bin")
    word, before = new["embedding.word.embedding.weight"], old["embedding.word.embedding.weight"]
    index = {token: number for number, token in enumerate(OLD)}
    for number, token in enumerate(NEW):
        if token in index:
            assert torch.equal(word[number], before[index[token]])
    assert torch.allclose(word[6], before[[index["un"], index["##do"], index["##able"]]].mean(0))
    assert torch.allclose(word[9], before[[index["甲"], index["乙"]]].mean(0))
    assert 0 < word[8].abs().max() < 0.1
    bias = new["target.mlm.linear_2.bias"]
    assert bias[5] == index["甲"] and bias[8] == 0 and bias[9] == (index["甲"] + index["乙"]) / 2
    assert word.data_ptr() == new["target.mlm.linear_2.weight"].data_ptr(), "tied stays tied"
    load_into(build_model(CONFIG, len(NEW)), "new.bin")
    same = [name for name in old if "linear_2" not in name and "word" not in name]
    assert same and all(torch.equal(new[name], old[name]) for name in same)
    again = word.clone()
    main([*FILES, *OLD_VOCAB])
    assert torch.equal(read_state("new.bin")["embedding.word.embedding.weight"], again)
    main([*FILES, *OLD_VOCAB, "--seed", "8"])
    assert not torch.equal(read_state("new.bin")["embedding.word.embedding.weight"], again)


def test_the_generator_and_the_bias_of_candidates_too(main):
    config = CONFIG.replace(target=("rtd", "mts"), generator={}, tie_weights=True)
    model = build_model(config, len(OLD))
    write_state("old.bin", model.state_dict(), config=config)
    assert main([*FILES, *OLD_VOCAB]) == 0
    new, row = read_state("new.bin"), OLD.index("甲")
    bias = "target.mts.bias.weight"
    assert torch.equal(new[bias][NEW.index("甲")], model.state_dict()[bias][row])
    words = new["embedding.word.embedding.weight"]
    assert torch.equal(words, new["generator.target.mlm.linear_2.weight"])
    load_into(build_model(config, len(NEW)), "new.bin")


def test_language_models_of_2021_too(main):
    names = ("embedding.word_embedding.weight", "target.output_layer.weight")
    write_state(
        "old.bin",
        {name: torch.rand(len(OLD), 4) for name in names}
        | {"target.output_layer.bias": torch.ones(len(OLD))},
    )
    main([*FILES, *OLD_VOCAB])
    shapes = {name: tensor.shape[0] for name, tensor in read_state("new.bin").items()}
    assert shapes == {
        "embedding.word.embedding.weight": len(NEW),
        "target.lm.output_layer.weight": len(NEW),
        "target.lm.output_layer.bias": len(NEW),
    }


def test_the_companion_brings_the_old_vocabulary_and_gets_the_new_one(main):
    model = build_model(CONFIG, len(OLD))
    tokenizer = build_tokenizer("bert", vocab_path="old.txt", do_lower_case=False)
    write_state("old.bin", model.state_dict(), config=CONFIG, tokenizer=tokenizer, labels={"a": 0})
    main(FILES)
    companion = read_companion("new.bin")
    saved = load_tokenizer(companion.tokenizer)
    assert saved.vocab.tokens == NEW and saved.do_lower_case is False
    assert companion.config == CONFIG and companion.labels == {"a": 0}


def test_refusals(main, tmp_path):
    write_state("old.bin", {"embedding.word.embedding.weight": torch.rand(len(OLD) + 1, 4)})
    with pytest.raises(
        CheckpointError, match="12 rows in its word embedding, but --old_vocab_path has 11 tokens"
    ):
        main([*FILES, *OLD_VOCAB])
    with pytest.raises(
        ConfigError, match="no companion folder that brings its vocabulary; name it with --old_vocab"
    ):
        main(FILES)
    write_state("old.bin", {"encoder.linear.weight": torch.rand(2, 4)})
    with pytest.raises(CheckpointError, match="no tensor with one row for each of the 11 tokens"):
        main([*FILES, *OLD_VOCAB])


def test_a_sentencepiece_model_is_no_list(main, shared):
    tokenizer = build_tokenizer(
        "bert", spm_model_path=shared / "data" / "models" / "cluecorpussmall_spm.model"
    )
    write_state(
        "old.bin", {"embedding.word.embedding.weight": torch.rand(3, 4)}, config=CONFIG, tokenizer=tokenizer
    )
    with pytest.raises(ConfigError, match="more than a list of tokens"):
        main(FILES)


def test_a_folder_of_hugging_face(tmp_path, load_script):
    """Word pieces are a list of tokens, which can be another; byte-level pieces are more than that."""
    theirs = make("bert", "ForMaskedLM", tmp_path / "bert")
    (tmp_path / "new.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n书\n好\n好书\n", encoding="utf-8")
    command = load_script("scripts/dynamic_vocab_adapter.py").main
    paths = ["--new_vocab_path", str(tmp_path / "new.txt"), "--new_model_path", str(tmp_path / "new.bin")]
    command(["--old_model_path", str(tmp_path / "bert"), *paths])
    companion = read_companion(tmp_path / "new.bin")
    tokenizer = load_tokenizer(companion.tokenizer)
    assert tokenizer.name == "bert" and len(tokenizer) == 8
    model = build_model(companion.config, 8)
    load_into(model, tmp_path / "new.bin")
    old, new = theirs.bert.embeddings.word_embeddings.weight, model.embedding.word.embedding.weight
    good, book = 5 + WORDS.index("好"), 5 + WORDS.index("书")
    assert torch.equal(new[6], old[good]) and torch.equal(new[5], old[book])
    torch.testing.assert_close(new[7], (old[good] + old[book]) / 2)
    make("roberta", "ForMaskedLM", tmp_path / "roberta")
    with pytest.raises(ConfigError, match="'folder' tokenizer that is more than a list of tokens"):
        command(["--old_model_path", str(tmp_path / "roberta"), *paths])
