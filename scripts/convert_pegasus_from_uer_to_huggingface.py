"""Convert PEGASUS from UER-py to Hugging Face."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.opts.convert import DecoderLayersOptions, LayersOptions, PegasusOptions, conversion

main = conversion(
    "convert_pegasus_from_uer_to_huggingface",
    "pegasus",
    "lm",
    "huggingface",
    LayersOptions,
    DecoderLayersOptions,
    PegasusOptions,
)

if __name__ == "__main__":
    sys.exit(run(main))
