"""Every Hugging Face family and head against `transformers`, both ways."""

from __future__ import annotations

import pytest

from tests.checkpoints.parity import SCALES, differences, round_trip
from tests.checkpoints.parity_cases import Case, cases
from uer.utils.files import repository_root

TOLERANCE = 1e-5


@pytest.mark.parametrize("std", SCALES)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_same_numbers(case, std, tmp_path):
    found = differences(case, tmp_path, std, seed=5)
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_there_and_back(case, tmp_path):
    assert round_trip(case, tmp_path, SCALES[0], seed=6) == []


def test_the_table_in_the_documents_has_every_case():
    text = (repository_root() / "docs" / "parity.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:6] for line in text.splitlines() if line.startswith("| ")][1:]
    known = [(family.strip(), name.strip()) for family, name, *_ in rows]
    hint = "write it anew: python3 benchmarks/parity.py --transformers --write docs/parity.md"
    assert known == [(case.family, case.name) for case in cases()], hint
    assert all(
        float(worst) <= TOLERANCE and export.strip() == "to the bit" for _, _, worst, _, export in rows
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_real_sizes(family, tmp_path):
    """BERT-base and GPT-2 with random weights; the difference grows with width and depth, so 2e-5 is
    allowed.
    """
    cls = {"bert": "BertForPreTraining", "gpt2": "GPT2LMHeadModel"}[family]
    settings = {"bert": {"vocab_size": 97}, "gpt2": {"vocab_size": 97}}[family]
    case = Case(family, cls, {"bert": "mlm sp", "gpt2": "lm"}[family], settings)
    found = differences(case, tmp_path, 0.02, seed=1)
    assert max(found.values()) <= 2e-5, found
