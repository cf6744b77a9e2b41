"""An ONNX graph, built node by node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace import __version__
from headrace.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OPSET = 21
"""Of the operators: the newest that the converter of estimators writes."""
ML_OPSET = 3
IR_VERSION = 10

Sort = Literal["numbers", "strings", "times"]


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, shape (rows, width)."""

    name: str
    sort: Sort
    """float64 numbers, strings, or int64 microseconds since 1970."""
    width: int


@dataclass
class Graph:
    """Nodes, constants and inputs, in the order in which they were added."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    _names: int = 0

    def name(self, stem: str) -> str:
        """Make a name that no other tensor has."""
        self._names += 1
        return f"{stem.lower()}_{self._names}"

    def input(self, name: str, sort: Sort) -> Value:
        """Add one column of the data as an input, shape (rows, 1)."""
        from onnx import TensorProto, helper

        kind = {
            "numbers": TensorProto.DOUBLE,
            "strings": TensorProto.STRING,
            "times": TensorProto.INT64,
        }[sort]
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["rows", 1]))
        return Value(name, sort, 1)

    def constant(self, values: NDArray[Any] | np.generic) -> str:
        """Add a constant: float64, float32, int64, or strings from an object array."""
        from onnx import TensorProto, helper, numpy_helper

        array = np.asarray(values)
        name = self.name("constant")
        if array.dtype.kind in "OU":
            texts: Any = [str(value).encode() for value in array.reshape(-1)]
            self.constants.append(helper.make_tensor(name, TensorProto.STRING, array.shape, texts))
        else:
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output."""
        from onnx import helper

        output = self.name(operator)
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], name=output, domain=domain, **attributes)
        )
        return output

    def column(self, value: Value, index: int) -> Value:
        """Take one column of a tensor, shape (rows, 1)."""
        if value.width == 1:
            return value
        taken = self.add("Gather", value.name, self.constant(np.array([index])), axis=1)
        return Value(taken, value.sort, 1)

    def join(self, values: Sequence[Value]) -> Value:
        """Put tensors of one sort side by side."""
        sorts = {value.sort for value in values}
        if len(sorts) != 1:
            raise PackageError("columns of several kinds meet in one step", where="ONNX")
        if len(values) == 1:
            return values[0]
        name = self.add("Concat", *(value.name for value in values), axis=1)
        return Value(name, values[0].sort, sum(value.width for value in values))

    def splice(self, model: Any, inputs: dict[str, str]) -> list[str]:
        """Add the nodes of another model, whose inputs are tensors of this graph, and return its outputs.

        Parameters
        ----------
        model : onnx.ModelProto
            As a converter has made it.
        inputs : dict of str to str
            Its inputs to tensors of this graph.
        """
        prefix = self.name("part") + "_"
        known = dict(inputs)

        def renamed(name: str) -> str:
            return known.setdefault(name, prefix + name) if name else ""

        for held in model.graph.initializer:
            copy = type(held)()
            copy.CopyFrom(held)
            copy.name = renamed(held.name)
            self.constants.append(copy)
        for node in model.graph.node:
            copy = type(node)()
            copy.CopyFrom(node)
            copy.name = prefix + node.name
            del copy.input[:], copy.output[:]
            copy.input.extend(renamed(name) for name in node.input)
            copy.output.extend(renamed(name) for name in node.output)
            self.nodes.append(copy)
        return [renamed(output.name) for output in model.graph.output]

    def model(self, outputs: dict[str, tuple[str, int, Sequence[Any]]]) -> bytes:
        """Write the graph as an ONNX file.

        Parameters
        ----------
        outputs : dict of str to (str, int, sequence)
            Name of each output to the tensor, its ONNX type and its shape.

        Raises
        ------
        PackageError
            When the graph is not sound.
        """
        import onnx
        from onnx import helper

        for name, (tensor, _, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"output_{name}"))
        infos = [
            helper.make_tensor_value_info(name, kind, shape) for name, (_, kind, shape) in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "headrace", self.inputs, infos, self.constants)
        model = helper.make_model(
            graph,
            producer_name="headrace",
            producer_version=__version__,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        )
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            raise PackageError(f"the graph is not sound: {error}", where="ONNX") from error
        written: bytes = model.SerializeToString(deterministic=True)
        return written
