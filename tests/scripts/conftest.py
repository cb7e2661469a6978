"""Files that tests of several scripts read."""

import shutil
from pathlib import Path

import pytest

from tests.scripts import pretraining
from tests.scripts.preprocessing import WORDS, sentences
from uer.data import spans


@pytest.fixture
def vocab(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return "vocab.txt"


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus.txt").write_text(sentences(2000), encoding="utf-8")
    return "corpus.txt"


@pytest.fixture
def small_spans(monkeypatch):
    monkeypatch.setattr(spans, "SPAN", 10_000)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with all that `tests.scripts.pretraining.words` names."""
    folder = tmp_path_factory.mktemp("made")
    pretraining.make(folder)
    return folder


@pytest.fixture
def pretraining_files(made, tmp_path) -> None:
    """The made files in the folder of the test."""
    for file in made.iterdir():
        shutil.copy(file, tmp_path / file.name)
