"""A text for a text: UER-py's numbers, beams, faulty files, and the scripts."""

import random

import numpy as np
import pytest
import torch

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import LETTERS, TINY, Folder, finetune, infer
from uer.errors import ConfigError, DataError
from uer.tasks.predict import evaluate
from uer.tasks.text2text import NOTHING, Text2textTask
from uer.training.precision import Precision

CASES = [f"text2text_{name}" for name in ("t5", "bart", "t5_2021", "bart_2021", "t5_v1_1")]


@pytest.mark.parametrize("case", CASES)
def test_rows_logits_loss_and_texts_are_uers(shared, tmp_path, case):
    golden = Golden(shared, case, tmp_path)
    tokenizer = golden.tokenizer()
    task = Text2textTask(tokenizer, seq_length=12, tgt_seq_length=8)
    examples = task.read(golden.tsv(), training=True)
    batch = task.collate(examples, np.arange(6))
    inputs, labels = tensors(batch.inputs), tensors(batch.labels)
    assert torch.equal(inputs["src"], golden["in.src"]) and torch.equal(inputs["seg"], golden["in.seg"])
    steps = inputs["tgt_in"].shape[1]
    real = inputs["tgt_seg"] > 0
    assert torch.equal(inputs["tgt_in"][real], golden["in.tgt_in"][:, :steps][real])
    assert torch.equal(labels["lm"][real], golden["in.tgt_out"][:, :steps][real])

    model = task.model(golden.config(layernorm=golden.facts["config"].get("layernorm", "uer")))
    if golden.facts["era"] == "2021":  # its script never ties
        for group in model.tied_names():
            for name in group[1:]:
                model.untie(name)
    golden.load(model)
    hidden = model.encode({"src": inputs["src"], "seg": inputs["seg"]}).hidden
    targets = {"tgt_in": inputs["tgt_in"], "tgt_seg": inputs["tgt_seg"]}
    decoded = model.decode(targets, hidden, inputs["seg"]).hidden
    close(model.target.lm.logits(decoded)[real], golden["out.logits"][:, :steps][real], 5e-5, 5e-5)
    wanted = golden["in.tgt_out"].clone()
    if golden.facts["era"] == "2021":
        wanted[wanted == 0] = -100
    else:  # UER of 2024 trains the padding behind [SEP] too
        wanted[golden["in.tgt_seg"] == 0] = -100
    whole = {"src": inputs["src"], "seg": inputs["seg"], "tgt_in": golden["in.tgt_in"]}
    whole["tgt_seg"] = (golden["in.tgt_in"] > 0).long()
    term = model(whole, {"lm": wanted})["lm"]
    close(term.loss_sum / term.count, golden["out.loss"], 1e-5)
    written = model.predict(inputs)
    for row, theirs, margins in zip(written, golden["out.greedy_ids"][:, 1:], golden["out.greedy_margin"]):
        ours = row[row != NOTHING]
        sure = int((margins < 1e-3).int().argmax()) if bool((margins < 1e-3).any()) else 7
        theirs = theirs.tolist()
        theirs = theirs[: theirs.index(tokenizer.sep_id)] if tokenizer.sep_id in theirs else theirs
        assert ours[:sure].tolist() == theirs[: min(sure, 7)]


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path)
    extra = {"decoder": "transformer", "tgt_embedding": ["word", "pos"], "embedding": ["word", "pos"]}
    import json

    more = {**TINY, **extra, "tie_weights": True, "share_embedding": True, "decoder_layers_num": 1}
    folder.config = folder.write("config.json", json.dumps(more))
    return folder


def generated(rng, count):
    """Generated pairs: the first letters of the source."""
    rows = []
    for _ in range(count):
        letters = rng.choices(LETTERS[:8], k=rng.randint(3, 6))
        rows.append([" ".join(letters[:2]), " ".join(letters)])
    return rows


def test_64_pairs_are_memorised(folder, capsys, tmp_path):
    rows = generated(random.Random(3), 64)
    path = folder.table("rows.tsv", ["label", "text_a"], rows)
    settings = {"seq_length": 10, "tgt_seq_length": 10, "epochs_num": 40, "batch_size": 8, "eval_steps": 160}
    finetune("run_text2text", folder, test_path=path, tokenizer="space", best_metric="rouge1", **settings)
    log = capsys.readouterr().err
    assert float(log.rsplit("Acc. (Correct/Total): ", 1)[1].split()[0]) >= 0.95
    assert "BLEU: " in log and "ROUGE-L: " in log
    infer("run_text2text", folder, keep_columns=["text_a"])
    assert "The number of prediction instances:  64" in capsys.readouterr().out
    header, predicted = folder.read("out.tsv")
    assert header == ["label", "text_a"] and [row[1] for row in predicted] == [row[1] for row in rows]
    assert np.mean([ours[0] == row[0] for ours, row in zip(predicted, rows)]) >= 0.95
    infer("run_text2text", folder, beam_size=3, length_penalty=0.8)
    beams = [row[0] for row in folder.read("out.tsv")[1]]
    assert np.mean([ours == row[0] for ours, row in zip(beams, rows)]) >= 0.95
    capsys.readouterr()
    infer("run_text2text", folder, seq_length=4)
    assert "64 of 64 rows are longer than --seq_length 4 tokens; they were cut" in capsys.readouterr().err
    infer("run_text2text", folder, tgt_seq_length=2)
    assert {len(row[0].split()) for row in folder.read("out.tsv")[1]} == {1}
    with pytest.raises(ConfigError, match=r"--prefix is x, but the model .* was trained with"):
        infer("run_text2text", folder, prefix="x")


def test_prefixes_and_pairs_are_part_of_the_source(shared, tmp_path):
    golden = Golden(shared, "text2text_bart", tmp_path)
    task = Text2textTask(golden.tokenizer(), seq_length=12, tgt_seq_length=8, prefix="a")
    row = {"text_a": "b", "prefix": "c", "text_b": "A"}
    ids = [golden.facts["vocab"][number] for number in task.encode([row]).ids]
    assert ids == ["[CLS]", "a", "c", "b", "[SEP]", "A", "[SEP]"]
    assert task.encode([row]).seg.tolist() == [1] * 7
    assert task.encode([{"text_a": "b"}]).lengths.tolist() == [4]


def test_a_model_that_reads_prefixes_misses_their_column(folder, capsys):
    rows = [[row[0], "task: ", row[1]] for row in generated(random.Random(3), 8)]
    settings = {"seq_length": 12, "tgt_seq_length": 10, "epochs_num": 1, "batch_size": 8}
    bare = ["label", "text_a"], [[row[0], row[2]] for row in rows]
    full = ["label", "prefix", "text_a"], rows
    for trained, given, said in ((full, bare, True), (full, full, False), (bare, bare, False)):
        folder.table("rows.tsv", *trained)
        finetune("run_text2text", folder, tokenizer="space", **settings)
        folder.table("rows.tsv", *given)
        capsys.readouterr()
        infer("run_text2text", folder)
        assert ("has no column prefix, and the model was trained with one" in capsys.readouterr().err) == said


def test_rows_that_are_too_long(shared, tmp_path, caplog):
    golden = Golden(shared, "text2text_bart", tmp_path)
    path = Folder(tmp_path).table("t.tsv", ["label", "text_a"], [["a", "b"], ["a" * 9, "b"], ["a", "b" * 20]])

    def read(how):
        task = Text2textTask(golden.tokenizer(), seq_length=12, tgt_seq_length=8, overflow=how)
        return task.read(path, training=True)

    assert read("truncate").target.lengths.tolist() == [3, 8, 3]
    assert (
        "1 of 3 labels are longer than --tgt_seq_length 8 tokens; they were cut on the right." in caplog.text
    )
    assert "1 of 3 rows are longer than --seq_length 12 tokens; they were cut" in caplog.text
    left = read("drop")
    assert len(left) == len(left.target) == 1 and left.wanted == ["a"]
    with pytest.raises(DataError, match=r"t.tsv:3: the row is too long"):
        read("error")


def test_evaluation_in_bf16_and_in_batches_is_the_same(shared, tmp_path):
    golden = Golden(shared, "text2text_bart", tmp_path)
    task = Text2textTask(golden.tokenizer(), seq_length=12, tgt_seq_length=8, beam_size=2)
    model = golden.load(task.model(golden.config()))
    examples = task.read(golden.tsv())
    found = [
        evaluate(model, task, examples, batch_size=size, precision=Precision("fp32")).scores()
        for size in (2, 6)
    ]
    assert found[0] == found[1]
    assert evaluate(model, task, examples, batch_size=6, precision=Precision("bf16")).total == 6


def test_what_cannot_be(folder):
    folder.table("rows.tsv", ["label", "text_a"], [["a", "b"]])
    with pytest.raises(ConfigError, match="--tgt_seq_length is 40, but the model has 32 positions"):
        finetune("run_text2text", folder, tgt_seq_length=40)
    with pytest.raises(ConfigError, match="--tgt_seq_length 1 has no room"):
        finetune("run_text2text", folder, tgt_seq_length=1)
    with pytest.raises(ConfigError, match=r"--length_penalty 2\.0 needs --beam_size of 2 or more"):
        finetune("run_text2text", folder, length_penalty=2.0)
    plain = Folder(folder.path)
    with pytest.raises(ConfigError, match="give --decoder transformer"):
        finetune("run_text2text", plain)
