"""Tiny models of each ability, saved as this toolkit saves them."""

from __future__ import annotations

import pytest
import torch

from uer.checkpoints import write_state
from uer.config.model import ModelConfig
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.tasks.classifier import ClassifierModel
from uer.tasks.extractive_qa import QaModel
from uer.tasks.ner import NerModel
from uer.tokenizers import build_tokenizer
from uer.utils.files import repository_root

SIZES = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 24, "heads_num": 2, "layers_num": 2}
SIZES |= {"max_seq_length": 64}
CAUSAL = {"mask": "causal", "embedding": ("word", "pos"), "layernorm_positioning": "pre"}
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "[PAD]"]
CLASSIFIER = {"task": "classifier", "seq_length": 32, "single_text_sep": True}
NER = {"task": "ner", "seq_length": 16, "special_tokens": False, "crf_target": False}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Ability → path; `lm2.bin` is a second language model."""
    folder = tmp_path_factory.mktemp("models")
    vocabulary = repository_root() / "models" / "zh_en_vocab.txt"
    tokenizer = build_tokenizer("bert", vocab_path=vocabulary)
    size = len(tokenizer)

    def save(name, model, config, **more):
        torch.manual_seed(len(name))
        initialize(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        write_state(folder / name, model.state_dict(), config=config, **{"tokenizer": tokenizer, **more})

    masked = ModelConfig(**SIZES, target=("mlm",))
    save("mlm.bin", build_model(masked, size), masked)
    causal = ModelConfig(**SIZES, **CAUSAL, target=("lm",))
    save("lm.bin", build_model(causal, size), causal)
    save("large_lm.bin", build_model(causal, size), causal)
    pair = ModelConfig(**SIZES, decoder="transformer", tgt_embedding=("word", "pos"), target=("lm",))
    save("pair.bin", build_model(pair, size), pair)
    written = {"task": "text2text", "tgt_seq_length": 12, "prefix": "翻译："}
    save("text2text.bin", build_model(pair, size), pair, extra=written)
    three, six = ModelConfig(**SIZES, labels_num=3), ModelConfig(**SIZES, labels_num=6)
    names = ["正面", "中性", "负面"]
    save("classifier.bin", ClassifierModel.build(three, size), three, labels=names, extra=CLASSIFIER)
    plain, qa = ModelConfig(**SIZES), {"task": "extractive_qa", "seq_length": 24, "doc_stride": 8}
    qa |= {"max_answer_length": 6, "null_threshold": 0.0, "no_answer": False}
    char = build_tokenizer("char", vocab_path=vocabulary)
    save("qa.bin", QaModel.build(plain, size), plain, extra=qa, tokenizer=char)
    space = build_tokenizer("space", vocab_path=vocabulary)
    save("ner.bin", NerModel.build(six, size, crf=False), six, labels=TAGS, extra=NER, tokenizer=space)
    return folder
