"""Fine-tune a tagger of words; see docs/tasks/ner.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions, NerOptions
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import cut_tokenizer, finetune_command, training_options
from uer.utils.logging import logger
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_ner",
    "Fine-tune a tagger; the columns text_a and label hold words and tags with one blank between them. "
    "A word is one token (--tokenizer space) unless another tokenizer is named.",
    NerOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options, tagging = chosen[FinetuneOptions], chosen[NerOptions]
    chosen.start_log()

    from uer.tasks.finetune import Finetuning
    from uer.tasks.ner import HEAD, NerModel, NerTask, read_tags
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = cut_tokenizer(chosen, "space")
    labels = read_tags(options.train_path, tagging.label2id_path)
    logger.info(f"Labels: {labels.ids}")
    task = NerTask(
        tokenizer,
        labels,
        seq_length=options.seq_length,
        overflow=options.overflow,
        special_tokens=tagging.special_tokens,
        crf=tagging.crf_target,
    )

    config = start_config(chosen[ModelConfig], options, labels_num=len(labels))
    model = NerModel.build(config, len(tokenizer), crf=tagging.crf_target)
    start_weights(model, options, head=HEAD)

    finetuning = Finetuning(task, model, config, **training_options(chosen))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
