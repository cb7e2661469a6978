"""Paths of one command beside one another: what is read is not written over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from uer.errors import ConfigError

# Flags that name what a script writes; `dataset_path` is one where a corpus is read.
WRITTEN = (
    *("output_model_path", "new_model_path", "output_path", "prediction_path", "nbest_path", "vectors_path"),
    *("word_embedding_path", "grid_path", "log_path"),
)


def check_paths(values: Mapping[str, Any]) -> None:
    """No path is empty, and what is written is none of the files that are read (or written besides).

    A model may take the place of the model that it comes from, as in UER-py.

    Args:
        values: all options of a run by their names.

    Raises:
        ConfigError: naming the flags.
    """
    paths = list(_paths(values))
    if empty := next((name for name, path in paths if not path.strip()), None):
        raise ConfigError(f"--{empty} is empty; give a path, or leave it out.")
    _refuse_folders(values)
    written = {*WRITTEN, "dataset_path"} if "corpus_path" in values else {*WRITTEN}
    for place, (output, path) in enumerate(paths):
        if output not in written:
            continue
        for number, (other, beside) in enumerate(paths):
            model = output.endswith("model_path") and other.endswith("model_path")
            if number != place and not model and _same_file(path, beside):
                raise ConfigError(
                    f"--{output} and --{other} name the same file, {path}, which would be written over; "
                    f"give --{output} another name."
                )


def _refuse_folders(values: Mapping[str, Any]) -> None:
    """What tasks save and predict are files: to be told after the training would be late."""
    for name in ("output_model_path", "prediction_path"):
        path = values.get(name)
        if path and values.keys() & {"train_path", "test_path"} and Path(path).is_dir():
            raise ConfigError(f"--{name} {path} is a folder; give a file name.")


def _paths(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Flag and path, of all flags that name paths."""
    for name, value in values.items():
        if name.endswith("_path"):
            for path in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(path, str):
                    yield name, path


def _same_file(path: str, other: str) -> bool:
    """Whether both are one file; devices and standard streams may have several uses."""
    one, two = Path(path), Path(other)
    if path == "-" or (one.exists() and not one.is_file()):
        return False
    return one.resolve() == two.resolve() or (one.is_file() and two.is_file() and one.samefile(two))
