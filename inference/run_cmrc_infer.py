"""Find answers in texts; see docs/tasks/extractive_qa.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import PIPE, DocumentOptions
from uer.config.tasks import QaInferenceOptions
from uer.opts.finetune import inference_command, saved_cut_tokenizer, saved_predictor
from uer.opts.tasks import saved_qa_options

COMMAND = inference_command(
    "run_cmrc_infer",
    "Find the answer to each question in its text; a JSON object id → answer is written.",
    QaInferenceOptions,
    files=DocumentOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options, asked = chosen[DocumentOptions], chosen[QaInferenceOptions]

    from uer.data.documents import read_stream
    from uer.tasks.extractive_qa import QaModel, QaTask
    from uer.tasks.output import object_writer
    from uer.tasks.qa_files import document_queries
    from uer.tasks.table import arriving
    from uer.utils.files import atomic_write

    tokenizer = saved_cut_tokenizer(chosen, "char")
    task = QaTask(tokenizer, **saved_qa_options(chosen))
    predictor = saved_predictor(chosen, task, QaModel.build, files=DocumentOptions)

    path, best = options.test_path, {}
    documents = (document_queries(whole, answered=False) for whole in read_stream(path))
    with object_writer(options.output, 4, streams=path == PIPE) as write:
        for chunk in arriving(path, documents):
            answers = iter(
                task.answers(predictor.stream, [q for part in chunk for q in part], asked.nbest_num)
            )
            for part in chunk:
                listed = {query.id: next(answers) for query in part}
                best.update(listed if asked.nbest_path else {})
                write({identity: found[0]["text"] for identity, found in listed.items()})
    if asked.nbest_path:
        with atomic_write(asked.nbest_path) as file:
            file.write(json.dumps(best, ensure_ascii=False, indent=4) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
