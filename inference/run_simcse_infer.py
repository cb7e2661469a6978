"""Vectors of texts, and how alike the texts of a pair are; see docs/tasks/simcse.md."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import LongRowOptions, VectorInferenceOptions
from uer.opts.finetune import inference_command, saved_length_options, saved_predictor
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_simcse_infer",
    "Write the vectors of texts (column text_a, and text_b where there is one), and the cosines of pairs.",
    LongRowOptions,
    files=VectorInferenceOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options = chosen[VectorInferenceOptions]

    from uer.tasks.output import table_writer
    from uer.tasks.pairs import check_npy, cosines, write_vectors
    from uer.tasks.simcse import SimcseModel, SimcseTask
    from uer.tasks.table import read_chunks

    check_npy(options.vectors_path)
    tokenizer = chosen_tokenizer(chosen)
    task = SimcseTask(tokenizer, **saved_length_options(chosen))
    predictor = saved_predictor(chosen, task, SimcseModel.build, files=VectorInferenceOptions)

    path, kept, pairs = options.prediction_path, [], ("text_a",)
    if path is not None:
        pairs = ("text_a", "text_b", *options.keep_columns)
    output = nullcontext() if path is None else table_writer(path, options.keep_columns)
    with predictor, output as writer:
        for rows in read_chunks(options.test_path, pairs, ("text_b",) if writer is None else ()):
            vectors = predictor.computed(task.encode(rows), predictor.model.stacked)
            kept.append(vectors if "text_b" in rows[0] else vectors[:, :1])
            if writer is not None:
                writer.write({"similarity": cosines(vectors)}, rows)
    write_vectors(options.vectors_path, kept)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
