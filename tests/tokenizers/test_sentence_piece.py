"""Tokenizers over a sentencepiece model, against sentencepiece and XLM-R's tokenizer of `transformers`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from uer.errors import DataError
from uer.tokenizers import build_tokenizer
from uer.tokenizers.sentence_piece import SentencePieceTokenizer, SpmModel, XlmRobertaTokenizer

LINES = [f"the price of {n},{n * 37 % 1000:03d} was {n}, and then, in {n % 7}, it rose" for n in range(400)]


BERT_PIECES = {
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    "pad_piece": "[PAD]",
    "unk_piece": "[UNK]",
    "bos_piece": "[CLS]",
    "eos_piece": "[SEP]",
    "control_symbols": ["[MASK]"],
}


def train(lines: list[str] = LINES, **options) -> SpmModel:
    """A small unigram model."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, minloglevel=2, hard_vocab_limit=False, **options
    )
    return SpmModel(out.getvalue(), "toy.model")


@pytest.fixture(scope="module")
def real(shared: Path) -> SentencePieceTokenizer:
    return build_tokenizer("bert", spm_model_path=shared / "data/models/cluecorpussmall_spm.model")


@pytest.fixture(scope="module")
def xlmr_model() -> SpmModel:
    """XLM-R's arrangement: <unk> <s> </s> first."""
    return train(vocab_size=150)


def uer_rule(processor: sentencepiece.SentencePieceProcessor, text: str) -> list[str]:
    """The rule in words: a piece `…9,` is cut again without blanks' sign and comma; then comes the comma."""
    out = []
    for piece in processor.encode(text, out_type=str):
        if len(piece) > 1 and piece.endswith(",") and piece[-2].isdigit():
            again = processor.encode(piece[:-1].replace("▁", ""), out_type=str)
            if not piece.startswith("▁") and again[0].startswith("▁"):
                again[0] = again[0][1:]
            out += [part for part in again if part] + [","]
        else:
            out.append(piece)
    return out


def test_real_corpora(shared: Path, real: SentencePieceTokenizer) -> None:
    processor = real.model.processor
    for name in ("CLUECorpusSmall_sampled.txt", "news-commentary-v13-en-zh_sampled.txt"):
        lines = (shared / "data/corpora" / name).read_text(encoding="utf-8").split("\n")[:400]
        ids, offsets = real.encode_batch(lines)
        assert (ids == real.unk_id).mean() < 0.02
        for number, line in enumerate(lines):
            pieces = uer_rule(processor, line)
            assert real.tokenize(line) == pieces
            expected = [processor.piece_to_id(piece) for piece in pieces]
            assert ids[offsets[number] : offsets[number + 1]].tolist() == expected


def test_special_tokens_are_the_models_pieces(real: SentencePieceTokenizer) -> None:
    assert len(real) == 100_000
    assert (real.pad_id, real.unk_id, real.cls_id, real.sep_id, real.mask_id) == (0, 1, 2, 3, 4)
    assert real.convert_tokens_to_ids(["[MASK]", "的", "nowhere at all"]) == [4, 18, 1]
    assert 2 not in real.encode("[CLS]")  # in a text it is text


@settings(max_examples=100, deadline=None)
@given(st.text(st.one_of(st.sampled_from("0123456789,, 中a\n\0"), st.characters()), max_size=30))
def test_random_unicode(real: SentencePieceTokenizer, text: str) -> None:
    plain = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert real.tokenize(text) == uer_rule(real.model.processor, plain)
    assert real.encode(text) == real.convert_tokens_to_ids(real.tokenize(text))


def test_numbers_with_commas() -> None:
    model = train(vocab_size=150, user_defined_symbols=["12,", "▁7,"], **BERT_PIECES)
    ours = SentencePieceTokenizer(model)
    for line in [*LINES, "12,", "a12,12,rose 12,"]:
        tokens = ours.tokenize(line)
        assert tokens == uer_rule(model.processor, line)
        assert not any(token[-1] == "," and token[-2:-1].isdigit() for token in tokens)
        assert ours.encode(line) == ours.convert_tokens_to_ids(tokens)
        assert ours.decode(ours.encode(line)) == line


def test_a_model_without_a_comma() -> None:
    lines = [line.replace(",", "") for line in LINES]
    ours = SentencePieceTokenizer(train(lines, vocab_size=60, **BERT_PIECES))
    assert "," not in ours.vocab
    for text in ("the 12, price", "1,2", "²,"):
        assert ours.tokenize(text) == uer_rule(ours.model.processor, text)
        assert ours.encode(text) == ours.convert_tokens_to_ids(ours.tokenize(text))


def test_decoding(real: SentencePieceTokenizer) -> None:
    ids = [real.cls_id, *real.encode("中国 hello 你好"), real.mask_id, *real.encode("在的"), real.sep_id]
    assert real.decode(ids) == "中国 hello 你好 在的"
    assert real.decode(ids, skip_special=False) == "[CLS] 中国 hello 你好 [MASK] 在的 [SEP]"
    assert real.decode([real.unk_id]) == "[UNK]"


def test_xlmr_ids(xlmr_model: SpmModel) -> None:
    ours, pieces = XlmRobertaTokenizer(xlmr_model), xlmr_model.pieces
    assert pieces[:3] == ["<unk>", "<s>", "</s>"]
    assert ours.vocab.tokens == ["<s>", "<pad>", "</s>", "<unk>", *pieces[3:], "<mask>"]
    assert (ours.cls_id, ours.pad_id, ours.sep_id, ours.unk_id) == (0, 1, 2, 3)
    assert ours.mask_id == len(ours) - 1 == len(pieces) + 1
    for line in [*LINES[:50], "字 12, ü", ""]:
        # fairseq's rule: one more than sentencepiece's id, 3 for what is unknown.
        expected = [number + 1 if number else 3 for number in xlmr_model.processor.encode(line)]
        assert ours.encode(line) == expected
        assert ours.tokenize(line) == xlmr_model.processor.encode(line, out_type=str)
    assert ours.decode([0, *ours.encode("the price"), 2]) == "the price"


def test_transformers_agrees(xlmr_model: SpmModel) -> None:
    from transformers import XLMRobertaTokenizer as Theirs

    ours, processor = XlmRobertaTokenizer(xlmr_model), xlmr_model.processor
    scores = [0.0] * 4 + [processor.get_score(number) for number in range(3, len(xlmr_model.pieces))] + [0.0]
    theirs = Theirs(vocab=list(zip(ours.vocab.tokens, scores)))
    for line in LINES:
        assert theirs(line, add_special_tokens=False)["input_ids"] == ours.encode(line)


@pytest.mark.parametrize(
    "content, message", [(b"", "is empty"), (b"not a model", "is not a sentencepiece model")]
)
def test_faults(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        build_tokenizer("bert", spm_model_path=path)


def test_missing_model_and_tokens(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        build_tokenizer("xlmroberta", spm_model_path=tmp_path / "xlmroberta_spm.model")
    assert "--spm_model_path" in str(caught.value) and "scripts/download.py" in str(caught.value)
    path = tmp_path / "toy.model"
    path.write_bytes(train(vocab_size=100).content)
    with pytest.raises(DataError, match=r"toy.model: the vocabulary lacks the unk token '\[UNK\]'"):
        build_tokenizer("bert", spm_model_path=path)
