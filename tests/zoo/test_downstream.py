"""Fine-tuning and prediction with nothing typed but a folder: every task on every key map, in the layouts of
Hugging Face, of PaddleNLP and of original releases; BERT's and RoBERTa's are in `tests/checkpoints`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file

from tests.checkpoints.folders import ALBERT, sentence_piece, word_pieces
from tests.checkpoints.sizes import BERT, DISTILBERT
from tests.checkpoints.test_folder_tasks import TASKS, TEXTS
from uer.checkpoints import read_companion, read_state
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import to_theirs
from uer.checkpoints.folder import open_folder
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.tokenizers.ernie import ErnieMTokenizer

TYPES = {**BERT, "type_vocab_size": 4}
PADDLE = {"paddlenlp_version": "2"}
FOLDERS = {
    "distilbert": {"model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"], **DISTILBERT},
    "electra": {"model_type": "electra", "architectures": ["ElectraForMaskedLM"], **ALBERT},
    "albert": {"model_type": "albert", "architectures": ["AlbertForPreTraining"], **ALBERT},
    "ernie": {"model_type": "ernie", "architectures": ["ErnieForMaskedLM"], **TYPES, "use_task_id": True},
    "ernie-m": {"model_type": "ernie_m", "architectures": ["ErnieMModel"], **BERT},
    "megatron-bert": {"model_type": "megatron-bert", "architectures": ["MegatronBertForPreTraining"], **BERT},
    "paddle-bert": {"init_class": "BertForPretraining", "init_args": [{"init_class": "BertModel", **BERT}]},
    "paddle-ernie": {"architectures": ["ErnieForMaskedLM"], **PADDLE, **TYPES},
    "paddle-ernie-m": {"architectures": ["ErnieMModel"], **PADDLE, **BERT},
    "paddle-albert": {"architectures": ["AlbertForPretraining"], **PADDLE, **ALBERT},
    "paddle-distilbert": {"architectures": ["DistilBertForMaskedLM"], **PADDLE, **BERT},
    "paddle-electra": {"architectures": ["ElectraGenerator"], **PADDLE, **ALBERT},
    "paddle-roberta": {"architectures": ["RobertaForMaskedLM"], **PADDLE, **BERT},
    "paddle-tinybert": {"architectures": ["TinyBertModel"], **PADDLE, **BERT},
    "paddle-ernie-gram": {"architectures": ["ErnieGramModel"], **PADDLE, **BERT},
    "paddle-skep": {"architectures": ["SkepModel"], **PADDLE, **TYPES, "hidden_act": "relu"},
    "albert-zh": {**BERT, "embedding_size": 16, "ln_type": "preln"},
}
# Task → the layers that it puts on an encoder.
ASKED = {"ner": "output_layer.", "cmrc": "output_layer.", "c3": "output_layer", "pairs": "output_layer"}


def numbered_pieces(folder: Path) -> int:
    """ERNIE-M's files: a sentencepiece model, and a list that numbers its pieces."""
    model = sentencepiece.SentencePieceProcessor(model_proto=sentence_piece())
    pieces = [model.id_to_piece(number) for number in range(3, model.vocab_size())]
    tokens = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *pieces, "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(sentence_piece())
    return len(tokens)


def make(family: str, folder: Path, part: str = "", **settings):
    """A folder of random weights under the family's own names, with a vocabulary; returns our model.

    Args:
        part: a head of the key map, with which the folder comes.
    """
    folder.mkdir()
    rows = (numbered_pieces if family.endswith("ernie-m") else word_pieces)(folder)
    values = {**FOLDERS[family], "vocab_size": rows, **settings}
    (folder / ("model_config.json" if "init_class" in values else "config.json")).write_text(
        json.dumps(values)
    )
    found = open_folder(folder)
    assert found.family.name == family
    targets = tuple(name for name in found.parts if name in ("mlm", "sp"))
    model = build_model(found.config().replace(target=targets or ("sp",)), rows)
    torch.manual_seed(3)
    initialize(model)
    state = model.state_dict()
    if "embedding.seg.embedding.weight" in state:
        state["embedding.seg.embedding.weight"][0] = 0  # the row of padding, which only ours has
    width, heads = (
        model.config.hidden_size,
        {"cls": "output_layer_2", "tok": "output_layer", "qa": "output_layer"},
    )
    if part:
        labels = settings.get("num_labels", 2)
        state[f"{heads[part]}.weight"] = torch.randn(labels, width)
        state[f"{heads[part]}.bias"] = torch.randn(labels)
        if part == "cls":
            state["output_layer_1.weight"], state["output_layer_1.bias"] = (
                torch.randn(width, width),
                torch.ones(width),
            )
    theirs, _ = to_theirs(pick_family(family), state, model.config, part or " ".join(targets))
    save_file({key: t.clone() for key, t in theirs.items()}, folder / "model.safetensors")
    return state


@pytest.mark.parametrize("family", FOLDERS)
def test_every_task_on_a_folder(family, tmp_path, monkeypatch, load_script):
    monkeypatch.chdir(tmp_path)
    before = make(family, tmp_path / "model")
    body = {name for name in before if name.startswith(("embedding.", "encoder."))}
    config = open_folder("model").config()
    for name, head in ASKED.items():
        task = TASKS[name]
        task.data()
        files = ["--train_path", "data", "--dev_path", "data", "--output_model_path", f"{name}.bin"]
        words = ["--pretrained_model_path", "model", *files, *task.training, "--save_checkpoint_steps", "0"]
        words += ["--epochs_num", "1", "--learning_rate", "1e-9", "--seq_length", "48"]
        assert not load_script(f"finetune/{task.script}.py").main(words)
        saved, companion = read_state(f"{name}.bin"), read_companion(f"{name}.bin")
        assert {key for key in saved if not key.startswith(head)} == body
        assert all(torch.allclose(saved[key], before[key], atol=1e-6) for key in body)
        assert companion.config.embedding == config.embedding
        assert companion.config.segments_num == config.segments_num
        words = ["--load_model_path", f"{name}.bin", "--test_path", "data", "--prediction_path", "out"]
        assert not load_script(f"inference/{task.infer or task.script}_infer.py").main(words)
        answers = Path("out").read_text(encoding="utf-8")
        found = json.loads(answers) if name == "cmrc" else answers.splitlines()[name != "c3" :]
        assert len(found) == len(TEXTS), (name, answers)


@pytest.mark.parametrize("family", ["paddle-bert", "paddle-ernie", "paddle-skep"])
def test_heads_of_released_folders(family, tmp_path, monkeypatch, load_script):
    """PaddleNLP's `classifier`: a classifier and a tagger predict as they are, and are tuned further."""
    monkeypatch.chdir(tmp_path)
    prefix = {"paddle-bert": "Bert", "paddle-ernie": "Ernie", "paddle-skep": "Skep"}[family]
    labels = {"id2label": {"0": "x", "1": "y", "2": "z"}, "num_labels": 3, **PADDLE}
    parts = {"cls": ("pairs", "SequenceClassification"), "tok": ("ner", "TokenClassification")}
    for part, (name, kind) in parts.items():
        settings = {**labels, "architectures": [f"{prefix}For{kind}"], **TYPES}
        if family == "paddle-bert":
            settings["init_class"] = settings["architectures"][0]
        state = make(family, tmp_path / part, part, **settings)
        task = TASKS[name]
        task.data()
        words = ["--load_model_path", part, "--test_path", "data", "--prediction_path", "out"]
        assert not load_script(f"inference/{task.infer or task.script}_infer.py").main(words)
        cells = [line.split("\t")[0].split() for line in Path("out").read_text("utf-8").splitlines()[1:]]
        assert len(cells) == len(TEXTS) and {label for row in cells for label in row} <= {"x", "y", "z"}
        if part == "cls":
            continue
        Path("data").write_text("text_a\tlabel\nthe good book\tx y z\n", encoding="utf-8")
        files = ["--train_path", "data", "--dev_path", "data", "--output_model_path", "tuned.bin"]
        more = ["--epochs_num", "1", "--learning_rate", "1e-9"]
        assert not load_script("finetune/run_ner.py").main(["--pretrained_model_path", part, *files, *more])
        assert torch.allclose(read_state("tuned.bin")["output_layer.weight"], state["output_layer.weight"])


def test_skeps_tagger_with_transitions(tmp_path, monkeypatch, load_script):
    """Token classification by a conditional random field on a folder of SKEP."""
    monkeypatch.chdir(tmp_path)
    make("paddle-skep", tmp_path / "model", architectures=["SkepCrfForTokenClassification"])
    stored = read_state(tmp_path / "model")
    stored = {name if name.startswith("skep.") else f"skep.{name}": t for name, t in stored.items()}
    stored |= {"fc.weight": torch.ones(256, 3), "crf.transitions": torch.ones(3, 3)}
    save_file({name: t.contiguous() for name, t in stored.items()}, tmp_path / "model" / "model.safetensors")
    task = TASKS["ner"]
    task.data()
    files = ["--train_path", "data", "--dev_path", "data", "--output_model_path", "tuned.bin", "--crf_target"]
    more = [
        "--epochs_num",
        "40",
        "--learning_rate",
        "3e-3",
        "--batch_size",
        "2",
        "--save_checkpoint_steps",
        "0",
    ]
    words = ["--pretrained_model_path", "model", *files, *more, "--eval_steps", "60"]
    assert not load_script("finetune/run_ner.py").main(words)
    assert {"crf.transitions", "crf.start_transitions"} <= set(read_state("tuned.bin"))
    words = ["--load_model_path", "tuned.bin", "--test_path", "data", "--prediction_path", "out"]
    assert not load_script("inference/run_ner_infer.py").main(words)
    gold = [line.split("\t")[1].split() for line in Path("data").read_text("utf-8").splitlines()[1:]]
    found = [line.split("\t")[0].split() for line in Path("out").read_text("utf-8").splitlines()[1:]]
    pairs = [
        (a, b) for row, answers in zip(gold, found, strict=True) for a, b in zip(row, answers, strict=True)
    ]
    assert sum(a == b for a, b in pairs) / len(pairs) >= 0.95


def test_uie_on_a_folder(tmp_path, monkeypatch, load_script):
    """A released UIE asks a schema as it is, and is tuned from its own pointers; ERNIE-M has them too."""
    monkeypatch.chdir(tmp_path)
    Path("schema.json").write_text(json.dumps({"书": ["喜 欢"]}))
    Path("data").write_text("".join(json.dumps({"content": text}) + "\n" for text in TEXTS))
    rows = [
        {"content": text, "prompt": "书", "result_list": [{"text": text[0], "start": 0, "end": 1}]}
        for text in TEXTS
    ]
    Path("train").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for family, cls in (("paddle-ernie", "UIE"), ("paddle-ernie-m", "UIEM")):
        folder = tmp_path / family
        state = make(family, folder, architectures=[cls])
        sides = {
            f"linear_{side}": torch.randn(state["embedding.word.embedding.weight"].shape[1])
            for side in ("start", "end")
        }
        stored = read_state(folder)
        for name, weight in sides.items():
            stored[f"{name}.weight"], stored[f"{name}.bias"] = weight[:, None], torch.ones(1)
        prefix = "ernie_m." if family.endswith("m") else "ernie."
        stored = {key if key.startswith((prefix, "linear")) else prefix + key: t for key, t in stored.items()}
        save_file({key: t.contiguous() for key, t in stored.items()}, folder / "model.safetensors")
        asked = ["--load_model_path", family, "--schema_path", "schema.json", "--test_path", "data"]
        assert not load_script("inference/run_uie_infer.py").main([*asked, "--prediction_path", "out"])
        answers = [json.loads(line)["result"] for line in Path("out").read_text("utf-8").splitlines()]
        assert len(answers) == len(TEXTS) and any(answers)
        for text, answer in zip(TEXTS, answers):
            for result in answer.get("书", []):
                assert text[result["start"] : result["end"]] == result["text"]
        words = [
            "--pretrained_model_path",
            family,
            "--train_path",
            "train",
            "--dev_path",
            "train",
            "--seq_length",
            "32",
        ]
        words += ["--epochs_num", "1", "--learning_rate", "1e-9", "--output_model_path", "tuned.bin"]
        assert not load_script("finetune/run_uie.py").main(words)
        saved = read_state("tuned.bin")
        assert torch.allclose(saved["output_layer_start.weight"][0], sides["linear_start"])
        assert torch.allclose(saved["output_layer_end.weight"][0], sides["linear_end"])
    from uer.tokenizers import load_tokenizer

    assert isinstance(load_tokenizer(read_companion("tuned.bin").tokenizer), ErnieMTokenizer)
