"""Write docs/zoo.md: the families that are proven, and how far our numbers are from other programs'.

    python3 benchmarks/zoo.py                the frozen cases of the repository
    python3 benchmarks/zoo.py --golden DIR   and those of another folder

The frozen cases are computed anew; the differences from `transformers` are those of docs/parity.md, which
`benchmarks/parity.py --transformers --write docs/parity.md` measures. The exit code is 1 when one is too
large.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
if TYPE_CHECKING:
    from tests.zoo.families import ZooFamily

TOLERANCE = 2e-5
HEAD = """# The zoo

Families of released models, what each is made of here, and what proves it. Written by
`python3 benchmarks/zoo.py` from the table in `tests/zoo/families.py` and from what was measured; how a family
is added stands in [add-a-family.md](add-a-family.md).

A folder of any of them is named as it is, and recognised by what it says of itself (Hugging Face's
`config.json`, PaddleNLP's, or the one of the original release beside a TensorFlow checkpoint). The lines to
load it, fine-tune it and pre-train it further stand in its row, behind `python3 `; FOLDER is the folder,
other names are the user's, and `tests/zoo/test_commands.py` runs each line. Any other script of `finetune/`
takes the folder as `--pretrained_model_path` too; `scripts/export.py --load_model_path MODEL.bin --family
FAMILY --output_path FOLDER` is the way back. From the start trains

```
python3 preprocess.py --corpus_path … --vocab_path … --data_processor OBJECTIVE --dataset_path dataset.pt
python3 pretrain.py --config_path models/FOLDER/SIZE_config.json --dataset_path dataset.pt --vocab_path …
```

The largest difference is over hidden states, pooled output and heads, relative to 1 + |value|. "live" means a
class of `transformers`, tiny and random, built in the tests; "frozen" numbers of other programs, kept in the
repository or, for some, beside it.

Where PaddleNLP 2.8.1 is not the original: its ALBERT computes the norm of the masked-word head alone with an
epsilon of 1e-5 (ours: the configuration's); its RoBERTa begins at row 1 of the positions (ours at row 0, as
the released weights were trained); of ERNIE-Gram it leaves out the relative positions (so do we); the
recurrent layers of SKEP's tagger are not read here. ERNIE-M's text is cut as PaddleNLP does; transformers 4
keeps some blanks as tokens. ernie-tiny's list of words is read from `dict.wordseg.txt`, one a line, not from
the pickle.

"""
COLUMNS = (
    "id",
    "family",
    "names",
    "configurations",
    "key maps",
    "heads",
    "tokenizer",
    "objective",
    "oracle",
    "load",
    "fine-tune",
    "pre-train",
    "largest difference",
    "live",
    "frozen",
    "cases",
)


def main(argv: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--golden", type=Path, metavar="DIR", help="a further folder of frozen cases")
    parser.add_argument("--write", type=Path, default=ROOT / "docs" / "zoo.md", metavar="FILE")
    options = parser.parse_args(argv)
    logging.getLogger("uer").setLevel(logging.ERROR)
    from tests.zoo.families import FAMILIES

    live = live_differences(ROOT / "docs" / "parity.md")
    frozen = frozen_differences([ROOT / "tests" / "golden" / "zoo", *filter(None, [options.golden])])
    lines, missed = [], 0
    for family in FAMILIES:
        of_live = [value for name in family.live for value in live[name]]
        of_frozen = [value for name, value in frozen.items() if name.startswith(family.frozen or ("-",))]
        worst = max([*of_live, *of_frozen])
        missed += worst > TOLERANCE
        lines.append(row(family, worst, of_live, of_frozen))
        print(lines[-1], end="")
    head = HEAD + f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
    options.write.write_text(head + "".join(lines), encoding="utf-8")
    print(f"Wrote {options.write}.")
    return 1 if missed else 0


def described(family: ZooFamily) -> str:
    """The cells of a row that do not depend on measurements."""
    from tests.zoo.commands import LOAD, fine_tune, pre_train

    oracle = " and ".join(
        kind for kind, used in (("transformers", family.live), ("frozen numbers", family.frozen)) if used
    )
    configurations = f"`models/{family.folder}/` ({len(family.configurations)})"
    cells = (
        family.title,
        ", ".join(family.names),
        configurations,
        ", ".join(f"`{name}`" for name in family.maps),
        family.heads,
        family.tokenizer,
        family.objective,
        oracle,
        f"`{LOAD}`",
        f"`{fine_tune(family.id)}`",
        "`" + "`; `".join(pre_train(family.id)) + "`",
    )
    return f"| {family.id} | " + " | ".join(cells) + " |"


def row(family: ZooFamily, worst: float, live: list[float], frozen: list[float]) -> str:
    """One line of the table."""
    parts = [f"{max(values):.1e}" if values else "" for values in (live, frozen)]
    return f"{described(family)} {worst:.1e} | {parts[0]} | {parts[1]} | {len(live) + len(frozen)} |\n"


def live_differences(path: Path) -> dict[str, list[float]]:
    """Family → the differences that docs/parity.md holds of it."""
    found: dict[str, list[float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and cells[3][:1].isdigit():
            found.setdefault(cells[1], []).append(float(cells[3]))
    return found


def frozen_differences(folders: list[Path]) -> dict[str, float]:
    """Case → its largest difference, of all cases that the key maps cover."""
    from tests.checkpoints.zoo import check, class_of

    found = {}
    for path in sorted(path for folder in folders for path in folder.glob("*.json")):
        if class_of(path) is None:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            found[path.stem] = max(check(path, Path(temporary)).values())
    return found


if __name__ == "__main__":
    sys.exit(main())
