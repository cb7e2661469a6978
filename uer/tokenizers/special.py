"""The words that a vocabulary gives a special meaning, from a `special_tokens_map.json` or built in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uer.errors import DataError
from uer.utils.files import atomic_write
from uer.utils.jsons import parse_json

MAP_NAME = "special_tokens_map.json"


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens by role.

    Attributes:
        unk: stands for what the vocabulary lacks.
        cls: begins a sequence.
        sep: ends a text.
        mask: hides a token.
        pad: fills up a row.
        sentinel: the first of the numbered tokens that stand for spans (T5), or None.
    """

    unk: str
    cls: str
    sep: str
    mask: str
    pad: str
    sentinel: str | None = "<extra_id_0>"

    def required(self) -> dict[str, str]:
        """Role → token of the five that a vocabulary must hold."""
        return {"unk": self.unk, "cls": self.cls, "sep": self.sep, "mask": self.mask, "pad": self.pad}

    def to_map(self) -> dict[str, str]:
        """The content of a `special_tokens_map.json`."""
        out = {f"{role}_token": token for role, token in self.required().items()}
        return out if self.sentinel is None else {**out, "sentinel_token": self.sentinel}

    @classmethod
    def load(cls, path: str | Path) -> SpecialTokens:
        """Read a map file, or the `special_tokens_map.json` of a folder; Hugging Face's form will do too.

        Raises:
            DataError: missing, not UTF-8, not a JSON object, or a role is absent or not a word.
        """
        path = Path(path)
        path = path / MAP_NAME if path.is_dir() else path
        values = _read_object(path)
        tokens: dict[str, Any] = {}
        for role in ("unk", "cls", "sep", "mask", "pad", "sentinel"):
            token = values.get(f"{role}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if token is None and role == "sentinel":
                continue
            if not isinstance(token, str) or not token:
                raise DataError(
                    f"has no '{role}_token'; a special-token map names unk, cls, sep, mask and pad, "
                    'as in {"unk_token": "[UNK]", …}.',
                    path=path,
                )
            tokens[role] = token
        return cls(**tokens)

    def save(self, path: str | Path) -> None:
        """Write the map file."""
        with atomic_write(path) as file:
            json.dump(self.to_map(), file, ensure_ascii=False, indent=2)
            file.write("\n")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"the special-token map cannot be read ({error.strerror}); name one that exists or its folder.",
            path=path,
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start}); save the JSON as UTF-8.", path=path) from error
    except json.JSONDecodeError as error:
        raise DataError(f"is not valid JSON: {error.msg}.", path=path, line=error.lineno) from error
    if not isinstance(values, dict):
        raise DataError(f"holds a {type(values).__name__}; a special-token map is a JSON object.", path=path)
    return values


BERT = SpecialTokens("[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]")
XLMR = SpecialTokens("<unk>", "<s>", "</s>", "<mask>", "<pad>")
# Tried in this order when no map is named: the first whose five tokens all stand in the vocabulary is meant.
KNOWN = (BERT, XLMR)
