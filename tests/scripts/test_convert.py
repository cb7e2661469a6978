"""UER-py's conversion commands: names, shapes and numbers both ways, on files of `transformers` and of
UER-py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.checkpoints.parity import build_theirs, draw
from tests.checkpoints.parity_cases import Case, cases
from tests.loading import load_script
from uer.checkpoints import load_into, read_state
from uer.checkpoints.folder import open_folder
from uer.checkpoints.source import read_source
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.models.build import build_body, build_model

# command → class of transformers, and further flags of the command.
COMMANDS = {
    "albert": ("AlbertForPreTraining", []),
    "bart": ("BartForConditionalGeneration", ["--layers_num", "2", "--decoder_layers_num", "3"]),
    "bert": ("BertForPreTraining", ["--layers_num", "2"]),
    "bert_extractive_qa": ("BertForQuestionAnswering", []),
    "bert_text_classification": ("BertForSequenceClassification", []),
    "bert_token_classification": ("BertForTokenClassification", []),
    "gpt2": ("GPT2LMHeadModel", []),
    "pegasus": ("PegasusForConditionalGeneration", ["--max_seq_length", "64"]),
    "sbert": ("BertModel", []),
    "t5": ("T5ForConditionalGeneration", []),
    "xlmroberta": ("XLMRobertaForMaskedLM", []),
}
# Tensors of theirs that are computed, or that the converters give another row.
COMPUTED = ("embed_positions", "position_embeddings")


def command(stem: str, to: str):
    """The `main` of a conversion command."""
    direction = "huggingface_to_uer" if to == "uer" else "uer_to_huggingface"
    return load_script(f"scripts/convert_{stem}_from_{direction}.py").main


def case_of(cls: str) -> Case:
    return next(case for case in cases() if case.cls == cls and not case.variant)


def paths(source, target) -> list[str]:
    return ["--input_model_path", str(source), "--output_model_path", str(target)]


def our_names(stem: str, folder: Path) -> dict[str, torch.Size]:
    """Names and shapes of the model that UER-py 2024 would build for the converted file."""
    config, extra = open_folder(folder).config(), {}
    if stem == "sbert":
        stream = {"embedding": ["word", "pos", "seg"], "encoder": "transformer"}
        config = config.replace(
            embedding=("dual",), encoder="dual", target=(), stream_0=stream, stream_1=stream
        )
        return {name: tensor.shape for name, tensor in build_body(config, 97).state_dict().items()}
    if stem.startswith("bert_"):
        outputs = {"bert_text_classification": ("output_layer_1", "output_layer_2")}.get(
            stem, ("output_layer",)
        )
        extra = {f"{name}.{leaf}": None for name in outputs for leaf in ("weight", "bias")}
        return {name: t.shape for name, t in build_body(config, 97).state_dict().items()} | extra
    if stem == "xlmroberta":
        config = config.replace(max_seq_length=config.max_seq_length + 2)
    return {name: tensor.shape for name, tensor in build_model(config, 97).state_dict().items()}


@pytest.mark.parametrize("stem", COMMANDS)
def test_there_and_back(stem, tmp_path):
    cls, flags = COMMANDS[stem]
    theirs = build_theirs(case_of(cls), 0.15, seed=3)
    theirs.save_pretrained(tmp_path / "folder")
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")

    to_uer = [] if stem == "pegasus" else flags
    assert command(stem, "uer")([*paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"), *to_uer]) == 0
    converted = torch.load(tmp_path / "uer.bin", weights_only=True)
    expected = our_names(stem, tmp_path / "folder")
    assert converted.keys() == expected.keys()
    assert all(shape in (None, converted[name].shape) for name, shape in expected.items())
    command(stem, "uer")([*paths(tmp_path / "folder", tmp_path / "again.bin"), *to_uer])
    again = read_state(tmp_path / "again.bin")
    assert all(torch.equal(again[name], tensor) for name, tensor in converted.items())

    assert command(stem, "huggingface")([*paths(tmp_path / "uer.bin", tmp_path / "back.bin"), *flags]) == 0
    back = torch.load(tmp_path / "back.bin", weights_only=True)
    before = {
        name: t for name, t in theirs.state_dict().items() if not any(word in name for word in COMPUTED)
    }
    if stem == "sbert":
        before = {name: tensor for name, tensor in before.items() if not name.startswith("pooler")}
    if stem in ("bert_extractive_qa", "bert_token_classification"):
        before = {name: tensor for name, tensor in before.items() if ".pooler." not in name}
    assert before.keys() <= back.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in before.items())
    report = theirs.load_state_dict(back, strict=False)
    assert not report.unexpected_keys


def test_positions_of_xlm_roberta(tmp_path):
    theirs = build_theirs(case_of("XLMRobertaForMaskedLM"), 0.15, seed=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")
    command("xlmroberta", "uer")(paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"))
    table = read_state(tmp_path / "uer.bin")["embedding.pos.embedding.weight"]
    source = theirs.state_dict()["roberta.embeddings.position_embeddings.weight"]
    assert table.shape == source.shape and torch.equal(table[:-2], source[2:]) and not table[-2:].any()
    command("xlmroberta", "huggingface")(paths(tmp_path / "uer.bin", tmp_path / "back.bin"))
    back = read_state(tmp_path / "back.bin")["roberta.embeddings.position_embeddings.weight"]
    assert torch.equal(back[2:], source[2:]) and not back[:2].any()


@pytest.mark.parametrize("flag", ["--type", "--target"])
def test_bert_without_sentence_prediction(tmp_path, capsys, flag):
    theirs = build_theirs(case_of("BertForPreTraining"), 0.15, seed=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")
    command("bert", "uer")([*paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"), flag, "mlm"])
    assert "Left aside: cls.seq_relationship, target.sp.linear_1." in capsys.readouterr().err
    names = read_state(tmp_path / "uer.bin").keys()
    assert not any("target.sp" in name for name in names) and "target.mlm.linear_2.bias" in names


def test_the_other_way_is_meant(tmp_path):
    """What has none of the names to convert from is told so, not that it lacks all of them."""
    torch.save(
        build_theirs(case_of("BertForPreTraining"), 0.15, seed=3).state_dict(), tmp_path / "theirs.bin"
    )
    command("bert", "uer")(paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"))
    with pytest.raises(
        CheckpointError, match=r"and \d+ more; none of its names is one \(the other way\?\)\.$"
    ):
        command("bert", "uer")(paths(tmp_path / "uer.bin", tmp_path / "again.bin"))
    assert not (tmp_path / "again.bin").exists()


@pytest.mark.parametrize("kind", ["t5", "t5-v1_1"])
def test_types_of_t5(tmp_path, kind):
    theirs = build_theirs(
        next(case for case in cases() if case.family == kind and case.part == "lm"), 0.15, seed=3
    )
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")
    command("t5", "uer")([*paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"), "--type", kind])
    gated = "encoder.transformer.0.feed_forward.linear_gate.weight" in read_state(tmp_path / "uer.bin")
    assert gated == (kind == "t5-v1_1")
    other = {"t5": "t5-v1_1", "t5-v1_1": "t5"}[kind]
    with pytest.raises(CheckpointError, match=f"is no {other} model, or one with another head: it lacks"):
        command("t5", "uer")([*paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"), "--type", other])


@pytest.mark.parametrize("era", ["uer-2021", "uer-2024"])
@pytest.mark.parametrize(
    ("stem", "case", "cls"),
    [
        ("albert", "albert", "AlbertForPreTraining"),
        ("bart", "bart", "BartForConditionalGeneration"),
        ("bert", "bert", "BertForPreTraining"),
        ("gpt2", "gpt2", "GPT2LMHeadModel"),
        ("pegasus", "pegasus", "PegasusForConditionalGeneration"),
        ("t5", "t5", "T5ForConditionalGeneration"),
    ],
)
def test_files_that_uer_wrote(shared, tmp_path, era, stem, case, cls):
    """What UER-py saved at either date becomes what it would have become, and comes back as it was."""
    held = load_file(shared / "golden" / era / f"{case}.safetensors")
    state = {name[6:]: tensor for name, tensor in held.items() if name.startswith("state.")}
    if case in (
        "bart",
        "pegasus",
        "t5",
    ):  # the golden weights are drawn apart; transformers has one table for both sides
        for name in list(state):
            if "tgt_embedding.word" in name or "target.embedding.word" in name:
                state[name] = state[next(key for key in state if key.startswith("embedding.word"))]
    torch.save(state, tmp_path / "uer.bin")
    command(stem, "huggingface")([*paths(tmp_path / "uer.bin", tmp_path / "theirs.bin")])
    command(stem, "uer")([*paths(tmp_path / "theirs.bin", tmp_path / "back.bin")])
    back, source = read_state(tmp_path / "back.bin"), read_source(tmp_path / "uer.bin").state
    assert back.keys() == source.keys()
    segments = "embedding.seg.embedding.weight"
    for name, tensor in source.items():
        rows = slice(1, None) if name == segments else slice(None)  # their table has no row for padding
        assert torch.equal(back[name][rows], tensor[rows]), name
    if stem == "pegasus":
        table = read_state(tmp_path / "theirs.bin")["model.encoder.embed_positions.weight"]
        assert table.shape == (1024, 32)
        if era == "uer-2021":
            assert torch.allclose(table[:64], state["embedding.pe"][:, 0], atol=1e-5)


def test_depth_is_held_against_the_file(tmp_path):
    theirs = build_theirs(case_of("BertForPreTraining"), 0.15, seed=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")
    with pytest.raises(
        CheckpointError, match="has 2 layers, but --layers_num is 12; leave it out or correct it"
    ):
        command("bert", "uer")([*paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"), "--layers_num", "12"])


def test_another_model_is_refused(tmp_path):
    theirs = build_theirs(case_of("BertForPreTraining"), 0.15, seed=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")
    with pytest.raises(CheckpointError, match=r"is no gpt2 model, .*: it lacks embedding\.word"):
        command("gpt2", "uer")(paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"))
    with pytest.raises(CheckpointError, match=r"is no bert model, .*: it lacks embedding\.word"):
        command("bert", "huggingface")(paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"))
    with pytest.raises(CheckpointError, match=r"nothing\.bin does not exist; .* --input_model_path"):
        command("bert", "uer")(paths(tmp_path / "nothing.bin", tmp_path / "uer.bin"))
    with pytest.raises(ConfigError, match="--type is 'nsp'; choose from bert, mlm"):
        command("bert", "uer")([*paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"), "--type", "nsp"])


def test_a_converted_file_trains_on(tmp_path):
    """HF → UER file → our loader: nothing new, nothing unused."""
    theirs = build_theirs(case_of("BertForPreTraining"), 0.15, seed=3)
    draw(theirs, 0.15, 4)
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")
    command("bert", "uer")(paths(tmp_path / "theirs.bin", tmp_path / "uer.bin"))
    config = ModelConfig(
        emb_size=32,
        hidden_size=32,
        feedforward_size=64,
        heads_num=4,
        layers_num=2,
        max_seq_length=64,
        target=("mlm", "sp"),
    )
    report = load_into(build_model(config, 97), tmp_path / "uer.bin")
    assert not report.new and not report.unused and report.names == "UER-py 2024"
