"""Fine-tune a tagger of words; see docs/tasks/ner.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions, NerOptions
from uer.opts.finetune import cut_tokenizer, finetune_command, prepared
from uer.utils.logging import logger

COMMAND = finetune_command(
    "run_ner",
    "Fine-tune a tagger; the columns text_a and label hold words and tags with one blank between them. "
    "A word is one token (--tokenizer space) unless another tokenizer is named.",
    NerOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)
    options, tagging = chosen[FinetuneOptions], chosen[NerOptions]

    from uer.tasks.ner import HEAD, PAD, NerModel, NerTask, read_tags

    tokenizer = cut_tokenizer(chosen, "space")
    labels = read_tags(options.train_path, tagging.label2id_path, chosen.companion)
    logger.info(f"Labels: {labels.ids}")
    task = NerTask(
        tokenizer,
        labels,
        seq_length=options.seq_length,
        overflow=options.overflow,
        special_tokens=chosen.written.get("special_tokens", tokenizer.released),
        crf=tagging.crf_target,
    )
    build = partial(NerModel.build, crf=tagging.crf_target, padded=labels.names[-1] == PAD)
    prepared(chosen, task, build, head=HEAD, labels_num=len(labels)).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
