"""The language of the key maps: a row joins names of ours with a name of theirs by an operation.

`{}` in a name stands for the number of the layer. The same rows read a Hugging Face file, write one, and tell
the load report which tensors belong where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

Rows = tuple["Row", ...]


@dataclass(frozen=True)
class Row:
    """One correspondence.

    Attributes:
        ours: our name, or the names that one tensor of theirs is cut into.
        theirs: their name.
        operation: a name of `uer.checkpoints.families.operations.OPERATIONS`.
        part: what it belongs to: "body", or a head ("mlm", "sp", "lm", "cls", "tok", "qa", "choice").
        also: further names of the same tensor in their files; read when `theirs` is absent.
        when: a field of `ModelConfig` that must be true, for layers that only some models have.
    """

    ours: tuple[str, ...]
    theirs: str
    operation: str = "copy"
    part: str = "body"
    also: tuple[str, ...] = ()
    when: str = ""

    @property
    def layered(self) -> bool:
        """Whether there is one such tensor a layer."""
        return "{}" in self.theirs

    @property
    def decodes(self) -> bool:
        """Whether the layers are the decoder's."""
        return self.ours[0].startswith("decoder.")

    def at(self, number: int) -> Row:
        """The row of one layer."""
        return replace(
            self,
            ours=tuple(name.replace("{}", str(number)) for name in self.ours),
            theirs=self.theirs.replace("{}", str(number)),
            also=tuple(name.replace("{}", str(number)) for name in self.also),
        )


def row(ours: str | tuple[str, ...], theirs: str, operation: str = "copy", **more: object) -> Rows:
    """A single row."""
    names = (ours,) if isinstance(ours, str) else ours
    return (Row(names, theirs, operation, **more),)


def linear(ours: str, theirs: str, operation: str = "copy", **more: object) -> Rows:
    """Weight and bias of a linear layer; the operation is the weight's."""
    return row(f"{ours}.weight", f"{theirs}.weight", operation, **more) + row(
        f"{ours}.bias", f"{theirs}.bias", **more
    )


def norm(ours: str, theirs: str, part: str = "body") -> Rows:
    """Gain and bias of a layer norm; the oldest files call theirs gamma and beta too."""
    return row(f"{ours}.gamma", f"{theirs}.weight", part=part, also=(f"{theirs}.gamma",)) + row(
        f"{ours}.beta", f"{theirs}.bias", part=part, also=(f"{theirs}.beta",)
    )


def each_layer(rows: Rows, layers: int, decoder_layers: int) -> Iterator[Row]:
    """All rows, those of the layers once for each."""
    for entry in rows:
        if entry.layered:
            for number in range(decoder_layers if entry.decodes else layers):
                yield entry.at(number)
        else:
            yield entry
