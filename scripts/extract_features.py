"""Write one vector for each line of a text: pooled hidden states, whitened on request."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.config.tools import FeatureOptions
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = Command(
    "scripts/extract_features.py",
    __doc__,
    FeatureOptions,
    ModelConfig,
    TokenizerOptions,
    model="saved",
    model_flag="load_model_path",
    free=("pooling",),
)


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → model → texts → vectors → file."""
    chosen = COMMAND.parse(argv)
    chosen.start_log()
    options, config = chosen[FeatureOptions], chosen[ModelConfig]

    from uer.tasks.features import FeatureModel, text_form, text_vectors, write_vectors
    from uer.tasks.saved import open_encoder
    from uer.tasks.setup import pick_precision
    from uer.tasks.text import TextTask

    tokenizer = chosen_tokenizer(chosen)
    separated, stream = text_form(options, config)
    task = TextTask(tokenizer, seq_length=options.seq_length, single_text_sep=separated)
    body = open_encoder(config, options.load_model_path, len(tokenizer), dual_stream=stream)
    model = FeatureModel(body, pooling=config.pooling, last_layers=options.last_layers)
    vectors = text_vectors(
        model,
        task,
        options.test_path,
        batch_size=options.batch_size,
        precision=pick_precision(options.precision, model),
    )
    size = write_vectors(vectors, options.prediction_path, options.form, options.whitening_size)
    print(f"The size of feature vectors (sentences_num * vector size): torch.Size({list(size)})")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
