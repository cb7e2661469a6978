"""Tagging: UER-py's numbers, word pieces, windows, faulty files, and the scripts."""

import json
import random

import numpy as np
import pytest
import seqeval.metrics
import torch

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import Folder, finetune, infer
from uer.checkpoints import read_companion, read_state
from uer.errors import ConfigError, DataError
from uer.layers.layout import Layout
from uer.tasks.body import task_body
from uer.tasks.crf import CRF
from uer.tasks.labels import LabelMap
from uer.tasks.ner import NerModel, NerTask, read_label2id, read_tags
from uer.tasks.predict import evaluate
from uer.tokenizers import build_tokenizer
from uer.training.precision import Precision

TAGS = ("O", "B-X", "I-X", "[PAD]")


@pytest.fixture
def golden(shared, tmp_path):
    golden = Golden(shared, "ner", tmp_path)
    (tmp_path / "label2id.json").write_text(json.dumps(golden.facts["label2id"]))
    return golden


def test_rows_logits_loss_and_tags_are_uers(golden, tmp_path):
    labels = read_label2id(tmp_path / "label2id.json")
    assert labels.names == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "[PAD]")
    task = NerTask(golden.tokenizer("space"), labels, seq_length=12)
    examples = task.read(golden.tsv(), training=True)
    batch = task.collate(examples, np.arange(6))
    inputs, gold = tensors(batch.inputs), torch.from_numpy(batch.labels["ner"])
    assert torch.equal(inputs["src"], golden["in.src"]) and torch.equal(inputs["seg"], golden["in.seg"])
    assert torch.equal(gold.masked_fill(inputs["seg"] == 0, 5), golden["in.tgt"])
    model = golden.load(NerModel(task_body(golden.config(), 120), labels_num=6, crf=False))
    logits, layout = model.logits(inputs)
    close(logits, layout.pack(golden["out.logits"]))
    term = model(inputs, {"ner": gold})["ner"]
    close(term.loss_sum / term.count, golden["out.loss"], 2e-6)
    real = inputs["seg"] > 0
    # UER may predict the label of padding for a word; we take the best real tag there
    expected = golden["out.logits"][..., :5].argmax(-1)
    assert torch.equal(model.predict(inputs)[real], expected[real])
    metric = evaluate(model, task, examples, batch_size=4, precision=Precision("fp32"))
    sides = [
        [[labels.names[t] for t, r in zip(*row) if r] for row in zip(side.tolist(), real.tolist())]
        for side in (gold, expected)
    ]
    assert metric.scores()["f1"] == pytest.approx(seqeval.metrics.f1_score(*sides), abs=1e-8)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def wordpiece(tmp_path):
    return build_tokenizer(
        "bert",
        vocab_path=write(
            tmp_path / "v.txt",
            "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c", "d"]),
        ),
    )


def test_a_word_of_several_pieces_has_its_tag_at_the_first(tmp_path, wordpiece):
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=10, special_tokens=True)
    path = write(tmp_path / "t.tsv", "text_a\tlabel\nac b \u200b acc\tB-X I-X O B-X\nd\tO\n")
    examples = task.read(path)
    batch = task.collate(examples, np.array([0, 1]))
    assert batch.inputs["src"].tolist() == [[2, 5, 7, 6, 1, 5, 7, 7, 3], [2, 8, 3, 0, 0, 0, 0, 0, 0]]
    assert batch.labels["ner"].tolist() == [
        [-100, 1, -100, 2, 0, 1, -100, -100, -100],
        [-100, 0, *[-100] * 7],
    ]
    assert batch.counts == {"ner": 5}


def test_wide_blanks_are_words(tmp_path, wordpiece):
    """Tables of single characters have them; at the ends of a row too."""
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=10)
    path = write(tmp_path / "t.tsv", "text_a\tlabel\n\u3000 a \xa0\tO B-X I-X\n a b \tO O\n")
    examples = task.read(path)
    assert examples.ids.tolist() == [1, 5, 1, 5, 6]
    assert examples.tokens["ner"].tolist() == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("crf", [False, True])
def test_windows_give_every_word_its_tag_once(tmp_path, wordpiece, crf):
    rng = random.Random(1)
    rows = [[rng.choice(["a", "ac", "bcc", "d"]) for _ in range(n)] for n in (30, 3, 17)]
    path = write(
        tmp_path / "t.tsv",
        "text_a\tlabel\n" + "".join(f"{' '.join(w)}\t{' '.join(['B-X'] * len(w))}\n" for w in rows),
    )
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=8, overflow="window", special_tokens=True, crf=crf)
    examples = task.read(path)
    assert len(examples) > 3 and examples.lengths.max() <= 8
    words = examples.tokens["word"][examples.tokens["word"] >= 0]
    assert sorted(words) == list(range(50))
    learned = int((examples.tokens["ner"] == 1).sum())  # a field learns all words of each window
    assert learned > 50 if crf else learned == 50
    cells = task.cells(
        lambda ex: [(task.collate(ex, np.arange(len(ex))), np.full((len(ex), ex.lengths.max()), 2))],
        [{"text_a": " ".join(w)} for w in rows],
    )
    assert cells == ["I-X " * 30, "I-X " * 3, "I-X " * 17]
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=8)
    assert len(task.read(path)) == 3


class Letters(torch.nn.Module):
    """Emissions by the letter alone, and a field in which I-X begins no row."""

    def __init__(self, vocabulary, tags):
        super().__init__()
        table = {"a": 1, "b": 2}
        scores = torch.full((len(vocabulary), len(tags)), -1.0)
        for token, number in vocabulary.items():
            scores[number, table.get(token, 0)] = 1.0
        self.scores, self.crf, self.padded = scores, CRF(len(tags)), True
        for parameter in self.crf.parameters():
            torch.nn.init.zeros_(parameter)
        torch.nn.init.constant_(self.crf.start_transitions[2:], -9.0)

    def logits(self, inputs):
        layout = Layout.from_seg(inputs["seg"])
        return self.scores[layout.pack(inputs["src"])], layout

    predict, _of_words = NerModel.predict, staticmethod(NerModel._of_words)


@pytest.mark.parametrize("before", range(9))
def test_a_field_reads_whole_windows_so_that_a_name_over_a_border_stays_whole(tmp_path, wordpiece, before):
    """Wherever one window hands over to the next, I-X stays I-X there."""
    words = ["d"] * before + ["a"] + ["b"] * 8 + ["d"] * 3
    gold = ["B-X" if w == "a" else "I-X" if w == "b" else "O" for w in words]
    path = write(tmp_path / "t.tsv", f"text_a\tlabel\n{' '.join(words)}\t{' '.join(gold)}\n")
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=6, overflow="window", crf=True)
    model, examples = Letters(wordpiece.vocab.index, TAGS), task.read(path, training=True)

    def predicted(found):
        batch = task.collate(found, np.arange(len(found)))
        return batch, model.predict(tensors(batch.inputs)).numpy()

    batch, outputs = predicted(examples)
    # each window knows the tags of all its words, and each word is scored once
    assert (batch.labels["ner"] >= 0).sum() == batch.inputs["seg"].sum() > len(words)
    assert (examples.tokens["word"] >= 0).sum() == len(words)
    metric = task.metric()
    task.score(metric, outputs, batch, examples)
    assert metric.scores()["f1"] == pytest.approx(1)
    cells = task.cells(lambda found: [predicted(found)], [{"text_a": " ".join(words)}])
    assert cells[0].split() == gold


def test_long_rows(tmp_path, wordpiece, caplog, monkeypatch):
    from uer.utils.logging import logger

    monkeypatch.setattr(logger, "propagate", True)
    path = write(tmp_path / "t.tsv", "text_a\tlabel\na b\tO O\na b d\tO B-X I-X\n")
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=2)
    assert (task.read(path).tokens["ner"] >= 0).sum() == 4
    assert (
        "1 of 2 rows are longer than --seq_length 2 tokens; they were cut, so their last words" in caplog.text
    )
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=2, overflow="drop")
    assert len(task.read(path, training=True)) == 1 and len(task.read(path)) == 2
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=2, overflow="error")
    with pytest.raises(DataError, match=r"t.tsv:3: the row is too long \(1 of 2 rows"):
        task.read(path, training=True)
    task = NerTask(wordpiece, LabelMap(TAGS), seq_length=1, overflow="drop")
    with pytest.raises(DataError, match="every row is too long"):
        task.read(path, training=True)


@pytest.mark.parametrize(
    "row, message",
    [
        ("a b\tO", r"t.tsv:3: the row has 2 words and 1 tags"),
        (
            "a b\tO B-Y",
            r"t.tsv:3: the label 'B-Y' is not among those of train.tsv: O, B-X, I-X, \[PAD\]. Did you",
        ),
        ("a", r"t.tsv:3: the row has 1 of 2 columns"),
    ],
)
def test_faulty_rows(tmp_path, wordpiece, row, message):
    path = write(tmp_path / "t.tsv", f"text_a\tlabel\na\tO\n{row}\n")
    with pytest.raises(DataError, match=message):
        NerTask(wordpiece, LabelMap(TAGS, "train.tsv"), seq_length=8).read(path)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"O": 1}', '{"O": 0, "B": 0}', '{"O": "0"}', '{"O": true, "B": false}']
)
def test_faulty_tags(tmp_path, text):
    with pytest.raises(DataError, match=r"l.json: must be an object of tags and their ids 0, 1, 2"):
        read_label2id(write(tmp_path / "l.json", text))


def test_missing_and_broken_tags(tmp_path):
    with pytest.raises(DataError, match=r"l.json: cannot be read .*--label2id_path"):
        read_label2id(tmp_path / "l.json")
    with pytest.raises(DataError, match=r"l.json: is not valid JSON"):
        read_label2id(write(tmp_path / "l.json", "{"))
    with pytest.raises(DataError, match=r"t.tsv: there is no row under the header"):
        read_tags(write(tmp_path / "t.tsv", "text_a\tlabel\n"), None)
    path = write(tmp_path / "t.tsv", "text_a\tlabel\na b c\tO B-Y B-X\n")
    assert read_tags(path, None).names == ("O", "B-X", "B-Y", "[PAD]")


@pytest.mark.parametrize("crf", [False, True])
def test_64_rows_are_memorised(tmp_path, capsys, crf):
    folder, rng = Folder(tmp_path), random.Random(3)
    rows = []
    for _ in range(64):
        words = [rng.choice("abcdefghij") for _ in range(rng.randint(2, 14))]
        tags = ["B-X" if word in "abc" else "I-X" if word in "de" else "O" for word in words]
        rows.append([" ".join(words), " ".join(tags), "z"])
    folder.table("rows.tsv", ["text_a", "label", "more"], rows)
    settings = {"epochs_num": 12, "batch_size": 8, "seq_length": 10, "overflow": "window", "crf_target": crf}
    finetune("run_ner", folder, test_path=folder / "rows.tsv", **settings)
    log = capsys.readouterr().err
    assert "INFO] Labels: {'O': 0, 'B-X': 1, 'I-X': 2, '[PAD]': 3}" in log
    assert read_companion(folder / "model.bin").extra["crf_target"] is crf
    assert ("crf.transitions" in read_state(folder / "model.bin")) is crf
    capsys.readouterr()
    infer("run_ner", folder, overflow="window", keep_columns=["more"])
    assert "Labels:  {'O': 0" in capsys.readouterr().out
    header, predicted = folder.read("out.tsv")
    assert header == ["pred_label", "more"]
    assert all(cell.endswith(" ") for cell, _ in predicted)
    sides = [[row[1].split(" ") for row in rows], [cell.split() for cell, _ in predicted]]
    assert seqeval.metrics.f1_score(*sides) >= 0.95
    test = log.rsplit("Report precision, recall, and f1:")[-1]
    assert f", {seqeval.metrics.f1_score(*sides):.3f}" in test
    capsys.readouterr()
    infer("run_ner", folder)  # as it was trained
    assert capsys.readouterr().err.count("rows are longer than --seq_length") == 1
    assert folder.read("out.tsv")[1] == [[cell] for cell, _ in predicted]
    infer("run_ner", folder, overflow="truncate")
    assert [len(cell.split()) for (cell,) in folder.read("out.tsv")[1]] == [
        min(10, len(r[0].split())) for r in rows
    ]


def test_parts_of_speech_choose_the_best_model(tmp_path, capsys):
    folder, rng, kinds = Folder(tmp_path), random.Random(5), {"a": "NN", "b": "VV", "c": "M"}
    rows = [
        [" ".join(words), " ".join(kinds[w] for w in words)]
        for words in (rng.choices("abc", k=6) for _ in range(32))
    ]
    folder.table("rows.tsv", ["text_a", "label"], rows)
    finetune("run_ner", folder, test_path=folder / "rows.tsv", epochs_num=8)
    log = capsys.readouterr().err
    assert "No tag begins with B-, I-, E- or S-, so each tag is scored by itself, word by word." in log
    assert "VV: 1.000, 1.000, 1.000" in log.rsplit("Test set evaluation.")[-1]
    folder.table("rows.tsv", ["text_a", "label"], [["a b", "b-x B-Y"]] * 4)
    finetune("run_ner", folder, epochs_num=1)
    assert "begin with none of B-, I-, E-, S- count as O in the score: b-x." in capsys.readouterr().err


def test_inference_without_a_companion(tmp_path):
    folder = Folder(tmp_path)
    folder.table("rows.tsv", ["text_a", "label"], [["a b c", "O B-X I-X"]] * 4)
    tags = folder.write("tags.json", '{"O": 0, "B-X": 1, "I-X": 2}')
    finetune("run_ner", folder, label2id_path=tags, epochs_num=1)
    infer("run_ner", folder, label2id_path=tags)
    expected = folder.read("out.tsv")
    other = folder.write("other.json", '{"O": 0, "B-Y": 1, "I-X": 2}')
    with pytest.raises(
        ConfigError, match=r"other.json has other tags \(O, B-Y, I-X, \[PAD\]\) than the model"
    ):
        infer("run_ner", folder, label2id_path=other)
    with pytest.raises(ConfigError, match=r"--crf_target is true, but the model .* was trained with false"):
        infer("run_ner", folder, crf_target=True)
    torch.save(read_state(folder / "model.bin"), folder / "uer.bin")
    described = {
        "load_model_path": folder / "uer.bin",
        "vocab_path": folder.vocab,
        "config_path": folder.config,
    }
    infer("run_ner", folder, label2id_path=tags, **described)
    assert folder.read("out.tsv") == expected
    with pytest.raises(ConfigError, match="--label2id_path must be given"):
        infer("run_ner", folder, **described)


def test_the_vocabulary_of_the_pretrained_model_serves(tmp_path):
    folder = Folder(tmp_path)
    folder.table("rows.tsv", ["text_a", "label"], [["a b c", "O B-X I-X"]] * 4)
    folder.table("cls.tsv", ["label", "text_a"], [[i % 2, "a b"] for i in range(4)])
    finetune("run_classifier", folder, "cls.tsv", epochs_num=1, output_model_path=folder / "body.bin")
    settings = {"pretrained_model_path": folder / "body.bin", "config_path": None, "epochs_num": 1}
    finetune("run_ner", folder, vocab_path=None, **settings)
    assert "space" in (folder.path / "model.bin.meta" / "tokenizer" / "tokenizer_config.json").read_text()
    finetune("run_ner", folder, **settings)
    other = write(folder.path / "other.txt", (folder.path / "vocab.txt").read_text() + "X\n")
    with pytest.raises(ConfigError, match="the typed vocabulary has 32 tokens, and the model"):
        finetune("run_ner", folder, vocab_path=other, **settings)
