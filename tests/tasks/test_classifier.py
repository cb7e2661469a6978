"""The classifier against UER-py's own numbers, and what its files may hold."""

import numpy as np
import pytest
import torch

from tests.tasks.golden import Golden, close, tensors
from uer.errors import DataError
from uer.layers.pooling import pool
from uer.models.build import build_body
from uer.tasks.classifier import ClassifierModel, ClassifierTask, classification_term, read_labels
from uer.tasks.labels import LabelMap

POOLINGS = ("first", "mean", "max", "last")


@pytest.fixture(params=["classifier", "classifier_2021"])
def golden(request, shared, tmp_path):
    return Golden(shared, request.param, tmp_path)


def task_of(golden, **settings):
    old = golden.facts["era"] == "2021"
    labels = read_labels(golden.tsv())
    return ClassifierTask(
        golden.tokenizer(), labels, seq_length=12, single_text_sep=not old, soft_targets=True, **settings
    )


def model_of(golden, pooling, alpha=0.5):
    body = build_body(golden.config(), len(golden.facts["vocab"]))
    return golden.load(ClassifierModel(body, labels_num=3, pooling=pooling, soft_alpha=alpha))


def batch_of(task, examples, width=12):
    batch = task.collate(examples, np.arange(len(examples)))
    inputs = {name: np.pad(x, ((0, 0), (0, width - x.shape[1]))) for name, x in batch.inputs.items()}
    return tensors(inputs), tensors(batch.labels)


def test_rows_are_read_as_uer_reads_them(golden):
    task = task_of(golden)
    inputs, labels = batch_of(task, task.read(golden.tsv(), training=True))
    assert torch.equal(inputs["src"], golden["in.src"])
    assert torch.equal(inputs["seg"], golden["in.seg"])
    assert torch.equal(labels["cls"], golden["in.tgt"])
    close(labels["soft"], golden["in.soft_tgt"], 0, 0)
    inputs, labels = batch_of(task, task.read(golden.tsv("pair_rows", "pairs.tsv")))
    assert torch.equal(inputs["src"], golden["in.pair.src"])
    assert torch.equal(inputs["seg"], golden["in.pair.seg"])
    assert torch.equal(labels["cls"], golden["in.pair.tgt"])


def comparable(golden, pooling):
    """2021 pools padding too; ours equals it where no padding is looked at."""
    return golden.facts["era"] == "2024" or pooling == "first"


@pytest.mark.parametrize("pooling", POOLINGS)
def test_logits_and_losses_are_uers(golden, pooling):
    task = task_of(golden)
    inputs, labels = batch_of(task, task.read(golden.tsv(), training=True))
    hard = {"cls": labels["cls"]}
    model = model_of(golden, pooling)
    if not comparable(golden, pooling):
        expected = model.output_layer_2(
            torch.tanh(model.output_layer_1(pool(pooling, golden["out.encoder"], inputs["seg"])))
        )
        close(model.logits(inputs), expected)
        return
    close(model.logits(inputs), golden[f"out.{pooling}.logits"])
    term = model(inputs, hard)["cls"]
    close(term.loss_sum / term.count, golden[f"out.{pooling}.loss"], 2e-6)
    for alpha in (0.3, 0.5):
        term = model_of(golden, pooling, alpha)(inputs, labels)["cls"]
        close(term.loss_sum / term.count, golden[f"out.{pooling}.loss_soft_{alpha}"], 2e-6)
        assert int(term.count) == 6
        assert int(term.correct) == int((golden[f"out.{pooling}.logits"].argmax(1) == labels["cls"]).sum())


def test_pairs_are_uers(golden):
    task = task_of(golden)
    inputs, labels = batch_of(task, task.read(golden.tsv("pair_rows", "pairs.tsv")))
    model = model_of(golden, "first")
    close(model.logits(inputs), golden["out.pair.first.logits"])
    term = model(inputs, labels)["cls"]
    close(term.loss_sum / term.count, golden["out.pair.first.loss"], 2e-6)


def test_pairs_are_pooled_with_equal_weights(golden):
    task = task_of(golden)
    inputs, _ = batch_of(task, task.read(golden.tsv("pair_rows", "pairs.tsv")))
    real = inputs["seg"] > 0
    expected = (golden["out.pair.encoder"] * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    model = model_of(golden, "mean")
    close(model.logits(inputs), model.output_layer_2(torch.tanh(model.output_layer_1(expected))))


def test_padding_and_company_change_nothing(golden):
    task = task_of(golden)
    examples = task.read(golden.tsv(), training=True)
    model = model_of(golden, "mean")
    together = model.logits(batch_of(task, examples)[0])
    wide = model.logits(batch_of(task, examples, width=20)[0])
    close(wide, together)
    for row in range(len(examples)):
        alone = tensors(task.collate(examples, np.array([row])).inputs)
        close(model.logits(alone), together[row : row + 1])


def test_the_gradient_of_a_window_is_that_of_its_rows(golden):
    task = task_of(golden)
    inputs, labels = batch_of(task, task.read(golden.tsv(), training=True))
    model = model_of(golden, "first")
    model(inputs, labels)["cls"].loss_sum.backward()
    whole = model.output_layer_1.weight.grad.clone()
    model.zero_grad()
    for row in range(6):
        model(
            {k: x[row : row + 1] for k, x in inputs.items()}, {k: x[row : row + 1] for k, x in labels.items()}
        )["cls"].loss_sum.backward()
    close(model.output_layer_1.weight.grad, whole)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c"


@pytest.fixture
def tokenizer(tmp_path):
    from uer.tokenizers import build_tokenizer

    return build_tokenizer(
        "space", vocab_path=write(tmp_path / "vocab.txt", TOKENS.replace(" ", "\n") + "\n")
    )


def test_integer_labels_are_their_own_ids(tmp_path):
    path = write(tmp_path / "t.tsv", "text_a\tlabel\nx\t2\ny\t0\nz\t1\nx\t2\n")
    labels = read_labels(path)
    assert labels.integers and labels.names == ("0", "1", "2")
    assert [labels.id_of(text, path, 2) for text in ("2", " 1 ", "00")] == [2, 1, 0]


def test_names_are_numbered_in_sorted_order(tmp_path):
    path = write(tmp_path / "t.tsv", "label\ttext_a\npos\tx\nneg\ty\n7\tz\n")
    labels = read_labels(path)
    assert labels.names == ("7", "neg", "pos") and not labels.integers
    assert labels.id_of("pos", path, 2) == 2
    assert LabelMap(labels.names).names == labels.names


@pytest.mark.parametrize(
    "rows, labels_num, message",
    [
        (
            "1\tx\n2\ty\n",
            None,
            r"t.tsv:3: the label 2 is outside 0 … 1: the file has 2 different integers \(1, 2\)",
        ),
        ("0\tx\n-1\ty\n", None, "t.tsv:3: the label -1 is outside 0 … 1"),
        ("0\tx\n5\ty\n", 3, "t.tsv:3: the label 5 is outside 0 … 2"),
        ("a\tx\nb\ty\n", 3, r"t.tsv: there are 2 labels \(a, b\), but --labels_num is 3"),
        ("a\tx\na\ty\n", None, "t.tsv: all rows have the label 'a'"),
        ("0\tx\n0\ty\n", None, "t.tsv: all rows have the label '0'"),
        ("1\tx\n1\ty\n", None, "t.tsv: all rows have the label '1'"),
        ("0\tx\n00\ty\n", 1, "t.tsv: all rows have the label '0'"),
        ("a\tx\n \ty\n", None, "t.tsv:3: the label is empty"),
        ("", None, "t.tsv: there is no row under the header"),
    ],
)
def test_faulty_labels_of_training(tmp_path, rows, labels_num, message):
    path = write(tmp_path / "t.tsv", "label\ttext_a\n" + rows)
    with pytest.raises(DataError, match=message):
        read_labels(path, labels_num)


def test_labels_num_may_leave_room(tmp_path):
    path = write(tmp_path / "t.tsv", "label\ttext_a\n0\tx\n3\ty\n")
    assert len(read_labels(path, 5)) == 5


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "label\ttext_a\nneg\ta\nposs\tb\n",
            r"d.tsv:3: the label 'poss' is not among those of .*t.tsv: neg, pos",
        ),
        ("label\ttext_a\nneg\n", r"d.tsv:2: the row has 1 of 2 columns"),
        ("label\ttext_b\nneg\ta\n", r"d.tsv:1: the column 'text_a' is missing"),
        ("label\ttext_a\n", r"d.tsv: there is no row under the header"),
        ("", r"d.tsv: the file is empty"),
        ("neg\ta b\n", r"d.tsv:1: the first line must name the columns"),
        ("label\ttext_a\nneg\ta\n\n", r"d.tsv:3: the row is empty"),
    ],
)
def test_faulty_rows(tmp_path, tokenizer, text, message):
    task = ClassifierTask(tokenizer, LabelMap(("neg", "pos"), "t.tsv"), seq_length=8)
    with pytest.raises(DataError, match=message):
        task.read(write(tmp_path / "d.tsv", text))


@pytest.mark.parametrize(
    "logits, message",
    [
        ("0.1", r"d.tsv:3: the column 'logits' holds 1 numbers, but there are 2 labels"),
        ("0.1 x", r"d.tsv:3: the column 'logits' holds 'x', which is no finite number"),
        ("nan 0.1", r"d.tsv:3: the column 'logits' holds 'nan', which is no finite number"),
    ],
)
def test_faulty_soft_targets(tmp_path, tokenizer, logits, message):
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=8, soft_targets=True)
    path = write(tmp_path / "d.tsv", f"label\ttext_a\tlogits\n0\ta\t1 2\n1\tb\t{logits}\n")
    with pytest.raises(DataError, match=message):
        task.read(path, training=True)
    assert "soft" not in task.read(path).labels  # only training reads them
    with pytest.raises(DataError, match="the column 'logits' is missing"):
        task.read(write(path, "label\ttext_a\n0\ta\n"), training=True)


def test_long_rows_are_cut_and_told_once(tmp_path, tokenizer, caplog, monkeypatch):
    from uer.utils.logging import logger

    monkeypatch.setattr(logger, "propagate", True)
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=4)
    path = write(tmp_path / "d.tsv", "text_a\ttext_b\tlabel\na b\tc\t0\na\tb\t1\na\t\t1\na b c a\tb\t1\n")
    examples = task.read(path)
    padded = examples.padded(np.arange(4), 0)
    assert padded["src"].tolist() == [[2, 5, 6, 3], [2, 5, 3, 6], [2, 5, 3, 3], [2, 5, 6, 7]]
    assert padded["seg"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 1]]
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 3 of 4 rows are longer than --seq_length 4 tokens; they were cut on the right."
    ]


def test_a_single_text_without_sep(tokenizer):
    rows = [{"text_a": "a b"}, {"text_a": ""}]
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=8, single_text_sep=False)
    assert task.encode(rows).padded(np.arange(2), 0)["src"].tolist() == [[2, 5, 6], [2, 0, 0]]
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=8)
    assert task.encode(rows).padded(np.arange(2), 0)["src"].tolist() == [[2, 5, 6, 3], [2, 3, 0, 0]]
    assert len(task.encode([])) == 0


def test_overflow_of_training_rows(tmp_path, tokenizer):
    path = write(tmp_path / "d.tsv", "label\ttext_a\n0\ta\n1\ta b c\n1\tc\n")
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=4, overflow="drop")
    kept = task.read(path, training=True)
    assert kept.labels["cls"].tolist() == [0, 1]
    assert kept.padded(np.arange(2), 0)["src"].tolist() == [[2, 5, 3], [2, 7, 3]]
    assert len(task.read(path)) == 3  # evaluated rows are all there
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=4, overflow="error")
    with pytest.raises(
        DataError, match=r"d.tsv:3: the row is too long \(1 of 3 rows are longer than --seq_length 4 tokens\)"
    ):
        task.read(path, training=True)
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=2, overflow="drop")
    with pytest.raises(DataError, match="every row is too long"):
        task.read(path, training=True)


def test_class_weights_are_scikit_learns(tmp_path, tokenizer):
    from sklearn.utils.class_weight import compute_sample_weight

    gold = [0, 0, 0, 0, 1, 1, 2]
    path = write(tmp_path / "d.tsv", "label\ttext_a\n" + "".join(f"{label}\ta\n" for label in gold))
    task = ClassifierTask(tokenizer, LabelMap.numbered(3), seq_length=4, class_weights=True)
    examples = task.read(path, training=True)
    np.testing.assert_allclose(examples.labels["weight"], compute_sample_weight("balanced", gold), rtol=1e-6)
    assert "weight" not in task.read(path).labels


def test_weighted_loss():
    logits, gold = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    weight = torch.tensor([0.5, 2.0, 1.0, 0.0])
    term = classification_term(logits, {"cls": gold, "weight": weight})
    expected = -(logits.log_softmax(1)[range(4), gold] * weight).sum()
    close(term.loss_sum, expected)
