"""Errors name what was got, where, and what was meant."""

import pickle

import pytest

from uer.errors import ConfigError, DataError, pick, suggestion


def test_data_error_names_file_and_line():
    assert str(DataError("has two columns.", path="a.tsv", line=3)) == "a.tsv:3: has two columns."
    assert str(DataError("is empty.", path="a.tsv")) == "a.tsv: is empty."
    assert str(DataError("is empty.")) == "is empty."


def test_data_error_survives_a_worker_process():
    error = pickle.loads(pickle.dumps(DataError("has two columns.", path="a.tsv", line=3)))
    assert (str(error), error.path, error.line) == ("a.tsv:3: has two columns.", "a.tsv", 3)


def test_pick_lists_the_choices_and_suggests_one():
    assert pick("lstm", {"lstm": 1, "gru": 2}, "encoder") == 1
    with pytest.raises(
        ConfigError, match=r"encoder 'lsmt' is unknown; choose from lstm, gru\. Did you mean 'lstm'\?"
    ):
        pick("lsmt", {"lstm": 1, "gru": 2}, "encoder")


def test_suggestion_is_empty_when_nothing_is_near():
    assert suggestion("zzz", ["lstm", "gru"]) == ""
