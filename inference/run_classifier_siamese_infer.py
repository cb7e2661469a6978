"""Predict with a fine-tuned siamese network; see docs/tasks/siamese.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import InferenceOptions, LongRowOptions, ScoreOutputOptions, VectorOptions
from uer.config.model import ModelConfig
from uer.opts.finetune import inference_command, saved_length_options, saved_setting
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_siamese_infer",
    "Predict labels (or numbers) of pairs of texts; on request write the vectors of both.",
    ScoreOutputOptions,
    VectorOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options, output = chosen[InferenceOptions], chosen[ScoreOutputOptions]
    vectors_path = chosen[VectorOptions].vectors_path
    chosen.start_log()

    from uer.tasks.output import table_writer
    from uer.tasks.pairs import check_npy, write_vectors
    from uer.tasks.predict import Predictor
    from uer.tasks.siamese import SiameseModel, SiameseTask, pair_columns, pair_outputs, saved_pair_labels
    from uer.tasks.table import read_chunks

    check_npy(vectors_path)
    tokenizer = chosen_tokenizer(chosen)
    typed = chosen.written.get("labels_num")
    labels = saved_pair_labels(options.load_model_path, chosen.companion, typed)
    scale = saved_setting(chosen, "scale", 1.0)
    task = SiameseTask(tokenizer, labels, scale=scale, **saved_length_options(chosen))
    config = chosen[ModelConfig].replace(labels_num=None if labels is None else len(labels))
    predictor = Predictor(task, SiameseModel.build(config, len(tokenizer)), options, chosen.companion)

    kept = []
    with predictor, table_writer(options.output, options.keep_columns) as writer:
        for rows in read_chunks(options.test_path, ("text_a", "text_b", *options.keep_columns)):
            outputs, vectors = pair_outputs(predictor, task.encode(rows), vectors_path is not None)
            kept += vectors
            writer.write(pair_columns(task, outputs, output.output_logits, output.output_prob), rows)
    if vectors_path is not None:
        write_vectors(vectors_path, kept)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
