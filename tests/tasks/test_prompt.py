"""Prompts: UER-py's numbers, answers of several tokens, faulty prompts and files, and the scripts."""

import json
import random

import numpy as np
import pytest
import torch

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import Folder, finetune, infer, pretrain, sentence
from uer.errors import ConfigError, DataError
from uer.tasks.predict import evaluate
from uer.tasks.prompt import Prompt, PromptModel, PromptTask, read_prompt
from uer.tokenizers import build_tokenizer
from uer.training.precision import Precision
from uer.utils.files import repository_root


@pytest.mark.parametrize("case", ["prompt", "prompt_untied", "prompt_factorized"])
def test_logits_loss_and_report_are_uers(shared, tmp_path, case, caplog):
    golden = Golden(shared, case, tmp_path)
    prompt = Prompt("demo", **golden.facts["prompts"]["demo"], tokenizer=golden.tokenizer())
    task = PromptTask(golden.tokenizer(), prompt, seq_length=16)
    caplog.set_level("INFO", logger="uer")
    examples = task.read(golden.tsv(), training=True)
    assert golden.facts["read_line"] == [caplog.messages[-1]]
    batch = task.collate(examples, np.arange(6))
    inputs, labels = tensors(batch.inputs), tensors(batch.labels)
    width = inputs["src"].shape[1]
    assert torch.equal(inputs["src"], golden["in.src"][:, :width])
    assert torch.equal(inputs["seg"], golden["in.seg"][:, :width])
    assert torch.equal(inputs["answer"] > 0, golden["in.tgt"][:, :width] > 0)
    model = golden.load(PromptModel.build(golden.config(), 120, prompt.answers))
    answers = golden["in.answer_position"].nonzero()[:, 0]
    assert torch.equal(torch.from_numpy(prompt.answers[:, 0]), answers)
    logits = model.predict(inputs)
    close(logits, golden["out.logits"][:, answers])
    assert torch.equal(logits.argmax(1), golden["out.pred"])
    term = model(inputs, labels)["cls"]
    close(term.loss_sum / term.count, golden["out.loss"], 2e-6)
    metric = evaluate(model, task, examples, batch_size=4, precision=Precision("fp32"))
    lines = [line for line in metric.report() if not line.startswith("Macro")]
    for number, name in enumerate(task.labels.names):  # UER numbers the labels, here they have their names
        lines = [line.replace(f"Label {name}:", f"Label {number}:") for line in lines]
    assert lines == golden.facts["lines"]


@pytest.fixture
def tokenizer(tmp_path):
    return build_tokenizer("bert", vocab_path=Folder(tmp_path).vocab)


def decoded(task, rows):
    """The rows as one text each, the blank in brackets."""
    examples = task.encode(rows)
    out = []
    for number in range(len(rows)):
        part = slice(*examples.offsets[number : number + 2])
        tokens = task.tokenizer.vocab.tokens
        pieces = zip(examples.ids[part], examples.tokens["answer"][part])
        out.append(" ".join(f"<{tokens[i]}>" if mark else tokens[i] for i, mark in pieces))
    return out, examples.long.tolist()


def test_rows_are_laid_out_and_cut(tokenizer):
    single = Prompt("p", "[TEXT_A]x[ANS]y", {"0": "a b", "1": "b a"}, tokenizer)
    assert single.answers.tolist() == [[5, 6], [6, 5]]
    task = PromptTask(tokenizer, single, seq_length=9)
    rows = [{"text_a": "c d"}, {"text_a": "c d e f g"}, {"text_a": ""}]
    blank = "x <[MASK]> <[MASK]> y [SEP]"
    assert decoded(task, rows) == (
        [f"[CLS] c d {blank}", f"[CLS] c d e {blank}", f"[CLS] {blank}"],
        [False, True, False],
    )
    pair = Prompt("p", "[TEXT_A][ANS]x[TEXT_B]", {"0": "a", "1": "b"}, tokenizer)
    task = PromptTask(tokenizer, pair, seq_length=9)
    rows = [
        {"text_a": "c", "text_b": "d"},
        {"text_a": "c d", "text_b": "e f g"},
        {"text_a": "c d e f g h", "text_b": "a"},
    ]
    assert decoded(task, rows) == (
        [
            "[CLS] c [SEP] <[MASK]> x d [SEP]",
            "[CLS] c d [SEP] <[MASK]> x e f [SEP]",
            "[CLS] c d e f [SEP] <[MASK]> x [SEP]",
        ],
        [False, True, True],
    )


def test_answers_of_several_tokens_sum_their_logits(tokenizer, shared, tmp_path):
    golden = Golden(shared, "prompt", tmp_path)
    cut = golden.tokenizer()
    prompt = Prompt("p", "[TEXT_A][ANS]", {"x": "乯偵", "y": "偵乯", "z": "乯乯"}, cut)
    task = PromptTask(cut, prompt, seq_length=16)
    model = golden.load(PromptModel.build(golden.config(), 120, prompt.answers))
    inputs = tensors(task.collate(task.encode([{"text_a": "位唺典"}, {"text_a": "典"}]), np.arange(2)).inputs)
    hidden = model.encode({name: inputs[name] for name in ("src", "seg")}).hidden
    every = model.head.logits(hidden[inputs["answer"] > 0]).reshape(2, 2, 120)
    expected = torch.stack([every[:, 0, a] + every[:, 1, b] for a, b in prompt.answers], dim=1)
    close(model.predict(inputs), expected)


@pytest.mark.parametrize(
    "template, answers, message",
    [
        ("x[ANS]", {"0": "a", "1": "b"}, r"needs one \[TEXT_A\], one \[ANS\]"),
        ("[TEXT_A][ANS][ANS]", {"0": "a", "1": "b"}, r"needs one \[TEXT_A\]"),
        ("[TEXT_A][ANS]", {"0": "a"}, "has 1 answer words; two are needed"),
        ("[TEXT_A][ANS]", {"0": "a", "1": "b c"}, r"different numbers of tokens \('a': 1, 'b c': 2\)"),
        (
            "[TEXT_A][ANS]",
            {"0": "a", "1": "好"},
            "the answer word '好' of the prompt 'p' is not in the vocab",
        ),
        ("[TEXT_A][ANS]", {"0": "a", "1": "a"}, "the labels '0' and '1' of the prompt 'p' have the same"),
    ],
)
def test_faulty_prompts(tokenizer, template, answers, message):
    with pytest.raises(ConfigError, match=message):
        Prompt("p", template, answers, tokenizer)


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("{", DataError, "is not valid JSON"),
        ("[]", DataError, "must hold a JSON object"),
        ('{"q": {}}', ConfigError, "--prompt_id"),
        ('{"p": {}}', DataError, "the prompt 'p' has no 'template'"),
        ('{"p": {"template": "[TEXT_A][ANS]"}}', DataError, "the prompt 'p' has no 'answer_words'"),
    ],
)
def test_faulty_prompt_files(tokenizer, tmp_path, text, error, message):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(error, match=message):
        read_prompt(tmp_path / "p.json", "p", tokenizer)
    with pytest.raises(DataError, match="cannot be read; name the file of prompts"):
        read_prompt(tmp_path / "none.json", "p", tokenizer)


def test_a_template_that_is_too_long(tokenizer):
    prompt = Prompt("p", "[TEXT_A] a b c[ANS]", {"0": "a", "1": "b"}, tokenizer)
    with pytest.raises(ConfigError, match="takes 6 of --seq_length 6 tokens and leaves no room"):
        PromptTask(tokenizer, prompt, seq_length=6)


def test_the_prompts_that_are_shipped():
    root = repository_root()
    tokenizer = build_tokenizer("bert", vocab_path=root / "models" / "zh_en_vocab.txt")
    names = json.loads((root / "models" / "prompts.json").read_text(encoding="utf-8"))
    assert "chnsenticorp_char" in names
    prompts = [read_prompt(root / "models" / "prompts.json", name, tokenizer) for name in names]
    assert {prompt.blanks for prompt in prompts} == {1, 2} and {prompt.pairs for prompt in prompts} == {
        True,
        False,
    }


def test_64_rows_are_memorised(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(2)
    template = "[TEXT_A] x [ANS] y [TEXT_B]"
    prompts = {"mine": {"template": template, "answer_words": {"good": "a a", "bad": "b c"}}}
    path = folder.write("prompts.json", json.dumps(prompts))
    rows = [[rng.choice(["good", "bad"]), sentence(rng), sentence(rng, 1, 3)] for _ in range(64)]
    folder.table("rows.tsv", ["label", "text_a", "text_b"], rows)
    settings = {"prompt_path": path, "prompt_id": "mine", "epochs_num": 110, "batch_size": 8}
    finetune("run_classifier_prompt", folder, test_path=folder / "rows.tsv", **settings)
    assert "read dataset, count:64, ignore_count:0" in capsys.readouterr().err
    infer("run_classifier_prompt", folder, output_logits=True)
    header, predicted = folder.read("out.tsv")
    assert header == ["label", "logits"]
    assert sum(p[0] == g[0] for p, g in zip(predicted, rows)) / 64 >= 0.95
    infer("run_classifier_prompt", folder, prompt_path=path, prompt_id="mine", output_logits=True)
    assert folder.read("out.tsv")[1] == predicted
    with pytest.raises(ConfigError, match="--prompt_id"):
        infer("run_classifier_prompt", folder, prompt_path=path, prompt_id="yours")
    with pytest.raises(DataError, match=r"the label 'fair' is not among those of the prompt 'mine'"):
        folder.table("new.tsv", ["label", "text_a", "text_b"], [["fair", "a", "b"]])
        finetune("run_classifier_prompt", folder, rows="new.tsv", **settings)


def test_zero_epochs_evaluate_what_was_pretrained(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(2)
    pretrain(folder, rng)
    prompts = {"mine": {"template": "[TEXT_A][ANS]", "answer_words": {"0": "a", "1": "b"}}}
    path = folder.write("prompts.json", json.dumps(prompts))
    folder.table("rows.tsv", ["label", "text_a"], [[i % 2, sentence(rng)] for i in range(10)])
    start = {"pretrained_model_path": folder / "pre.bin-1", "vocab_path": None, "config_path": None}
    settings = {"prompt_path": path, "prompt_id": "mine", "test_path": folder / "rows.tsv"}
    finetune("run_classifier_prompt", folder, epochs_num=0, **settings, **start)
    lines = capsys.readouterr().err
    assert "--epochs_num 0: the model is not trained" in lines and "Acc. (Correct/Total)" in lines
    from uer.checkpoints import read_state

    before, after = read_state(folder / "pre.bin-1"), read_state(folder / "model.bin")
    assert all(torch.equal(before[name], after[name]) for name in after)
    assert "target.mlm.linear_2.weight" in after
