"""Adapters: what is trained, PEFT on the exported model, merging, and what is refused."""

import json
import random

import pytest
import torch
from torch import nn

from tests.tasks.scripts import Folder, finetune, infer, pretrain, script, sentence, words
from uer.checkpoints import read_companion, read_state
from uer.errors import CheckpointError, ConfigError
from uer.layers.lora import LoraLinear
from uer.tasks.classifier import ClassifierModel


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A pre-trained model, and a classifier fine-tuned on it by adapters."""
    folder, rng = Folder(tmp_path_factory.mktemp("lora")), random.Random(2)
    pretrain(folder, rng)
    rows = [[rng.choice("xy"), sentence(rng)] for _ in range(64)]
    folder.table("rows.tsv", ["label", "text_a"], rows)
    tune(folder, test_path=folder / "rows.tsv", lora_dropout=0.1, epochs_num=4)
    return folder


START = {"pretrained_model_path": None, "vocab_path": None, "config_path": None, "peft": "lora"}


def tune(folder, **flags):
    """Fine-tune by adapters."""
    settings = {**START, "pretrained_model_path": folder / "pre.bin-1", "lora_rank": 4, "lora_alpha": 8}
    finetune("run_classifier", folder, **{**settings, **flags})


def test_a_layer_is_the_formula_and_merges():
    torch.manual_seed(0)
    base = nn.Linear(6, 5)
    before, x = base.weight.detach().clone(), torch.randn(7, 6)
    layer = LoraLinear(base, rank=2, alpha=3.0)
    torch.testing.assert_close(layer(x), base(x))
    nn.init.normal_(layer.lora_B.weight)
    expected = x @ (before + 1.5 * layer.lora_B.weight @ layer.lora_A.weight).T + base.bias
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.plain()(x), expected)
    assert torch.equal(layer.weight, before) and layer.weight is base.weight


def test_only_adapters_and_head_are_trained(trained):
    before, after = read_state(trained / "pre.bin-1"), read_state(trained / "model.bin")
    changed = {name for name in before if name in after and not torch.equal(before[name], after[name])}
    assert changed == {f"encoder.transformer.0.self_attn.linear_layers.{n}.weight" for n in (0, 2)}
    assert {name for name in after if name not in before} == {
        f"output_layer_{n}.{part}" for n in (1, 2) for part in ("weight", "bias")
    }
    config = json.loads((trained.path / "model.bin.adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"], config["lora_dropout"]) == (
        "LORA",
        4,
        8,
        0.1,
    )
    assert config["target_modules"] == [
        f"bert.encoder.layer.0.attention.self.{n}" for n in ("query", "value")
    ]


def computes_the_same(base, folder):
    """PEFT's model over their base and our adapter gives our model's logits; without the adapter others."""
    import peft

    theirs = peft.PeftModel.from_pretrained(base, folder / "model.bin.adapter").eval()
    ours = ClassifierModel.build(read_companion(folder / "model.bin").config, 31).eval()
    ours.load_state_dict(read_state(folder / "model.bin"))
    ids = torch.randint(5, 31, (4, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        torch.testing.assert_close(ours.logits({"src": ids}), expected, atol=1e-5, rtol=1e-5)
        with theirs.disable_adapter():
            assert not torch.allclose(theirs(input_ids=ids).logits, expected, atol=1e-4)


def test_peft_computes_the_same_on_the_exported_model(trained):
    from transformers import AutoModelForSequenceClassification

    script("scripts/export").main(
        words(load_model_path=trained / "pre.bin-1", output_path=trained / "exported")
    )
    base = AutoModelForSequenceClassification.from_pretrained(trained / "exported", num_labels=2)
    computes_the_same(base, trained)


def test_merging_gives_the_saved_model(trained):
    flags = {"load_model_path": trained / "pre.bin-1", "adapter_path": trained / "model.bin.adapter"}
    script("scripts/merge_lora").main(words(**flags, output_model_path=trained / "merged.bin"))
    saved, merged = read_state(trained / "model.bin"), read_state(trained / "merged.bin")
    assert saved.keys() == merged.keys()
    for name in saved:
        torch.testing.assert_close(saved[name], merged[name], atol=1e-7, rtol=1e-6)
    one, other = (read_companion(trained / name) for name in ("model.bin", "merged.bin"))
    assert (one.config, one.labels, one.extra) == (other.config, other.labels, other.extra)
    infer("run_classifier", trained)
    expected = trained.read("out.tsv")
    infer("run_classifier", trained, load_model_path=trained / "merged.bin")
    assert trained.read("out.tsv") == expected


def test_a_model_without_a_family_keeps_our_names(trained):
    tune(
        trained,
        pooling="mean",
        lora_targets=["feed_forward"],
        epochs_num=1,
        output_model_path=trained / "m.bin",
    )
    config = json.loads((trained.path / "m.bin.adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == [f"encoder.transformer.0.feed_forward.linear_{n}" for n in (1, 2)]
    flags = {"load_model_path": trained / "pre.bin-1", "adapter_path": trained / "m.bin.adapter"}
    script("scripts/merge_lora").main(words(**flags, output_model_path=trained / "m2.bin"))
    saved, merged = read_state(trained / "m.bin"), read_state(trained / "m2.bin")
    for name in saved:
        torch.testing.assert_close(saved[name], merged[name], atol=1e-7, rtol=1e-6)


def test_what_is_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match="--peft lora leaves the weights below the adapters as they are"):
        finetune("run_classifier", trained, peft="lora")
    lstm = {"encoder": "lstm", "embedding": ["word"], "config_path": trained.config}
    with pytest.raises((ConfigError, CheckpointError)):
        tune(trained, **lstm)
    with pytest.raises(ConfigError, match="--lora_targets is 'head'; choose from query, key"):
        tune(trained, lora_targets=["head"])
    adapter = trained.path / "model.bin.adapter"
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in adapter.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    flags = {
        "load_model_path": trained / "pre.bin-1",
        "adapter_path": copy,
        "output_model_path": tmp_path / "o.bin",
    }
    values = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps({**values, "use_dora": True}))
    with pytest.raises(CheckpointError, match="is no plain LoRA adapter"):
        script("scripts/merge_lora").main(words(**flags))
    (copy / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"adapter_config.json is missing or damaged"):
        script("scripts/merge_lora").main(words(**flags))


def gpt2_folder(path, vocab_size=31, **sizes):
    """A tiny random GPT-2 of Hugging Face with the letters' vocabulary."""
    import transformers

    torch.manual_seed(5)
    values = {"n_embd": 32, "n_head": 2, "n_layer": 2, "n_positions": 32, "vocab_size": vocab_size, **sizes}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**values, pad_token_id=0)).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    "targets", [["query", "value"], ["key"], ["query", "key", "value", "output", "feed_forward"]]
)
def test_gpt2_in_pefts_layout(tmp_path, targets):
    """Their query, key and value are one layer: our factors become blocks of its factors."""
    from transformers import AutoModelForSequenceClassification

    folder, rng = Folder(tmp_path), random.Random(3)
    base = gpt2_folder(tmp_path / "gpt2")
    folder.table("rows.tsv", ["label", "text_a"], [[rng.choice("xy"), sentence(rng)] for _ in range(32)])
    flags = {
        **START,
        "pretrained_model_path": base,
        "vocab_path": folder.vocab,
        "lora_rank": 3,
        "lora_alpha": 6,
    }
    finetune("run_classifier", folder, lora_targets=targets, learning_rate=1e-2, **flags)
    config = json.loads((tmp_path / "model.bin.adapter" / "adapter_config.json").read_text())
    packed = [name for name in config["target_modules"] if name.endswith("c_attn")]
    kinds = len({"query", "key", "value"} & set(targets))
    assert packed == [f"transformer.h.{n}.attn.c_attn" for n in range(2)]
    assert config["rank_pattern"] == ({} if kinds == 1 else dict.fromkeys(packed, 3 * kinds))
    theirs = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, pad_token_id=0)
    computes_the_same(theirs, tmp_path)
    merge = {"load_model_path": base, "adapter_path": tmp_path / "model.bin.adapter"}
    script("scripts/merge_lora").main(words(**merge, output_model_path=tmp_path / "merged.bin"))
    saved, merged = read_state(tmp_path / "model.bin"), read_state(tmp_path / "merged.bin")
    assert saved.keys() == merged.keys()
    for name in saved:
        torch.testing.assert_close(saved[name], merged[name], atol=1e-6, rtol=1e-5)


def test_an_adapter_of_peft_on_gpt2_is_merged(tmp_path):
    """One that `peft` itself wrote, on the packed layer, gives what `peft` computes."""
    import peft
    from transformers import GPT2LMHeadModel

    base = gpt2_folder(tmp_path / "gpt2")
    theirs = GPT2LMHeadModel.from_pretrained(base)
    targets = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)
    theirs = peft.get_peft_model(theirs, targets).eval()
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path / "adapter")
    merge = {"load_model_path": base, "adapter_path": tmp_path / "adapter"}
    script("scripts/merge_lora").main(words(**merge, output_model_path=tmp_path / "merged.bin"))
    merged = read_state(tmp_path / "merged.bin")
    whole = theirs.merge_and_unload().state_dict()
    packed = whole["transformer.h.1.attn.c_attn.weight"].T.chunk(3)
    for number, expected in enumerate(packed):
        name = f"encoder.transformer.1.self_attn.linear_layers.{number}.weight"
        torch.testing.assert_close(merged[name], expected, atol=1e-6, rtol=1e-5)
    inner = merged["encoder.transformer.0.feed_forward.linear_1.weight"]
    torch.testing.assert_close(inner, whole["transformer.h.0.mlp.c_fc.weight"].T, atol=1e-6, rtol=1e-5)
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8})
    )
    script("scripts/merge_lora").main(words(**merge, output_model_path=tmp_path / "again.bin"))
    assert torch.equal(
        read_state(tmp_path / "again.bin")["embedding.word.embedding.weight"],
        merged["embedding.word.embedding.weight"],
    )


def test_peft_loads_the_adapter_of_a_model_that_they_lack(trained, capsys):
    """No class of theirs pools by mean: the layout is PEFT's, the names ours, and a line says it."""
    import peft

    capsys.readouterr()
    tune(trained, pooling="mean", epochs_num=2, output_model_path=trained / "mean.bin")
    log = capsys.readouterr().err
    assert "mean.bin.adapter has our names of layers, so peft loads it on this model alone" in log
    assert "the model pools by 'mean', BertForSequenceClassification takes the first token" in log
    companion = read_companion(trained / "mean.bin")
    start = ClassifierModel.build(companion.config, 31).eval()
    start.load_state_dict(read_state(trained / "pre.bin-1"), strict=False)
    theirs = peft.PeftModel.from_pretrained(start, trained / "mean.bin.adapter").eval()
    ours = ClassifierModel.build(companion.config, 31).eval()
    ours.load_state_dict(read_state(trained / "mean.bin"))
    ids = torch.randint(5, 31, (4, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            theirs.base_model.model.logits({"src": ids}), ours.logits({"src": ids}), atol=1e-5, rtol=1e-5
        )
