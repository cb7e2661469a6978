"""The README is true: every command runs and leaves what it says, every row of its table is in the code."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.task_commands import IN_README, typed_commands
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
    "--folds_num": ["2"],
}
STEPS = {"models/output_model.bin-1000": "models/output_model.bin-2"}
"""the checkpoint before the last"""


def blocks(readme: str) -> list[str]:
    """The shell blocks, in order."""
    return re.findall(r"```bash\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.S)


def commands(readme: str) -> list[list[str]]:
    """The words behind each `python3` in the shell blocks, in order."""
    return typed_commands(blocks(readme))


def smaller(words: list[str]) -> list[str]:
    """The same command with the sizes of `SMALL`; NAME-STEP follows the number of steps."""
    out, skipping = [], False
    for word in words:
        if word.startswith("--"):
            skipping = word in SMALL
            out += [word, *SMALL[word]] if skipping else [word]
        elif not skipping:
            out.append(STEPS.get(word) or re.sub(r"(\.bin)-\d+$", r"\1-4", word))
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
            if source.is_file():
                target = folder / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
                kept = 129 if source.suffix in (".txt", ".tsv") else len(lines)
                target.write_text("".join(lines[:kept]), encoding="utf-8")
    return folder


def check_dataset(words: list[str]) -> None:
    """The dataset opens, is of the objective that was named, and has instances."""
    from uer.data.store import Store

    store = Store(typed(words, "--dataset_path"))
    assert len(store) > 50
    flag = "--data_processor" if "--data_processor" in words else "--target"
    assert store.header["objective"] == typed(words, flag)


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
    assert rows[0].split("\t")[:2] == ["label", "prob"]
    for row in rows[1:]:
        label, probabilities = row.split("\t")[:2]
        assert label in ("0", "1")
        assert sum(map(float, probabilities.split(" "))) == pytest.approx(1, abs=1e-5)


def check_story(words: list[str]) -> None:
    """One block for each prompt, begun with the prompt."""
    prompts = Path(typed(words, "--test_path")).read_text(encoding="utf-8").splitlines()
    blocks = Path(typed(words, "--prediction_path")).read_text(encoding="utf-8").strip("\n").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == prompts
    assert all(len(block.splitlines()[1]) > 0 for block in blocks)


def check_written(words: list[str]) -> None:
    """Under each source what the decoder wrote, without what ended it."""
    sources = Path(typed(words, "--test_path")).read_text(encoding="utf-8").splitlines()
    blocks = Path(typed(words, "--prediction_path")).read_text(encoding="utf-8").strip("\n").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == sources
    texts = [block.splitlines()[1].removeprefix("[CLS]") for block in blocks]
    assert any(texts) and not any("[CLS]" in text or "[SEP]" in text for text in texts)


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


def check_word_vectors(words: list[str]) -> None:
    """A vector a token, in word2vec's text format."""
    first, *rest = Path(typed(words, "--word_embedding_path")).read_text(encoding="utf-8").splitlines()
    number, size = map(int, first.split())
    assert len(rest) == number and len(rest[-1].split(" ")) == size + 1


def check_neighbours(words: list[str], said: str) -> None:
    """So many words for each that was asked for."""
    asked = Path(typed(words, "--test_path")).read_text(encoding="utf-8").splitlines()
    found = re.findall(r"^\S+\s-?\d\.\d+$", said, re.M)
    assert len(found) == len(asked) * int(typed(words, "--topn")), said


def check_difference(words: list[str], said: str) -> None:
    """Both vocabularies are counted."""
    assert "vocab" in said and re.search(r"\d+", said)


def check_mean(words: list[str]) -> None:
    """Halfway between both models."""
    from uer.checkpoints import read_state

    first, second = words[words.index("--model_list_path") + 1 :][:2]
    states = [read_state(path) for path in (first, second, typed(words, "--output_model_path"))]
    name = "encoder.transformer.0.self_attn.final_linear.weight"
    one, other, mean = (state[name] for state in states)
    assert not one.equal(other) and (mean - (one + other) / 2).abs().max() < 1e-6


def check_perplexity(words: list[str], said: str) -> None:
    """Better than nothing is known."""
    assert 1 < float(re.search(r"Perplexity: ([\d.]+)", said)[1]) < 21128


def check_graph(words: list[str]) -> None:
    """onnxruntime reads it and gives two logits a row."""
    import onnxruntime

    session = onnxruntime.InferenceSession(typed(words, "--output_path"))
    ones = np.ones((3, 7), np.int64)
    assert session.run(None, {"src": ones, "seg": ones})[0].shape == (3, 2)


def check_train_features(words: list[str]) -> None:
    """Probabilities for each row."""
    rows = Path(typed(words, "--train_path")).read_text(encoding="utf-8").splitlines()
    features = np.load(typed(words, "--train_features_path"))
    assert features.shape == (len(rows) - 1, 2) and np.allclose(features.sum(axis=1), 1, atol=1e-5)


def check_test_features(words: list[str]) -> None:
    """As `check_train_features`, of the test file."""
    rows = Path(typed(words, "--test_path")).read_text(encoding="utf-8").splitlines()
    assert np.load(typed(words, "--test_features_path")).shape == (len(rows) - 1, 2)


def check_search(words: list[str], said: str) -> None:
    """A line a trial, and the best parameters in a file."""
    assert said.count("macro F1") >= 2
    assert json.loads(Path(typed(words, "--params_path")).read_text())["num_leaves"] >= 4


def check_stacked(words: list[str], said: str) -> None:
    """The scores of the test file."""
    assert re.search(r"Acc|accuracy", said), said


CHECKS = {
    "scripts/extract_embeddings.py": check_word_vectors,
    "scripts/topn_words_indep.py": check_neighbours,
    "scripts/topn_words_dep.py": check_neighbours,
    "scripts/diff_vocab.py": check_difference,
    "scripts/average_models.py": check_mean,
    "scripts/evaluate_lm.py": check_perplexity,
    "scripts/export.py": check_graph,
    "finetune/run_classifier_cv.py": check_train_features,
    "inference/run_classifier_cv_infer.py": check_test_features,
    "scripts/run_lgb_cv_bayesopt.py": check_search,
    "scripts/run_lgb.py": check_stacked,
    "scripts/cloze_test.py": check_answers,
    "scripts/extract_features.py": check_features,
    "preprocess.py": check_dataset,
    "pretrain.py": check_checkpoint,
    "finetune/run_classifier.py": check_classifier,
    "finetune/run_classifier_grid.py": check_grid,
    "inference/run_classifier_infer.py": check_prediction,
    "scripts/generate_lm.py": check_story,
    "scripts/generate_seq2seq.py": check_written,
    "scripts/build_vocab.py": check_vocabulary,
}


CHECKS |= IN_README  # those of further tasks


def test_both_readmes_have_the_same_commands():
    assert blocks(READMES[0]) == blocks(READMES[1])
    assert {words[0] for words in commands(READMES[0])} == set(CHECKS)


def test_the_commands_run_and_leave_what_they_say(workspace, monkeypatch, load_script, capsys):
    monkeypatch.chdir(workspace)
    for words in map(smaller, commands(READMES[0])):
        capsys.readouterr()
        assert run(load_script(words[0]).main, words[1:]) == 0, shlex.join(words)
        check, said = CHECKS[words[0]], capsys.readouterr().out
        check(*(words, said)[: len(inspect.signature(check).parameters)])


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


@pytest.mark.parametrize("readme", READMES)
def test_the_zoo_has_as_many_families_as_it_says(readme):
    rows = re.findall(r"^\| F\d+ \|", (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8"), re.M)
    (said,) = re.findall(
        r"(\d+) (?:families of released|个已发布模型家族)", (ROOT / readme).read_text(encoding="utf-8")
    )
    assert int(said) == len(rows)


def test_every_script_stands_in_a_page():
    """Those of the README are run above; those of docs/ by the tests of their pages."""
    pages = [ROOT / name for name in READMES[:1]] + [*(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    scripts = [
        file for folder in ("scripts", "finetune", "inference") for file in (ROOT / folder).glob("*.py")
    ]
    assert len(scripts) > 80
    for file in scripts:
        if "__main__" not in file.read_text(encoding="utf-8"):
            continue  # word lists
        name = file.relative_to(ROOT).as_posix()
        if converter := re.fullmatch(r"scripts/convert_(\w+?)(_from_\w+\.py)", name):
            (row,) = re.findall(rf"`scripts/convert_X{re.escape(converter[2])}`[^;]*?X =([^;,]*)", text)
            assert f"`{converter[1]}`" in row, name
        else:
            assert re.search(rf"\b{re.escape(file.name)}\b", text) or f"make {file.stem}" in text, name
