"""Write a text for each text; see docs/tasks/text2text.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import InferenceOptions
from uer.config.tasks import Text2textOptions
from uer.opts.finetune import inference_command, saved_predictor
from uer.opts.tasks import saved_text2text_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger

COMMAND = inference_command("run_text2text_infer", "Write a text for each text.", Text2textOptions)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options = chosen[InferenceOptions]

    from uer.tasks.predict import predict_table
    from uer.tasks.setup import check_task
    from uer.tasks.text2text import Text2textTask

    check_task(options.load_model_path, chosen.companion, Text2textTask.name)
    task = Text2textTask(chosen_tokenizer(chosen), **saved_text2text_options(chosen))
    predictor = saved_predictor(chosen, task, lambda config, _: task.model(config))

    prefixed = chosen.companion is not None and chosen.companion.extra.get("prefixed")

    def columns(rows: list[dict[str, str]]) -> dict[str, list[str]]:
        nonlocal prefixed
        if prefixed and "prefix" not in rows[0]:
            logger.warning(
                f"{options.test_path} has no column prefix, and the model was trained with one: it says what "
                "is to be written for a row."
            )
        prefixed = False  # said once
        texts, sources = [""] * len(rows), task.encode(rows)
        predictor.seen.add(sources)
        for batch, ids in predictor.stream(sources):
            for number, text in zip(batch.ids, task.texts(ids)):
                texts[number] = text
        return {"label": texts}

    predict_table(predictor, options, columns, optional=("text_b", "prefix"))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
