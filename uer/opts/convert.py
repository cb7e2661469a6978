"""The frame of UER-py's conversion commands: each is a family, a direction, and its flags."""

from __future__ import annotations

from collections.abc import Callable

from uer.cli import Command
from uer.config.convert import (
    BertTypeOptions,
    ConvertOptions,
    DecoderLayersOptions,
    LayersOptions,
    PegasusOptions,
    T5TypeOptions,
)
from uer.utils.logging import logger

PARTS = {"bert": "mlm sp", "mlm": "mlm"}


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
            head = " ".join(options["target"] or ()) or PARTS[options["type"]]
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


__all__ = [
    "BertTypeOptions",
    "DecoderLayersOptions",
    "LayersOptions",
    "PegasusOptions",
    "T5TypeOptions",
    "conversion",
]
