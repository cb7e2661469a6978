"""Labels and their ids: integers are ids themselves (UER's format), names are numbered in sorted order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from uer.errors import DataError, suggestion

INTEGER = re.compile(r"[+-]?[0-9]+")
SHOWN = 12  # names listed in a message


def listing(names: Sequence[str]) -> str:
    """Names for a message, shortened when there are many."""
    shown = ", ".join(str(name) for name in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


class LabelMap:
    """Label ↔ id.

    Args:
        names: the labels in id order; the names "0", "1" … mean integers.
        source: where they come from, for messages.

    Attributes:
        integers: whether the labels are the ids themselves.
    """

    def __init__(self, names: Sequence[str], source: str | Path = "the model") -> None:
        self.names, self.source = tuple(names), source
        self.ids = {name: number for number, name in enumerate(self.names)}
        self.integers = self.names == tuple(map(str, range(len(self.names))))

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, count: int) -> LabelMap:
        """The integers 0 … count - 1."""
        return cls(tuple(map(str, range(count))), "--labels_num")

    @classmethod
    def collect(
        cls,
        values: Iterable[tuple[int, str]],
        path: str | Path,
        labels_num: int | None = None,
        least: int = 2,
    ) -> LabelMap:
        """The labels of a training file.

        Args:
            values: line number and label of every row.
            labels_num: the number of labels, when it was typed.
            least: so many labels are needed.

        Raises:
            DataError: an empty label, an integer outside 0 … C - 1, one label only, not `labels_num` names.
        """
        first: dict[str, int] = {}
        for line, value in values:
            value = value.strip()
            if not value:
                raise DataError("the label is empty; every row needs one.", path=path, line=line)
            first.setdefault(value, line)
        if not first:
            raise DataError("there is no row under the header.", path=path)
        integers = all(INTEGER.fullmatch(value) for value in first)
        found: dict[Any, int] = {int(value): line for value, line in first.items()} if integers else first
        if max(labels_num or 0, len(found)) < least:
            raise DataError(
                f"all rows have the label '{next(iter(found))}'; a classifier needs two labels at least.",
                path=path,
            )
        if integers:
            return cls(cls._integers(found, path, labels_num), path)
        names = sorted(first)
        if labels_num not in (None, len(names)):
            raise DataError(
                f"there are {len(names)} labels ({listing(names)}), but --labels_num is {labels_num}; "
                "leave it out, or mend the labels.",
                path=path,
            )
        return cls(names, path)

    @staticmethod
    def _integers(first: dict[int, int], path: str | Path, labels_num: int | None) -> list[str]:
        count = labels_num or len(first)
        for value, line in first.items():
            if not 0 <= value < count:
                raise DataError(
                    f"the label {value} is outside 0 … {count - 1}: the file has {len(first)} different "
                    f"integers ({listing(sorted(map(str, first), key=int))}); number the labels from 0 "
                    "without a gap, give --labels_num, or use names.",
                    path=path,
                    line=line,
                )
        return list(map(str, range(count)))

    def id_of(self, value: str, path: str | Path, line: int) -> int:
        """The id of a label.

        Raises:
            DataError: it is no label of the training file.
        """
        value = value.strip()
        known = self.ids.get(value)
        if known is None and self.integers and INTEGER.fullmatch(value):
            known = self.ids.get(str(int(value)))
        if known is None:
            raise DataError(
                f"the label '{value[:60]}' is not among those of {self.source}: {listing(self.names)}."
                + suggestion(value, self.names),
                path=path,
                line=line,
            )
        return known
