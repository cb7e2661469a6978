"""Convert BERT from UER-py to its original TensorFlow form."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.opts.convert import BertTypeOptions, LayersOptions, original_conversion

main = original_conversion(
    "convert_bert_from_uer_to_original_tf", "bert", "original", BertTypeOptions, LayersOptions
)

if __name__ == "__main__":
    sys.exit(run(main))
