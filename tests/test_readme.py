"""The README is true: every command runs and leaves what it says, every row of its table is in the code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.task_commands import IN_README
from uer.cli import run
from uer.config import model, preprocess, tokenizer, training
from uer.utils.files import repository_root

ROOT = repository_root()
READMES = ("README.md", "README_ZH.md")
# Sizes that stand for those of the README, so that all of it runs in seconds.
SMALL = {
    "--total_steps": ["4"],
    "--save_checkpoint_steps": ["2"],
    "--epochs_num": ["1"],
    "--batch_size": ["16"],
    "--learning_rate_list": ["1e-4", "3e-4"],
    "--batch_size_list": ["16"],
    "--epochs_num_list": ["1"],
    "--seq_length": ["32"],
    "--processes_num": ["1"],
    "--dup_factor": ["1"],
}


def commands(readme: str) -> list[list[str]]:
    """The words behind each `python3` in the shell blocks, in order."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["python3"]:
                found.append(words[1:])
    return found


def smaller(words: list[str]) -> list[str]:
    """The same command with the sizes of `SMALL`; NAME-STEP follows the number of steps."""
    out, skipping = [], False
    for word in words:
        if word.startswith("--"):
            skipping = word in SMALL
            out += [word, *SMALL[word]] if skipping else [word]
        elif not skipping:
            out.append(re.sub(r"(\.bin)-\d+$", r"\1-4", word))
    return out


def typed(words: list[str], flag: str) -> str:
    """The value of a flag in a command."""
    return words[words.index(flag) + 1]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A small clone: the configs and vocabularies, and the first lines of corpora and data sets."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns("*.bin*"))
    for name in ("corpora", "datasets"):
        for source in (ROOT / name).rglob("*"):
            if source.suffix in (".txt", ".tsv"):
                target = folder / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
                target.write_text("".join(lines[:129]), encoding="utf-8")
    return folder


def check_dataset(words: list[str]) -> None:
    """The dataset opens, is of the objective that was named, and has instances."""
    from uer.data.store import Store

    store = Store(typed(words, "--dataset_path"))
    assert len(store) > 50
    assert store.header["objective"] == typed(words, "--target")


def check_checkpoint(words: list[str]) -> None:
    """The last checkpoint loads strictly into the model that its companion describes."""
    from uer.checkpoints import load_into, read_companion
    from uer.models.build import build_model
    from uer.tokenizers import load_tokenizer

    path = f"{typed(words, '--output_model_path')}-{typed(words, '--total_steps')}"
    companion = read_companion(path)
    model = build_model(companion.config, len(load_tokenizer(companion.tokenizer)))
    report = load_into(model, path)
    assert report.loaded and not report.new and not report.unused
    metrics = Path(f"{typed(words, '--output_model_path')}.run/metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(metrics.splitlines()[-1])["step"] == int(typed(words, "--total_steps"))


def check_classifier(words: list[str]) -> None:
    """The saved classifier says what it is."""
    from uer.checkpoints import read_companion, read_state

    path = typed(words, "--output_model_path")
    assert read_companion(path).labels is not None
    assert "output_layer_2.weight" in read_state(path)


def check_grid(words: list[str]) -> None:
    """A row for each trial."""
    rows = Path(typed(words, "--grid_path")).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2


def check_prediction(words: list[str]) -> None:
    """A label and probabilities that sum to 1 for each row."""
    rows = Path(typed(words, "--prediction_path")).read_text(encoding="utf-8").splitlines()
    given = Path(typed(words, "--test_path")).read_text(encoding="utf-8").splitlines()
    assert len(rows) == len(given)
    assert rows[0].split("\t") == ["label", "prob"]
    for row in rows[1:]:
        label, probabilities = row.split("\t")
        assert label in ("0", "1")
        assert sum(map(float, probabilities.split(" "))) == pytest.approx(1, abs=1e-5)


def check_story(words: list[str]) -> None:
    """One block for each prompt, begun with the prompt."""
    prompts = Path(typed(words, "--test_path")).read_text(encoding="utf-8").splitlines()
    blocks = Path(typed(words, "--prediction_path")).read_text(encoding="utf-8").strip("\n").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == prompts
    assert all(len(block.splitlines()[1]) > 0 for block in blocks)


def check_vocabulary(words: list[str]) -> None:
    """The reserved tokens, then others."""
    lines = Path(typed(words, "--output_path")).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "[PAD]" and lines[100:104] == ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(lines) > 200


def check_answers(words: list[str]) -> None:
    """Five answers with their probabilities for a line, and the one that was there."""
    blocks = Path(typed(words, "--prediction_path")).read_text(encoding="utf-8").strip("\n").split("\n\n")
    assert len(blocks) > 50
    for block in blocks:
        _, predicted, correct = block.split("\n")
        answers = predicted.removeprefix("Predicted answer: ").split(" ")
        assert len(answers) == 5 and all(0 <= float(word.rpartition(":")[2]) <= 1 for word in answers)
        assert correct.startswith("Correct answer: ")


def check_features(words: list[str]) -> None:
    """A vector a line."""
    lines = Path(typed(words, "--test_path")).read_text(encoding="utf-8").split("\n")
    vectors = np.load(typed(words, "--prediction_path"))
    assert len(vectors) == sum(bool(line.strip()) for line in lines) and np.isfinite(vectors).all()


CHECKS = {
    "scripts/cloze_test.py": check_answers,
    "scripts/extract_features.py": check_features,
    "preprocess.py": check_dataset,
    "pretrain.py": check_checkpoint,
    "finetune/run_classifier.py": check_classifier,
    "finetune/run_classifier_grid.py": check_grid,
    "inference/run_classifier_infer.py": check_prediction,
    "scripts/generate_lm.py": check_story,
    "scripts/build_vocab.py": check_vocabulary,
}


CHECKS |= IN_README  # those of further tasks


def test_both_readmes_have_the_same_commands():
    assert commands(READMES[0]) == commands(READMES[1])
    assert {words[0] for words in commands(READMES[0])} == set(CHECKS)


def test_the_commands_run_and_leave_what_they_say(workspace, monkeypatch, load_script):
    monkeypatch.chdir(workspace)
    for words in map(smaller, commands(READMES[0])):
        assert run(load_script(words[0]).main, words[1:]) == 0, shlex.join(words)
        CHECKS[words[0]](words)


ROWS = {
    "Data processors": set(preprocess.DATA_PROCESSORS),
    "Embeddings": set(model.EMBEDDINGS),
    "Encoders": set(model.ENCODERS),
    "Decoders": set(model.DECODERS),
    "Targets": set(model.TARGETS),
    "Attention masks": set(model.MASKS),
    "Layer norms": set(model.LAYERNORMS),
    "Tokenizers": set(tokenizer.TOKENIZERS),
    "Optimisers": set(training.OPTIMIZERS),
    "Schedules": set(training.SCHEDULERS),
    "Precision": set(training.PRECISIONS),
}


@pytest.mark.parametrize("readme", READMES)
def test_the_table_is_what_the_code_has(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    table = re.search(r"<!-- supported.*?-->\n(.*?)<!-- end -->", text, re.S).group(1)
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    assert len(rows) == len(ROWS)
    for (title, cell), (name, names) in zip(rows, ROWS.items()):
        assert set(re.findall(r"`([a-z0-9_]+)`", cell)) == names, (title, name)


@pytest.mark.parametrize("readme", READMES)
def test_files_and_flags_that_the_text_names_exist(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("readme", READMES)
def test_the_table_of_tasks_names_what_there_is(readme):
    rows = re.findall(r"^\| \[.*\]\((docs/tasks/\w+\.md)\).*$", (ROOT / readme).read_text("utf-8"), re.M)
    assert len(rows) >= 4
    for line in (ROOT / readme).read_text("utf-8").splitlines():
        if not line.startswith("| [") or "](docs/tasks/" not in line:
            continue
        page = ROOT / re.search(r"\]\((docs/tasks/\w+\.md)\)", line)[1]
        assert page.is_file(), page
        for name in re.findall(r"`(run_\w+\.py)`", line):
            folder = "inference" if name.endswith("_infer.py") else "finetune"
            assert (ROOT / folder / name).is_file(), name
            assert f"{folder}/{name}" in page.read_text("utf-8"), (page, name)
