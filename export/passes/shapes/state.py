"""What is known of the shapes of a graph while it is walked through."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from export.passes.graph.values import constant_array
from export.passes.shapes.symbolic_dims import Dim, Dims, Names


@dataclass(frozen=True)
class Contents:
    """The integers of a computed shape: a vector, or one scalar."""

    dims: Dims
    scalar: bool = False


@dataclass
class ShapeState:
    """Shapes by value, the integers that computed shapes hold, and the names that were made up."""

    dims: dict[ir.Value, Dims] = field(default_factory=dict)
    contents: dict[ir.Value, Contents] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    def shape_of(self, value: ir.Value | None) -> Dims | None:
        """The shape of `value`: as found, or as annotated; a free axis without a name gets one."""
        if value is None:
            return None
        if value not in self.dims and value.shape is not None:
            self.dims[value] = tuple(self._dim(value, axis) for axis in range(len(value.shape)))
        return self.dims.get(value)

    def _dim(self, value: ir.Value, axis: int) -> Dim:
        assert value.shape is not None
        dim = value.shape[axis]
        if isinstance(dim, int):
            return dim
        return dim.value if dim.value is not None else self.names.fresh((value, axis))

    def contents_of(self, value: ir.Value | None) -> Contents | None:
        """The integers in `value`, where it is a constant or was followed."""
        if value in self.contents or value is None:
            return self.contents.get(value) if value is not None else None
        array = constant_array(value) if value.const_value is None or value.const_value.size <= _LARGEST else None
        if array is None or array.dtype != np.int64 or array.ndim > 1 or array.size > _LARGEST:
            return None
        return Contents(tuple(int(number) for number in array.reshape(-1)), array.ndim == 0)


#: Elements of the longest constant that is taken for a shape.
_LARGEST = 16
