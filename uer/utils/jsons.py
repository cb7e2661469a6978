"""JSON that users wrote."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str) -> Any:
    """`json.loads`, with one kind of complaint: `JSONDecodeError`, which has a line and a column.

    Python has others for brackets that lie too deep in one another, and for integers of thousands of digits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("brackets lie too deep in one another", text, 0) from None
    except ValueError:
        raise json.JSONDecodeError("an integer has thousands of digits", text, 0) from None
