"""Runs of `pretrain.py`, one after the other in one worker: what `test_engines.py` starts twice.

Arguments: a JSON list of command lines, and as many ports at which the workers meet.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pretrain
from uer.cli import run

if __name__ == "__main__":
    for words, port in zip(json.loads(sys.argv[1]), json.loads(sys.argv[2])):
        os.environ["MASTER_PORT"] = str(port)
        if code := run(pretrain.main, words):
            sys.exit(code)
