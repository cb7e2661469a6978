"""Adapters and frozen layers in every fine-tuning script: what stays as it was, what `peft` computes, what is
predicted.
"""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.tasks.every import EVERY, prepare
from tests.tasks.scripts import Folder, finetune, infer, pretrain, script, words
from uer.checkpoints import read_state
from uer.checkpoints.families import pick_family
from uer.models.adapters import adapted
from uer.tasks import predict, setup
from uer.training.windows import to_tensors

ALIKE = {
    **dict.fromkeys(("run_classifier", "run_classifier_cv", "run_classifier_multi_label"), "cls"),
    **dict.fromkeys(("run_regression", "run_dbqa"), "cls"),
    "run_classifier_prompt": "mlm",
    "run_simcse": "",
    "run_ner": "tok",
    "run_cmrc": "qa",
    "run_text2text": "lm",
}
"""scripts whose models transformers has too, and the head of each; other adapters have our names"""
TWINS = dict.fromkeys(("run_classifier_cv", "run_dbqa"), "run_classifier")
HEAD = re.compile(r"output_layer|classifier\.|crf\.")
SAVED = [name for name in EVERY if name != "run_classifier_grid"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A masked language model of ours, the same exported, and a T5 of transformers."""
    import transformers

    folder = Folder(tmp_path_factory.mktemp("bases"))
    pretrain(folder, random.Random(2), tokenizer="char")
    exported = {"load_model_path": folder / "pre.bin-1", "output_path": folder / "exported"}
    script("scripts/export").main(words(**exported))
    torch.manual_seed(5)
    sizes = {"vocab_size": 31, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes)).save_pretrained(folder / "t5")
    return folder


@pytest.fixture
def seen(monkeypatch):
    """The model of a run, its weights before and behind training, adapters not taken in; then what the twin
    computes.
    """
    known = SimpleNamespace(model=None, start={}, end={}, computed=[])
    start_weights, write_adapter, outputs = setup.start_weights, setup.write_adapter, predict.outputs

    def weights(model):
        return {name: x.detach().clone() for name, x in model.state_dict().items()}

    def begin(model, *given, **more):
        start_weights(model, *given, **more)
        known.model, known.start = model, weights(model)

    def write(folder, model, *given, **more):
        known.end = weights(model)
        write_adapter(folder, model, *given, **more)

    def compute(model, how, stream, precision):
        for batch, given in outputs(model, how, stream, precision):
            known.computed.append((model, to_tensors(batch).inputs, torch.from_numpy(given)))
            yield batch, given

    for module, name, put in (
        (setup, "start_weights", begin),
        (setup, "write_adapter", write),
        (predict, "outputs", compute),
    ):
        monkeypatch.setattr(module, name, put)
    return known


def tune(name, folder, bases, **more):
    """Fine-tune by adapters; the base and the saved model."""
    flags = prepare(name, folder)
    base = bases / ("t5" if name == "run_text2text" else "pre.bin-1")
    start = {"pretrained_model_path": base, "vocab_path": None, "config_path": None}
    if name == "run_text2text":
        start |= {"vocab_path": folder.vocab, "tokenizer": "space"}
    elif name == "run_classifier_siamese":
        start["config_path"] = flags["config_path"]
    lora = {"peft": "lora", "lora_rank": 3, "lora_alpha": 6, "learning_rate": 1e-2, "batch_size": 2}
    assert finetune(name, folder, **{**flags, **start, **lora, **more}) == 0
    return base, folder.path / ("model-fold_1.bin" if name == "run_classifier_cv" else "model.bin")


def predicted(name, folder, path):
    """What the twin writes with a model."""
    more = {"vectors_path": folder / "v.npy"} if name == "run_simcse" else {}
    if name == "run_text2text":  # whose base has no vocabulary
        more = {"vocab_path": folder.vocab, "tokenizer": "space"}
    twin = TWINS.get(name, name)
    infer(twin, folder, load_model_path=path, precision="fp32", **more)
    return (folder.path / "out.tsv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SAVED)
def test_adapters(tmp_path, bases, seen, name):
    folder = Folder(tmp_path)
    base, path = tune(name, folder, bases)
    check_frozen(seen, path)
    seen.computed.clear()
    text, computed = predicted(name, folder, path), list(seen.computed)
    adapter = path.with_name(f"{path.name}.adapter")
    own = json.loads((adapter / "uer.json").read_text())
    assert own["part" if own["family"] else "family"] == ALIKE.get(name)
    if own["family"]:
        check_theirs(own, base if name == "run_text2text" else bases / "exported", adapter, computed[0])
    else:
        check_ours(computed, {key: x for key, x in seen.start.items() if ".lora_" not in key}, adapter)
    merge = {"load_model_path": base, "adapter_path": adapter, "output_model_path": folder / "merged.bin"}
    script("scripts/merge_lora").main(words(**merge))
    assert predicted(name, folder, folder / "merged.bin") == text


def check_frozen(seen, path):
    """All but adapters and head are what they were, to the bit; the saved model is that with B·A added."""
    layers = adapted(seen.model)
    for name, before in seen.start.items():
        trained = ".lora_" in name or HEAD.search(name)
        assert trained or torch.equal(seen.end[name], before), name
    assert all(seen.end[f"{name}.lora_B.weight"].any() for name in layers)
    saved = read_state(path)
    held = {id(layer.weight): name for name, layer in layers.items()}  # under several names in tied streams
    below = {name: held[id(x)] for name, x in seen.model.state_dict(keep_vars=True).items() if id(x) in held}
    factors = {
        name: [seen.end[f"{layer}.lora_{part}.weight"] for part in "BA"] for name, layer in below.items()
    }
    added = {name: 2 * up @ down for name, (up, down) in factors.items()}
    for name, tensor in saved.items():
        expected = seen.end[name] + added[name] if name in added else seen.end[name]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-7 if name in added else 0)


def check_ours(computed, start, adapter):
    """`peft` loads the adapter on our model with the base's weights, and gives what the twin computed."""
    import peft

    base = copy.deepcopy(computed[0][0])
    base.load_state_dict(start)
    theirs = peft.PeftModel.from_pretrained(base, adapter).eval()
    with torch.no_grad():
        for _, inputs, given in computed:
            found = theirs.base_model.model.predict(inputs)
            torch.testing.assert_close(found, given, atol=1e-5, rtol=1e-5)
            with theirs.disable_adapter():
                assert not torch.allclose(theirs.base_model.model.predict(inputs), given, atol=1e-4)


def check_theirs(own, base, adapter, computed):
    """`peft` loads the adapter on a model of transformers, and gives what the twin computed."""
    import peft
    import transformers

    model, inputs, given = computed
    model.eval()
    made = getattr(transformers, pick_family(own["family"]).classes[own["part"]])
    head = getattr(model, "output_layer_2", getattr(model, "output_layer", None))
    labels = {} if head is None or own["part"] == "qa" else {"num_labels": head.out_features}
    theirs = peft.PeftModel.from_pretrained(made.from_pretrained(base, **labels), adapter).eval()
    with torch.no_grad():
        ours, found = COMPARED[own["part"]](model, inputs, given, theirs)
        torch.testing.assert_close(found, ours, atol=1e-5, rtol=1e-5)
        with theirs.disable_adapter():
            assert not torch.allclose(COMPARED[own["part"]](model, inputs, given, theirs)[1], ours, atol=1e-4)


def their_inputs(inputs, end=""):
    """What a BERT of transformers reads."""
    seg = inputs[f"seg{end}"]
    return {"input_ids": inputs[f"src{end}"], "attention_mask": (seg > 0).long(),
            "token_type_ids": (seg - 1).clamp(min=0)}  # fmt: skip


def labels(model, inputs, given, theirs):
    return given, theirs(**their_inputs(inputs)).logits


def tokens(model, inputs, given, theirs):
    logits, layout = model.logits(inputs)
    return logits, layout.pack(theirs(**their_inputs(inputs)).logits)


def answers(model, inputs, given, theirs):
    real, found = inputs["seg"] > 0, theirs(**their_inputs(inputs))
    return given[real], torch.stack([found.start_logits, found.end_logits], dim=-1)[real]


def blanks(model, inputs, given, theirs):
    logits = theirs(**their_inputs(inputs)).logits[inputs["answer"] > 0]
    return given, logits[:, model.answers[:, 0]]


def vectors(model, inputs, given, theirs):
    found = [theirs(**their_inputs(inputs, f"_{n}")).last_hidden_state[:, 0] for n in (0, 1)]
    return given, torch.stack(found, dim=1)


def written(model, inputs, given, theirs):
    target = torch.randint(5, 31, (len(given), 5), generator=torch.Generator().manual_seed(1))
    hidden = model.encode(inputs).hidden
    decoded = model.decode({"tgt_in": target, "tgt_seg": torch.ones_like(target)}, hidden, inputs["seg"])
    mask = (inputs["seg"] > 0).long()
    found = theirs(input_ids=inputs["src"], attention_mask=mask, decoder_input_ids=target).logits
    return model.target.lm.logits(decoded.hidden), found


COMPARED = {"cls": labels, "tok": tokens, "qa": answers, "mlm": blanks, "": vectors, "lm": written}
"""head → our numbers and theirs"""


@pytest.mark.parametrize("how", [None, "grid"])
def test_adapters_in_a_search(tmp_path, bases, seen, how, capfd):
    """A trial is what fine-tuning alone is, in the script's own process and in one of its own."""
    folder = Folder(tmp_path)
    setting = {"learning_rate": 3e-3, "batch_size": 4, "epochs_num": 2}  # that of the grid
    tune("run_classifier", folder, bases, **setting)
    results = json.loads((tmp_path / "model.bin.run" / "results.json").read_text())
    score = results["Development, the best evaluation"]["scores"]["acc"]
    capfd.readouterr()
    tune("run_classifier_grid", folder, bases, search=how)
    assert f"acc {score:.4f} in epoch" in capfd.readouterr().err
    if how is None:
        end = seen.model.state_dict()
        assert all(".lora_" in key or HEAD.search(key) or torch.equal(end[key], x)
                   for key, x in seen.start.items())  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_frozen_layers(tmp_path, seen, name):
    """What `--freeze` names is what it was, to the bit; all else is trained."""
    folder = Folder(tmp_path)
    frozen = r"embedding|linear_layers\.[01]"
    assert finetune(name, folder, **prepare(name, folder) | {"freeze": frozen, "batch_size": 2}) == 0
    same = {key: torch.equal(x, seen.model.state_dict()[key]) for key, x in seen.start.items()}
    kept = {key for key in same if re.search(frozen, key)}
    assert len(kept) > 3 and all(same[key] for key in kept)
    assert not any(same[key] for key in same if "feed_forward.linear_1.weight" in key)


def test_every_script_is_there():
    """A new script of `finetune/` must be in the table."""
    root = Path(__file__).resolve().parents[2]
    assert {path.stem for path in (root / "finetune").glob("run_*.py")} == {
        *EVERY,
        "run_classifier_deepspeed",
    }
