"""Objectives with a source and a target, against their definitions in plain Python."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uer.config.preprocess import InstanceOptions, MaskingOptions
from uer.data.batch import IGNORE
from uer.data.objectives.base import TokenIds
from uer.data.objectives.t5 import T5
from uer.data.pretrain_data import objective_of
from uer.errors import DataError

PAD, CLS, SEP, MASK, FIRST, SENTINEL = 0, 2, 3, 4, 5, 5005


def text(start, count):
    return " ".join(map(str, range(start, start + count)))


def whole(store, masking=None, seed=0):
    return objective_of(store, masking).batch(store, np.arange(len(store)), np.random.default_rng(seed))


def unpadded(rows, real):
    return [row[: int(mask.sum())].tolist() for row, mask in zip(rows, real)]


def sides(batch):
    """Source and target (begin token, then labels) of every row, padding removed and checked."""
    inputs, labels = batch.inputs, batch.labels["lm"]
    real = inputs["tgt_seg"] > 0
    assert np.array_equal(real, labels != IGNORE)
    assert (inputs["tgt_in"][~real] == PAD).all() and (inputs["src"][inputs["seg"] == 0] == PAD).all()
    sources, targets = unpadded(inputs["src"], inputs["seg"] > 0), unpadded(labels, real)
    begins = unpadded(inputs["tgt_in"], real)
    assert all(begin[1:] == target[:-1] for begin, target in zip(begins, targets))
    return sources, [begin[:1] + target for begin, target in zip(begins, targets)]


def test_mt(make):
    store = make(f"{text(0, 3)}\t{text(100, 2)}\nno tab\n{text(10, 9)}\t{text(200, 9)}\n\t5\n6\t\n", "mt",
                 seq_length=8, tgt_seq_length=6)  # fmt: skip
    sources, targets = sides(whole(store))
    assert sources == [[CLS, 5, 6, 7, SEP], [CLS, *range(15, 22)]]
    assert targets == [[CLS, 105, 106, SEP], [CLS, *range(205, 211)]]
    counts = store.header["counts"]
    assert counts["malformed_lines"] == 1 and counts["empty_sides"] == 2 and counts["over_length"] == 2


def test_mt_with_a_tokenizer_of_its_own(make, numbers, tmp_path):
    from uer.tokenizers import build_tokenizer

    (tmp_path / "target.txt").write_text("x\ny\n[SEP]\n[CLS]\n[UNK]\n[MASK]\n[PAD]\n")
    theirs = build_tokenizer("space", vocab_path=tmp_path / "target.txt")
    store = make("1 2\tx y x\n3\ty\n", "mt", target_tokenizer=theirs)
    batch = whole(store)
    assert batch.inputs["src"].tolist() == [[CLS, 6, 7, SEP], [CLS, 8, SEP, PAD]]
    assert batch.inputs["tgt_in"].tolist() == [[3, 0, 1, 0], [3, 1, 6, 6]]
    assert batch.labels["lm"].tolist() == [[0, 1, 0, 2], [1, 2, IGNORE, IGNORE]]


def test_prefixlm(make):
    lines = [(3, 2), (1, 9), (6, 1), (2, 20)]
    corpus = "".join(f"{text(100 * i, a)}\t{text(1000 + 100 * i, b)}\n" for i, (a, b) in enumerate(lines))
    store = make(corpus, "prefixlm", seq_length=8)
    batch = whole(store)
    rows, number = [], 0
    for i, (a, b) in enumerate(lines):
        prefix = [CLS, *range(100 * i + 5, 100 * i + 5 + a), SEP]
        tokens = [*prefix, *range(1000 + 100 * i + 5, 1000 + 100 * i + 5 + b), SEP]
        if len(prefix) >= 8:
            continue
        labels = [tokens[j + 1] if len(prefix) - 1 <= j and j + 1 < len(tokens) else IGNORE for j in range(8)]
        seg = [1 if j < len(prefix) else 2 for j in range(min(8, len(tokens)))]
        rows.append((tokens[:8], labels, seg))
        number += 1
    assert len(store) == number == 3 and store.header["counts"]["long_sources"] == 1
    for row, (tokens, labels, seg) in enumerate(rows):
        size = len(tokens)
        assert batch.inputs["src"][row].tolist() == tokens + [PAD] * (8 - size)
        assert batch.labels["lm"][row].tolist() == labels
        assert batch.inputs["seg"][row].tolist() == seg + [0] * (8 - size)


def reference_t5(tokens, chosen, sentinels):
    """The definition, a token at a time."""
    source, target, runs = [], [CLS], 0
    for place, token in enumerate(tokens):
        begins = chosen[place] and not (place and chosen[place - 1])
        if begins:
            runs += 1
        if not chosen[place] or runs >= len(sentinels):
            source.append(token)
            continue
        if begins:
            source.append(sentinels[runs - 1])
            target.append(sentinels[runs - 1])
        target.append(token)
    used = min(runs, len(sentinels) - 1)
    return source, [*target, sentinels[used], SEP]


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=30), min_size=1, max_size=5), st.integers(2, 6))
def test_t5_sentinels(rows, count):
    sentinels = tuple(range(900, 900 + count))
    tokens = TokenIds("space", "", 1000, PAD, CLS, SEP, MASK, 1, sentinels)
    objective = T5(InstanceOptions(data_processor="t5"), tokens, MaskingOptions())
    width = max(map(len, rows))
    lengths = np.array([len(row) for row in rows])
    chosen = np.array([row + [False] * (width - len(row)) for row in rows])
    ids = np.where(np.arange(width) < lengths[:, None], np.arange(width) + 100, PAD)
    source, length, target, tgt_length = objective.corrupt(ids, lengths, chosen)
    for row in range(len(rows)):
        wanted = reference_t5(ids[row, : lengths[row]].tolist(), rows[row], sentinels)
        assert source[row, : length[row]].tolist() == wanted[0] and (source[row, length[row] :] == PAD).all()
        assert target[row, : tgt_length[row]].tolist() == wanted[1]


def test_t5_text_can_be_put_together_again(make):
    corpus = "\n".join(text(i * 60, 50) for i in range(20))
    for flags in ({"dynamic_masking": True}, {"dup_factor": 2}):
        store = make(corpus, "t5", seq_length=32, **flags)
        masking = MaskingOptions(span_masking=True, span_geo_prob=0.3, span_max_length=5)
        batch = whole(store, masking)
        hidden = 0
        blocks = []
        for document in range(20):
            ids = [CLS, *range(document * 60 + 5, document * 60 + 55), SEP]
            blocks += [ids[:32], ids[32:]]
        for block, source, target in zip(blocks * 2, *sides(batch)):
            runs, at = {}, None
            for token in target[1:-1]:
                if token >= SENTINEL:
                    at = token
                    runs[at] = []
                else:
                    runs[at].append(token)
                    hidden += 1
            assert list(runs) == list(range(SENTINEL, SENTINEL + len(runs))) and runs[at] == []
            restored = [word for token in source for word in runs.get(token, [token])]
            assert restored == block
        sizes = [len(block) for block in blocks] * (len(store) // 40)
        assert hidden == pytest.approx(sum(max(1, round(0.15 * size)) for size in sizes), rel=0.05)


def test_t5_needs_sentinels(make, tmp_path):
    from uer.tokenizers import build_tokenizer

    (tmp_path / "plain.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    tokenizer = build_tokenizer("space", vocab_path=tmp_path / "plain.txt")
    with pytest.raises(
        DataError, match=r"needs sentinel tokens .* has 0 of them; .*google_zh_with_sentinel_vocab"
    ):
        make("a a", "t5", tokenizer=tokenizer)


def documents(sizes):
    """Documents of sentences of the given sizes, every token another number; ids by document and sentence."""
    number, out = 0, []
    for sentences in sizes:
        out.append([])
        for size in sentences:
            out[-1].append(list(range(number, number + size)))
            number += size
    corpus = "\n\n".join("\n".join(" ".join(map(str, s)) for s in document) for document in out)
    return corpus, [[[n + FIRST for n in s] for s in document] for document in out]


def reference_gsg(document, chosen, longest, tgt_longest):
    """The definition: walk, and end an instance where the next piece fits no more."""
    out, source, target = [], [], []
    for index, sentence in enumerate(document):
        piece = [MASK] if chosen[index] else sentence
        more = sentence if chosen[index] else []
        if len(source) + len(piece) >= longest - 2 or len(target) + len(more) >= tgt_longest - 2:
            out.append((source, target))
            source, target = [], []
        source, target = source + piece, target + more
    out.append((source, target))
    return [([CLS, *s, SEP], [CLS, *t, SEP]) for s, t in out if s and t]


RNG = random.Random(1)
SIZES = [[RNG.randint(1, 9) for _ in range(RNG.randint(1, 14))] for _ in range(60)]


def test_gsg_lead(make):
    corpus, docs = documents(SIZES)
    store = make(corpus, "gsg", seq_length=24, tgt_seq_length=14, dup_factor=1)
    sources, targets = sides(whole(store))
    wanted = []
    for document in docs:
        count = round(0.3 * len(document))
        chosen = [index < count for index in range(len(document))]
        wanted += reference_gsg(document, chosen, 24, 14)
    assert sorted(zip(sources, targets)) == sorted(wanted)


def test_gsg_random_leaves_the_last_sentence_and_differs_between_copies(make):
    corpus, docs = documents(SIZES)
    store = make(
        corpus, "gsg", seq_length=99, tgt_seq_length=99, sentence_selection_strategy="random", dup_factor=3
    )
    _, targets = sides(whole(store))
    last = {document[-1][0] for document in docs}
    counts = Counter(tuple(target[1:-1]) for target in targets)
    assert not {token for target in counts for token in target} & last
    assert 1 < max(counts.values()) <= 3 and len(counts) > len(targets) / 2
    big = [document for document in docs if len(document) == 10]
    for document in big:
        mine = [t for t in targets if t[1] in {token for sentence in document for token in sentence}]
        assert len(mine) == 3 and all(
            sum(sentence[0] in target for sentence in document) == 3 for target in mine
        )


def test_bart(make):
    corpus, docs = documents(SIZES)
    store = make(corpus, "bart", seq_length=24)
    wanted = []
    for document in docs:  # sentences are packed while the text stays shorter than seq_length - 2
        row = []
        for sentence in document:
            if len(row) + len(sentence) >= 22:
                wanted.append(row)
                row = []
            row = row + sentence
        wanted.append(row)
    _, targets = sides(whole(store))
    assert [target[1:-1] for target in targets] == wanted
    assert store.header["masking"] is None and len(store) == len(wanted)


def test_bart_source_is_shuffled_and_masked(make):
    corpus, _ = documents([[6] * 8] * 80)
    store = make(corpus, "bart", seq_length=64)
    objective = objective_of(store, MaskingOptions(mask_rate=0.2, span_masking=True))
    first_places: Counter = Counter()
    total = masks = 0
    for seed in range(10):
        batch = objective.batch(store, np.arange(len(store)), np.random.default_rng(seed))
        sources, targets = sides(batch)
        for source, target in zip(sources, targets):
            assert source[0] == CLS and source[-1] == SEP
            assert not any(a == b == MASK for a, b in pairwise(source))
            masks += source.count(MASK)
            total += len(target)
            sentences = {token: index // 6 for index, token in enumerate(target[1:-1])}
            order = [sentences[token] for token in source if token in sentences]
            order = [a for a, b in zip(order, [None, *order]) if a != b]
            first_places[order[0]] += 1
    assert 0.03 < masks / total < 0.12
    counts = np.array([first_places[sentence] for sentence in range(8)])
    # Random tokens blur the order a little, so the test is wide.
    assert counts.min() > 0.6 * counts.mean() and counts.max() < 1.5 * counts.mean()


def test_bart_draws_anew_each_time_and_the_same_again(make):
    corpus, _ = documents(SIZES)
    store = make(corpus, "bart", seq_length=24)
    one, again, other = whole(store, seed=1), whole(store, seed=1), whole(store, seed=2)
    assert np.array_equal(one.inputs["src"], again.inputs["src"])
    assert (
        one.inputs["src"].shape != other.inputs["src"].shape
        or (one.inputs["src"] != other.inputs["src"]).any()
    )
    assert np.array_equal(one.labels["lm"], other.labels["lm"])
