"""Convert ALBERT from its original TensorFlow checkpoint to UER-py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.opts.convert import original_conversion

main = original_conversion("convert_albert_from_original_tf_to_uer", "albert", "uer")

if __name__ == "__main__":
    sys.exit(run(main))
