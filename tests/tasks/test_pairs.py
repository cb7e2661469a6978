"""Siamese networks and SimCSE: UER-py's numbers, faulty files, and the scripts."""

import json
import random

import numpy as np
import pytest
import torch
from scipy import stats

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import LETTERS, TINY, Folder, finetune, infer, sentence
from uer.checkpoints import read_companion
from uer.errors import ConfigError, DataError
from uer.models.build import build_body
from uer.tasks.body import task_body
from uer.tasks.classifier import read_labels
from uer.tasks.predict import evaluate
from uer.tasks.siamese import SiameseModel, SiameseTask, read_scale
from uer.tasks.simcse import SimcseModel, SimcseTask
from uer.training.precision import Precision

SBERT = ["siamese_sbert", "siamese_sbert_untied", "siamese_sbert_2021", "siamese_sbert_untied_2021"]
SIAMESE = [*SBERT, "siamese_from_single", "siamese_from_single_2021", "siamese_lstm", "siamese_lstm_2021"]


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
@pytest.mark.parametrize("case", SIAMESE)
def test_siamese_numbers_and_loss_are_uers(shared, tmp_path, case, pooling):
    golden = Golden(shared, case, tmp_path)
    if f"out.{pooling}.logits" not in golden.tensors:
        assert pooling not in golden.facts["config"]["pooling"]
        return
    task = SiameseTask(golden.tokenizer(), read_labels(golden.tsv()), seq_length=12)
    batch = task.collate(task.read(golden.tsv(), training=True), np.arange(6))
    inputs, labels = tensors(batch.inputs), tensors(batch.labels)
    for name in ("src_0", "seg_0", "src_1", "seg_1"):
        width = inputs[name].shape[1]
        assert torch.equal(inputs[name], golden[f"in.{name}"][:, :width])
        assert not golden[f"in.{name}"][:, width:].any()
    norms = any(".stream_0_layer_norm." in name for name in golden.state)
    config = golden.config(dual_stream_norm=norms, target=())
    body = build_body(config, 120)
    model = golden.load(SiameseModel(body, labels_num=3, pooling=pooling))
    close(model.predict(inputs), golden[f"out.{pooling}.logits"])
    term = model(inputs, labels)["cls"]
    close(term.loss_sum / term.count, golden[f"out.{pooling}.loss"], 2e-6)


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
def test_simcse_numbers_and_losses_are_uers(shared, tmp_path, pooling):
    golden = Golden(shared, "simcse", tmp_path)
    task = SimcseTask(golden.tokenizer(), seq_length=12)
    examples = task.read(golden.tsv(), training=True)
    model = golden.load(SimcseModel(task_body(golden.config(), 120), pooling=pooling))
    inputs = tensors(task.collate(examples, np.arange(6)).inputs)
    for number, vectors in enumerate(model.vectors(inputs)):
        close(vectors, golden[f"out.{pooling}.features_{number}"])
    close(model.similarities(inputs), golden[f"out.{pooling}.similarity"], 1e-4)
    term = model(inputs, {})["cls"]
    close(term.loss_sum / term.count, golden[f"out.{pooling}.loss"], 1e-5)
    scored = task.read(golden.tsv())
    metric = evaluate(model, task, scored, batch_size=4, precision=Precision("fp32"))
    assert metric.report()[-1:] == golden.facts["lines"][pooling]
    alone = golden.folder / "alone.tsv"
    rows = golden.facts["rows"]["data"]
    alone.write_text("text_a\ttext_b\n" + "".join(f"{a}\t{b}\n" for _, a, b in rows), encoding="utf-8")
    inputs = tensors(task.collate(task.read(alone, training=True), np.arange(6)).inputs)
    assert torch.equal(inputs["src_0"], inputs["src_1"])
    term = model(inputs, {})["cls"]
    close(term.loss_sum / term.count, golden[f"out.{pooling}.loss_unsupervised"], 1e-5)


def test_faulty_files(tmp_path):
    folder = Folder(tmp_path)
    signed = folder.table("signed.tsv", ["label", "text_a", "text_b"], [[1, "a", "b"], [-2, "a", "b"]])
    with pytest.raises(DataError, match=r"signed.tsv:3: the label -2 is below 0; for --objective cosine"):
        read_scale(signed)
    zero = folder.table("zero.tsv", ["label", "text_a", "text_b"], [[0, "a", "b"]])
    with pytest.raises(DataError, match="all labels are 0"):
        read_scale(zero)
    single = folder.table("single.tsv", ["label", "text_a"], [[0, "a"], [1, "b"]])
    with pytest.raises(DataError, match="the column 'text_b' is missing"):
        finetune("run_classifier_siamese", folder, rows="single.tsv", config_path=dual(folder))
    with pytest.raises(DataError, match="the column 'text_b' is missing"):
        finetune("run_simcse", folder, rows="single.tsv", train_path=single)
    alone = folder.table("alone.tsv", ["text_a"], [["a"], ["b"]])
    with pytest.raises(DataError, match="the column 'label' is missing"):
        finetune("run_simcse", folder, rows="alone.tsv", train_path=alone)


def dual(folder: Folder, **changes) -> str:
    """A dual configuration of two tiny streams."""
    stream = {key: value for key, value in TINY.items() if key != "target"} | changes
    content = {**stream, "embedding": ["dual"], "encoder": "dual", "stream_0": stream, "stream_1": stream}
    return folder.write("dual.json", json.dumps({**content, "tie_weights": True, "pooling": "mean"}))


def test_options_that_do_not_fit(tmp_path):
    folder = Folder(tmp_path)
    folder.table("rows.tsv", ["label", "text_a", "text_b"], [[i % 2, "a b", "c"] for i in range(4)])
    with pytest.raises(ConfigError, match="--encoder is transformer; a siamese network has two streams"):
        finetune("run_classifier_siamese", folder)
    opposites = "--overflow window: the texts of a batch are each other's opposites"
    with pytest.raises(ConfigError, match=opposites):
        finetune("run_simcse", folder, overflow="window")
    with pytest.raises(ConfigError, match="--class_weights weighs classes"):
        finetune(
            "run_classifier_siamese", folder, config_path=dual(folder), objective="cosine", class_weights=True
        )
    wide = {**TINY, "hidden_size": 64, "emb_size": 64}
    uneven = json.loads((tmp_path / "dual.json").read_text()) | {"stream_1": wide, "tie_weights": False}
    with pytest.raises(ConfigError, match="the streams have the hidden sizes 32 and 64"):
        finetune("run_classifier_siamese", folder, config_path=folder.write("u.json", json.dumps(uneven)))


def test_siamese_memorises_64_pairs(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(3)
    rows = [[rng.choice("xyz"), sentence(rng), sentence(rng), i] for i in range(64)]
    folder.table("rows.tsv", ["label", "text_a", "text_b", "id"], rows)
    settings = {"config_path": dual(folder), "epochs_num": 60, "batch_size": 8, "class_weights": True}
    finetune("run_classifier_siamese", folder, test_path=folder / "rows.tsv", **settings)
    vectors = folder / "vectors.npy"
    infer("run_classifier_siamese", folder, output_prob=True, keep_columns=["id"], vectors_path=vectors)
    header, predicted = folder.read("out.tsv")
    assert header == ["label", "prob", "id"]
    assert sum(p[0] == g[0] for p, g in zip(predicted, rows)) / 64 >= 0.95
    assert [int(row[2]) for row in predicted] == list(range(64))
    assert np.load(vectors).shape == (64, 2, 32)
    infer("run_classifier_siamese", folder, output_prob=True)  # the other way to the same logits
    again = folder.read("out.tsv")[1]
    for one, other in zip(predicted, again):
        assert np.allclose(
            [float(x) for x in one[1].split()], [float(x) for x in other[1].split()], atol=1e-5
        )
    with pytest.raises(DataError, match=r"end the name of --vectors_path in .npy"):
        infer("run_classifier_siamese", folder, vectors_path="vectors.bin")


def test_siamese_learns_numbers_as_cosines(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(4)
    rows = [[round(rng.uniform(0, 5), 1), sentence(rng), sentence(rng)] for _ in range(64)]
    folder.table("rows.tsv", ["label", "text_a", "text_b"], rows)
    settings = {"config_path": dual(folder), "epochs_num": 70, "batch_size": 8, "objective": "cosine"}
    finetune("run_classifier_siamese", folder, **settings)
    assert "Spearman corr: 0." in capsys.readouterr().err
    companion = read_companion(folder / "model.bin")
    assert companion.labels is None and companion.extra["scale"] == max(row[0] for row in rows)
    infer("run_classifier_siamese", folder)
    ours = [float(row[0]) for row in folder.read("out.tsv")[1]]
    assert stats.spearmanr(ours, [row[0] for row in rows]).statistic >= 0.95
    assert max(abs(a - row[0]) for a, row in zip(ours, rows)) < 2.5


def alike(rng: random.Random) -> tuple[list[str], list[str]]:
    """Two texts about one of 13 topics: the same two letters turn up in both, in another order."""
    topic = rng.randrange(13)
    pair = LETTERS[2 * topic : 2 * topic + 2]
    return [rng.choice(pair) for _ in range(6)], [rng.choice(pair) for _ in range(6)]


@pytest.mark.parametrize("supervised", [True, False])
def test_simcse_tells_like_from_unlike(tmp_path, capsys, supervised):
    folder, rng = Folder(tmp_path), random.Random(5)
    like = [alike(rng) for _ in range(64)]
    mixed = [(1, a, b) for a, b in like] + [(0, a, alike(rng)[1]) for a, _ in like]
    table = [[label, " ".join(a), " ".join(b)] for label, a, b in mixed]
    folder.table("rows.tsv", ["label", "text_a", "text_b"], table)
    columns = ["label", "text_a", "text_b"] if supervised else ["text_a"]
    table[:64] = [["alike", *row[1:]] for row in table[:64]]  # what a label of training says is not read
    train = folder.table("train.tsv", columns, [row if supervised else row[1:2] for row in table[:64]])
    config = folder.write("dropout.json", json.dumps({**TINY, "dropout": 0.1}))
    settings = {"train_path": train, "config_path": config, "pooling": "mean", "eval_steps": 8}
    finetune("run_simcse", folder, epochs_num=8, batch_size=16, learning_rate=1e-3, **settings)
    lines = capsys.readouterr().err
    assert lines.count("Spearman's correlation: ") == 4
    vectors, out = folder / "v.npy", folder / "out.tsv"
    infer("run_simcse", folder, vectors_path=vectors, prediction_path=out)
    header, predicted = folder.read("out.tsv")
    assert header == ["similarity"]
    ours = np.array([float(row[0]) for row in predicted])
    # 8 % of the unlike pairs share a topic by chance
    area = (ours[:64, None] > ours[None, 64:]).mean()
    assert area > 0.85
    saved = np.load(vectors)
    assert saved.shape == (128, 2, 32)
    cosine = (saved[:, 0] * saved[:, 1]).sum(1) / np.linalg.norm(saved, axis=2).prod(1)
    assert np.allclose(ours, cosine, atol=1e-5)
    infer("run_simcse", folder, rows="train.tsv", vectors_path=vectors, prediction_path=None)
    assert np.load(vectors).shape == (64, 2 if supervised else 1, 32)


def test_simcse_memorises_64_pairs(tmp_path):
    """Of 64 second texts each first text's own is the nearest."""
    folder, rng = Folder(tmp_path), random.Random(8)
    rows = [[1, sentence(rng, 5, 12), sentence(rng, 5, 12)] for _ in range(64)]
    folder.table("rows.tsv", ["label", "text_a", "text_b"], rows)
    config = folder.write("dropout.json", json.dumps({**TINY, "dropout": 0.1}))
    settings = {"config_path": config, "pooling": "mean", "epochs_num": 60, "batch_size": 16}
    finetune("run_simcse", folder, save_checkpoint_steps=0, eval_steps=240, **settings)
    infer("run_simcse", folder, vectors_path=folder / "v.npy", prediction_path=None)
    vectors = np.load(folder / "v.npy")
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in vectors.swapaxes(0, 1))
    assert ((first @ second.T).argmax(axis=1) == np.arange(64)).mean() >= 0.95


def test_temperature_sharpens(tmp_path, shared):
    golden = Golden(shared, "simcse", tmp_path)
    task = SimcseTask(golden.tokenizer(), seq_length=12)
    inputs = tensors(task.collate(task.read(golden.tsv(), training=True), np.arange(6)).inputs)
    body = task_body(golden.config(), 120)
    cold, warm = (golden.load(SimcseModel(body, pooling="mean", temperature=t)) for t in (0.05, 0.5))
    close(cold.similarities(inputs), warm.similarities(inputs) * 10, 1e-4)
