"""Models that are built to be filled from a file: their first values are not drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class Unfilled(TorchFunctionMode):
    """Within this context the functions of `torch.nn.init` leave a tensor as it is.

    Drawing the normal numbers of a GPT-2 takes longer than reading its file. Use it where a strict load
    gives every parameter its value.
    """

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch calls this in place of `function`."""
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)
