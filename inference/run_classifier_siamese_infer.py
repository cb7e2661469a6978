"""Predict with a fine-tuned siamese network; see docs/tasks/siamese.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import InferenceOptions, LongRowOptions, ScoreOutputOptions, VectorOptions
from uer.opts.finetune import inference_command, saved_length_options, saved_predictor, saved_setting
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_siamese_infer",
    "Predict labels (or numbers) of pairs of texts; on request write the vectors of both.",
    ScoreOutputOptions,
    VectorOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options, output = chosen[InferenceOptions], chosen[ScoreOutputOptions]
    vectors_path = chosen[VectorOptions].vectors_path

    from uer.tasks.pairs import check_npy, write_vectors
    from uer.tasks.predict import predict_table
    from uer.tasks.siamese import SiameseModel, SiameseTask, pair_columns, pair_outputs, saved_pair_labels

    check_npy(vectors_path)
    tokenizer = chosen_tokenizer(chosen)
    typed = chosen.written.get("labels_num")
    labels = saved_pair_labels(options.load_model_path, chosen.companion, typed)
    scale = saved_setting(chosen, "scale", 1.0)
    task = SiameseTask(tokenizer, labels, scale=scale, **saved_length_options(chosen))
    labels_num, kept = None if labels is None else len(labels), []
    predictor = saved_predictor(chosen, task, SiameseModel.build, labels_num=labels_num)

    def columns(rows: list[dict[str, str]]) -> dict[str, list[str]]:
        outputs, vectors = pair_outputs(predictor, task.encode(rows), vectors_path is not None)
        kept.extend(vectors)
        return pair_columns(task, outputs, output.output_logits, output.output_prob)

    predict_table(predictor, options, columns, required=("text_a", "text_b"))
    if vectors_path is not None:
        write_vectors(vectors_path, kept)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
