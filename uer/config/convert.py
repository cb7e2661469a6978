"""UER-py's conversion commands: their flags and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, option, positive


@dataclass(frozen=True)
class ConvertOptions(Options):
    """Converting a file of weights."""

    input_model_path: str = option("models/input_model.bin", "file or folder to read", metavar="FILE")
    output_model_path: str = option("models/output_model.bin", "file to write", metavar="FILE")


@dataclass(frozen=True)
class LayersOptions(Options):
    """Depth of the model."""

    layers_num: int | None = positive(None, "layers; by default as many as the file has")


@dataclass(frozen=True)
class DecoderLayersOptions(Options):
    """Depth of the decoder."""

    decoder_layers_num: int | None = positive(None, "decoder layers; by default as many as the file has")


@dataclass(frozen=True)
class BertTypeOptions(Options):
    """Which BERT."""

    type: str = option("bert", "bert: with sentence prediction, mlm: without", choices=("bert", "mlm"))
    # The dialect of 2021 has become the words of 2024 when it gets here: `--target bert` is mlm and sp.
    target: tuple[str, ...] | None = option(
        None, "bert or mlm: the spelling of 2021 for --type", choices=("mlm", "sp")
    )


@dataclass(frozen=True)
class T5TypeOptions(Options):
    """Which T5."""

    type: str = option("t5", "t5, or t5-v1_1 with a gated feed-forward layer", choices=("t5", "t5-v1_1"))


@dataclass(frozen=True)
class PegasusOptions(Options):
    """PEGASUS' table of positions."""

    max_seq_length: int = positive(1024, "rows of the sinusoidal table that is written")


@dataclass(frozen=True)
class FromOriginalOptions(Options):
    """Converting an original TensorFlow checkpoint."""

    input_model_path: str = option("models/input_model.ckpt", "checkpoint to read", metavar="FILE")
    output_model_path: str = option("models/output_model.bin", "file to write", metavar="FILE")


@dataclass(frozen=True)
class ToOriginalOptions(Options):
    """Converting to the form of an original TensorFlow checkpoint."""

    input_model_path: str = option("models/input_model.bin", "file to read", metavar="FILE")
    output_model_path: str = option("models/output_model.ckpt", "checkpoint to write", metavar="FILE")
