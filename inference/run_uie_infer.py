"""Extract what a schema names from texts; see docs/tasks/uie.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.uie import UieFiles, UieInferenceOptions
from uer.opts.finetune import inference_command, saved_predictor
from uer.opts.tokenizer import chosen_tokenizer
from uer.opts.uie import saved_uie_options

COMMAND = inference_command(
    "run_uie_infer",
    "Extract what a schema, or each row's own prompt, names (UIE); a JSON object a text is written.",
    UieInferenceOptions,
    files=UieFiles,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options, asked = chosen[UieFiles], chosen[UieInferenceOptions]

    from uer.tasks.output import line_writer
    from uer.tasks.table import arriving
    from uer.tasks.uie import UieModel, UieTask
    from uer.tasks.uie_files import stream_open
    from uer.tasks.uie_schema import extract, read_schema

    tokenizer = chosen_tokenizer(chosen)
    task = UieTask(tokenizer, **saved_uie_options(chosen))
    predictor = saved_predictor(chosen, task, UieModel.build, files=UieFiles)

    schema = None if asked.schema_path is None else read_schema(asked.schema_path)
    with line_writer(options.output) as writer:
        for rows in arriving(options.test_path, stream_open(options.test_path, prompted=schema is None)):
            if schema is None:
                answers = task.answers(predictor.stream, [(row["prompt"], row["content"]) for row in rows])
                writer.write({**row, "result_list": results} for row, results in zip(rows, answers))
                continue
            texts = [row["content"] for row in rows]
            found = extract(schema, texts, lambda asks: task.answers(predictor.stream, asks), lang=task.lang)
            writer.write({**row, "result": result} for row, result in zip(rows, found))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
