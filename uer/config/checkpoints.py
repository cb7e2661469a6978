"""Tools that read and write files of weights."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, not_negative, option, positive
from uer.errors import ConfigError

# A test holds these against `uer.checkpoints.families`.
FAMILIES = (
    "bert",
    "roberta",
    "xlm-roberta",
    "distilbert",
    "electra",
    "albert",
    "ernie",
    "ernie-m",
    "megatron-bert",
    "gpt2",
    "t5",
    "t5-v1_1",
    "mt5",
    "bart",
    "pegasus",
    "tf-bert",
    "tf-albert",
    "albert-zh",
    "paddle-bert",
    "paddle-ernie",
    "paddle-ernie-m",
    "paddle-albert",
    "paddle-distilbert",
    "paddle-electra",
    "paddle-roberta",
    "paddle-tinybert",
    "paddle-skep",
    "paddle-ernie-gram",
)
HEADS = ("none", "mlm", "sp", "mlm+sp", "lm", "rtd", "cls", "tok", "qa", "choice")


@dataclass(frozen=True)
class AverageOptions(Options):
    """Averaging checkpoints."""

    model_list_path: tuple[str, ...] = option(
        help="two or more checkpoints of one model", required=True, metavar="FILE"
    )
    output_model_path: str = option(help="the average goes here", required=True, metavar="FILE")
    weights: tuple[float, ...] = positive((), "how much each file counts (default: all the same)")
    ema_decay: float | None = option(
        None,
        "the running mean of the files in their order instead: each keeps this part of what came before it",
        check=lambda value: 0 < value < 1,
        expected="a number between 0 and 1",
    )
    soup_path: str | None = option(
        None,
        "labelled rows; only files that do not lower the accuracy of the mean on them are taken, the best "
        "first (a greedy soup of classifiers)",
        metavar="FILE",
    )

    def check(self) -> None:
        """One way of averaging."""
        typed = [
            f"--{name}"
            for name in ("weights", "ema_decay", "soup_path")
            if getattr(self, name) not in ((), None)
        ]
        if len(typed) > 1:
            raise ConfigError(f"{' and '.join(typed)} say each how to average; leave one of them.")
        if self.weights and len(self.weights) != len(self.model_list_path or ()):
            raise ConfigError(
                f"--weights has {len(self.weights)} numbers and --model_list_path "
                f"{len(self.model_list_path or ())} files; give one for each."
            )

    @property
    def shares(self) -> list[float] | None:
        """How much each file counts, summing to 1; None: all the same."""
        count = len(self.model_list_path)
        if self.ema_decay is not None:
            kept = [self.ema_decay ** (count - 1 - number) for number in range(count)]
            return [kept[0], *(part * (1 - self.ema_decay) for part in kept[1:])]
        return [weight / sum(self.weights) for weight in self.weights] or None


@dataclass(frozen=True)
class VocabAdapterOptions(Options):
    """Fitting a model to another vocabulary."""

    old_model_path: str = option(help="the model to adapt", required=True, metavar="FILE")
    old_vocab_path: str | None = option(
        None, "its vocabulary (default: that of its companion folder)", metavar="FILE"
    )
    new_vocab_path: str = option(help="the vocabulary wanted", required=True, metavar="FILE")
    new_model_path: str = option(help="the adapted model goes here", required=True, metavar="FILE")
    seed: int = option(7, "of the rows of tokens that nothing is known about")


@dataclass(frozen=True)
class ExportOptions(Options):
    """Writing a model for other programs."""

    load_model_path: str = option(help="the model to export", required=True, metavar="FILE")
    output_path: str = option(
        help="the folder (hf) or file (onnx) to write; a model of several graphs puts their names before the "
        "suffix: NAME.encoder.onnx, NAME.decoder.onnx",
        required=True,
        metavar="PATH",
    )
    to: str = option(
        "hf",
        "the form: hf, a folder that Hugging Face's AutoModel classes load; onnx, a graph, checked in "
        "onnxruntime",
        choices=("hf", "onnx"),
    )
    family: str | None = option(
        None, "the family (default: the one that computes the same)", choices=FAMILIES
    )
    head: str | None = option(
        None, "the head to export, none: the body alone (default: the one the file has)", choices=HEADS
    )

    with_past: bool = option(
        False,
        "onnx: keys and values of earlier tokens are an input, and of all tokens an output (causal language "
        "models and decoders)",
    )

    def check(self) -> None:
        """A graph has no family, a folder no keys and values."""
        if self.to == "hf" and self.with_past:
            raise ConfigError("--with_past is for --to onnx; a folder needs it not, leave it out.")
        if self.to == "onnx" and self.family is not None:
            raise ConfigError(f"--family {self.family} is for --to hf; a graph needs none, leave it out.")


@dataclass(frozen=True)
class InspectOptions(Options):
    """Looking into a model."""

    tensors: bool = option(False, "list every tensor with its shape")


@dataclass(frozen=True)
class MergeLoraOptions(Options):
    """Merging adapters."""

    load_model_path: str = option(
        help="the model that the adapters were trained on", required=True, metavar="FILE"
    )
    adapter_path: str = option(help="folder of the adapters", required=True, metavar="FOLDER")
    output_model_path: str = option(help="the merged model goes here", required=True, metavar="FILE")


@dataclass(frozen=True)
class TakeLayersOptions(Options):
    """Some layers of a model."""

    load_model_path: str = option(
        help="file of weights, or folder of a Hugging Face model", required=True, metavar="FILE"
    )
    layers: tuple[int, ...] = option(
        (),
        "layers of the encoder to take, from 1 on: 2 4 6 is every other one of six (default: all)",
        check=lambda value: value > 0,
        expected="a number greater than 0",
        metavar="NUMBER",
    )
    student: int | None = not_negative(
        None, "of a model of --target students the student of this number, from 0 on"
    )
    output_model_path: str = option(help="file to write", required=True, metavar="FILE")

    def check(self) -> None:
        """Something is to be taken."""
        if not self.layers and self.student is None:
            raise ConfigError("--layers is missing: name the layers to take, or a --student.")
