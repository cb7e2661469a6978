"""The frame of UER-py's conversion commands: each is a family, a direction, and its flags."""

from __future__ import annotations

from collections.abc import Callable

from uer.cli import Command
from uer.config.convert import (
    BertTypeOptions,
    ConvertOptions,
    DecoderLayersOptions,
    FromOriginalOptions,
    LayersOptions,
    PegasusOptions,
    T5TypeOptions,
    ToOriginalOptions,
)
from uer.utils.logging import logger

PARTS = {"bert": "mlm sp", "mlm": "mlm"}


def bert_part(options: BertTypeOptions) -> str:
    """The head that `--type`, or in the spelling of 2021 `--target`, means."""
    return " ".join(options.target or ()) or PARTS[options.type]


def conversion(
    script: str, family: str, part: str, to: str, *groups: type
) -> Callable[[list[str] | None], int]:
    """The `main` of a conversion command.

    Args:
        script: name of the file, for `--help`.
        family: see `uer.checkpoints.conversion`.
        part: the head; `--type`, where there is one, decides it (BERT) or the family (T5).
        to: "uer" or "huggingface".
        groups: what it takes beside input and output path.
    """
    names = {"uer": "Hugging Face to UER-py", "huggingface": "UER-py to Hugging Face"}
    command = Command(
        f"scripts/{script}.py", f"Convert {family} weights from {names[to]}.", ConvertOptions, *groups
    )

    def main(argv: list[str] | None = None) -> int:
        """Read, rename, write."""
        chosen = command.parse(argv)
        chosen.start_log()
        options = {name: value for group in groups for name, value in vars(chosen[group]).items()}
        source, target = chosen[ConvertOptions].input_model_path, chosen[ConvertOptions].output_model_path

        from uer.checkpoints import write_state
        from uer.checkpoints.conversion import to_hugging_face, to_uer

        name, head = family, part
        if BertTypeOptions in groups:
            head = bert_part(chosen[BertTypeOptions])
        if T5TypeOptions in groups:
            name = options["type"]
        depths = {"layers": options.get("layers_num"), "decoder_layers": options.get("decoder_layers_num")}
        if to == "uer":
            state = to_uer(source, name, head, **depths)
        else:
            rows = {"max_seq_length": options["max_seq_length"]} if PegasusOptions in groups else {}
            state = to_hugging_face(source, name, head, **depths, **rows)
        write_state(target, state)
        logger.info("Wrote %s (%d tensors).", target, len(state))
        return 0

    return main


def original_conversion(
    script: str, family: str, to: str, *groups: type
) -> Callable[[list[str] | None], int]:
    """The `main` of a command that converts from ("uer") or to ("original") a TensorFlow checkpoint."""
    files = FromOriginalOptions if to == "uer" else ToOriginalOptions
    what = "a TensorFlow checkpoint to UER-py" if to == "uer" else "UER-py to a TensorFlow checkpoint"
    command = Command(f"scripts/{script}.py", f"Convert {family} weights from {what}.", files, *groups)

    def main(argv: list[str] | None = None) -> int:
        """Read, rename, write."""
        chosen = command.parse(argv)
        chosen.start_log()
        source, target = chosen[files].input_model_path, chosen[files].output_model_path
        part = bert_part(chosen[BertTypeOptions]) if BertTypeOptions in groups else PARTS["bert"]
        layers = chosen[LayersOptions].layers_num if LayersOptions in groups else None

        from uer.checkpoints import write_state
        from uer.checkpoints.original import from_original, to_original

        if to == "uer":
            state = from_original(source, family, part, layers)
            write_state(target, state)
            count = len(state)
        else:
            count = to_original(source, target, family, part, layers)
        logger.info("Wrote %s (%d tensors).", target, count)
        return 0

    return main


__all__ = [
    "BertTypeOptions",
    "DecoderLayersOptions",
    "LayersOptions",
    "PegasusOptions",
    "T5TypeOptions",
    "conversion",
    "original_conversion",
]
