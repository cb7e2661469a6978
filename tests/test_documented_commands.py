"""The command lines that UER's documents teach, of both generations, run as typed.

Only paths (vocabularies come from the real data), numbers of steps and epochs, flags of absent GPUs differ.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from uer.cli import run
from uer.utils.files import repository_root

ROOT = repository_root()
BERT = "--config_path models/bert/tiny_config.json"
WORDS = "--embedding word_pos_seg --encoder transformer --mask fully_visible"
REVIEWS = "datasets/douban_book_review"
SETS = f"--train_path {REVIEWS}/train.tsv --dev_path {REVIEWS}/dev.tsv"
GPT_PARTS = "--remove_embedding_layernorm --encoder transformer --mask causal --layernorm_positioning pre"
GPT = (
    f"--config_path models/gpt2/distil_config.json --embedding word_pos {GPT_PARTS} --target lm --tie_weights"
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory, shared) -> Path:
    """The configs, the real vocabularies under UER's names, and the first lines of the bundled data."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns("*.bin*"))
    for name in ("google_zh_vocab.txt", "cluecorpussmall_spm.model"):
        shutil.copy(shared / "data" / "models" / name, folder / "models" / name)
    for name, rows in (("corpora/book_review.txt", 200), ("corpora/book_review_bert.txt", 200)):
        (folder / name).parent.mkdir(exist_ok=True)
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:rows]), encoding="utf-8")
    (folder / REVIEWS).mkdir(parents=True)
    for part in ("train", "dev", "test"):
        lines = (ROOT / REVIEWS / f"{part}.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / REVIEWS / f"{part}.tsv").write_text("".join(lines[:33]), encoding="utf-8")
    (folder / "story_beginning.txt").write_text("这本书\n", encoding="utf-8")
    return folder


@pytest.fixture
def typed(clone, monkeypatch, load_script):
    """Run a command line in the clone's folder and return its exit code."""
    monkeypatch.chdir(clone)

    def call(line: str) -> int:
        words = shlex.split(line)
        return run(load_script(words[0]).main, words[1:])

    return call


@pytest.mark.parametrize(
    "vocabulary",
    ["--vocab_path models/google_zh_vocab.txt", "--spm_model_path models/cluecorpussmall_spm.model"],
    ids=["vocabulary", "sentencepiece"],
)
def test_mlm_classifier_and_grid(typed, clone, vocabulary):
    assert typed(
        f"preprocess.py --corpus_path corpora/book_review.txt {vocabulary} --dataset_path dataset.pt "
        "--processes_num 8 --target mlm"
    ) == 0  # fmt: skip
    pretrain = (
        f"pretrain.py --dataset_path dataset.pt {vocabulary} {BERT} --output_model_path "
        "models/output_model.bin "
        f"--total_steps 2 --save_checkpoint_steps 1 --batch_size 64 {WORDS} --target mlm"
    )
    assert typed(pretrain) == 0
    assert typed(f"{pretrain} --pretrained_model_path models/output_model.bin-2") == 0
    start = f"--pretrained_model_path models/output_model.bin-2 {vocabulary} {BERT} {SETS}"
    assert typed(
        f"finetune/run_classifier.py {start} --test_path {REVIEWS}/test.tsv "
        f"--learning_rate 3e-4 --batch_size 64 --epochs_num 1 {WORDS}"
    ) == 0  # fmt: skip
    assert Path("models/finetuned_model.bin").is_file()
    assert typed(
        f"finetune/run_classifier_grid.py {start} --learning_rate_list 3e-5 1e-4 3e-4 "
        "--batch_size_list 32 64 "
        f"--epochs_num_list 1 2 {WORDS}"
    ) == 0  # fmt: skip
    assert typed(
        f"inference/run_classifier_infer.py --load_model_path models/finetuned_model.bin {vocabulary} {BERT} "
        f"--test_path {REVIEWS}/test.tsv --prediction_path prediction.tsv --labels_num 2 {WORDS}"
    ) == 0  # fmt: skip
    assert len(Path("prediction.tsv").read_text(encoding="utf-8").splitlines()) == 33


def test_bert_in_the_words_of_2024(typed):
    vocabulary = "--vocab_path models/google_zh_vocab.txt"
    assert typed(
        f"preprocess.py --corpus_path corpora/book_review_bert.txt {vocabulary} --dataset_path dataset.pt "
        "--processes_num 2 --dynamic_masking --data_processor bert"
    ) == 0  # fmt: skip
    assert typed(
        f"pretrain.py --dataset_path dataset.pt {vocabulary} {BERT} --output_model_path models/bert.bin "
        "--total_steps 2 --save_checkpoint_steps 2 --batch_size 8 --data_processor bert"
    ) == 0  # fmt: skip
    assert typed(
        f"finetune/run_classifier.py --pretrained_model_path models/bert.bin-2 {vocabulary} {BERT} {SETS} "
        "--epochs_num 1 --batch_size 64 --embedding word pos seg --output_model_path "
        "models/bert_classifier.bin"
    ) == 0  # fmt: skip


def test_gpt2_pretraining_classification_and_writing(typed, caplog):
    vocabulary = "--vocab_path models/google_zh_vocab.txt"
    assert typed(
        f"preprocess.py --corpus_path corpora/book_review.txt {vocabulary} --dataset_path dataset.pt "
        "--processes_num 8 --target lm --seq_length 128"
    ) == 0  # fmt: skip
    assert typed(
        f"pretrain.py --dataset_path dataset.pt {vocabulary} --output_model_path models/gpt2.bin "
        "--total_steps 1 "
        f"--save_checkpoint_steps 1 --batch_size 4 --learning_rate 5e-5 {GPT}"
    ) == 0  # fmt: skip
    assert typed(
        f"finetune/run_classifier.py --pretrained_model_path models/gpt2.bin-1 {vocabulary} "
        f"--config_path models/gpt2/distil_config.json {SETS} --learning_rate 3e-5 --epochs_num 1 "
        f"--output_model_path models/gpt2_classifier.bin --embedding word_pos_seg {GPT_PARTS}"
    ) == 0  # fmt: skip
    assert typed(
        f"scripts/generate_lm.py --load_model_path models/gpt2.bin-1 {vocabulary} --seq_length 32 "
        f"--test_path story_beginning.txt --prediction_path story_full.txt {GPT}"
    ) == 0  # fmt: skip
    assert Path("story_full.txt").read_text(encoding="utf-8").startswith("这本书\n")


def test_eight_gpus_on_a_machine_without_any(typed, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("no GPU: this machine has one")
    code = typed(
        f"pretrain.py --dataset_path dataset.pt --vocab_path models/google_zh_vocab.txt {BERT} "
        "--world_size 8 "
        "--gpu_ranks 0 1 2 3 4 5 6 7 --output_model_path models/output_model.bin --total_steps 2 "
        f"{WORDS} --target mlm"
    )
    error = capsys.readouterr().err
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert "GPU" in error and "--gpu_ranks" in error
