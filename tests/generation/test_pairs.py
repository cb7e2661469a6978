"""Encoder-decoders against `generate` of transformers, same weights: long texts, sources of other lengths."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.generation import oracle
from uer.checkpoints import load_into
from uer.checkpoints.folder import open_folder
from uer.config.generation import DecodingOptions
from uer.generation.generate import Generator
from uer.models.build import build_model

NEW, START = 64, 2
SOURCES = [[2, 9, 31, 77, 3], [2, 150, 3], [2, 8, 8, 120, 44, 201, 19, 3]]
IDS = {"pad_token_id": 0, "eos_token_id": 3, "bos_token_id": 2, "decoder_start_token_id": START}
BART = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}
BART |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 100}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}
KINDS = {
    "t5": (T5ForConditionalGeneration, T5Config(vocab_size=oracle.VOCAB, **T5, **IDS)),
    "t5-v1_1": (
        T5ForConditionalGeneration,
        T5Config(
            vocab_size=oracle.VOCAB, **T5, **IDS, feed_forward_proj="gated-gelu", tie_word_embeddings=False
        ),
    ),
    "bart": (
        BartForConditionalGeneration,
        BartConfig(vocab_size=oracle.VOCAB, **BART, **IDS, forced_eos_token_id=None),
    ),
    "pegasus": (
        PegasusForConditionalGeneration,
        PegasusConfig(vocab_size=oracle.VOCAB, **BART, **IDS, forced_eos_token_id=None, scale_embedding=True),
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """The same weights, N(0, 0.15), in their model and in ours."""
    kind, config = KINDS[request.param]
    folder = tmp_path_factory.mktemp("pair") / request.param
    theirs, draw = kind(config).eval(), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "embed_positions" in name and request.param == "pegasus":
                continue  # sinusoids
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.15)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    theirs.save_pretrained(folder)
    ours = build_model(open_folder(folder).config().replace(target=("lm",)), oracle.VOCAB)
    load_into(ours, folder, adopt=True)
    return theirs, ours.eval()


def reference(theirs, source, **settings):
    """Their ids behind the first one, one source at a time."""
    ids = torch.tensor([source])
    settings = {"do_sample": False, "max_new_tokens": NEW, "eos_token_id": None, **settings}
    with torch.no_grad():
        return theirs.generate(ids, attention_mask=torch.ones_like(ids), **settings)


RULES = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}


@pytest.mark.parametrize("rules", [{}, RULES], ids=["plain", "rules"])
def test_greedy_is_theirs(pair, tokenizer, rules):
    theirs, ours = pair
    generator = Generator(ours, tokenizer, DecodingOptions(top_k=1, **rules), length=NEW + 1)
    for source, (text,) in zip(SOURCES, generator(SOURCES)):
        assert text.ids == reference(theirs, source, num_beams=1, **rules)[0, 1:].tolist()
        # A random model that shares its embedding repeats itself; the rules forbid loops, which hide faults.
        assert len(text.ids) == NEW and (len(set(text.ids)) >= 20 or not rules)


def test_beams_are_theirs(pair, tokenizer):
    theirs, ours = pair
    options = DecodingOptions(beam_size=3, samples_num=2, length_penalty=0.7, **RULES)
    sources = SOURCES[:2]
    for source, texts in zip(sources, Generator(ours, tokenizer, options, length=NEW + 1)(sources)):
        out = reference(
            theirs, source, num_beams=3, num_return_sequences=2, length_penalty=0.7,
            return_dict_in_generate=True, output_scores=True, **RULES,
        )  # fmt: skip
        assert [text.ids for text in texts] == [ids[1:].tolist() for ids in out.sequences]
        assert [text.score for text in texts] == pytest.approx(out.sequences_scores.tolist(), rel=1e-4)
        assert len(set(texts[0].ids)) >= 20
