"""A device that is a function over arrays: the shortest way from a library, a model or an interpreter to a device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import Buffer, Event, Finished
from heddle.core.runtime.host import HostDevice
from heddle.core.runtime.promised import deliver, promised
from numpy.typing import NDArray


@dataclass(eq=False)
class Prepared:
    """A loaded artifact and what `prepare` made of it."""

    artifact: Artifact
    made: Any

    def close(self) -> None:
        self.made = None


class CallingDevice(HostDevice):
    """Works in host memory; a subclass says what to prepare once for an artifact, and what one call does."""

    def prepare(self, artifact: Artifact) -> Any:
        """What `call` gets for this artifact; made once, when it is loaded. The artifact itself, unless overridden."""
        return artifact

    @abstractmethod
    def call(self, made: Any, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> Any:
        """Compute the outputs in place, or return them in order; several threads may be in here at once."""

    def load(self, artifact: Artifact) -> Prepared:  # type: ignore[override] # other programs than the host's own
        try:
            return Prepared(artifact, self.prepare(artifact))
        except Exception as error:
            raise ArtifactError(f"{artifact.device}: an artifact cannot be prepared: {error!r}") from error

    def submit(self, program: object, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        assert isinstance(program, Prepared), f"a {type(program).__name__} was loaded by another device"
        for event in after:
            event.wait()
        signature = program.artifact.signature
        arrays = []
        for buffer, port in zip(buffers, (*signature.inputs, *signature.outputs), strict=True):
            dtype = dtype_named(port.dtype)
            assert buffer.array is not None, "buffers of this device are host memory"
            flat = buffer.array[: int(np.prod(port.shape, dtype=np.int64)) * dtype.itemsize]
            arrays.append(flat.view(dtype).reshape(port.shape))
        inputs, outputs = arrays[: len(signature.inputs)], arrays[len(signature.inputs) :]
        for array in inputs:
            array.flags.writeable = False
        try:
            with np.errstate(all="ignore"):  # NaN and infinities are values, as on any device
                targets = [promised(array, port) for array, port in zip(outputs, signature.outputs, strict=True)]
                deliver(self.call(program.made, inputs, targets), signature.outputs, outputs)
        except Exception as error:
            return Finished(DeviceError(f"{program.artifact.device}: {type(error).__name__}: {error}{_advice(error)}"))
        return Finished()


def _advice(error: Exception) -> str:
    """What to do about the mistakes that numpy reports."""
    if "read-only" in str(error):
        return "; inputs and constants belong to the caller, change a copy"
    if "could not broadcast" in str(error):
        return "; outputs have the shapes of the region's signature"
    return ""
