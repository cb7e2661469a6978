"""Every data processor from real text to a model that has learnt more than how often each token comes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import preprocess
import pretrain
from uer.checkpoints import load_into, read_companion
from uer.config.preprocess import DATA_PROCESSORS, MaskingOptions
from uer.data.batch import IGNORE
from uer.data.pretrain_data import PretrainData
from uer.data.store import Store
from uer.models.build import build_model
from uer.models.generator import CANDIDATES, replace_tokens
from uer.training.windows import to_tensors

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
SENTIMENT = "好 喜欢 不错 精彩 好书\tpositive", "差 失望 无聊 不好 一般 难看\tnegative"
KNOWLEDGE = ["--knowledge_masking", "--knowledge_path", "entities.tsv", "--knowledge_levels", "1", "1", "2"]
ENTITIES = "兰州 九州 林带 西客站 美元 原油 附近运行\tphrase 建议\tphrase 行情\tphrase 操作\tphrase"
LISTS = ["--sentiment_path", "words.tsv", "--pair_path", "pairs.tsv"]

SLOWLY = ["--learning_rate", "1e-3", "--warmup", "0.6"]
MACBERT = ["--whole_word_masking", "--ngram_shares", "0.4", "0.3", "0.2", "0.1"]
MACBERT += ["--similar_words_path", "similar.tsv"]
SIMILAR = "中国\t我国 美国\n公司\t企业 单位\n我们\t他们 大家\n一个\t这个 那个\n"

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
    "bert, knowledge": (
        "ernie/1.0_base_config.json",
        SENTENCES,
        ["--data_processor", "bert", "--dup_factor", "1", *KNOWLEDGE],
        ["--data_processor", "bert"],
    ),
    "skep": (
        "skep/ernie_1.0_large_config.json",
        REVIEWS,
        ["--data_processor", "skep", "--mask_rate", "0.1", "--dup_factor", "1", *LISTS],
        [],
    ),
    "electra": (
        "electra/base_config.json",
        DOCUMENTS,
        ["--data_processor", "electra"],
        ["--data_processor", "electra", *SLOWLY],
    ),
    "ernie_health": (
        "ernie-health/base_config.json",
        DOCUMENTS,
        ["--data_processor", "ernie_health", "--whole_word_masking"],
        ["--data_processor", "ernie_health", "--target_weights", "20", "10", "1", *SLOWLY],
    ),
    "albert, macbert": (
        "macbert/base_config.json",
        SENTENCES,
        [*("--data_processor", "albert", "--dup_factor", "2"), *MACBERT],
        [],
    ),
    "structbert": (
        "structbert/large_config.json",
        SENTENCES,
        ["--data_processor", "structbert"],
        ["--learning_rate", "2e-3"],
    ),
    "pert": (
        "pert/base_config.json",
        DOCUMENTS,
        ["--data_processor", "pert", "--whole_word_masking"],
        ["--learning_rate", "5e-4", "--warmup", "0.6"],
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
    "electra": (1, 180),
    "ernie_health": (1, 160),
    "albert, macbert": (60, 90),
    "structbert": (40, 100),
    "pert": (1, 140),
    "skep": (60, 120),
    "bert, knowledge": (60, 90),
    "bert": (30, 150),
    "mlm": (10, 300),
    "lm": (40, 200),
    "cls": (60, 100),
}
# Small recurrences learn slowly from weights as small as the first ones are; one layer does.
SIZES = {"bilm": {"layers_num": 1, "hidden_size": 128}}
for family in ("electra", "ernie_health"):
    small = {"hidden_size": 32, "heads_num": 2, "factorized_embedding_parameterization": True}
    SIZES[family] = {"generator": small}
# Longest instances, where they are not 48 tokens.
LENGTHS = {"prefixlm": "96", "electra": "24", "ernie_health": "24", "structbert": "24", "pert": "24"}
SLOW = ("bert", "mlm", "lm", "cls", "ernie_health", "albert, macbert")


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
    asked: dict[str, int] = {}
    for step in range(steps):
        batch = data.get(step)
        for name, labels in batch.labels.items():
            seen.setdefault(name, []).append(labels[labels != IGNORE])
            asked[name] = asked.get(name, 0) + batch.counts[name]
    out = {}
    for name, parts in seen.items():
        counts = np.bincount(np.concatenate(parts))
        share = counts[counts > 0] / (asked[name] if name == "pair" else counts.sum())
        out[name] = float(-(share * np.log(share)).sum())
        if name == "pair":  # each token belongs to a pair or does not
            out[name] -= float(((1 - share) * np.log(np.maximum(1 - share, 1e-9))).sum())
    return out


def _words(part: str) -> list[tuple[str, str]]:
    words, polarity = part.split("\t")
    return [(word, polarity) for word in words.split()]


def chances(path: str) -> dict[str, float]:
    """The losses of guessing, of terms whose labels are made by a generator or by the order of rows."""
    config = read_companion(path).config
    if config.partners != ("generator",):
        return {}
    data = PretrainData(Store("dataset.pt"), batch_size=16, seed=7)
    model = build_model(config, data.objective.tokens.vocab_size).eval()
    load_into(model, path)
    replaced = []
    for step in range(5):
        batch = to_tensors(data.get(step))
        source = model.source({name: x.flatten(0, -2) for name, x in batch.inputs.items()}, "auto")
        labels = source.layout.pack(batch.labels["mlm"].flatten(0, -2))
        replaced.append(replace_tokens(model.generator, *source, labels).labels["rtd"])
    share = float(torch.cat(replaced).double().mean())
    out = {"rtd": -share * math.log(share) - (1 - share) * math.log(1 - share)}
    if "csp" in config.target:
        out |= {"mts": math.log(1 + CANDIDATES), "csp": math.log(2 * 16 - 1)}
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
    size = LENGTHS.get(name, "48")
    length = ["--seq_length", size, "--tgt_seq_length", size]
    lines, steps = AMOUNTS[name]
    text = (texts / corpus).read_text(encoding="utf-8").split("\n")[:lines]
    Path("corpus.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    words = [f"{word}\t{polarity}" for part in SENTIMENT for word, polarity in _words(part)]
    Path("words.tsv").write_text("\n".join(words), encoding="utf-8")
    aspects = ("书", "故事", "文笔", "内容", "情节", "作者")
    pairs = [f"{aspect}\t{line.split()[0]}" for aspect in aspects for line in words]
    Path("entities.tsv").write_text(ENTITIES.replace(" ", "\n"), encoding="utf-8")
    Path("pairs.tsv").write_text("\n".join(pairs), encoding="utf-8")
    Path("similar.tsv").write_text(SIMILAR, encoding="utf-8")
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
    assert sum(last[f"loss_{term}"] for term in entropy) < 0.95 * sum(entropy.values())
    # The sentence pairs are few; the tokens and classes, which are many, are learnt each for itself.
    assert all(last[f"loss_{term}"] < bits for term, bits in entropy.items() if term != "sp")
    for term, chance in chances(f"m.bin-{steps}").items():
        assert last[f"loss_{term}"] < 0.95 * chance, term
