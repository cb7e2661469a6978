"""Fine-tune a siamese network on pairs of texts; see docs/tasks/siamese.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions, SiameseOptions
from uer.config.model import ModelConfig
from uer.opts.finetune import finetune_command, length_options, prepared
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_classifier_siamese",
    "Fine-tune two streams that read a text each; the files are tables with the columns label, text_a, "
    "text_b. The JSON config is a dual one, as models/sbert/base_config.json; a Hugging Face folder needs "
    "none.",
    SiameseOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)
    options, head = chosen[FinetuneOptions], chosen[SiameseOptions]

    from uer.tasks.classifier import read_labels
    from uer.tasks.siamese import HEAD, SiameseModel, SiameseTask, read_scale, twin_config

    tokenizer = chosen_tokenizer(chosen)
    classes = head.objective == "classification"
    labels = read_labels(options.train_path, chosen.written.get("labels_num")) if classes else None
    task = SiameseTask(
        tokenizer,
        labels,
        **length_options(options),
        scale=1.0 if classes else read_scale(options.train_path),
        class_weights=head.class_weights,
        area=options.area,
    )
    changes: dict[str, Any] = {"labels_num": len(labels) if classes else None}
    if (
        chosen.companion is not None and chosen.config_path is None
    ):  # a model that describes itself fills both
        changes |= twin_config(chosen[ModelConfig])
    prepared(chosen, task, SiameseModel.build, head=HEAD, **changes).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
