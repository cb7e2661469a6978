"""Every kind of model that generates: its cache, its batches and its beams, against reading all anew."""

from __future__ import annotations

import pytest
import torch

from tests.models.zoo import DECODERS, ONE_WAY, VOCAB, small
from uer.config.generation import DecodingOptions
from uer.config.model import ModelConfig
from uer.errors import ConfigError
from uer.generation.generate import Generator
from uer.generation.reading import language_model
from uer.tokenizers import build_tokenizer

PROMPTS = [[2, 9, 31, 17, 30], [2, 15], [2, 8, 8, 12, 44, 20, 19, 7]]
NEW = 14


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(special + [chr(0x4E00 + n) for n in range(VOCAB - 5)]) + "\n", encoding="utf-8")
    return build_tokenizer("char", vocab_path=path)


def whole(model, prompt, new):
    """Logits behind prompt and new ids, everything read at once."""
    if model.decoder is None:
        seg = [1] * len(prompt) + [2 if model.config.mask == "causal_with_prefix" else 1] * len(new)
        out = model.encode({"src": torch.tensor([prompt + new]), "seg": torch.tensor([seg])})
    else:
        memory = model.encode({"src": torch.tensor([prompt])}).hidden
        out = model.decode({"tgt_in": torch.tensor([[2, *new]])}, memory, torch.ones(1, len(prompt)).long())
    return model.target.lm.logits(out.hidden[0, -1])


@pytest.mark.parametrize("name", [*ONE_WAY, "prefixlm", *DECODERS])
@torch.inference_mode()
def test_greedy_in_a_batch_is_greedy_without_a_cache(name, words):
    model = small(name, target=("lm",))
    options = DecodingOptions(top_k=1, max_new_tokens=NEW)
    for prompt, (text,) in zip(PROMPTS, Generator(model, words, options, length=32)(PROMPTS)):
        new = []
        for _ in range(NEW):
            new.append(int(whole(model, prompt, new).argmax()))
        assert text.ids == new


@pytest.mark.parametrize("name", [*ONE_WAY, "prefixlm", *DECODERS])
def test_texts_of_a_batch_fill_all_positions(name, words):
    """A text that has ended waits among longer ones without passing the model's last position."""
    model = small(name, target=("lm",))
    prompts = [[2, *range(5, 31)], [2, 15], [2], [2, *range(8, 20)]]
    for options in (DecodingOptions(top_k=1), DecodingOptions(top_k=0, seed=3, samples_num=2)):
        found = []
        for size in (1, 64):
            texts = Generator(model, words, options, length=32, batch_size=size)(prompts)
            found.append([[text.ids for text in copies] for copies in texts])
        assert found[0] == found[1]
        starts = [len(prompt) if model.decoder is None else 1 for prompt in prompts]
        assert [len(copies[0]) for copies in found[0]] == [32 - start for start in starts]


@pytest.mark.parametrize("name", [*ONE_WAY, "prefixlm", *DECODERS])
def test_every_token_is_read_once(name, words):
    """So the cost is linear in the length: behind the prompts each step reads one token a row."""
    model = small(name, target=("lm",))
    read = []
    embedding = model.embedding if model.decoder is None else model.tgt_embedding
    embedding.register_forward_pre_hook(lambda _, inputs: read.append(tuple(inputs[0]["word"].shape)))
    options = DecodingOptions(top_k=1, max_new_tokens=NEW)
    list(Generator(model, words, options, length=32)(PROMPTS))
    first = max(map(len, PROMPTS)) if model.decoder is None else 1
    assert read == [(3, first), *[(3, 1)] * (NEW - 1)]


@pytest.mark.parametrize("name", ["gpt2", "lstm", "prefixlm", "t5 decoder"])
@torch.inference_mode()
def test_wide_beams_find_the_best_of_all_texts(name, words):
    """With as many beams as tokens, two tokens are searched exhaustively; `length` is the only end."""
    model = small(name, target=("lm",))
    options = DecodingOptions(top_k=1, max_new_tokens=2, beam_size=VOCAB, samples_num=5)
    for prompt, texts in zip(PROMPTS, Generator(model, words, options, length=32)(PROMPTS)):
        first = whole(model, prompt, []).log_softmax(-1)
        scores = torch.stack(
            [first[token] + whole(model, prompt, [token]).log_softmax(-1) for token in range(VOCAB)]
        )
        best = scores.flatten().topk(5)
        assert [text.ids for text in texts] == [
            [place // VOCAB, place % VOCAB] for place in best.indices.tolist()
        ]
        assert [text.score for text in texts] == pytest.approx((best.values / 2).tolist(), abs=1e-5)


def test_a_target_of_several_is_replaced_by_lm():
    config = ModelConfig(mask="causal", target=("mlm", "lm"))
    assert language_model(config, described=True).target == ("lm",)
    assert language_model(config.replace(target=("mlm",)), described=False).target == ("lm",)


def test_encoders_that_read_backwards(words):
    options = DecodingOptions(top_k=1)
    with pytest.raises(ConfigError, match="bidirectional encoder cannot continue a text"):
        list(Generator(small("bilstm", target=("lm",)), words, options, length=32)(PROMPTS))
