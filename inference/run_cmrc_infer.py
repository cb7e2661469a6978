"""Find answers in texts; see docs/tasks/extractive_qa.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import DocumentOptions
from uer.config.model import ModelConfig
from uer.config.tasks import QaInferenceOptions
from uer.opts.finetune import inference_command, saved_cut_tokenizer
from uer.opts.tasks import saved_qa_options

COMMAND = inference_command(
    "run_cmrc_infer",
    "Find the answer to each question in its text; a JSON object id → answer is written.",
    QaInferenceOptions,
    files=DocumentOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options, asked = chosen[DocumentOptions], chosen[QaInferenceOptions]
    chosen.start_log()

    from uer.tasks.extractive_qa import QaModel, QaTask
    from uer.tasks.output import write_document
    from uer.tasks.predict import Predictor
    from uer.tasks.qa_files import read_queries
    from uer.utils.files import atomic_write

    tokenizer = saved_cut_tokenizer(chosen, "char")
    task = QaTask(tokenizer, **saved_qa_options(chosen))
    predictor = Predictor(task, QaModel.build(chosen[ModelConfig], len(tokenizer)), options, chosen.companion)

    examples = task.encode(read_queries(options.test_path, answered=False))
    collector = task.metric(count=asked.nbest_num)
    for batch, logits in predictor.stream(examples):
        task.score(collector, logits, batch, examples)
    answers = {query.id: collector.listed(number) for number, query in enumerate(examples.queries)}
    if asked.nbest_path:
        with atomic_write(asked.nbest_path) as file:
            file.write(json.dumps(answers, ensure_ascii=False, indent=4) + "\n")
    predicted = {identity: listed[0]["text"] for identity, listed in answers.items()}
    text = json.dumps(predicted, ensure_ascii=False, indent=4) + "\n"
    write_document(options.output, text, len(predicted))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
