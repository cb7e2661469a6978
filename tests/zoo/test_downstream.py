"""Fine-tuning and prediction with nothing typed but a folder, in the layouts of the zoo that are not Hugging
Face's or have parts of their own.
"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints.folders import BERT, rows_of, word_pieces
from uer.checkpoints import read_companion, read_state
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import to_theirs
from uer.checkpoints.folder import open_folder
from uer.models.build import build_model
from uer.models.initialize import initialize

TYPES = {**BERT, "type_vocab_size": 4}
FOLDERS = {
    "ernie": {"model_type": "ernie", "architectures": ["ErnieForMaskedLM"], **TYPES, "use_task_id": True},
    "megatron-bert": {"model_type": "megatron-bert", "architectures": ["MegatronBertForPreTraining"], **BERT},
    "paddle-ernie": {"architectures": ["ErnieForMaskedLM"], "paddlenlp_version": "2", **TYPES},
    "paddle-skep": {"architectures": ["SkepModel"], "paddlenlp_version": "2", **TYPES, "hidden_act": "relu"},
    "paddle-bert": {"init_class": "BertForPretraining", "init_args": [{"init_class": "BertModel", **BERT}]},
    "albert-zh": {**BERT, "embedding_size": 16, "ln_type": "preln"},
}


def make(family, folder):
    """A folder of random weights under the family's own names, with a vocabulary."""
    folder.mkdir()
    rows = word_pieces(folder)
    name = "model_config.json" if "init_class" in FOLDERS[family] else "config.json"
    (folder / name).write_text(json.dumps({**FOLDERS[family], "vocab_size": rows}))
    found = open_folder(folder)
    assert found.family.name == family
    targets = [part for part in found.parts if part in ("mlm", "sp")]
    model = build_model(found.config().replace(target=tuple(targets) or ("sp",)), rows)
    torch.manual_seed(3)
    initialize(model)
    with torch.no_grad():
        model.embedding.seg.embedding.weight[0] = 0  # the row of padding, which only ours has
    theirs, _ = to_theirs(pick_family(family), model.state_dict(), model.config, " ".join(targets))
    save_file({key: t.clone() for key, t in theirs.items()}, folder / "model.safetensors")
    return model


@pytest.mark.parametrize("family", FOLDERS)
def test_fine_tune_and_predict(family, tmp_path, monkeypatch, load_script):
    monkeypatch.chdir(tmp_path)
    rows_of(tmp_path / "train.tsv")
    rows_of(tmp_path / "dev.tsv", 9, seed=4)
    model = make(family, tmp_path / "model")
    arguments = ["--train_path", "train.tsv", "--dev_path", "dev.tsv", "--output_model_path", "tuned.bin"]
    arguments += ["--epochs_num", "1", "--learning_rate", "1e-9"]
    assert not load_script("finetune/run_classifier.py").main(
        ["--pretrained_model_path", "model", *arguments]
    )
    saved, config = read_state("tuned.bin"), read_companion("tuned.bin").config
    kept = [name for name in saved if name.startswith(("embedding.", "encoder."))]
    before = model.state_dict()
    assert {*kept} == {name for name in before if name.startswith(("embedding.", "encoder."))}
    assert all(torch.allclose(saved[name], before[name], atol=1e-6) for name in kept)
    assert (config.embedding, config.segments_num) == (model.config.embedding, model.config.segments_num)
    code = load_script("inference/run_classifier_infer.py").main(
        ["--load_model_path", "tuned.bin", "--test_path", "dev.tsv", "--prediction_path", "out.tsv"]
    )
    assert not code
    rows = (tmp_path / "out.tsv").read_text("utf-8").splitlines()[1:]
    assert len(rows) == 9 and {row.split("\t")[0] for row in rows} <= {"好", "差"}
