"""Tag words with a fine-tuned tagger; see docs/tasks/ner.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import InferenceOptions, LongRowOptions, NerInferenceOptions
from uer.opts.finetune import (
    inference_command,
    saved_cut_tokenizer,
    saved_length_options,
    saved_predictor,
    saved_setting,
)

COMMAND = inference_command("run_ner_infer", "Tag the words of texts.", NerInferenceOptions, LongRowOptions)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options, tagging = chosen[InferenceOptions], chosen[NerInferenceOptions]

    from uer.tasks.ner import PAD, NerModel, NerTask, saved_tags
    from uer.tasks.output import messages, table_writer
    from uer.tasks.table import read_chunks

    tokenizer = saved_cut_tokenizer(chosen, "space")
    labels = saved_tags(options.load_model_path, chosen.companion, tagging.label2id_path)
    print(f"Labels:  {labels.ids}", file=messages(options.output))
    crf = saved_setting(chosen, "crf_target", tagging.crf_target)
    task = NerTask(
        tokenizer,
        labels,
        **saved_length_options(chosen),
        special_tokens=saved_setting(chosen, "special_tokens", tagging.special_tokens),
        crf=crf,
    )
    build = partial(NerModel.build, crf=crf, padded=labels.names[-1] == PAD)
    predictor = saved_predictor(chosen, task, build, labels_num=len(labels))

    with table_writer(options.output, options.keep_columns) as writer:
        for rows in read_chunks(options.test_path, ("text_a", *options.keep_columns)):
            writer.write({"pred_label": task.cells(predictor.stream, rows)}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
