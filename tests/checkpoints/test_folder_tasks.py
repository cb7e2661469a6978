"""Every downstream task begun from a Hugging Face folder with nothing typed but the folder and the data, and
predicted from the model that it saved; where `transformers` has the class, its export gives the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from tests.checkpoints.folders import make
from uer.checkpoints import read_companion, write_state
from uer.errors import CheckpointError
from uer.tasks.siamese import twin_config
from uer.tokenizers import load_tokenizer

TEXTS = ["我 很 喜 欢 这 本 书", "the good book", "不 好 a very bad book", "b c a", "好 书", "坏 the b"]


def table(name: str, *columns: str, rows: list[tuple]) -> None:
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def document(name: str, value: Any) -> None:
    Path(name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def c3() -> None:
    asked = [{"question": "book", "choice": ["好", "坏 a", "very"], "answer": "好", "id": "1"}]
    document("data", [[[text, "a b"], asked, f"d{n}"] for n, text in enumerate(TEXTS)])


def chid() -> None:
    lines = [
        {"candidates": ["好书", "坏 b", "a"], "content": [f"{text}#idiom{n:06d}#这本书"]}
        for n, text in enumerate(TEXTS)
    ]
    Path("data").write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    document("answers", {f"#idiom{n:06d}#": n % 3 for n in range(len(TEXTS))})


def cmrc() -> None:
    questions = [
        {"id": f"q{n}", "question": "the book", "answers": [{"text": text[:3], "answer_start": 0}]}
        for n, text in enumerate(TEXTS)
    ]
    paragraphs = [{"context": text, "qas": [asked]} for text, asked in zip(TEXTS, questions)]
    document("data", {"data": [{"paragraphs": paragraphs}]})


def dbqa() -> None:
    rows = [(n // 2, n % 2, text, TEXTS[n - 1]) for n, text in enumerate(TEXTS)]
    table("data", "qid", "label", "text_a", "text_b", rows=rows)


def tags() -> None:
    table(
        "data",
        "text_a",
        "label",
        rows=[(text, " ".join("OBI"[ord(w[0]) % 3] for w in text.split())) for text in TEXTS],
    )


def labelled(*labels: Any) -> Callable[[], None]:
    def write() -> None:
        rows = [(labels[n % len(labels)], text) for n, text in enumerate(TEXTS)]
        table("data", "label", "text_a", rows=rows)

    return write


def prompts() -> None:
    labelled(0, 1)()
    document("prompts", {"p": {"template": "[TEXT_A] 很 [ANS]", "answer_words": {"0": "a", "1": "b"}}})


def pairs() -> None:
    table(
        "data",
        "label",
        "text_a",
        "text_b",
        rows=[(n % 2, text, TEXTS[n - 1]) for n, text in enumerate(TEXTS)],
    )


class Task(NamedTuple):
    """A task: its script, what writes its data, further flags of training and of both, rows it answers."""

    script: str
    data: Callable[[], None]
    training: tuple[str, ...] = ()
    both: tuple[str, ...] = ()
    infer: str | None = None


ANSWERS = ("--train_answer_path", "answers", "--dev_answer_path", "answers")
TASKS = {
    "c3": Task("run_c3", c3),
    "chid": Task("run_chid", chid, ANSWERS),
    "cmrc": Task("run_cmrc", cmrc),
    "dbqa": Task("run_dbqa", dbqa, infer="run_classifier"),
    "ner": Task("run_ner", tags),
    "pairs": Task("run_classifier", pairs),
    "multi-label": Task("run_classifier_multi_label", labelled("x", "x,y", "z")),
    "regression": Task("run_regression", labelled(0.5, -1.25, 3)),
    "prompt": Task("run_classifier_prompt", prompts, (), ("--prompt_path", "prompts", "--prompt_id", "p")),
    "siamese": Task("run_classifier_siamese", pairs),
    "simcse": Task("run_simcse", pairs),
    "text2text": Task("run_text2text", labelled("a good book", "坏"), ("--tgt_seq_length", "12")),
}
HEADS = {
    "bert": "ForPreTraining",
    "electra": "ForPreTraining",
    "albert": "ForPreTraining",
    "gpt2": "LMHeadModel",
}
WRITERS = ("t5", "mt5", "bart", "pegasus")


@pytest.fixture
def run(tmp_path, monkeypatch, load_script):
    """`run(task, family)`: a folder is fine-tuned and asked; lines of the predictions."""
    monkeypatch.chdir(tmp_path)

    def call(
        name: str,
        family: str,
        *more: str,
        source: str = "theirs",
        epochs: int = 2,
        training: tuple[str, ...] = (),
    ) -> list[str]:
        task = TASKS[name]
        if not Path(source).exists():
            head = "ForConditionalGeneration" if family in WRITERS else HEADS.get(family, "ForMaskedLM")
            make(family, head, Path(source))
        task.data()
        files = ["--train_path", "data", "--dev_path", "data", "--output_model_path", "tuned.bin"]
        words = ["--pretrained_model_path", source, *files, *task.training, *task.both, *training]
        words += ["--epochs_num", str(epochs), "--learning_rate", "1e-3"]
        assert not load_script(f"finetune/{task.script}.py").main(words)
        return predicted(name, "tuned.bin", *more)

    def predicted(name: str, model: str, *more: str) -> list[str]:
        task = TASKS[name]
        words = [
            "--load_model_path",
            model,
            "--test_path",
            "data",
            "--prediction_path",
            "answers.out",
            *task.both,
            *more,
        ]
        script = f"inference/{task.infer or task.script}_infer.py"
        assert not load_script(script).main(words)
        return Path("answers.out").read_text(encoding="utf-8").splitlines()

    return call


@pytest.fixture
def export(load_script):
    """`export()`: the tuned model as a folder `out`."""

    def call() -> None:
        arguments = ["--load_model_path", "tuned.bin", "--output_path", "out"]
        assert not load_script("scripts/export.py").main(arguments)

    return call


def theirs(cls: str) -> tuple[Any, Any]:
    """The export as its owner opens it."""
    import transformers

    model = getattr(transformers, cls).from_pretrained("out").eval()
    return model, transformers.AutoTokenizer.from_pretrained("out")


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("name", ["multi-label", "regression", "dbqa"])
def test_classifiers(name, family, run, export):
    lines = run(name, family, *(["--output_logits"] if name != "regression" else []))[1:]
    ours = np.array([[float(x) for x in line.split("\t")[-1].split()] for line in lines])
    if name == "regression":
        ours = np.array([[float(line.split("\t")[0])] for line in lines])
    export()
    model, tokenizer = theirs("AutoModelForSequenceClassification")
    columns = [text_columns(name, n) for n in range(len(TEXTS))]
    with torch.no_grad():
        logits = [model(**tokenizer(*texts, return_tensors="pt")).logits[0].numpy() for texts in columns]
    assert np.abs(np.array(logits) - ours).max() < 1e-4
    assert model.config.model_type == family
    kinds = {"multi-label": "multi_label_classification", "regression": "regression", "dbqa": None}
    assert model.config.problem_type == kinds[name]
    if name != "dbqa":
        assert read_companion("out").extra["task"] == name.replace("-", "_")


def text_columns(name: str, number: int) -> tuple[str, ...]:
    return (TEXTS[number], TEXTS[number - 1]) if name == "dbqa" else (TEXTS[number],)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "gpt2"])
def test_a_tagger_keeps_the_labels_of_its_folder(family, run, export, caplog):
    """Words, what stands around a row, and tags: all as the folder has them."""
    tags_ = {0: "I", 1: "B", 2: "O"}
    make(
        family,
        "ForTokenClassification",
        Path("theirs"),
        id2label=tags_,
        label2id={v: k for k, v in tags_.items()},
    )
    caplog.set_level("INFO", "uer")
    lines = run("ner", family)[1:]
    assert not [line for line in caplog.messages if line.startswith("Loaded") and "new: " in line]
    companion = read_companion("tuned.bin")
    assert list(companion.labels) == ["I", "B", "O"] and companion.extra["special_tokens"]
    export()
    model, tokenizer = theirs("AutoModelForTokenClassification")
    blank = " " if family in ("roberta", "gpt2") else ""
    for text, line in zip(TEXTS, lines):
        sizes = [len(tokenizer(blank + word, add_special_tokens=False).input_ids) for word in text.split()]
        first = np.cumsum([int(family != "gpt2"), *sizes[:-1]])
        with torch.no_grad():
            best = model(**tokenizer(blank + text, return_tensors="pt")).logits[0].argmax(-1).numpy()
        assert line.split() == [model.config.id2label[n] for n in best[first]]


def test_uers_way_of_tagging_stays_possible(run):
    """Other tags than the folder's are learnt anew; a typed tokenizer cuts as UER-py does."""
    make(
        "bert", "ForTokenClassification", Path("theirs"), id2label={0: "X", 1: "Y"}, label2id={"X": 0, "Y": 1}
    )
    run("ner", "bert", training=("--tokenizer", "space"))
    companion = read_companion("tuned.bin")
    assert list(companion.labels) == ["O", "B", "I", "[PAD]"] and not companion.extra["special_tokens"]


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_answers(family, run, export):
    found = json.loads("\n".join(run("cmrc", family)))
    export()
    model, tokenizer = theirs("AutoModelForQuestionAnswering")
    for number, text in enumerate(TEXTS):
        batch = tokenizer("the book", text, return_tensors="pt", return_offsets_mapping=True)
        places, sides = batch.pop("offset_mapping")[0].tolist(), batch.sequence_ids(0)
        with torch.no_grad():
            out = model(**batch)
        start, end = (x[0].softmax(0) for x in (out.start_logits, out.end_logits))
        inside = [n for n, side in enumerate(sides) if side == 1]
        best = max(
            ((a, b) for a in inside for b in inside if a <= b), key=lambda ab: start[ab[0]] + end[ab[1]]
        )
        assert found[f"q{number}"].strip() == text[places[best[0]][0] : places[best[1]][1]].strip()


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_choices(family, run, export):
    lines = [json.loads(line) for line in run("c3", family)]
    export()
    model, tokenizer = theirs("AutoModelForMultipleChoice")
    for line, text in zip(lines, TEXTS):
        firsts = [f"{choice} [SEP] book" for choice in ("好", "坏 a", "very")]
        batch = tokenizer(firsts, [f"{text}\na b"] * 3, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**{name: x[None] for name, x in batch.items()}).logits[0]
        assert line["label"] == int(logits.argmax())


@pytest.mark.parametrize("family", ["roberta", "gpt2", "t5"])
@pytest.mark.parametrize("name", ["c3", "chid"])
def test_choices_of_other_families(name, family, run):
    lines = run(name, family)
    assert len(lines) == len(TEXTS) if name == "c3" else len(json.loads("\n".join(lines))) == len(TEXTS)


@pytest.mark.parametrize("family", WRITERS)
def test_writers(family, run, export):
    """Trained on what stands around texts there, so that their `generate` writes what we write."""
    texts = run("text2text", family, epochs=9)[1:]
    export()
    model, tokenizer = theirs("AutoModelForSeq2SeqLM")
    assert model.config.model_type == family
    how = {"max_length": 12, "num_beams": 1, "do_sample": False, "forced_eos_token_id": None}
    ours = load_tokenizer("out")
    for text, line in zip(TEXTS, texts):
        ids = model.generate(**tokenizer(text, return_tensors="pt"), **how)[0].tolist()
        assert " ".join(ours.decode(ids).split()) == line


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert"])
def test_prompts(family, run):
    make(family, "ForMaskedLM", Path("theirs"))
    assert set(run("prompt", family)[1:]) <= {"0", "1"}


@pytest.mark.parametrize(("task", "pooling"), [("siamese", "mean"), ("siamese", "cls"), ("simcse", "mean")])
def test_sentence_bert(task, pooling, run, export):
    """The folder's pooling, one model for both texts; the export is a sentence-BERT again."""
    make("bert", "Model", Path("theirs"))
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    document(
        "theirs/modules.json", [{"type": f"sentence_transformers.models.{k}", "path": p} for k, p in parts]
    )
    Path("theirs/1_Pooling").mkdir()
    mode = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}[pooling]
    document("theirs/1_Pooling/config.json", {"word_embedding_dimension": 32, mode: True})
    run(task, "bert", "--vectors_path", "ours.npy")
    export()
    assert read_companion("out").config.pooling == {"mean": "mean", "cls": "first"}[pooling]
    model, tokenizer = theirs("AutoModel")
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden, real = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
    vectors = hidden[:, 0] if pooling == "cls" else (hidden * real).sum(1) / real.sum(1)
    assert np.abs(vectors.numpy() - np.load("ours.npy")[:, 0]).max() < 1e-5
    once = np.load("ours.npy")
    run(task, "bert", "--vectors_path", "again.npy", source="out", epochs=1)
    assert once.shape == np.load("again.npy").shape


def test_the_pooling_of_choices(tmp_path, load_script):
    """What --pooling says is what is scored; the class of transformers takes the first token only."""
    from uer.tasks.choice import ChoiceModel

    make("bert", "Model", tmp_path / "theirs")
    config = read_companion(tmp_path / "theirs").config
    inputs = {"src": torch.tensor([[[5, 6, 7], [8, 9, 10]]]), "seg": torch.ones(1, 2, 3).long()}
    inputs["choice"] = torch.ones(1, 2).long()
    scores = []
    for pooling in ("first", "last", "mean"):
        torch.manual_seed(0)
        model = ChoiceModel.build(config.replace(pooling=pooling), 23).eval()
        scores.append(model.logits(inputs))
    assert not any(torch.allclose(one, other) for one, other in zip(scores, [*scores[1:], scores[0]]))
    write_state("mean.bin", model.state_dict(), config=model.config, extra={"family": "bert"})
    with pytest.raises(CheckpointError, match="pools by 'mean', BertForMultipleChoice takes the first token"):
        load_script("scripts/export.py").main(["--load_model_path", "mean.bin", "--output_path", "out"])


@pytest.mark.parametrize("what", ["streams", "norms"])
def test_no_sentence_bert(what, tmp_path, load_script):
    """Two models, or one that norms its embeddings twice, have no place there."""
    from uer.models.build import build_body

    make("bert", "Model", tmp_path / "theirs")
    config = read_companion(tmp_path / "theirs").config
    changes = {"tie_weights": what == "norms", "dual_stream_norm": what == "norms"}
    config = config.replace(**{**twin_config(config), **changes})
    model = build_body(config, 23)
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    write_state("dual.bin", model.state_dict(), config=config, extra={"family": "bert"})
    said = {
        "streams": "the two streams differ .*train with --tie_weights",
        "norms": "norms its embeddings a second",
    }
    with pytest.raises(CheckpointError, match=said[what]):
        load_script("scripts/export.py").main(["--load_model_path", "dual.bin", "--output_path", "out"])
