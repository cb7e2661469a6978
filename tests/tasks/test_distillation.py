"""A small classifier learns from a fine-tuned one: TinyBERT's frozen loss, the two stages, the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

from tests.tasks.scripts import script
from uer.checkpoints import read_companion, read_state
from uer.cli import run
from uer.config.finetune import DistillOptions
from uer.config.model import ModelConfig
from uer.errors import ConfigError
from uer.models.initialize import initialize
from uer.tasks.classifier import ClassifierModel
from uer.tasks.distillation import (
    Distance,
    DistilledClassifier,
    build_student,
    guess_distance,
    open_teacher,
)
from uer.tokenizers import build_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "distillation" / "F28_tinybert_losses.safetensors"
SIZES = {
    "emb_size": 32,
    "hidden_size": 32,
    "feedforward_size": 64,
    "heads_num": 2,
    "layers_num": 2,
    "max_seq_length": 64,
    "dropout": 0.0,
}
CONFIG = ModelConfig(**SIZES, labels_num=3)


def test_tinybert_s_frozen_loss_of_guesses():
    """Theirs is the cross-entropy; ours leaves out the entropy of the teacher, which no gradient sees."""
    tensors = load_file(GOLDEN)
    own, wanted = tensors["in.student_logits"].double(), tensors["in.teacher_logits"].double()
    p = wanted.softmax(-1)
    entropy = -(p * p.log()).sum(-1).mean()
    found = guess_distance(own, wanted, 1.0) / 2 + entropy
    assert float(found) == pytest.approx(float(tensors["out.pred_loss"]), rel=1e-5, abs=2e-6)
    warm = guess_distance(own, wanted, 3.0)
    p, q = (wanted / 3).softmax(-1), (own / 3).softmax(-1)
    assert float(warm) == pytest.approx(float(9 * (p * (p / q).log()).sum()))


def built(learnt: tuple[str, ...], **more: float) -> DistilledClassifier:
    torch.manual_seed(0)
    teacher = ClassifierModel.build(CONFIG.replace(layers_num=4), 40)
    model = build_student(CONFIG, 40, teacher=teacher, learnt=learnt, **more)
    initialize(model)
    with torch.no_grad():
        for parameter in [*model.parameters(), *teacher.parameters()]:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


SRC = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, 0, 0]])
INPUTS = {"src": SRC, "seg": (SRC > 0).long()}
GOLD = torch.tensor([2, 0])


def test_the_terms_in_fp64():
    model = built(("soft", "states", "scores"), hard_share=0.25)
    terms = model(INPUTS, {"cls": GOLD})
    assert set(terms) == {"soft", "cls", "states", "scores"}
    own, wanted = model.logits(INPUTS).double(), model.teacher.logits(INPUTS).double()
    p, q = (wanted / 2).softmax(-1), (own / 2).softmax(-1)
    assert float(terms["soft"].loss_sum) == pytest.approx(float(4 * (p * (p / q).log()).sum()), rel=1e-4)
    gold = torch.nn.functional.cross_entropy(own, GOLD, reduction="sum")
    assert float(terms["cls"].loss_sum) == pytest.approx(float(gold), rel=1e-5)
    assert (terms["soft"].weight, terms["cls"].weight) == (0.75, 0.25)
    assert int(terms["soft"].count) == 2 and int(terms["states"].count) == 8
    states = [m.encode(INPUTS, all_layers=True).layers for m in (model, model.teacher)]
    real = INPUTS["seg"] > 0
    linear = model.target.states.linear
    wanted = sum(
        (linear(states[0][number]) - states[1][2 * number])[real].square().mean(-1).sum()
        for number in range(3)
    )
    assert float(terms["states"].loss_sum) == pytest.approx(float(wanted), rel=1e-5)


def test_without_true_labels_and_without_guesses():
    assert set(built(("soft",))(INPUTS, {"cls": GOLD})) == {"soft"}
    model = built(("cosine", "attention"))
    terms = model(INPUTS, {"cls": GOLD})
    assert set(terms) == {"cosine", "attention"}
    sum(term.loss_sum for term in terms.values()).backward()
    assert model.output_layer_2.weight.grad is None
    assert not any(p.requires_grad for p in model.teacher.parameters())
    assert not [name for name in model.state_dict() if name.startswith("teacher")]


def test_the_distance_is_a_score():
    distance = Distance()
    assert np.isnan(distance.scores()["closeness"])
    terms = built(("states",))(INPUTS, {"cls": GOLD})
    distance.update(terms)
    mean = float(terms["states"].loss_sum) / 8
    assert distance.scores() == {"closeness": pytest.approx(-mean)}
    assert distance.report() == [f"Distance from the teacher: states {mean:.4f}"]


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory) -> Path:
    """Real reviews, a vocabulary of their characters, configurations of teacher and student."""
    folder = tmp_path_factory.mktemp("distil")
    rows = (shared / "data/datasets/book_review/train.tsv").read_text(encoding="utf-8").split("\n")
    short = [row for row in rows[1:] if 4 < len(row) < 24]
    good, bad = ([row for row in short if row[0] == label][:32] for label in "10")
    chosen = [row for pair in zip(good, bad) for row in pair]
    (folder / "train.tsv").write_text("\n".join([rows[0], *chosen]) + "\n", encoding="utf-8")
    chars = dict.fromkeys(char for char in "".join(chosen).lower() if not char.isspace())
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *chars]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "student.json").write_text(json.dumps({**SIZES, "layers_num": 1, "pooling": "mean"}))
    (folder / "teacher.json").write_text(json.dumps({**SIZES, "pooling": "mean"}))
    more = ["--epochs_num", "12"]
    assert (
        run(script("finetune/run_classifier").main, words(folder, "teacher", f"{folder}/teacher.bin", *more))
        == 0
    )
    return folder


def words(folder: Path, config: str, output: str, *more: str) -> list[str]:
    return [
        *("--train_path", f"{folder}/train.tsv", "--dev_path", f"{folder}/train.tsv"),
        *("--vocab_path", f"{folder}/vocab.txt", "--config_path", f"{folder}/{config}.json"),
        *("--output_model_path", output, "--seq_length", "32", "--batch_size", "16"),
        *("--learning_rate", "5e-3", "--precision", "fp32", "--report_steps", "4"),
        *more,
    ]


def score(output: str) -> float:
    return json.loads(Path(f"{output}.run/finished.json").read_text())["result"]["score"]


def test_from_a_teacher_to_a_student_in_two_stages(folder, load_script):
    """The student of two stages is as good as its teacher, and predicts without it."""
    distill = load_script("scripts/distill.py").main
    taught = ["--teacher_path", f"{folder}/teacher.bin"]
    first = words(
        folder, "student", "first.bin", *taught, "--distill", "states", "scores", "--epochs_num", "6"
    )
    assert run(distill, first) == 0
    closeness = [
        json.loads(line)["dev_closeness"]
        for line in Path("first.bin.run/metrics.jsonl").read_text().splitlines()
        if "dev_closeness" in line
    ]
    assert len(closeness) == 6 and closeness[-1] > 0.6 * closeness[0]  # both are negative
    assert score("first.bin") == pytest.approx(max(closeness))
    second = words(
        folder, "student", "second.bin", *taught, "--pretrained_model_path", "first.bin",
        "--soft_temperature", "1", "--epochs_num", "12", "--test_path", f"{folder}/train.tsv",
    )  # fmt: skip
    assert run(distill, second) == 0
    assert score("second.bin") >= score(f"{folder}/teacher.bin") - 0.08 and score("second.bin") > 0.85
    state, companion = read_state("second.bin"), read_companion("second.bin")
    assert not [name for name in state if name.startswith("teacher.")]
    assert companion.extra["task"] == "classifier" and companion.config.teacher is None
    infer = load_script("inference/run_classifier_infer.py").main
    table = (folder / "train.tsv").read_text(encoding="utf-8").split("\n")[:5]
    Path("test.tsv").write_text("\n".join(line.split("\t")[1] for line in table) + "\n", encoding="utf-8")
    asked = ["--load_model_path", "second.bin", "--test_path", "test.tsv", "--prediction_path", "out.tsv"]
    assert run(infer, asked) == 0
    assert len(Path("out.tsv").read_text().splitlines()) == 5


def test_every_flag_changes_the_losses(folder, load_script):
    """One batch each: the temperature, the share of true labels, what is learnt, from which layers."""
    distill = load_script("scripts/distill.py").main
    found = []
    for more in (
        [],
        ["--soft_temperature", "1"],
        ["--hard_share", "0.5"],
        ["--distill", "soft", "states"],
        ["--distill", "soft", "states", "--teacher_layers", "1"],
    ):
        flags = ["--teacher_path", f"{folder}/teacher.bin", "--epochs_num", "1", "--batch_size", "64", *more]
        assert run(distill, words(folder, "student", "s.bin", *flags, "--report_steps", "1")) == 0
        lines = Path("s.bin.run/metrics.jsonl").read_text().splitlines()
        found.append(next(json.loads(line)["loss"] for line in lines if '"loss"' in line))
    assert len({round(loss, 4) for loss in found}) == 5


def test_a_folder_of_hugging_face_can_teach(folder):
    """Its labels and its logits are those of its own program."""
    config = BertConfig(
        vocab_size=len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines()),
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=20,
        num_hidden_layers=2,
        id2label={0: "bad", 1: "good", 2: "so"},
        label2id={"bad": 0, "good": 1, "so": 2},
    )
    theirs = BertForSequenceClassification(config).eval()
    theirs.save_pretrained("theirs")
    Path("theirs/vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    tokenizer = build_tokenizer("bert", vocab_path=folder / "vocab.txt")
    teacher, labels = open_teacher("theirs", tokenizer)
    assert list(labels.names) == ["bad", "good", "so"]
    with torch.no_grad():
        wanted = theirs(SRC, attention_mask=INPUTS["seg"]).logits
        torch.testing.assert_close(teacher.eval().logits(INPUTS), wanted, rtol=1e-4, atol=1e-5)
    student = CONFIG.replace(labels_num=3)
    model = build_student(student, len(tokenizer), teacher=teacher, learnt=("soft", "states", "attention"))
    assert set(model(INPUTS, {"cls": GOLD})) == {"soft", "states", "attention"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--teacher_path", "bare.bin"], "bare.bin has no companion folder that says what model it is"),
        (["--teacher_path", "teacher.bin", "--peft", "lora"], "a student learns all of them: leave it out"),
        (
            ["--teacher_path", "teacher.bin", "--vocab_path", "other.txt"],
            "that of teacher.bin is another one",
        ),
        (["--teacher_path", "ner.bin"], "ner.bin is a model of the task 'ner', not 'classifier'"),
        (["--teacher_path", "teacher.bin", "--train_path", "bad.tsv"], "bad.tsv"),
    ],
)
def test_faults(folder, load_script, capsys, more, message):
    from uer.checkpoints import write_state

    tokenizer = build_tokenizer("bert", vocab_path=folder / "vocab.txt")
    teacher = ClassifierModel.build(ModelConfig(**SIZES, labels_num=2), len(tokenizer))
    config, state = teacher.config, teacher.state_dict()
    write_state("bare.bin", state)
    common = {"config": config, "tokenizer": tokenizer, "labels": ["0", "1"]}
    write_state("teacher.bin", state, **common, extra={"task": "classifier"})
    write_state("ner.bin", state, **common, extra={"task": "ner"})
    Path("other.txt").write_text(
        (folder / "vocab.txt").read_text(encoding="utf-8") + "新\n", encoding="utf-8"
    )
    Path("bad.tsv").write_text("label\ttext_a\n7\t好\n", encoding="utf-8")
    main = load_script("scripts/distill.py").main
    assert run(main, words(folder, "student", "s.bin", *more)) == 2
    assert message in capsys.readouterr().err


def test_options_that_make_no_sense():
    with pytest.raises(
        ConfigError, match="--hard_share trains the head on true labels, beside --distill soft"
    ):
        DistillOptions(teacher_path="t", distill=("states",), hard_share=0.5)
    with pytest.raises(ConfigError, match="--distill names something twice: soft soft"):
        DistillOptions(teacher_path="t", distill=("soft", "soft"))
