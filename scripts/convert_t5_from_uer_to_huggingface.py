"""Convert T5 and T5 v1.1 from UER-py to Hugging Face."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.opts.convert import DecoderLayersOptions, LayersOptions, T5TypeOptions, conversion

main = conversion(
    "convert_t5_from_uer_to_huggingface",
    "t5",
    "lm",
    "huggingface",
    LayersOptions,
    DecoderLayersOptions,
    T5TypeOptions,
)

if __name__ == "__main__":
    sys.exit(run(main))
