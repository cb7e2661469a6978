"""Convert XLM-RoBERTa from UER-py to Hugging Face."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.opts.convert import LayersOptions, conversion

main = conversion(
    "convert_xlmroberta_from_uer_to_huggingface", "xlm-roberta", "mlm", "huggingface", LayersOptions
)

if __name__ == "__main__":
    sys.exit(run(main))
