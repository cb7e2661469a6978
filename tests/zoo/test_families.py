"""Every family of the table: configurations meet key maps, and the document says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import zoo
from tests.zoo.families import FAMILIES, by_id
from uer.checkpoints.families import FAMILIES as KEY_MAPS
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import expected
from uer.checkpoints.folder import open_folder
from uer.config.model import ModelConfig
from uer.models.build import build_model
from uer.utils.files import repository_root

GOLDEN = Path(__file__).parents[1] / "golden" / "zoo"
# Heads that no target of ours has: they belong to the model in a task, or to a target beside it.
BESIDE = ("pointer", "health", "cls")
# A tied output layer is stored as the embedding alone; the pooler belongs to several heads.
ELSEWHERE = {"target.mlm.linear_2.weight", "target.sp.linear_1.weight", "target.sp.linear_1.bias"}
VOCABULARY = 30


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.id)
def test_configurations_meet_the_key_map(family):
    """A model of each configuration has just the tensors that the key map gives."""
    assert family.configurations, family.folder
    chosen = pick_family(family.maps[0])
    for path in family.configurations:
        values = json.loads(path.read_text(encoding="utf-8"))
        config = ModelConfig(**{k: _frozen(v) for k, v in values.items() if k in ModelConfig.names()})
        parts = tuple(part for part in family.parts if part not in BESIDE)
        with torch.device("meta"):
            model = build_model(config.replace(target=parts), VOCABULARY)
        held, known = set(model.state_dict()) - ELSEWHERE, set(expected(chosen, config, parts)) - ELSEWHERE
        assert held == known, (path.name, held ^ known)


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.id)
def test_something_proves_it(family):
    """A class of transformers in the tests, or frozen numbers in the repository."""
    assert set(family.maps) <= set(KEY_MAPS)
    frozen = [path for start in family.frozen for path in GOLDEN.glob(f"{start}*.json")]
    assert family.live or frozen


LATER = {"F18"}
"""families of later waves"""


def test_the_first_two_waves_are_here():
    assert len({family.id for family in FAMILIES} - LATER) == 23
    assert [family.id for family in FAMILIES] == sorted(family.id for family in FAMILIES)


def test_the_document_has_every_family():
    text = (repository_root() / "docs" / "zoo.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| F")}
    hint = "write it anew: python3 benchmarks/zoo.py"
    assert list(rows) == [family.id for family in FAMILIES], hint
    for number, line in rows.items():
        assert zoo.described(by_id(number)) in line, hint
        assert float(line.split("|")[-5]) <= 2e-5, line


@pytest.mark.parametrize(
    "values, family",
    [
        ({"model_type": "ernie"}, "ernie"),
        ({"model_type": "megatron-bert"}, "megatron-bert"),
        ({"init_class": "BertModel", "hidden_size": 32}, "paddle-bert"),
        (
            {"init_class": "UIE", "init_args": [{"init_class": "ErnieModel", "hidden_size": 32}]},
            "paddle-ernie",
        ),
        ({"architectures": ["ErnieMModel"], "paddlenlp_version": "2"}, "paddle-ernie-m"),
        ({"architectures": ["ErnieHealthDiscriminator"], "paddlenlp_version": "2"}, "paddle-electra"),
        ({"architectures": ["SkepModel"], "paddlenlp_version": "2"}, "paddle-skep"),
        ({"hidden_size": 32, "num_hidden_layers": 2}, "bert"),
        ({"hidden_size": 32, "num_hidden_layers": 2, "embedding_size": 16}, "albert-zh"),
        ({"hidden_size": 32, "num_hidden_layers": 2, "embedding_size": 16, "num_hidden_groups": 1}, "albert"),
    ],
)
def test_recognised_from_the_folder(values, family, tmp_path):
    name = "model_config.json" if "init_class" in values else "config.json"
    (tmp_path / name).write_text(json.dumps(values))
    assert open_folder(tmp_path).family.name == family


def test_a_folder_with_a_tensorflow_checkpoint(tmp_path):
    (tmp_path / "bert_config.json").write_text('{"hidden_size": 32, "num_hidden_layers": 2}')
    (tmp_path / "bert_model.ckpt.index").write_text("")
    folder = open_folder(tmp_path)
    assert (folder.family.name, folder.parts) == ("tf-bert", ("mlm", "sp"))


def test_other_json_is_no_model(tmp_path):
    (tmp_path / "config.json").write_text('{"hidden_size": 32, "layers_num": 2}')
    assert open_folder(tmp_path) is None


@pytest.mark.parametrize("ln_type, ours", [("postln", ("post", False)), ("preln", ("pre", True))])
def test_norms_of_albert_zh(ln_type, ours, tmp_path):
    values = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "embedding_size": 16}
    values["ln_type"] = ln_type
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = open_folder(tmp_path).config()
    assert (config.layernorm_positioning, config.remove_final_layernorm) == ours
