"""Every data processor from real text to a model that has learnt more than how often each token comes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import preprocess
import pretrain
from uer.config.preprocess import DATA_PROCESSORS, MaskingOptions
from uer.data.batch import IGNORE
from uer.data.pretrain_data import PretrainData
from uer.data.store import Store

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "emb_size": 64,
    "hidden_size": 64,
    "feedforward_size": 128,
    "heads_num": 4,
    "layers_num": 2,
    "dropout": 0.0,
}
SPANS = ["--span_masking", "--span_geo_prob", "0.3", "--span_max_length", "5"]
SENTENCES, DOCUMENTS = "CLUECorpusSmall_bert_sampled.txt", "CLUECorpusSmall_sampled.txt"
PAIRS, REVIEWS = "news-commentary-v13-en-zh_sampled.txt", "book_review_cls.txt"

# Name → config of the family, corpus, flags of preprocess.py, flags of pretrain.py. The dialect of 2021 where
# UER's documents use it. AMOUNTS: lines of text and steps after which a tiny model has learnt it by heart.
CASES = {
    "t5": (
        "t5/small_config.json",
        DOCUMENTS,
        ["--target", "t5", "--dynamic_masking"],
        ["--target", "t5", *SPANS],
    ),
    "t5, 2024": (
        "t5/small_config.json",
        DOCUMENTS,
        ["--data_processor", "t5", "--dynamic_masking"],
        ["--data_processor", "t5", *SPANS],
    ),
    "bart": ("bart/base_config.json", SENTENCES, ["--target", "bart"], ["--target", "bart", *SPANS]),
    "gsg": (
        "pegasus/base_config.json",
        SENTENCES,
        ["--data_processor", "gsg", "--sentence_selection_strategy", "random", "--dup_factor", "1"],
        ["--data_processor", "gsg"],
    ),
    "bilm": (
        "rnn/bilstm_config.json",
        DOCUMENTS,
        ["--target", "bilm"],
        ["--target", "bilm", "--learning_rate", "1e-2"],
    ),
    "albert": (
        "albert/base_config.json",
        SENTENCES,
        ["--target", "albert", "--dup_factor", "2"],
        ["--target", "albert"],
    ),
    "mt": (
        "transformer/base_config.json",
        PAIRS,
        ["--target", "seq2seq"],
        ["--target", "seq2seq", "--group_by_length"],
    ),
    "prefixlm": (
        "bert/base_config.json",
        PAIRS,
        ["--target", "prefixlm"],
        ["--target", "prefixlm", "--mask", "causal_with_prefix"],
    ),
    "bert": ("bert/base_config.json", SENTENCES, ["--dup_factor", "2"], ["--target", "bert"]),
    "mlm": (
        "bert/base_config.json",
        DOCUMENTS,
        ["--target", "mlm", "--packing", "--dup_factor", "2"],
        ["--target", "mlm", "--learning_rate", "1e-3"],
    ),
    "lm": ("gpt2/config.json", DOCUMENTS, ["--target", "lm", "--packing"], ["--target", "lm"]),
    "cls_mlm": (
        "bert/base_config.json",
        REVIEWS,
        ["--data_processor", "cls_mlm"],
        ["--data_processor", "cls_mlm", "--target", "mlm", "cls", "--labels_num", "2"],
    ),
    "cls": (
        "bert/base_config.json",
        REVIEWS,
        ["--target", "cls", "--packing"],
        ["--target", "cls", "--labels_num", "2", "--learning_rate", "3e-4"],
    ),
}

AMOUNTS = {
    "t5": (20, 90),
    "t5, 2024": (20, 90),
    "bart": (60, 60),
    "gsg": (200, 100),
    "bilm": (20, 120),
    "albert": (60, 60),
    "mt": (60, 60),
    "prefixlm": (200, 80),
    "cls_mlm": (60, 60),
    "bert": (30, 150),
    "mlm": (10, 300),
    "lm": (40, 200),
    "cls": (60, 100),
}
# Small recurrences learn slowly from weights as small as the first ones are; one layer does.
SIZES = {"bilm": {"layers_num": 1, "hidden_size": 128}}
SLOW = ("bert", "mlm", "lm", "cls")


@pytest.fixture(scope="module")
def texts(shared, tmp_path_factory) -> Path:
    """The beginnings of the real corpora, and a vocabulary of their characters and words."""
    folder = tmp_path_factory.mktemp("texts")
    seen: dict[str, None] = {}
    for name in (SENTENCES, DOCUMENTS, PAIRS, REVIEWS):
        lines = (shared / "data" / "corpora" / name).read_text(encoding="utf-8").split("\n")[:400]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        seen.update(dict.fromkeys("".join(lines).lower()))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    chars = [char for char in seen if not char.isspace()]
    pieces = [f"##{char}" for char in chars if char.isascii()]
    sentinels = [f"<extra_id_{number}>" for number in range(50)]
    (folder / "vocab.txt").write_text(
        "\n".join([*special, *chars, *pieces, *sentinels]) + "\n", encoding="utf-8"
    )
    return folder


def unigram_entropy(data: PretrainData, steps: int) -> dict[str, float]:
    """Entropy in nats of the labels of each term, as if only their frequencies were known."""
    seen: dict[str, list[np.ndarray]] = {}
    for step in range(steps):
        for name, labels in data.get(step).labels.items():
            seen.setdefault(name, []).append(labels[labels != IGNORE])
    out = {}
    for name, parts in seen.items():
        counts = np.bincount(np.concatenate(parts))
        share = counts[counts > 0] / counts.sum()
        out[name] = float(-(share * np.log(share)).sum())
    return out


def test_every_processor_is_here():
    assert {name.split(",")[0] for name in CASES} == set(DATA_PROCESSORS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]
)
def test_a_tiny_model_learns(name, texts, tmp_path):
    family, corpus, make, train = CASES[name]
    config = json.loads((ROOT / "models" / family).read_text())
    config.update({key: value for key, value in SMALL.items() if key in config or key == "dropout"})
    if "decoder_layers_num" in config:
        config["decoder_layers_num"] = 2
    config.update(SIZES.get(name, {}))
    Path("config.json").write_text(json.dumps(config))
    vocab = ["--vocab_path", str(texts / "vocab.txt")]
    size = "96" if name == "prefixlm" else "48"
    length = ["--seq_length", size, "--tgt_seq_length", size]
    lines, steps = AMOUNTS[name]
    text = (texts / corpus).read_text(encoding="utf-8").split("\n")[:lines]
    Path("corpus.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    preprocess.main(["--corpus_path", "corpus.txt", *vocab, *length, "--processes_num", "2", *make])
    pretrain.main(
        [
            *(
                "--dataset_path",
                "dataset.pt",
                *vocab,
                "--config_path",
                "config.json",
                "--output_model_path",
                "m.bin",
            ),
            *("--total_steps", str(steps), "--save_checkpoint_steps", str(steps), "--report_steps", "20"),
            *("--batch_size", "16", "--learning_rate", "3e-3", "--precision", "fp32"),
            *train,
        ]
    )
    records = [json.loads(line) for line in Path("m.bin.run/metrics.jsonl").read_text().splitlines()]
    masking = (
        MaskingOptions(span_masking=True, span_geo_prob=0.3, span_max_length=5) if SPANS[0] in train else None
    )
    entropy = unigram_entropy(
        PretrainData(Store("dataset.pt"), batch_size=16, seed=7, masking=masking), steps
    )
    last = records[-1]
    assert last["loss"] < 0.95 * sum(entropy.values())
    # The sentence pairs are few; the tokens and classes, which are many, are learnt each for itself.
    assert all(last[f"loss_{term}"] < bits for term, bits in entropy.items() if term != "sp")
