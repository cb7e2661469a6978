"""Names of all vintages of UER-py, mixed within one file, become those of 2024."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from uer.checkpoints.aliases import canonical
from uer.errors import CheckpointError


def tensors(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.full((2, 2), float(number)) for number, name in enumerate(names)}


# (old name, name of 2024); the first column is what some version or converter of UER-py wrote.
RENAMED = [
    (
        "target.decoder.transformer_decoder.0.layer_norm_3.gamma",
        "decoder.transformer_decoder.0.layer_norm_3.gamma",
    ),
    ("target.embedding.word_embedding.weight", "tgt_embedding.word.embedding.weight"),
    ("tgt_embedding.position_embedding.weight", "tgt_embedding.pos.embedding.weight"),
    ("embedding.word_embedding.weight", "embedding.word.embedding.weight"),
    ("embedding.position_embedding.weight", "embedding.pos.embedding.weight"),
    ("embedding.segment_embedding.weight", "embedding.seg.embedding.weight"),
    ("embedding.embedding_1.segment_embedding.weight", "embedding.embedding_1.seg.embedding.weight"),
    ("target.mlm_linear_1.weight", "target.mlm.linear_1.weight"),
    ("target.nsp_linear_2.bias", "target.sp.linear_2.bias"),
    ("target.sop_linear_1.bias", "target.sp.linear_1.bias"),
    ("target.sp_linear_1.weight", "target.sp.linear_1.weight"),
    ("target.layer_norm.gamma", "target.mlm.layer_norm.gamma"),
    ("target.output_layer.bias", "target.lm.output_layer.bias"),
    ("target.linear_1.weight", "target.cls.linear_1.weight"),
    ("target.linear_2.bias", "target.cls.linear_2.bias"),
    ("module.encoder.transformer.0.layer_norm_1.beta", "encoder.transformer.0.layer_norm_1.beta"),
]
KEPT = [
    "encoder.transformer.3.self_attn.linear_layers.0.weight",
    "embedding.word.embedding.weight",
    "target.mlm.layer_norm.beta",
    "target.lm.output_layer.weight",
    "output_layers_1.0.weight",
    "crf.transitions",
    "encoder.conv_b.3",
    "my.subword_embedding.weight",
]


@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_each_row(old, new):
    result = canonical(tensors(old))
    assert list(result.state) == [new] and result.origin == {new: old}
    assert canonical(result.state).state.keys() == result.state.keys(), "a second pass changes nothing"


@pytest.mark.parametrize("name", KEPT)
def test_today_s_names_stay(name):
    assert list(canonical(tensors(name)).state) == [name]


@pytest.mark.parametrize(
    "case", ["bert", "albert", "bart", "pegasus", "t5", "gpt2", "gatedcnn_lm", "bert_cls"]
)
def test_files_of_2021_have_the_names_of_2024(shared, case):
    old = load_file(shared / "golden" / "uer-2021" / f"{case}.safetensors")
    old = {name[6:]: tensor for name, tensor in old.items() if name.startswith("state.")}
    wanted = json.loads((shared / "golden" / "uer-2024" / f"{case}.json").read_text(encoding="utf-8"))["keys"]
    result = canonical(old, wanted)
    assert {name: list(tensor.shape) for name, tensor in result.state.items()} == wanted
    assert all(torch.equal(result.state[new], old[name]) for new, name in result.origin.items())
    assert set(result.tables) == ({"embedding.pe", "tgt_embedding.pe"} if case == "pegasus" else set())


@given(old=st.lists(st.booleans(), min_size=len(RENAMED), max_size=len(RENAMED)))
def test_vintages_may_be_mixed_within_a_file(old):
    rows = [row for row in RENAMED if not row[0].startswith(("module.", "target.nsp_linear_2.bias"))]
    result = canonical(tensors(*(row[0] if chosen else row[1] for row, chosen in zip(rows, old))))
    assert set(result.state) == {new for _, new in rows}


class TestOutputLayer:
    def test_the_model_decides(self):
        held = tensors("target.output_layer.weight")
        for wanted in ("target.bilm.output_layer.weight", "target.lm.output_layer.weight"):
            assert list(canonical(held, [wanted]).state) == [wanted]

    @pytest.mark.parametrize(("width", "target"), [(4, "bilm"), (8, "lm")])
    def test_else_the_width_decides(self, width, target):
        held = {
            "encoder.rnn_forward.weight_hh_l0": torch.zeros(4, 4),
            "encoder.rnn_backward.weight_hh_l0": torch.zeros(4, 4),
            "target.output_layer.weight": torch.zeros(9, width),
        }
        assert f"target.{target}.output_layer.weight" in canonical(held).state


class TestLinearLayers:
    def test_of_a_prompt_model_are_the_mlm_head(self):
        held = tensors("target.linear_1.weight", "target.linear_1.bias", "target.layer_norm.gamma")
        held["target.linear_2.weight"] = held["embedding.word.embedding.weight"] = torch.zeros(9, 2)
        result = canonical(held)
        assert {"target.mlm.linear_1.weight", "target.mlm.linear_2.weight"} <= result.state.keys()
        assert result.vintage == "UER-py 2024"

    def test_beside_an_mlm_head_are_the_classifier(self):
        held = tensors("target.linear_1.weight", "target.layer_norm.gamma", "target.mlm_linear_1.weight")
        held["target.linear_2.weight"] = held["embedding.word.embedding.weight"] = torch.zeros(9, 2)
        assert "target.cls.linear_2.weight" in canonical(held).state


class TestStreams:
    SINGLE = (
        "embedding.word_embedding.weight",
        "embedding.layer_norm.gamma",
        "encoder.transformer.0.layer_norm_1.beta",
    )

    @pytest.mark.parametrize("level", ["embedding.", "embedding.dual."])
    def test_a_single_stream_fills_both(self, level):
        wanted = [f"{level}embedding_{n}.word.embedding.weight" for n in (0, 1)]
        state = canonical(tensors(*self.SINGLE, "target.sp_linear_1.bias"), wanted).state
        for n in (0, 1):
            assert int(state[f"{level}embedding_{n}.word.embedding.weight"][0, 0]) == 0
            assert int(state[f"{level}embedding_{n}.layer_norm.gamma"][0, 0]) == 1
            assert int(state[f"encoder.encoder_{n}.transformer.0.layer_norm_1.beta"][0, 0]) == 2
        assert len(state) == 7

    @pytest.mark.parametrize("level", ["embedding.", "embedding.dual."])
    @pytest.mark.parametrize("held", ["embedding.", "embedding.dual."])
    def test_levels_meet(self, level, held):
        names = [f"{held}embedding_{n}.word.embedding.weight" for n in (0, 1)]
        names += [f"encoder.encoder_{n}.rnn.weight_ih_l0" for n in (0, 1)] + [
            f"{held}stream_1_layer_norm.gamma"
        ]
        wanted = [level + name.removeprefix(held) if name.startswith(held) else name for name in names]
        assert set(canonical(tensors(*names), wanted).state) == set(wanted)

    def test_nothing_is_spread_without_a_dual_model(self):
        assert "embedding.word.embedding.weight" in canonical(tensors(*self.SINGLE)).state


def test_two_tensors_for_one_name():
    with pytest.raises(CheckpointError, match=r"two different tensors for target\.sp\.linear_1\.weight"):
        canonical(tensors("target.nsp_linear_1.weight", "target.sp_linear_1.weight"))
    same = torch.ones(2)
    assert (
        len(canonical({"target.nsp_linear_1.bias": same, "target.sp_linear_1.bias": same.clone()}).state) == 1
    )


@pytest.mark.parametrize(
    ("names", "vintage"),
    [
        (("embedding.word_embedding.weight", "target.nsp_linear_1.weight"), "UER-py 2021"),
        (("embedding.word_embedding.weight",), "UER-py 2019-2023"),
        (
            ("embedding.word.embedding.weight", "target.mlm.linear_1.bias", "target.layer_norm.beta"),
            "UER-py 2023",
        ),
        (("embedding.word.embedding.weight", "target.mlm.layer_norm.beta"), "UER-py 2024"),
        (("bert.pooler.dense.weight",), "unknown"),
    ],
)
def test_vintage(names, vintage):
    assert canonical(tensors(*names)).vintage == vintage
