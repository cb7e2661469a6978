"""Tensors of the CPU that say they lie on a GPU: an operation on both kinds fails, as it would there.

It finds what a machine without a GPU never meets: a tensor that was made without `device=`, a batch that was
not moved. It knows nothing of kernels, precision or memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

CARD = torch.device("cuda", 0)
MIXED = ("copy_", "_to_copy", "index.Tensor", "index_put")  # what a GPU takes from main memory too


class OnCard(Tensor):
    """A tensor that says it lies on a GPU."""

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = Tensor._make_wrapper_subclass(cls, held.size(), **layout, device="cpu")
        made.held = held
        return made

    device = property(lambda self: CARD)
    is_cuda = property(lambda self: True)

    def __repr__(self) -> str:
        return f"OnCard({self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def cpu(self) -> Tensor:
        return self.detach().held.clone()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        strangers = [x.shape for x in tensors if not isinstance(x, OnCard) and x.dim()]
        if strangers and not any(name in str(func) for name in MIXED):
            raise RuntimeError(f"{func} is given tensors of the CPU and of a GPU: {strangers}")
        if _names_card(kwargs.get("device")):
            kwargs = {**kwargs, "device": torch.device("cpu")}
        out = func(*tree_map_only(OnCard, lambda x: x.held, args), **tree_map_only(OnCard, _held, kwargs))
        return return_and_correct_aliasing(func, args, kwargs, tree_map_only(Tensor, OnCard, out))


def _held(x: OnCard) -> Tensor:
    return x.held


def _names_card(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class Card(TorchFunctionMode):
    """In the block, what is made on a GPU or moved to one is `OnCard`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") == "to" and (place := self._place(args, kwargs)) is not None:
            moved = self._moved(args[0], _names_card(place))
            rest = [x for x in args[1:] if not isinstance(x, (torch.device, str))]
            kwargs = {name: x for name, x in kwargs.items() if name not in ("device", "non_blocking")}
            return func(moved, *rest, **kwargs) if rest or kwargs else moved
        kwargs.pop("pin_memory", None)
        if not _names_card(kwargs.get("device")):
            return func(*args, **kwargs)
        out = func(*args, **{**kwargs, "device": torch.device("cpu")})
        return tree_map_only(Tensor, lambda x: x if isinstance(x, OnCard) else OnCard(x), out)

    @staticmethod
    def _place(args: Any, kwargs: Any) -> Any:
        named = [x for x in (*args[1:], kwargs.get("device")) if isinstance(x, (torch.device, str))]
        return named[0] if named else None

    @staticmethod
    def _moved(x: Tensor, to_card: bool) -> Tensor:
        if to_card == isinstance(x, OnCard):
            return x
        return OnCard(x.detach().clone()) if to_card else x.cpu()


def on_card(model: nn.Module) -> nn.Module:
    """The model with its weights there; what was one tensor stays one."""
    moved: dict[int, Tensor] = {}
    for module in model.modules():
        for name, param in module.named_parameters(recurse=False, remove_duplicate=False):
            fresh = nn.Parameter(OnCard(param.detach().clone()), requires_grad=param.requires_grad)
            module._parameters[name] = moved.setdefault(id(param), fresh)
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            module._buffers[name] = moved.setdefault(id(buffer), OnCard(buffer.clone()))
    return model


def pretend(monkeypatch: Any) -> None:
    """What else a GPU has: memory that it reads directly, events, a peak."""

    class Event:
        def __init__(self, **settings: Any) -> None:
            self.settings = settings

        def record(self) -> None:
            self.recorded = True

        def synchronize(self) -> None:
            assert self.recorded

    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 1)
