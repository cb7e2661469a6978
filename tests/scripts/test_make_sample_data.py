"""The data that ships is what its script writes, and has the structure that its README promises."""

from __future__ import annotations

import filecmp
import json
import re

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
    assert len(written) == 5 + 9 + 1 + 5 * 3 + 2 * 3 + 6 + 4
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
    sets = (file for file in (ROOT / "datasets").rglob("*") if file.suffix in (".tsv", ".json", ".jsonl"))
    for file in [*(ROOT / "corpora").glob("*.txt"), *sets]:
        ids, _ = tokenizer.encode_batch(file.read_text(encoding="utf-8").splitlines())
        assert tokenizer.unk_id not in ids, file


def texts(name: str, part: str) -> set[str]:
    """The texts of a small set: what of each file a model reads."""
    parts = (ROOT / "datasets" / name).glob(f"{part}.*")
    (file,) = (file for file in parts if file.suffix in (".tsv", ".json", ".jsonl"))
    if file.suffix == ".tsv":
        header = file.read_text(encoding="utf-8").split("\n", 1)[0].split("\t")
        places = [place for place, column in enumerate(header) if column.startswith("text")]
        return {"\t".join(row[place] for place in places) for row in rows(name, part)}
    content = file.read_text(encoding="utf-8")
    if file.suffix == ".jsonl":
        return {re.sub(r"#.*?#", "", str(json.loads(line)["content"])) for line in content.splitlines()}
    whole = json.loads(content)
    if isinstance(whole, list):
        return {"".join(document[0]) for document in whole}
    return {paragraph["context"] for paragraph in whole["data"][0]["paragraphs"]}


SMALL = sorted(file.name for file in (ROOT / "datasets").iterdir() if file.is_dir() and file.name not in SETS)


@pytest.mark.parametrize("name", SMALL)
def test_parts_of_small_sets_share_no_text(name):
    train, dev, test = (texts(name, part) for part in ("train", "dev", "test"))
    assert len(train) > len(test) >= 3 and len(dev) >= 3
    assert not train & dev and not train & test and not dev & test


def test_the_readme_counts_the_rows_of_small_sets():
    page = (ROOT / "datasets" / "README.md").read_text(encoding="utf-8")
    for name in SMALL:
        said = re.search(rf"^\| `{name}` \|.*\| ([\d /]+) \|$", page, re.M)[1].split(" / ")
        for part, number in zip(("train", "dev", "test"), said):
            (file,) = (ROOT / "datasets" / name).glob(f"{part}.*")
            lines = file.read_text(encoding="utf-8").splitlines()
            counted = {".tsv": len(lines) - 1, ".jsonl": len(lines)}
            asked = sum(line.count('"question":') for line in lines)
            assert counted.get(file.suffix, asked) == int(number), (name, part)


def test_tags_and_places_are_those_of_the_words():
    for part in ("train", "dev", "test"):
        for text, tags in rows("review_tags", part):
            assert len(text.split(" ")) == len(tags.split(" "))
            assert re.search(r"B-THING I-THING", tags)
        whole = json.loads((ROOT / "datasets" / "review_questions" / f"{part}.json").read_text("utf-8"))
        for paragraph in whole["data"][0]["paragraphs"]:
            for answer in (answer for asked in paragraph["qas"] for answer in asked["answers"]):
                assert paragraph["context"].startswith(answer["text"], answer["answer_start"])


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
