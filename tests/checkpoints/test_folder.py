"""Folders of Hugging Face models: what is taken from config.json, what is refused, what is said, the hub."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from tests.checkpoints.folders import HUB_FOLDER
from tests.checkpoints.parity import build_theirs, save_theirs
from tests.checkpoints.parity_cases import cases
from uer.checkpoints import SEGMENT_TABLE, load_into, read_companion, write_state
from uer.checkpoints.folder import open_folder
from uer.errors import CheckpointError, EnvironmentFault
from uer.models.build import build_body, build_model
from uer.tasks.body import HEAD, task_body
from uer.tasks.classifier import ClassifierModel
from uer.tokenizers import load_tokenizer


@pytest.fixture
def folder(tmp_path):
    def make(cls, **changes):
        case = next(case for case in cases() if case.cls == cls and not case.variant)
        save_theirs(build_theirs(case, 0.15, 1), tmp_path / "model")
        config = tmp_path / "model" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
        return tmp_path / "model"

    return make


def test_sizes_labels_and_special_ids(folder):
    path = folder(
        "BertForSequenceClassification",
        id2label={"1": "好", "0": "差"},
        label2id={"好": 1, "差": 0},
        eos_token_id=3,
    )
    companion = read_companion(path)
    assert (companion.config.hidden_size, companion.config.labels_num, companion.config.max_seq_length) == (
        32,
        2,
        64,
    )
    assert companion.labels == {"差": 0, "好": 1}
    assert companion.extra == {"family": "bert", "eos_token_id": 3, "pad_token_id": 0}
    assert companion.tokenizer is None
    (path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    assert load_tokenizer(read_companion(path).tokenizer).encode("a") == [5]


def test_a_file_in_its_folder_is_the_same(folder):
    path = folder("BertForMaskedLM") / "model.safetensors"
    assert read_companion(path).config.hidden_size == 32
    model = build_model(read_companion(path).config, 97)
    assert load_into(model, path).names == "Hugging Face bert"


def test_a_bare_config_uses_the_defaults_of_the_family(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    config = open_folder(tmp_path).config()
    assert (config.hidden_size, config.feedforward_size, config.layernorm_eps) == (768, 3072, 1e-5)
    assert config.mask == "causal" and config.target == ("lm",) and config.tie_weights


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        ("BertModel", {"model_type": "llama"}, "the model_type is 'llama'; supported are bert, roberta"),
        (
            "BertModel",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type is relative_key, which is",
        ),
        ("BertModel", {"hidden_act": "mish"}, "the activation 'mish' is unknown; known are gelu"),
        (
            "BertModel",
            {"is_decoder": True},
            "is_decoder is True, which is not supported for bert; expected False",
        ),
        ("BertModel", {"architectures": ["BertForFun"]}, "the class BertForFun in config.json is unknown"),
        (
            "BertModel",
            {"num_attention_heads": 5},
            "describes no model that can be built: .*no multiple of heads_num",
        ),
        (
            "AlbertModel",
            {"num_hidden_groups": 2},
            "num_hidden_groups is 2, which is not supported for albert",
        ),
        ("BartModel", {"scale_embedding": True}, "scale_embedding is True, which is not supported for bart"),
        (
            "BartModel",
            {"decoder_ffn_dim": 3},
            "encoder_ffn_dim is 64 and decoder_ffn_dim is 3; only equal ones",
        ),
        ("T5Model", {"relative_attention_max_distance": 64}, "relative_attention_max_distance is 64"),
        ("GPT2Model", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ],
)
def test_what_we_do_not_compute_is_refused(folder, cls, changes, message):
    with pytest.raises(CheckpointError, match=message) as error:
        read_companion(folder(cls, **changes))
    assert "config.json" in str(error.value)


def test_damaged_config(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        read_companion(tmp_path)


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    assert read_companion(tmp_path) is None


def test_tensors_of_another_depth(folder):
    path = folder("BertForMaskedLM", num_hidden_layers=1)
    with pytest.raises(CheckpointError) as error:
        load_into(build_model(read_companion(path).config, 97), path)
    assert "16 are left over: bert.encoder.layer.1." in str(
        error.value
    ) and "(Hugging Face bert names)" in str(error.value)


def test_unknown_sinusoids(folder):
    path = folder("PegasusModel")
    from safetensors.torch import load_file, save_file

    state = load_file(path / "model.safetensors")
    name = next(name for name in state if "embed_positions" in name)
    state[name] = torch.randn_like(state[name])
    save_file(state, path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"embed_positions. is no sinusoid of a known layout"):
        read_companion(path)


def test_fine_tuning_from_a_folder(folder, caplog):
    """The pooler begins the new head, as it does there; the rest of the head is new."""
    caplog.set_level(logging.INFO, "uer")
    path = folder("BertForPreTraining")
    config = read_companion(path).config
    model = ClassifierModel(task_body(config, 97), labels_num=4, pooling="first")
    report = load_into(model, path, allow_new=(*HEAD, SEGMENT_TABLE))
    assert report.new == ["output_layer_2.weight", "output_layer_2.bias"]
    assert "output_layer_1.weight" in report.loaded
    assert caplog.messages[0].endswith("(Hugging Face bert names); new: output_layer_2; unused: target.*.")
    assert len(caplog.messages) == 1, "no hint about UER-py's layer norm for a model that UER-py never saw"


def test_a_model_built_otherwise_is_said(folder, caplog):
    caplog.set_level(logging.INFO, "uer")
    path = folder("BertForMaskedLM")
    config = read_companion(path).config.replace(layernorm_eps=1e-6, hidden_act="relu")
    load_into(build_model(config, 97), path)
    assert caplog.messages[1] == (
        f"The model computes otherwise than {path} says: hidden_act relu instead of gelu, "
        "layernorm_eps 1e-06 instead of 1e-12."
    )


def sentence_bert(folder, pooling="pooling_mode_mean_tokens", kinds=("Transformer", "Pooling", "Normalize")):
    source = folder("BertModel")
    root = source.parent / "sbert"
    (root / "1_Pooling").mkdir(parents=True)
    source.rename(root / "0_Transformer")
    paths = {"Transformer": "0_Transformer", "Pooling": "1_Pooling"}
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": paths.get(kind, f"2_{kind}")}
        for kind in kinds
    ]
    (root / "modules.json").write_text(json.dumps(modules))
    (root / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, pooling: True})
    )
    return root


class TestSentenceBert:
    @pytest.mark.parametrize(
        ("mode", "pooling"), [("mean_tokens", "mean"), ("cls_token", "first"), ("max_tokens", "max")]
    )
    def test_pooling_comes_from_the_folder(self, folder, mode, pooling):
        root = sentence_bert(folder, f"pooling_mode_{mode}")
        config = read_companion(root).config
        assert config.pooling == pooling
        load_into(build_body(config, 97), root)

    def test_it_fills_both_streams(self, folder):
        root = sentence_bert(folder)
        stream = {"embedding": ["word", "pos", "seg"], "encoder": "transformer"}
        config = read_companion(root).config.replace(
            embedding=("dual",), encoder="dual", target=(), stream_0=stream, stream_1=stream
        )
        model = build_body(config, 97)
        load_into(model, root)
        state = model.state_dict()
        for name in [name for name in state if "_0." in name]:
            assert torch.equal(
                state[name],
                state[name.replace("embedding_0", "embedding_1").replace("encoder_0", "encoder_1")],
            )

    def test_what_is_not_supported(self, folder):
        root = sentence_bert(folder, "pooling_mode_weightedmean_tokens")
        with pytest.raises(
            CheckpointError, match="pools by pooling_mode_weightedmean_tokens; supported is one of"
        ):
            read_companion(root)
        (root / "modules.json").write_text(
            '[{"type": "a.Transformer", "path": "0_Transformer"}, {"type": "a.Dense", "path": "2"}]'
        )
        with pytest.raises(CheckpointError, match="of the modules Transformer, Dense; supported are"):
            read_companion(root)


class TestHub:
    @pytest.mark.parametrize("sharded", [False, True])
    def test_a_named_model_is_fetched(self, folder, hub, sharded):
        path = folder("BertForMaskedLM")
        (path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
        (path / "modeling_evil.py").write_text("raise SystemExit")
        if sharded:
            (path / "model.safetensors").rename(path / "part.safetensors")
            from safetensors.torch import load_file

            table = dict.fromkeys(load_file(path / "part.safetensors"), "part.safetensors")
            (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
        companion = read_companion("hf:someone/tiny")
        assert load_tokenizer(companion.tokenizer).encode("a") == [5]
        report = load_into(build_model(companion.config, 97), "hf:someone/tiny")
        assert report.names == "Hugging Face bert" and not report.new
        asked = {path.removeprefix(HUB_FOLDER) for path in hub.asked}
        assert "modeling_evil.py" not in asked, "no code is ever fetched"
        assert "pytorch_model.bin" not in asked, "safetensors are preferred"

    def test_a_missing_repository(self, hub):
        with pytest.raises(EnvironmentFault, match="hf:no/where: the hub has no such repository"):
            read_companion("hf:no/where")

    def test_a_repository_without_weights(self, folder, hub):
        (folder("BertForMaskedLM") / "model.safetensors").unlink()
        with pytest.raises(
            EnvironmentFault, match=r"has none of the files model\.safetensors, .*pytorch_model\.bin"
        ):
            read_companion("hf:someone/tiny")

    def test_nothing_is_asked_unless_named(self, hub, tmp_path):
        write_state("someone-tiny", {"a": torch.ones(1)})
        read_companion("someone-tiny")
        assert read_companion("someone/tiny") is None
        assert hub.asked == []
