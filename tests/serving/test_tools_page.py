"""Every command of docs/tools.md and docs/generation.md runs as it stands, on small models."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from uer.cli import run
from uer.utils.files import repository_root

ROOT = repository_root()
NAMES = {"masked": "mlm", "language": "lm", "large_language": "large_lm", "pair": "pair"}


def commands(page: str) -> list[str]:
    """The lines of the shell blocks of a page, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.strip().splitlines()
    ]


COMMANDS = commands("tools.md")
WRITTEN = ("--prediction_path", "--word_embedding_path", "--output_model_path", "--params_path")


@pytest.fixture
def folder(models, tmp_path):
    """The files that the page names."""
    for name, source in NAMES.items():
        shutil.copy2(models / f"{source}.bin", f"{name}.bin")
        shutil.copytree(models / f"{source}.bin.meta", f"{name}.bin.meta")
    Path("models").mkdir()
    shutil.copy(ROOT / "models" / "zh_en_vocab.txt", "models")
    texts = {"texts": "今天[MASK]气很好\n这本书不错\n", "words": "好\n书\n", "candidates": "好\n坏\n不错\n"}
    texts |= {"words_in_context": "好\t今天天气很好\n"}
    for name, text in texts.items():
        Path(f"{name}.txt").write_text(text, encoding="utf-8")
    draw = np.random.default_rng(1)
    rows = "".join(f"{number % 2}\ttext\n" for number in range(40))
    Path("train.tsv").write_text(f"label\ttext_a\n{rows}", encoding="utf-8")
    for part in ("train", "test"):
        for number in range(2):
            np.save(f"stack_{part}_features_{number}.npy", draw.dirichlet([1, 1], 40).astype(np.float32))
    Path("best.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    "line", [*COMMANDS, *commands("generation.md")], ids=lambda line: re.search(r"scripts/(\w+)", line)[1]
)
def test_a_command_of_the_page(folder, load_script, capsys, line):
    words = shlex.split(line)
    assert words[0] == "python3"
    assert run(load_script(words[1]).main, words[2:]) == 0
    written = [words[words.index(flag) + 1] for flag in WRITTEN if flag in words]
    assert all(Path(name).stat().st_size for name in written)
    said = capsys.readouterr().out
    assert written or len(said.splitlines()) >= 4 or said.startswith("Perplexity: ")


def test_the_page_names_every_tool():
    shelf = (
        "cloze_test extract_features extract_embeddings topn_words_indep topn_words_dep diff_vocab run_lgb "
    )
    shelf += "run_lgb_cv_bayesopt average_models take_layers"
    assert {re.search(r"scripts/(\w+)", line)[1] for line in COMMANDS} == set(shelf.split())
