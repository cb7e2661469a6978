"""The data that ships is what its script writes, and has the structure that its README promises."""

from __future__ import annotations

import filecmp

import pytest

from uer.tokenizers import build_tokenizer
from uer.utils.files import repository_root

ROOT = repository_root()
SETS = ("douban_book_review", "product_review", "product_pairs")


def rows(name: str, part: str) -> list[list[str]]:
    """The rows of a table behind its header."""
    text = (ROOT / "datasets" / name / f"{part}.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()[1:]]


def test_the_script_writes_the_committed_files(tmp_path, load_script):
    load_script("scripts/make_sample_data.py").main(["--output_dir", str(tmp_path)])
    written = [file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) == 5 + 9 + 1
    for name in written:
        assert filecmp.cmp(tmp_path / name, ROOT / name, shallow=False), name


@pytest.mark.parametrize("folder", ["corpora", "datasets"])
def test_the_data_stays_small(folder):
    assert sum(file.stat().st_size for file in (ROOT / folder).rglob("*") if file.is_file()) <= 1_000_000


@pytest.mark.parametrize("name", SETS)
def test_splits_are_balanced_and_share_no_text(name):
    seen: set[str] = set()
    for part in ("train", "dev", "test"):
        table = rows(name, part)
        labels = [row[0] for row in table]
        assert len(set(labels)) == 2
        assert all(labels.count(label) * 2 == len(labels) for label in set(labels))
        texts = {row[1] for row in table}
        assert len(texts) == len(table) and not texts & seen
        seen |= texts


def test_the_vocabulary_knows_every_token_of_the_data():
    tokenizer = build_tokenizer("bert", vocab_path=str(ROOT / "models" / "zh_en_vocab.txt"))
    for file in [*(ROOT / "corpora").glob("*.txt"), *(ROOT / "datasets").rglob("*.tsv")]:
        ids, _ = tokenizer.encode_batch(file.read_text(encoding="utf-8").splitlines())
        assert tokenizer.unk_id not in ids, file


def test_single_characters_do_not_decide():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = rows("douban_book_review", "train"), rows("douban_book_review", "test")
    counter = CountVectorizer(analyzer="char").fit([text for _, text in train])
    table, answers = counter.transform([text for _, text in test]), [label for label, _ in test]
    for strength in (0.03, 0.1, 0.3, 1.0):
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(counter.transform([text for _, text in train]), [label for label, _ in train])
        assert 0.6 <= model.score(table, answers) <= 0.8
