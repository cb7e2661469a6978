"""Convert sentence-BERT from Hugging Face to UER-py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.opts.convert import LayersOptions, conversion

main = conversion("convert_sbert_from_huggingface_to_uer", "sbert", "", "uer", LayersOptions)

if __name__ == "__main__":
    sys.exit(run(main))
