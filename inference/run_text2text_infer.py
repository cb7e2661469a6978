"""Write a text for each text; see docs/tasks/text2text.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import InferenceOptions
from uer.config.model import ModelConfig
from uer.config.tasks import Text2textOptions
from uer.opts.finetune import inference_command
from uer.opts.tasks import saved_text2text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command("run_text2text_infer", "Write a text for each text.", Text2textOptions)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options = chosen[InferenceOptions]
    chosen.start_log()

    from uer.tasks.output import table_writer
    from uer.tasks.predict import Predictor
    from uer.tasks.table import read_chunks
    from uer.tasks.text2text import Text2textTask

    task = Text2textTask(chosen_tokenizer(chosen), **saved_text2text_options(chosen))
    predictor = Predictor(task, task.model(chosen[ModelConfig]), options, chosen.companion)

    with predictor, table_writer(options.output, options.keep_columns) as writer:
        for rows in read_chunks(options.test_path, ("text_a", *options.keep_columns), ("text_b", "prefix")):
            texts = [""] * len(rows)
            for batch, ids in predictor.stream(task.encode(rows)):
                for number, text in zip(batch.ids, task.texts(ids)):
                    texts[number] = text
            writer.write({"label": texts}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
