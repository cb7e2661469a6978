"""The tokenizer comes from the companion folder; flags may repeat it, not contradict it."""

import dataclasses
from types import SimpleNamespace

import pytest

from uer.config.tokenizer import TargetTokenizerOptions, TokenizerOptions
from uer.data.objectives.base import TokenIds
from uer.errors import ConfigError, DataError
from uer.opts.tokenizer import chosen_target_tokenizer, chosen_tokenizer, tokenizer_of_dataset
from uer.tokenizers import build_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "A"]


class Choice(dict):
    """What `Chosen` offers, without a command line."""

    def __init__(self, companion=None, **written):
        super().__init__()
        self.starts = False
        for group in (TokenizerOptions, TargetTokenizerOptions):
            self[group] = group.pick(written)
        self.written, self.companion = written, companion


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return str(path)


@pytest.fixture
def companion(tmp_path, vocab):
    build_tokenizer("char", vocab_path=vocab).save(tmp_path / "saved")
    return SimpleNamespace(tokenizer=tmp_path / "saved", tgt_tokenizer=None)


def test_flags_alone(vocab):
    assert chosen_tokenizer(Choice(vocab_path=vocab, tokenizer="char")).encode("ab") == [5, 6]


def test_nothing_named():
    with pytest.raises(ConfigError, match="--vocab_path or --spm_model_path"):
        chosen_tokenizer(Choice())


def test_the_companion_is_enough_and_may_be_repeated(companion, vocab):
    for typed in (
        {},
        {"vocab_path": vocab},
        {"tokenizer": "char"},
        {"vocab_path": vocab, "tokenizer": "char"},
    ):
        tokenizer = chosen_tokenizer(Choice(companion, **typed))
        assert tokenizer.name == "char" and len(tokenizer) == len(WORDS)


@pytest.mark.parametrize("typed", [{"tokenizer": "space"}, {"vocab_path": "other.txt"}])
def test_a_contradiction_is_named(companion, vocab, typed, tmp_path):
    (tmp_path / "other.txt").write_text("\n".join([*WORDS, "c"]) + "\n")
    if "vocab_path" in typed:
        typed = {"vocab_path": str(tmp_path / "other.txt")}
    name, value = next(iter(typed.items()))
    with pytest.raises(
        ConfigError, match=f"--{name} {value} is another tokenizer than the saved model's own"
    ):
        chosen_tokenizer(Choice(companion, **typed))


def test_who_starts_from_a_model_may_cut_text_otherwise(companion, vocab, tmp_path, caplog):
    """With the same vocabulary; prediction may not."""
    caplog.set_level("INFO", logger="uer")
    chosen = Choice(companion, tokenizer="space")
    chosen.starts = True
    assert chosen_tokenizer(chosen).name == "space"
    assert "--tokenizer space: text is cut as typed" in caplog.text
    (tmp_path / "other.txt").write_text("\n".join([*WORDS, "c"]) + "\n")
    other = Choice(companion, vocab_path=str(tmp_path / "other.txt"), tokenizer="space")
    other.starts = True
    with pytest.raises(ConfigError, match="is another tokenizer than the saved model's own"):
        chosen_tokenizer(other)


@pytest.mark.parametrize("saved", [True, False], ids=["companion", "flags"])
def test_a_dataset_says_how_its_text_was_cut(companion, vocab, saved):
    """UER-py's `pretrain.py` is not told, since it cuts no text."""
    made_with = TokenIds.of(build_tokenizer("space", vocab_path=vocab))
    source, typed = (companion, {}) if saved else (None, {"vocab_path": vocab})
    assert tokenizer_of_dataset(Choice(source, **typed), made_with).name == "space"
    cased = TokenIds.of(build_tokenizer("bert", vocab_path=vocab, do_lower_case=False))
    found = tokenizer_of_dataset(Choice(source, **typed), cased)
    assert found.fingerprint() == cased.fingerprint
    typed["tokenizer"] = "char"
    assert tokenizer_of_dataset(Choice(source, **typed), made_with).name == "char"
    strange = dataclasses.replace(made_with, fingerprint="x")
    assert tokenizer_of_dataset(Choice(source, vocab_path=vocab), strange).name in ("bert", "char")


def test_the_target_side_is_the_source_unless_named(vocab, tmp_path):
    source = build_tokenizer("char", vocab_path=vocab)
    assert chosen_target_tokenizer(Choice(), source) is source
    (tmp_path / "target.txt").write_text("\n".join([*WORDS, "c"]) + "\n")
    typed = Choice(tgt_vocab_path=str(tmp_path / "target.txt"), tgt_tokenizer="char")
    assert len(chosen_target_tokenizer(typed, source)) == len(WORDS) + 1
    build_tokenizer("space", vocab_path=vocab).save(tmp_path / "tgt")
    saved = SimpleNamespace(tokenizer=None, tgt_tokenizer=tmp_path / "tgt")
    assert chosen_target_tokenizer(Choice(saved), source).name == "space"
    with pytest.raises(ConfigError, match="--tgt_tokenizer char is another"):
        chosen_target_tokenizer(Choice(saved, tgt_tokenizer="char"), source)


def test_a_folder_brings_its_tokenizer(companion, vocab, tmp_path):
    folder = str(tmp_path / "saved")
    alone = chosen_tokenizer(Choice(vocab_path=folder))
    assert alone.name == "char" and alone.encode("ab") == [5, 6]
    assert chosen_tokenizer(Choice(companion, vocab_path=folder)).fingerprint() == alone.fingerprint()
    with pytest.raises(
        ConfigError, match="--tokenizer space is another tokenizer than the saved model's own"
    ):
        chosen_tokenizer(Choice(vocab_path=folder, tokenizer="space"))
    (tmp_path / "more.txt").write_text("\n".join([*WORDS, "c"]) + "\n")
    build_tokenizer("char", vocab_path=tmp_path / "more.txt").save(tmp_path / "other")
    with pytest.raises(DataError, match="is a folder"):
        chosen_tokenizer(Choice(companion, vocab_path=str(tmp_path / "other")))
