"""What the page can do with a model: each ability reads the model's text as its script does, and names the
command line that gives the same.
"""

from __future__ import annotations

import json
import queue
import re
import shlex
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from uer.config.generation import DecodingOptions
from uer.config.inference import PredictorOptions
from uer.config.tasks import QaOptions
from uer.data.documents import Node
from uer.errors import CheckpointError, DataError, UerError
from uer.generation.generate import Generator
from uer.generation.precision import ready
from uer.generation.reading import language_model
from uer.generation.search import Continuation
from uer.generation.text import prompt_ids
from uer.metrics.classification import softmax
from uer.models.build import build_model
from uer.models.empty import Unfilled
from uer.serving.model import Described, card, length_limit
from uer.tasks.classifier import ClassifierModel, ClassifierTask, saved_labels
from uer.tasks.cloze import fill, masked_language_model, with_blanks
from uer.tasks.extractive_qa import QaModel, QaTask
from uer.tasks.labels import LabelMap
from uer.tasks.ner import PAD, NerModel, NerTask, saved_tags
from uer.tasks.predict import Predictor
from uer.tasks.qa_files import Query
from uer.tasks.saved import open_model, settled

Json = dict[str, Any]
# A Chinese, Japanese or Korean character is a word of its own, else what stands between blanks.
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+"
)


def command(*words: str, text: str | None = None) -> str:
    """A command line as a person would type it; `text` is what it reads, from a file made in front of it."""
    line = " ".join(shlex.quote(word) for word in words)
    return line if text is None else f"printf '%s\\n' {shlex.quote(text)} > text.txt\n{line}"


class Ability:
    """One kind of thing that a model does; `ability` is its name in the page."""

    ability: str

    def __init__(self, described: Described, model: Any, limit: int) -> None:
        self.described, self.model, self.limit = described, model, limit
        self.tokenizer = described.tokenizer
        self.lock = threading.Lock()  # one question at a time: two would share the cores anyway
        self.card = card(described, self.ability, model, limit)

    def script(self, name: str, *words: str) -> list[str]:
        """The beginning of a command line."""
        path = ["--load_model_path", self.described.path]
        return ["python3", name, *path, *self.described.flags, *words]


class Fill(Ability):
    """Blanks filled, with probabilities."""

    ability = "fill"

    @classmethod
    def open(cls, described: Described, precision: str, length: int) -> Fill:
        """See `open_ability`."""
        config = masked_language_model(described.config, described=described.described)
        model = open_model(config, described.path, len(described.tokenizer))
        return cls(described, model, length_limit(model, length))

    def run(self, text: str, topn: int) -> Json:
        """The likeliest tokens of each `[MASK]` of a text."""
        text = _one_line(text)
        row = with_blanks(self.tokenizer, text, self.limit)
        with self.lock:
            (blanks,) = fill(self.model, self.tokenizer, [row], topn=topn)
        words = ["--test_path", "text.txt", "--prediction_path", "answers.txt", "--topn", str(topn)]
        words += ["--output_prob", "--seq_length", str(self.limit)]
        return {
            "blanks": [[{"token": token, "probability": p} for token, p in blank] for blank in blanks],
            "command": command(*self.script("scripts/cloze_test.py", *words), text=text),
        }


class Classify(Ability):
    """The probability of each label."""

    ability = "classify"

    def __init__(self, described: Described, predictor: Predictor, labels: LabelMap, limit: int) -> None:
        super().__init__(described, predictor.model, limit)
        self.predictor, self.labels = predictor, labels

    @classmethod
    def open(cls, described: Described, precision: str, length: int) -> Classify:
        """See `open_ability`."""
        labels = saved_labels(described.path, described.companion, None, task=ClassifierTask.name)
        config = described.config.replace(labels_num=len(labels))
        model = ClassifierModel.build(config, len(described.tokenizer))
        limit = length_limit(model, described.extra.get("seq_length", length))
        task = ClassifierTask(
            described.tokenizer,
            labels,
            seq_length=limit,
            single_text_sep=described.extra.get("single_text_sep", True),
        )
        return cls(described, _predictor(described, task, model, limit), labels, limit)

    def run(self, text: str, second: str = "") -> Json:
        """The labels of a text or a pair, the likeliest first."""
        columns = {"text_a": _one_line(text), **({"text_b": _one_line(second)} if second.strip() else {})}
        _not_empty(columns["text_a"])
        with self.lock:
            logits = self.predictor.logits(self.predictor.task.encode([columns]))
        chances = softmax(logits[0].astype(np.float64))
        table = "\t".join(columns) + "\n" + "\t".join(columns.values())
        words = ["--test_path", "text.txt", "--prediction_path", "-", "--output_prob"]
        words += ["--seq_length", str(self.limit)]
        order = np.argsort(-chances, kind="stable").tolist()
        return {
            "labels": [{"label": self.labels.names[n], "probability": float(chances[n])} for n in order],
            "command": command(*self.script("inference/run_classifier_infer.py", *words), text=table),
        }


class Tag(Ability):
    """The tag of each word, and the spans that they make."""

    ability = "tag"

    def __init__(self, described: Described, predictor: Predictor, limit: int) -> None:
        super().__init__(described, predictor.model, limit)
        self.predictor = predictor

    @classmethod
    def open(cls, described: Described, precision: str, length: int) -> Tag:
        """See `open_ability`."""
        if described.companion is None or described.companion.labels is None:
            raise CheckpointError(
                f"{described.path} does not say what its tags are called; in a Hugging Face folder they "
                "stand as id2label in config.json."
            )
        labels = saved_tags(described.path, described.companion, None)
        crf = bool(described.extra.get("crf_target", False))
        config = described.config.replace(labels_num=len(labels))
        model = NerModel.build(config, len(described.tokenizer), crf=crf, padded=labels.names[-1] == PAD)
        limit = length_limit(model, described.extra.get("seq_length", length))
        task = NerTask(
            described.tokenizer,
            labels,
            seq_length=limit,
            overflow="window",
            special_tokens=described.extra.get("special_tokens", described.is_folder),
            crf=crf,
        )
        return cls(described, _predictor(described, task, model, limit), limit)

    def run(self, text: str) -> Json:
        """The words of a text with their tags, and `[start, end, kind]` of each span, counted in words."""
        words = WORD.findall(text)
        _not_empty("".join(words))
        row = {"text_a": " ".join(words)}
        with self.lock:
            (cell,) = self.predictor.task.cells(self.predictor.stream, [row])
        tags = cell.split()
        typed = ["--test_path", "text.txt", "--prediction_path", "-", "--overflow", "window"]
        typed += ["--seq_length", str(self.limit)]
        typed += (
            ["--special_tokens"] if self.predictor.task.special_tokens and self.described.is_folder else []
        )
        table = f"text_a\n{row['text_a']}"
        return {
            "words": [{"word": word, "tag": tag} for word, tag in zip(words, tags)],
            "spans": spans(tags),
            "command": command(*self.script("inference/run_ner_infer.py", *typed), text=table),
        }


def spans(tags: list[str]) -> list[tuple[int, int, str]]:
    """`(start, end, kind)` of the spans that tags B-, I-, M-, E-, S- make, in words; the end is excluded."""
    found: list[tuple[int, int, str]] = []
    for place, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if not kind:
            continue
        open_before = found and found[-1][1] == place and found[-1][2] == kind
        if open_before and prefix in ("I", "M", "E") and not tags[place - 1].startswith(("E-", "S-")):
            found[-1] = (found[-1][0], place + 1, kind)
        else:
            found.append((place, place + 1, kind))
    return found


class Ask(Ability):
    """The stretch of a passage that answers a question, the likeliest ones with their shares."""

    ability = "ask"
    shown = 5

    def __init__(self, described: Described, predictor: Predictor, limit: int) -> None:
        super().__init__(described, predictor.model, limit)
        self.predictor = predictor

    @classmethod
    def open(cls, described: Described, precision: str, length: int) -> Ask:
        """See `open_ability`."""
        model = QaModel.build(described.config, len(described.tokenizer))
        saved = {
            name: described.extra[name]
            for name in ("doc_stride", "max_answer_length", "null_threshold", "no_answer")
            if name in described.extra
        }
        limit = length_limit(model, described.extra.get("seq_length", length))
        task = QaTask(described.tokenizer, seq_length=limit, **{"doc_stride": QaOptions.doc_stride, **saved})
        return cls(described, _predictor(described, task, model, limit), limit)

    def run(self, text: str, question: str) -> Json:
        """The best answers with their places in the text and their shares of probability among each other."""
        _not_empty(text)
        _not_empty(question)
        task = self.predictor.task
        qas = [{"id": "1", "question": question}]
        document = {"data": [{"paragraphs": [{"context": text, "qas": qas}]}]}
        with self.lock:
            examples = task.encode([Query("1", question, text, Node(qas[0], "the page"))])
            collector = task.metric(count=self.shown)
            for batch, logits in self.predictor.stream(examples):
                task.score(collector, logits, batch, examples)
        answers = collector.answers(0)[: self.shown]
        shares = softmax(np.array([answer.score for answer in answers], np.float64))
        places, found = examples.places[0], []
        for answer, share in zip(answers, shares.tolist()):
            known = answer.start >= 0
            start = int(places[answer.start, 0]) if known else None
            end = int(places[answer.end, 1]) if known else None
            found.append({"text": examples.text(0, answer), "start": start, "end": end, "probability": share})
        words = ["--test_path", "text.txt", "--prediction_path", "-", "--seq_length", str(self.limit)]
        asked = json.dumps(document, ensure_ascii=False)
        return {
            "answers": found,
            "command": command(*self.script("inference/run_cmrc_infer.py", *words), text=asked),
        }


class Continue(Ability):
    """A text continued, shown while it grows; an encoder-decoder writes a text for it."""

    ability = "continue"
    precision = "fp32"

    @classmethod
    def open(cls, described: Described, precision: str, length: int) -> Continue:
        """See `open_ability`."""
        config = language_model(described.config, described=described.described)
        target = described.tgt_tokenizer
        with Unfilled():
            model = build_model(config, len(described.tokenizer), None if target is None else len(target))
        limit = length_limit(model, described.extra.get("tgt_seq_length", length))
        model = ready(settled(model, described.path), precision, rows=1)
        served = cls(described, model, limit)
        served.precision = precision
        return served

    def stream(self, text: str, options: DecodingOptions) -> Iterator[Json]:
        """`{"text": …}` again and again with all that is written so far, then `{"done": true, …}`.

        Closing the iterator stops the writing.
        """
        target = self.described.tgt_tokenizer or self.tokenizer
        pair = self.model.decoder is not None
        separated = pair or self.model.config.mask == "causal_with_prefix"
        text = _one_line(self.described.extra.get("prefix", "") + text)
        prompt = prompt_ids(self.tokenizer, text, separated=separated, blanks=pair)
        if len(prompt) + (not pair) > self.limit:
            raise DataError(f"the text has {len(prompt)} tokens, the model reads {self.limit}; shorten it.")
        if self.described.task is not None:  # such a model was trained to end by itself
            options = options.replace(stop=(*options.stop, target.special.required()["sep"]))
        generator = Generator(self.model, target, options, length=self.limit)
        arrived: queue.Queue[Json] = queue.Queue()
        stopped = threading.Event()

        def show(so_far: Continuation) -> None:
            """Send what is sure of the text so far."""
            if stopped.is_set():
                raise _Stopped
            if not so_far.stopped:
                sure = generator.stopping.sure(so_far.ids)
                arrived.put({"text": target.decode(sure).rstrip("\ufffd")})

        def write() -> None:
            """Write the whole text, in a thread; the end is sent too."""
            try:
                with self.lock:
                    (texts,) = generator.shown([prompt], show)
                line = self._command(text, options, generator.seed, pair)
                end = {"text": texts[0].text, "tokens": len(texts[0].ids), "command": line}
                arrived.put({"done": True, **end})
            except _Stopped:
                arrived.put({"done": True})
            except UerError as error:
                arrived.put({"done": True, "error": str(error)})

        threading.Thread(target=write, daemon=True, name="writer").start()
        try:
            while not (part := arrived.get()).get("done"):
                yield part
            yield part
        finally:
            stopped.set()

    def _command(self, text: str, options: DecodingOptions, seed: int, pair: bool) -> str:
        name = "scripts/generate_seq2seq.py" if pair else "scripts/generate_lm.py"
        words = ["--test_path", "text.txt", "--prediction_path", "written.txt", "--stream"]
        words += ["--tgt_seq_length" if pair else "--seq_length", str(self.limit), "--seed", str(seed)]
        defaults = DecodingOptions()
        for flag in ("top_k", "top_p", "temperature", "repetition_penalty", "max_new_tokens"):
            value = getattr(options, flag)
            if value != getattr(defaults, flag):
                words += [f"--{flag}", str(value)]
        if options.stop:
            words += ["--stop", *options.stop]
        if self.precision != "fp32":
            words += ["--precision", self.precision]
        return command(*self.script(name, *words), text=text)


class _Stopped(Exception):
    """Nobody reads the text any more."""


def _predictor(described: Described, task: Any, model: Any, limit: int) -> Predictor:
    options = PredictorOptions(load_model_path=described.path, test_path="-", seq_length=limit)
    return Predictor(task, model, options, described.companion)


def _one_line(text: str) -> str:
    """Tables and prompt files have a text a line."""
    return " ".join(text.split())


def _not_empty(text: str) -> None:
    if not text.strip():
        raise DataError("the text is empty; write some.")


def open_ability(described: Described, precision: str, length: int) -> Ability:
    """The model with the ability that it was trained for.

    Args:
        precision: of `Continue`.
        length: most tokens of a text, where the model does not say.

    Raises:
        CheckpointError: it has none that the page knows.
    """
    task = described.task
    if task is not None:
        if task not in TASKS:
            raise CheckpointError(
                f"{described.path} is a model of the task '{task}'; the page shows {', '.join(TASKS)}, "
                "language models and masked ones."
            )
        return TASKS[task].open(described, precision, length)
    config = described.config
    masked = config.decoder is None and "mlm" in config.target
    return (Fill if masked else Continue).open(described, precision, length)


TASKS: dict[str, Any] = {
    "classifier": Classify,
    "ner": Tag,
    "extractive_qa": Ask,
    "text2text": Continue,
}
