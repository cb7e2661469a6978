"""What users of UER-py have in their shells: lines of 2021, of 2024, of TencentPretrain, and common mistakes.

A line is held against what it must mean, not only against an error: the flags of 2021 over a config of sizes
alone give the very model that the JSON configs of 2024 describe.
"""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from tests.loading import load_script
from uer.cli import run
from uer.config.model import ModelConfig
from uer.opts.compat import COMPATIBILITY
from uer.tokenizers import load_tokenizer
from uer.utils.files import repository_root

ROOT = repository_root()
SIZES = ("emb_size", "hidden_size", "feedforward_size", "heads_num", "layers_num", "decoder_layers_num")
SIZES += ("attention_head_size", "hidden_act", "max_seq_length", "dropout", "kernel_size", "block_size")
TINY = "--vocab_path models/zh_en_vocab.txt --config_path models/bert/tiny_config.json"
BERT = "--embedding word_pos_seg --encoder transformer --mask fully_visible"
PRE = "--encoder transformer --mask fully_visible --layernorm_positioning pre"
T5 = (
    "--embedding word --tgt_embedding word --relative_position_embedding --remove_embedding_layernorm "
    f"{PRE} --remove_attention_scale --remove_transformer_bias --layernorm t5 --decoder transformer "
    "--target t5"
)
# Line of 2021 for pretrain.py → the config of 2024 that describes the same model.
OF_2021 = {
    f"{BERT} --target bert --tie_weights": "bert/base",
    f"{BERT} --factorized_embedding_parameterization --parameter_sharing --target albert": "albert/base",
    "--embedding word_pos --remove_embedding_layernorm --encoder transformer --mask causal "
    "--layernorm_positioning pre --target lm --tie_weight": "gpt2/",
    f"{T5} --share_embedding --tie_weights": "t5/small",
    f"{T5} --share_embedding --feed_forward gated": "t5-v1_1/small",
    "--embedding word_pos --tgt_embedding word_pos --encoder transformer --mask fully_visible --decoder "
    "transformer --target bart --tie_weights --has_lmtarget_bias --share_embedding": "bart/base",
    "--embedding word_sinusoidalpos --tgt_embedding word_sinusoidalpos --remove_embedding_layernorm "
    f"{PRE} --decoder transformer --target gsg --has_lmtarget_bias --tie_weights --share_embedding": (
        "pegasus/base"
    ),
    "--embedding word_sinusoidalpos --tgt_embedding word_sinusoidalpos --encoder transformer --mask "
    "fully_visible --decoder transformer --target seq2seq --tie_weights": "transformer/base",
    "--embedding word --remove_embedding_layernorm --encoder lstm --target lm": "rnn/lstm",
    "--embedding word --remove_embedding_layernorm --encoder gru --target lm": "rnn/gru",
    "--embedding word --remove_embedding_layernorm --encoder bilstm --target bilm": "rnn/bilstm",
    "--embedding word --remove_embedding_layernorm --encoder gatedcnn --target lm": "cnn/gatedcnn_9",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The configs and the small vocabulary, the first lines of the bundled data."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns("*.bin*", "*.run"))
    (folder / "corpora").mkdir()
    (folder / "datasets").mkdir()
    for source, rows in (("corpora/book_review", 60), ("corpora/book_review_bert", 60)):
        lines = (ROOT / f"{source}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{source}.txt").write_text("".join(lines[:rows]), encoding="utf-8")
    lines = (ROOT / "datasets/douban_book_review/train.tsv").read_text(encoding="utf-8").splitlines(True)
    (folder / "datasets/rows.tsv").write_text("".join(lines[:13]), encoding="utf-8")
    return folder


def call(line: str) -> int:
    """Run a command line and return its exit code."""
    words = shlex.split(line)
    return run(load_script(words[0]).main, words[1:])


@pytest.fixture(scope="module")
def trained(clone) -> Path:
    """A dataset and a model of it, renamed (`mv NAME-STEP NAME`) as UER's users do; files that go wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone)
        assert call(
            "preprocess.py --corpus_path corpora/book_review_bert.txt --vocab_path models/zh_en_vocab.txt "
            "--dataset_path dataset.pt --processes_num 1 --target bert"
        ) == 0  # fmt: skip
        assert call(
            f"pretrain.py --dataset_path dataset.pt {TINY} --output_model_path models/book.bin "
            f"--total_steps 2 --save_checkpoint 2 --batch_size 4 {BERT} --target bert"
        ) == 0  # fmt: skip
    os.replace(clone / "models/book.bin-2", clone / "models/book.bin")
    for name in ("plain.bin", "models/step.bin-3", "models/step.bin-20"):
        shutil.copy(clone / "models/book.bin", clone / name)
    words = (clone / "models/zh_en_vocab.txt").read_text(encoding="utf-8")
    (clone / "words.txt").write_text(f"{words}[more]\n", encoding="utf-8")
    (clone / "hf.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 2}))
    (clone / "old.pt").write_bytes(pickle.dumps(([1, 2], [0], [1, 1])))
    torch.save({"bert.embeddings.word_embeddings.weight": torch.ones(4, 2)}, clone / "bert.bin")
    return clone


def chosen(line: str):
    """What the script of a line would do."""
    words = shlex.split(line)
    return load_script(words[0]).COMMAND.parse(words[1:])


@pytest.mark.parametrize("flags", OF_2021, ids=list(OF_2021.values()))
def test_flags_of_2021_give_the_models_of_2024(clone, flags, monkeypatch):
    monkeypatch.chdir(clone)
    name = OF_2021[flags]
    file = f"models/{name}config.json" if name.endswith("/") else f"models/{name}_config.json"
    described = json.loads(Path(file).read_text(encoding="utf-8"))
    Path("sizes.json").write_text(json.dumps({k: x for k, x in described.items() if k in SIZES}))
    common = "pretrain.py --output_model_path x --dataset_path dataset.pt --vocab_path v.txt"
    old = chosen(f"{common} --config_path sizes.json {flags}")
    new = chosen(f"{common} --config_path {file}")
    assert old[ModelConfig] == new[ModelConfig]
    assert old.data_processor == new.data_processor
    twice = chosen(f"{common} --config_path {file} {flags}")
    assert twice[ModelConfig] == new[ModelConfig]


READ = "--train_path train.tsv --dev_path dev.tsv --test_path test.tsv"
# What is typed beside the files, the model and BERT's flags: script → line.
DOWNSTREAM = {
    "finetune/run_classifier.py": f"{READ} --epochs_num 3 --batch_size 32 --soft_targets --soft_alpha 0.5",
    "finetune/run_classifier_cv.py": "--train_path train.tsv --train_features_path f.npy --folds_num 3 "
    "--seed 17",
    "finetune/run_classifier_grid.py": "--train_path train.tsv --dev_path dev.tsv --learning_rate_list 3e-5 "
    "1e-4 --batch_size_list 32 64 --epochs_num_list 3 5 8",
    "finetune/run_classifier_mt.py": "--dataset_path_list datasets/a/ datasets/b/ --batch_size 2",
    "finetune/run_classifier_siamese.py": f"{READ} --learning_rate 2e-5 --batch_size 16 --epochs_num 5",
    "finetune/run_ner.py": f"{READ} --label2id_path label2id.json --batch_size 16 --crf_target",
    "finetune/run_cmrc.py": f"{READ} --epochs_num 2 --batch_size 8 --seq_length 512 --doc_stride 128",
    "finetune/run_c3.py": f"{READ} --epochs_num 8 --batch_size 16 --seq_length 512 --max_choices_num 4",
    "finetune/run_chid.py": "--train_path train.json --dev_path dev.json --train_answer_path a.json "
    "--dev_answer_path b.json --batch_size 24 --seq_length 64 --max_choices_num 10",
    "finetune/run_dbqa.py": "--train_path train.tsv --dev_path dev.tsv --test test.tsv --epochs_num 3",
    "finetune/run_regression.py": f"{READ} --epochs_num 5 --batch_size 64 --pooling mean",
    "finetune/run_simcse.py": "--train_path train.tsv --dev_path dev.tsv --learning_rate 1e-5 --epochs_num 1 "
    "--batch_size 64 --pooling first --temperature 0.05 --eval_steps 200",
    "finetune/run_classifier_multi_label.py": f"{READ} --use_adv --adv_type pgd --pgd_k 3",
    "finetune/run_classifier_prompt.py": f"{READ} --learning_rate 3e-5 --prompt_id chnsenticorp_char",
    "inference/run_classifier_infer.py": "--labels_num 2 --seq_length 128 --output_logits --output_prob",
    "inference/run_classifier_cv_infer.py": "--test_features_path f.npy --folds_num 5 --labels_num 6",
    "inference/run_classifier_mt_infer.py": "--labels_num_list 2 2",
    "inference/run_ner_infer.py": "--label2id_path label2id.json --crf_target",
    "inference/run_cmrc_infer.py": "--seq_length 512",
    "inference/run_c3_infer.py": "--seq_length 512 --max_choices_num 4",
    "inference/run_chid_infer.py": "--seq_length 64 --max_choices_num 10",
    "inference/run_regression_infer.py": "--pooling mean",
    "inference/run_classifier_prompt_infer.py": "--prompt_id chnsenticorp_char",
}


@pytest.mark.parametrize("script", DOWNSTREAM)
def test_what_is_typed_downstream_is_what_counts(clone, script, monkeypatch):
    """Both generations; every flag has the typed value in the options, and the model is the same."""
    monkeypatch.chdir(clone)
    line = f"{script} {DOWNSTREAM[script]} {TINY}"
    if script.startswith("finetune"):
        line += " --pretrained_model_path a.bin"
    else:
        line += " --load_model_path a.bin --test_path test.tsv"
        line += "" if "features" in line else " --prediction_path p.tsv"
    old, new = chosen(f"{line} {BERT}"), chosen(line)
    assert old[ModelConfig] == new[ModelConfig]
    effective = json.loads(json.dumps(old.effective()))
    for name, value in old.written.items():
        assert effective[name] == (list(value) if isinstance(value, tuple) else value), name
    assert not {*old.written} & {*COMPATIBILITY}


def test_a_renamed_checkpoint_says_what_it_is(trained, monkeypatch, capsys):
    """And adapters in the words of TencentPretrain; the prediction in those of 2021."""
    monkeypatch.chdir(trained)
    files = "--train_path datasets/rows.tsv --dev_path datasets/rows.tsv"
    lora = "--use_lora --lora_r 2 --deepspeed_checkpoint_activations --enable_zero3"
    assert call(
        f"finetune/run_classifier.py --pretrained_model_path models/book.bin {files} --epochs_num 1 "
        f"--batch_size 4 --output_model_path models/classifier.bin {lora}"
    ) == 0  # fmt: skip
    said = capsys.readouterr().err
    assert "layers have adapters" in said and "--enable_zero3 is accepted" in said
    assert call(
        "inference/run_classifier_infer.py --load_model_path models/classifier.bin --test_path "
        f"datasets/rows.tsv --prediction_path prediction.tsv {TINY} --labels_num 2 {BERT}"
    ) == 0  # fmt: skip
    assert len(Path("prediction.tsv").read_text(encoding="utf-8").splitlines()) == 13


def test_pre_training_is_not_told_how_text_was_cut(trained, monkeypatch):
    """Only `preprocess.py` was, as in UER's documents; what is saved cuts text in the same way."""
    monkeypatch.chdir(trained)
    corpus = "--corpus_path corpora/book_review.txt --vocab_path models/zh_en_vocab.txt"
    assert call(f"preprocess.py {corpus} --dataset_path char.pt --tokenizer char --target mlm") == 0
    assert call(
        f"pretrain.py --dataset_path char.pt {TINY} --output_model_path models/char.bin --total_steps 1 "
        f"--pretrained_model_path models/book.bin --save_checkpoint 1 --batch_size 4 {BERT} --target mlm"
    ) == 0  # fmt: skip
    assert load_tokenizer(Path("models/char.bin-1.meta/tokenizer")).name == "char"


TRAIN = "pretrain.py --dataset_path dataset.pt --output_model_path models/x.bin --total_steps 2"
CLASSIFY = "finetune/run_classifier.py --train_path datasets/rows.tsv --dev_path datasets/rows.tsv"
PREPARE = "preprocess.py --corpus_path corpora/book_review.txt --dataset_path other.pt"
NO_FILE = f"{CLASSIFY} --vocab_path models/zh_en_vocab.txt"
MISTAKES = {
    f"{TRAIN} --vocab_path words.txt": "made with a vocabulary of",
    f"{TRAIN} {TINY} --data_processor mlm --target mlm": "made with --data_processor bert, and the run asks",
    f"{TRAIN} {TINY} {BERT} --target mlm": "made with --data_processor bert, and the run asks for mlm",
    f"{TRAIN} {TINY} --gpu_ranks 0 1": "type --world_size 2",
    f"{TRAIN} {TINY} --gpu_ranks 0,1": "several values are parted by blanks",
    f"{TRAIN} {TINY} --embedding word,pos,seg": "write word_pos_seg or word pos seg",
    f"{CLASSIFY} {TINY} --pretrained_model_path models/step.bin": "models/step.bin-20 is there: pre-",
    f"{TRAIN} {TINY} --target bert sp": "in the words of 2024 it is --data_processor bert --target mlm sp",
    f"{TRAIN} {TINY} --encoder bert --target bert": f"in the words of today it is {BERT}",
    f"{TRAIN} {TINY} --traget bert": "Did you mean '--target'?",
    f"{TRAIN} {TINY} \u2014batch_size 8": "unexpected word '\u2014batch_size'. Did you mean '--batch_size'?",
    f"{TRAIN} {TINY} --batch_size 32\\\\": "argument --batch_size: invalid",
    f"{TRAIN.replace('dataset.pt', 'old.pt')} {TINY}": "pickled dataset of UER-py",
    f"{TRAIN.replace('dataset.pt', 'hf.json')} {TINY}": "not a dataset made by preprocess.py",
    f"{CLASSIFY} {TINY} --pretrained_model_path bert.bin": "these are names of Hugging Face",
    f"{NO_FILE} --config_path hf.json": "is the config of a Hugging Face model",
    f"{CLASSIFY} {TINY} --pretrained_model_path plain.bin --layernorm rms": "leave out --layernorm t5",
    f"{CLASSIFY} {TINY} --max_seq_length 8": "tokens meets a model of 8 positions; lower --seq_length to 8",
    f"{CLASSIFY} {TINY.replace('models/zh_en_vocab', 'words')} --pretrained_model_path plain.bin": (
        "name the file's own vocabulary, or adapt the file with python3 scripts/dynamic_vocab_adapter.py"
    ),
    f"{NO_FILE} --config_path models/rnn/lstm_config.json --pretrained_model_path plain.bin": (
        "To mend it: choose --encoder transformer"
    ),
    f"{PREPARE} {TINY.split(' --config')[0]} --spm_model_path x.model": "are both given; name one of them",
    f"{PREPARE} --vocab_path models/zh_en_vocab.txt --json_format_corpus": "its name does not end in .jsonl",
    f"{PREPARE} --vocab_path models/zh_en_vocab.txt --target nsp": "--data_processor bert --target mlm sp",
    f"{PREPARE} --vocab_path models/zh_en_vocab.txt --target qt": "--target is 'qt'; name a data processor",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_that_teaches(trained, line, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    capsys.readouterr()
    assert call(line) == 2
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(said) == 1 and MISTAKES[line] in said[0]
