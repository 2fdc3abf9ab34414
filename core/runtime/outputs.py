"""What a call returns: arrays that unpack like a tuple and are found by name like a dict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from numpy.typing import NDArray

Array = NDArray[Any]


class Outputs(tuple[Array, ...]):
    """The outputs of one call, in the model's order.

    `y[0]` and `y["name"]` are arrays, `a, b = y` unpacks them, and `keys`, `values`, `items` and `dict(y)` work as
    for a dict.
    """

    __slots__ = ()
    _names: tuple[str, ...] = ()

    @staticmethod
    def named(names: Iterable[str]) -> type[Outputs]:
        """The class of results with these names."""
        return cast("type[Outputs]", type("Outputs", (Outputs,), {"__slots__": (), "_names": tuple(names)}))

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return tuple.__getitem__(self, key)
        try:
            return tuple.__getitem__(self, self._names.index(key))
        except ValueError:
            raise KeyError(f"there is no output {key!r}; the outputs are {', '.join(self._names)}") from None

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def keys(self) -> tuple[str, ...]:
        return self._names

    def values(self) -> tuple[Array, ...]:
        return tuple(self)

    def items(self) -> Iterator[tuple[str, Array]]:
        return zip(self._names, self, strict=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._names, tuple(self))

    def __repr__(self) -> str:
        return f"Outputs({', '.join(f'{name}={array!r}' for name, array in self.items())})"


def _restore(names: tuple[str, ...], arrays: tuple[Array, ...]) -> Outputs:
    return Outputs.named(names)(arrays)
