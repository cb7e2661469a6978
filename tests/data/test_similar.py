"""N-grams of words, and similar words in their place (MacBERT): shares, look-up, files, errors."""

import numpy as np
import pytest

from uer.config.preprocess import MaskingOptions
from uer.data.batch import IGNORE
from uer.data.masking import Masker, join
from uer.data.pretrain_data import PretrainData
from uer.data.similar import SimilarWords, hashed
from uer.errors import ConfigError, DataError
from uer.tokenizers import build_tokenizer

SHARES = (0.4, 0.3, 0.2, 0.1)
PAD, CLS, SEP, MASK, VOCAB = 0, 101, 102, 103, 1000


def masker(**options):
    return Masker(
        MaskingOptions(**options), mask_id=MASK, special_ids=(PAD, CLS, SEP, MASK), vocab_size=VOCAB
    )


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """A tokenizer whose words are characters."""
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    chars = "语言词汇模型预测高兴快乐悲伤天地人大小"
    path.write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *chars]) + "\n", encoding="utf-8"
    )
    return build_tokenizer("bert", vocab_path=path)


def words_of(tokenizer, rows):
    return {"".join(tokenizer.convert_ids_to_tokens(row)) for row in rows}


def test_runs_of_words_have_their_shares():
    rng = np.random.default_rng(0)
    free = np.ones((300, 400), bool)
    free[:, 0] = False
    words = rng.random(free.shape) < 0.5
    begins = join(free, words, np.cumsum(SHARES)[:-1], rng)
    words |= np.arange(400) == 1  # where the run begins
    assert not begins[:, 0].any() and begins[:, 1].all() and not (begins & ~words).any()
    number = np.cumsum(words, axis=1)  # of the word at each place
    lengths = np.concatenate([np.diff(row[place]) for row, place in zip(number, begins)])
    counts = np.bincount(lengths, minlength=5)[1:]
    expected = counts.sum() * np.array(SHARES)
    assert len(counts) == 4 and ((counts - expected) ** 2 / expected).sum() < 3 + 6 * 6**0.5


def test_n_grams_are_hidden_whole_and_of_tokens_without_words():
    src = np.random.default_rng(1).integers(200, VOCAB, (2000, 66))
    src[:, 0], src[:, -1] = CLS, SEP
    words = np.zeros(src.shape, np.uint8)
    words[:, 1::2] = 1  # words of two tokens
    lengths = np.full(len(src), 66)
    tool = masker(whole_word_masking=True, ngram_shares=(0, 1), mask_rate=0.3)
    _, labels = tool(src, lengths, np.random.default_rng(2), words)
    chosen = labels[:, 1:65] != IGNORE
    assert set(chosen.reshape(-1, 4).sum(1)) == {0, 4}  # two words are four tokens
    tool = masker(ngram_shares=(0, 0, 1), mask_rate=0.3)
    _, labels = tool(src, lengths, np.random.default_rng(2))
    assert set((labels[:, 1:64] != IGNORE).reshape(-1, 3).sum(1)) == {0, 3}


def test_share_of_the_hidden_n_grams():
    src = np.random.default_rng(1).integers(200, VOCAB, (3000, 130))
    src[:, 0], src[:, -1] = CLS, SEP
    tool = masker(ngram_shares=SHARES, mask_rate=0.02)  # three tokens a row: one unit, or a few short ones
    free = ~np.isin(src, (CLS, SEP))
    begins = tool._ngrams(free, free, np.random.default_rng(4))
    sizes = np.concatenate([np.diff(np.flatnonzero(row)) for row in begins])
    share = np.bincount(sizes, minlength=5)[1:] / len(sizes)
    assert share == pytest.approx(np.array(SHARES), abs=0.01)


def test_words_of_a_list(chinese, tmp_path):
    (tmp_path / "list.txt").write_text(
        "模型\t语言 词汇\t大 模型 甲乙\n\n高兴\t快乐\n天\t地\n悲伤\t大\n", encoding="utf-8"
    )
    similar = SimilarWords(["list.txt"], chinese)
    # 悲伤 has none of two tokens; of 模型's, 大 has one token, 模型 is itself, 甲乙 is unknown.
    assert len(similar) == 3
    text, sizes = "模型高兴天人悲伤", np.array([2, 2, 1, 1, 2])
    ids = chinese.encode_batch([text])[0].astype(np.int64)
    seen = [set() for _ in sizes]
    for seed in range(40):
        out, found = similar(ids, sizes, np.random.default_rng(seed))
        assert found.tolist() == [True] * 5 + [False] * 3
        ends = np.cumsum(sizes)
        for place, (end, size) in enumerate(zip(ends, sizes)):
            seen[place] |= words_of(chinese, [out[end - size : end]])
    assert seen == [{"语言", "词汇"}, {"快乐"}, {"地"}, {"人"}, {"悲伤"}]


def test_several_lists_are_one(chinese, tmp_path):
    (tmp_path / "a.txt").write_text("天\t地\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("天\t人\n大\t小\n", encoding="utf-8")
    similar = SimilarWords(["a.txt", "b.txt"], chinese)
    ids = chinese.encode_batch(["天"])[0].astype(np.int64)
    rng = np.random.default_rng(0)
    seen = [words_of(chinese, [similar(ids, np.array([1]), rng)[0]]) for _ in range(30)]
    assert len(similar) == 2 and set.union(*seen) == {"地", "人"}


@pytest.mark.parametrize("header", ["", "6 2\n"])
def test_the_nearest_of_word_vectors(chinese, tmp_path, header):
    rows = {"高兴": (1, 0), "快乐": (9, 1), "悲伤": (-1, 0.1), "语言": (0, 1), "天": (1, 0), "地": (0, 5)}
    lines = [f"{word} {x} {y}" for word, (x, y) in rows.items()]
    (tmp_path / "vectors.txt").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    import uer.data.similar as module

    nearest, module.NEAREST = module.NEAREST, 1
    try:
        similar = SimilarWords(["vectors.txt"], chinese)
    finally:
        module.NEAREST = nearest
    cosine = {
        one: max(
            (other for other in rows if other != one and len(other) == len(one)),
            key=lambda other: np.dot(rows[one], rows[other]) / np.linalg.norm(rows[other]),
        )
        for one in rows
    }
    for word, expected in cosine.items():
        ids = chinese.encode_batch([word])[0].astype(np.int64)
        out, found = similar(ids, np.array([len(word)]), np.random.default_rng(0))
        assert found.all() and words_of(chinese, [out]) == {expected}, word


@pytest.mark.parametrize("header", ["", "9 2\n"])
def test_only_the_first_vectors_are_read(chinese, tmp_path, monkeypatch, header):
    monkeypatch.setattr("uer.data.similar.WORDS", 3)
    (tmp_path / "vectors.txt").write_text(header + "天 1 2\n地 2 3\n人 3 4\n大 4 5\n小\n", encoding="utf-8")
    assert len(SimilarWords(["vectors.txt"], chinese)) == 3


def test_hashes_know_order_and_length():
    ids, sizes = np.array([1, 2, 2, 1, 1, 1, 2, 7]), np.array([2, 2, 1, 0, 2, 1])
    found = hashed(ids, sizes)
    assert found[0] == found[4] != found[1] and found[2] != found[0] and found[3] == 0
    many = np.random.default_rng(0).integers(0, 21128, (200_000, 2))
    assert len(np.unique(hashed(many.reshape(-1), np.full(200_000, 2)))) == len(np.unique(many, axis=0))


def test_similar_words_random_ones_and_those_that_stay():
    """Eight of ten words are similar ones (random tokens where none is known), one random, one itself."""
    src = np.random.default_rng(1).integers(200, 400, (4000, 42))
    src[:, 0], src[:, -1] = CLS, SEP
    words = np.zeros(src.shape, np.uint8)
    words[:, 1::2] = 1

    def similar(ids, sizes, rng):
        assert sizes.sum() == len(ids) and set(sizes) == {2}
        known = np.repeat(ids[::2] < 300, 2)
        return np.where(known, ids + 500, ids), known

    tool = masker(whole_word_masking=True)
    tool.similar = similar
    masked, labels = tool(src, np.full(len(src), 42), np.random.default_rng(2), words)
    chosen = labels != IGNORE
    was, now = labels[chosen].reshape(-1, 2), masked[chosen].reshape(-1, 2)
    assert not (masked == MASK).any()
    known = was[:, 0] < 300
    like = (now == was + 500).all(axis=1)
    same = (now == was).all(axis=1)
    total = known.sum()
    assert like[known].mean() == pytest.approx(0.8, abs=5 * (0.16 / total) ** 0.5)
    assert not like[~known].any() or like[~known].mean() < 0.001
    assert same.mean() == pytest.approx(0.1, abs=5 * (0.09 / len(same)) ** 0.5)


def test_masks_in_advance_and_at_batch_time(make, numbers, tmp_path):
    text = "\n".join(" ".join(str(number) for number in range(row, row + 30)) for row in range(30)) + "\n"
    (tmp_path / "like.txt").write_text(
        "\n".join(f"{number}\t{number + 1000}" for number in range(100)) + "\n"
    )
    path = (str(tmp_path / "like.txt"),)

    def share(batches):
        seen = [
            (b.inputs["src"][c], b.labels["mlm"][c]) for b in batches for c in [b.labels["mlm"] != IGNORE]
        ]
        src, labels = (np.concatenate(part) for part in zip(*seen))
        assert not (src == numbers.mask_id).any()
        return (src == labels + 1000).mean()

    static = make(text, "mlm", seq_length=32, similar_words_path=path)
    data = PretrainData(static, batch_size=10, masking=MaskingOptions(similar_words_path=path))
    assert share([data.get(step) for step in range(15)]) == pytest.approx(0.8, abs=0.06)
    dynamic = make(text, "mlm", seq_length=32, dynamic_masking=True, name="dynamic.pt")
    options = MaskingOptions(similar_words_path=path)
    data = PretrainData(dynamic, batch_size=10, masking=options, tokenizer=numbers)
    assert share([data.get(step) for step in range(15)]) == pytest.approx(0.8, abs=0.06)
    # The list may be gone when the masks are part of the dataset.
    (tmp_path / "like.txt").unlink()
    PretrainData(static, batch_size=10, tokenizer=numbers).get(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("天\t地\n大\n", ":2: has not the form word<TAB>similar similar …"),
        ("天\t\n", ":1: has not the form word<TAB>similar"),
        ("天 1 2\n地 1\n", ":2: is neither word<TAB>similar similar … nor a word and its numbers"),
        ("天 1 x\n", ":1: is neither"),
        ("天 1 nan\n", ":1: is neither"),
        ("\n", "holds no words"),
        ("天\t甲\n", "no word in it has a similar one of as many tokens"),
        (b"\xff\t\xfe\n", "is not UTF-8 (byte 0)"),
        (None, "does not exist; name a list of similar words"),
    ],
)
def test_files_at_fault(chinese, tmp_path, content, message):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        SimilarWords([path], chinese)
    assert message in str(error.value) and "list.txt" in str(error.value)


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="--ngram_shares and --span_masking are both given"):
        MaskingOptions(ngram_shares=(1,), span_masking=True)
    with pytest.raises(ConfigError, match="--ngram_shares and --knowledge_masking are both given"):
        MaskingOptions(ngram_shares=(1,), knowledge_masking=True)
    with pytest.raises(ConfigError, match="--ngram_shares are all 0"):
        MaskingOptions(ngram_shares=(0, 0))
    with pytest.raises(ConfigError, match="--ngram_shares is -1"):
        MaskingOptions(ngram_shares=(-1, 2))
    with pytest.raises(ConfigError, match="--trigram_rate is 2"):
        MaskingOptions(trigram_rate=2)
