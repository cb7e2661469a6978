"""A file meets a model: the report, what is refused and with which advice, ties, what is new."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from uer.checkpoints import SEGMENT_TABLE, adapt_config, load_into, read_companion, read_state, write_state
from uer.config.model import ModelConfig
from uer.errors import CheckpointError
from uer.models.build import build_body, build_model

TINY = ModelConfig(
    emb_size=8,
    hidden_size=8,
    feedforward_size=16,
    heads_num=2,
    layers_num=2,
    max_seq_length=16,
    target=("mlm", "sp"),
)
STREAM = {"embedding": ["word", "pos", "seg"], "encoder": "transformer"}
V = 11


class Classifier(nn.Module):
    """What a downstream task builds: a body and a head beside it."""

    def __init__(self, config: ModelConfig = TINY, labels: int = 3) -> None:
        super().__init__()
        body = build_body(config, V)
        self.config, self.embedding, self.encoder = config, body.embedding, body.encoder
        self.output_layer_1, self.output_layer_2 = nn.Linear(8, 8), nn.Linear(8, labels)


HEAD = (r"output_layer_[12]\.", SEGMENT_TABLE)


@pytest.fixture(autouse=True)
def seeded(caplog):
    torch.manual_seed(3)
    caplog.set_level(logging.INFO, "uer")


def saved(path, model, **settings):
    write_state(path, model.state_dict(), **settings)
    return path


def equal(one, other, names):
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[name], b[name]) for name in names)


def test_everything_comes_back(tmp_path, caplog):
    model, other = build_model(TINY, V), build_model(TINY, V)
    report = load_into(other, saved(tmp_path / "m.bin", model, config=TINY))
    assert equal(model, other, model.state_dict())
    assert not report.new and not report.unused and not report.mismatched
    assert report.parameters == sum(parameter.numel() for parameter in model.parameters())
    line = f"Loaded {len(model.state_dict())} tensors (1.7k parameters) "
    line += f"from {tmp_path / 'm.bin'} (UER-py 2024 names)."
    assert caplog.messages == [line]


def test_fine_tuning_makes_its_head_and_says_so(tmp_path, caplog):
    model = build_model(TINY, V)
    path = saved(tmp_path / "m.bin", model, config=TINY)
    classifier = Classifier()
    report = load_into(classifier, path, allow_new=HEAD)
    assert report.line().endswith("; new: output_layer_1, output_layer_2; unused: target.*.")
    assert equal(model, classifier, [name for name in model.state_dict() if not name.startswith("target")])
    assert all(
        bool((layer.bias == 0).all()) for layer in (classifier.output_layer_1, classifier.output_layer_2)
    )
    assert 0.001 < classifier.output_layer_1.weight.std() < 0.04


def test_inference_makes_nothing(tmp_path):
    path = saved(tmp_path / "m.bin", build_model(TINY, V))
    before = Classifier()
    state = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_into(before, path)
    text = str(error.value)
    assert (
        "4 tensors are missing from the file: output_layer_1.weight, output_layer_1.bias, output_layer_2"
        in text
    )
    assert "this is no model of this task: fine-tune one first" in text and "UER-py 2024 names" in text
    assert all(torch.equal(tensor, state[name]) for name, tensor in before.state_dict().items())


def test_an_absent_segment_table_is_zero(tmp_path):
    small = TINY.replace(embedding=("word", "pos"))
    path = saved(tmp_path / "m.bin", build_model(small, V))
    classifier = Classifier()
    report = load_into(classifier, path, allow_new=HEAD)
    assert "embedding.seg.embedding.weight" in report.new
    assert bool((classifier.embedding.seg.embedding.weight == 0).all())


def test_new_norms_and_weights_get_sane_values(tmp_path):
    path = saved(tmp_path / "m.bin", build_model(TINY, V))
    model = build_model(TINY.replace(layers_num=3, layernorm_positioning="pre"), V)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(9.0)
    report = load_into(model, path, allow_new=(r"encoder\.transformer\.2\.", r"encoder\.layer_norm\."))
    layer = model.encoder.transformer[2]
    assert bool((layer.layer_norm_1.gamma == 1).all() and (layer.layer_norm_1.beta == 0).all())
    assert bool((layer.self_attn.final_linear.bias == 0).all())
    assert layer.feed_forward.linear_1.weight.abs().max() < 0.2
    assert len(report.new) == 18


def test_a_head_of_another_size_is_made_anew(tmp_path):
    path = saved(tmp_path / "m.bin", Classifier(labels=5))
    report = load_into(Classifier(labels=3), path, allow_new=HEAD)
    assert report.mismatched["output_layer_2.weight"] == ((5, 8), (3, 8))
    assert "new: output_layer_2 (2 of another size in the file)" in report.line()
    assert "the file has [5, 8]" in report.table()


def test_the_table_is_for_those_who_debug(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "uer")
    path = saved(tmp_path / "m.bin", build_model(TINY, V), config=TINY)
    load_into(Classifier(), path, allow_new=HEAD)
    table = caplog.messages[1].splitlines()
    assert "loaded  [11, 8]  embedding.word.embedding.weight" in table
    assert "new              output_layer_1.bias  not in the file" in table
    assert any(
        row.startswith("unused") and "target.sp.linear_1.weight" in row and "pre-training" in row
        for row in table
    )


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ({"layers_num": 3}, {}, "set layers_num in the config to 3"),
        ({}, {"layers_num": 3}, "set layers_num in the config to 2"),
        ({"embedding": ("word", "pos")}, {}, "leave 'seg' out of --embedding"),
        ({}, {"embedding": ("word", "pos")}, "add 'seg' to --embedding"),
        ({}, {"embedding": ("word", "seg")}, "add 'pos' to --embedding"),
        ({}, {"remove_embedding_layernorm": True}, "leave out --remove_embedding_layernorm"),
        ({"remove_embedding_layernorm": True}, {}, "add --remove_embedding_layernorm"),
        ({"layernorm_positioning": "pre"}, {}, "add --layernorm_positioning pre"),
        ({}, {"layernorm_positioning": "pre"}, "use --layernorm_positioning post"),
        ({"feed_forward": "gated"}, {}, "add --feed_forward gated"),
        ({}, {"feed_forward": "gated"}, "use --feed_forward dense"),
        ({"remove_transformer_bias": True}, {}, "add --remove_transformer_bias"),
        ({}, {"remove_transformer_bias": True}, "leave out --remove_transformer_bias"),
        ({"relative_position_embedding": True}, {}, "add --relative_position_embedding"),
        ({}, {"parameter_sharing": True}, "leave out --parameter_sharing"),
        ({"parameter_sharing": True}, {}, "add --parameter_sharing"),
        ({"max_seq_length": 32}, {}, "set --max_seq_length to 32"),
        ({"hidden_size": 16, "emb_size": 16}, {}, "set the sizes in --config_path to those of the file"),
    ],
)
def test_what_does_not_fit_is_refused_with_advice(tmp_path, held, wanted, expected):
    path = saved(tmp_path / "m.bin", build_model(TINY.replace(**held), V))
    with pytest.raises(CheckpointError) as error:
        load_into(build_model(TINY.replace(**wanted), V), path)
    assert expected in str(error.value) and "\n" not in str(error.value)


WORDS = TINY.replace(embedding=("word",), remove_embedding_layernorm=True)


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ({"encoder": "bilstm"}, {}, "choose --encoder bilstm"),
        ({"encoder": "bigru"}, {"encoder": "lstm"}, "choose --encoder bigru"),
        ({"encoder": "gru", "bidirectional": True}, {}, "choose --encoder gru --bidirectional"),
        ({"encoder": "gru"}, {"encoder": "lstm"}, "choose --encoder gru."),
        ({"encoder": "rnn"}, {"encoder": "gatedcnn"}, "choose --encoder rnn"),
        ({"encoder": "gatedcnn"}, {"encoder": "lstm"}, "choose --encoder gatedcnn"),
        ({}, {"encoder": "lstm"}, "choose --encoder transformer"),
    ],
)
def test_another_encoder_is_named_first(tmp_path, held, wanted, expected):
    """And nothing is said of depths, where only one side has layers of attention."""
    path = saved(tmp_path / "m.bin", build_model(WORDS.replace(**held), V))
    with pytest.raises(CheckpointError) as error:
        load_into(build_model(WORDS.replace(**wanted), V), path)
    advice = str(error.value).split("To mend it: ")[1]
    assert advice.startswith(expected) and "layers_num" not in advice


@pytest.mark.parametrize(
    ("held", "advice"),
    [
        ({"parameter_sharing": True}, "add --parameter_sharing"),  # and nothing of a depth
        ({"hidden_size": 16, "emb_size": 16}, "set the sizes in --config_path to those of the file"),
    ],
)
def test_nothing_else_is_said(tmp_path, held, advice):
    path = saved(tmp_path / "m.bin", build_model(TINY.replace(**held), V))
    with pytest.raises(CheckpointError) as error:
        load_into(build_model(TINY, V), path)
    assert str(error.value).endswith(f"To mend it: {advice}.")


def test_a_file_of_hugging_face_alone(tmp_path):
    write_state(tmp_path / "m.bin", {"bert.embeddings.word_embeddings.weight": torch.ones(3, 2)})
    with pytest.raises(CheckpointError, match=r"names of Hugging Face: name the folder in which it lies"):
        load_into(build_model(TINY, V), tmp_path / "m.bin")


def test_at_most_four_names_are_listed(tmp_path):
    path = saved(tmp_path / "m.bin", build_model(TINY.replace(layers_num=3), V))
    with pytest.raises(CheckpointError, match=r"16 are left over: (?:[\w.]+, ){3}[\w.]+ and 12 more"):
        load_into(build_model(TINY, V), path)


def test_another_vocabulary_names_the_adapter(tmp_path):
    path = saved(tmp_path / "m.bin", build_model(TINY, 13))
    with pytest.raises(CheckpointError) as error:
        load_into(build_model(TINY, V), path)
    text = str(error.value)
    assert "the vocabulary has 11 tokens and the file 13" in text
    assert f"python3 scripts/dynamic_vocab_adapter.py --old_model_path {path} --old_vocab_path" in text


def test_a_file_of_something_else(tmp_path):
    write_state(
        tmp_path / "m.bin", {"vision.conv1.weight": torch.ones(3), "vision.conv2.weight": torch.ones(3)}
    )
    with pytest.raises(
        CheckpointError, match=r"holds no tensor that this model knows \(it holds vision\.conv1, vis"
    ):
        load_into(build_model(TINY, V), tmp_path / "m.bin")
    with pytest.raises(CheckpointError, match="holds no tensor that this model knows"):
        load_into(build_model(TINY, V), tmp_path / "m.bin", allow_new=(".*",), allow_missing=".*")


def test_allow_missing_is_the_user_s_leave(tmp_path):
    path = saved(tmp_path / "m.bin", build_model(TINY.replace(layers_num=3), V))
    report = load_into(build_model(TINY, V), path, allow_missing=r"transformer\.2\.")
    assert set(report.unused.values()) == {"--allow_missing"}
    report = load_into(
        build_model(TINY.replace(max_seq_length=8), V), path, allow_missing=r"transformer\.2\.|pos\.emb"
    )
    assert report.new == ["embedding.pos.embedding.weight"]
    with pytest.raises(CheckpointError, match=r"--allow_missing '\(' is no regular expression"):
        load_into(build_model(TINY, V), path, allow_missing="(")


class TestTies:
    TIED = TINY.replace(tie_weights=True)

    def test_tied_stays_tied(self, tmp_path):
        model, other = build_model(self.TIED, V), build_model(self.TIED, V)
        report = load_into(other, saved(tmp_path / "m.safetensors", model))
        assert other.tied_names() and not report.untied and other.config.tie_weights
        assert report.parameters == sum(parameter.numel() for parameter in model.parameters())

    def test_one_name_is_enough(self, tmp_path):
        model, other = build_model(self.TIED, V), build_model(self.TIED, V)
        state = model.state_dict()
        del state["target.mlm.linear_2.weight"]
        write_state(tmp_path / "m.bin", state)
        load_into(other, tmp_path / "m.bin")
        assert torch.equal(other.target.mlm.linear_2.weight, model.embedding.word.embedding.weight)

    def test_a_file_that_differs_wins(self, tmp_path, caplog):
        model, other = build_model(TINY, V), build_model(self.TIED, V)
        report = load_into(other, saved(tmp_path / "m.bin", model))
        assert equal(model, other, model.state_dict())
        assert not other.tied_names() and other.config.tie_weights is False
        names = "embedding.word.embedding.weight, target.mlm.linear_2.weight"
        assert f"untied, since the file holds different tensors: {names}" in report.line()
        saved(tmp_path / "again.bin", other, config=other.config)
        again = build_model(read_companion(tmp_path / "again.bin").config, V)
        assert not load_into(again, tmp_path / "again.bin").untied and equal(again, model, model.state_dict())

    @pytest.mark.parametrize(
        "apart", ["target.lm.output_layer.weight", "tgt_embedding.word.embedding.weight"]
    )
    def test_three_names(self, tmp_path, apart):
        config = TINY.replace(decoder="transformer", target=("lm",), tie_weights=True, share_embedding=True)
        model, other = build_model(config, V), build_model(config, V)
        state = model.state_dict()
        state[apart] = torch.randn(V, 8)
        write_state(tmp_path / "m.bin", state)
        load_into(other, tmp_path / "m.bin")
        assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())
        ((group),) = other.tied_names()
        assert len(group) == 2 and apart not in group
        assert other.config.share_embedding is (apart != "tgt_embedding.word.embedding.weight")
        assert other.config.tie_weights is False


class TestHint:
    """UER-py's layer norm is its own: whoever loads such a file with the usual one is told."""

    def test_without_companion(self, tmp_path, caplog):
        load_into(build_model(TINY, V), saved(tmp_path / "m.bin", build_model(TINY, V)))
        assert caplog.messages[1].endswith(
            "trained by UER-py? --layernorm uer reproduces its numbers exactly."
        )

    @pytest.mark.parametrize("layernorm", ["uer", "t5"])
    def test_not_with_another_norm(self, tmp_path, caplog, layernorm):
        config = TINY.replace(layernorm=layernorm)
        load_into(build_model(config, V), saved(tmp_path / "m.bin", build_model(config, V)))
        assert len(caplog.messages) == 1


class TestAdaptConfig:
    def test_nothing_to_decide(self, tmp_path):
        assert adapt_config(TINY, tmp_path / "not even there") is TINY

    @pytest.mark.parametrize(("old", "sinusoid"), [(True, "2021"), (False, "2024")])
    def test_sinusoids(self, tmp_path, caplog, old, sinusoid):
        config = TINY.replace(embedding=("word", "sinusoidalpos"), remove_embedding_layernorm=True)
        state = build_model(config, V).state_dict()
        write_state(tmp_path / "m.bin", state | ({"embedding.pe": torch.zeros(16, 1, 8)} if old else {}))
        adapted = adapt_config(config, tmp_path / "m.bin")
        assert adapted.sinusoid == sinusoid
        assert caplog.messages == ([f"{tmp_path / 'm.bin'} decides sinusoid: 2021."] if old else [])
        load_into(build_model(adapted, V), tmp_path / "m.bin")

    def test_a_companion_has_said_it(self, tmp_path):
        config = TINY.replace(embedding=("word", "sinusoidalpos"), sinusoid="2021")
        path = saved(tmp_path / "m.bin", build_model(config, V), config=config)
        assert adapt_config(read_companion(path).config, path) == config

    @pytest.mark.parametrize("norm", [True, False])
    @pytest.mark.parametrize("tied", [True, False])
    def test_dual(self, tmp_path, norm, tied):
        streams = {"stream_0": {**STREAM, "layers_num": 1}, "stream_1": {**STREAM, "layers_num": 1}}
        config = TINY.replace(embedding=("dual",), encoder="dual", target=(), tie_weights=True, **streams)
        built = build_body(config.replace(dual_stream_norm=norm, tie_weights=tied), V)
        path = saved(tmp_path / "m.bin", built)
        adapted = adapt_config(config, path)
        assert (adapted.dual_stream_norm, adapted.tie_weights) == (norm, tied)
        load_into(build_body(adapted, V), path)
        if not tied:
            with pytest.raises(CheckpointError, match="computes with one module; leave out --tie_weights"):
                load_into(build_body(adapted.replace(tie_weights=True), V), path)

    def test_a_single_stream_fills_a_dual_model(self, tmp_path):
        single = build_body(TINY, V)
        config = TINY.replace(
            embedding=("dual",), encoder="dual", target=(), stream_0=STREAM, stream_1=STREAM
        )
        path = saved(tmp_path / "m.bin", single)
        dual = build_body(adapt_config(config, path), V)
        load_into(dual, path)
        held = dual.state_dict()
        for name, tensor in single.state_dict().items():
            for n in (0, 1):
                level = (
                    f"embedding.dual.embedding_{n}." if name.startswith("emb") else f"encoder.encoder_{n}."
                )
                assert torch.equal(held[level + name.partition(".")[2]], tensor)


def test_reading_maps_rather_than_copies(tmp_path):
    write_state(tmp_path / "m.safetensors", {"a": torch.zeros(1000, 1000)})
    state = read_state(tmp_path / "m.safetensors")
    with open("/proc/self/maps") as maps:
        assert any(str(tmp_path / "m.safetensors") in line for line in maps)
    assert state["a"].shape == (1000, 1000)


def test_an_adopted_file_is_the_model_s_memory(tmp_path):
    config = TINY.replace(target=("mlm",), tie_weights=True)
    torch.manual_seed(1)
    source = build_model(config, 20)
    for name in ("m.bin", "m.safetensors"):
        write_state(tmp_path / name, source.state_dict(), config=config)
        model = build_model(config, 20)
        own = model.embedding.word.embedding.weight.untyped_storage().data_ptr()
        load_into(model, tmp_path / name, adopt=True)
        word = model.embedding.word.embedding.weight
        assert word.untyped_storage().data_ptr() != own  # nothing was copied into it
        assert model.target.mlm.linear_2.weight is word
        for (key, one), other in zip(model.state_dict().items(), source.state_dict().values()):
            assert torch.equal(one, other), key
        with torch.no_grad():
            word.add_(1)  # what is mapped for reading never writes to the file
        held = read_state(tmp_path / name)["embedding.word.embedding.weight"]
        assert torch.equal(held, source.embedding.word.embedding.weight)


def test_a_file_of_another_type_is_copied(tmp_path):
    source = build_body(TINY, 20)
    write_state(tmp_path / "m.safetensors", {k: x.half() for k, x in source.state_dict().items()})
    model = build_body(TINY, 20)
    load_into(model, tmp_path / "m.safetensors", adopt=True)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    torch.testing.assert_close(model.state_dict(), source.state_dict(), atol=1e-3, rtol=1e-3)
