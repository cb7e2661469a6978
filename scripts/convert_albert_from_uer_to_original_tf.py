"""Convert ALBERT from UER-py to its original TensorFlow form."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.opts.convert import original_conversion

main = original_conversion("convert_albert_from_uer_to_original_tf", "albert", "original")

if __name__ == "__main__":
    sys.exit(run(main))
