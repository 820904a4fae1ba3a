"""The engine without onnxruntime: the same answers, and nothing but numpy."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerec.bundle import Bundle
from edgerec.errors import BundleError, ConfigError
from edgerec.runtime import Recommender
from edgerec.runtime.engine import open_engine
from edgerec.runtime.numpy_session import NumpySession
from edgerec.runtime.onnx_file import read_graph
from tests import toy


def read(path):
    return read_graph(path.read_bytes(), path.with_name("weights.bin").read_bytes(), str(path))


def session(path):
    return NumpySession(path.read_bytes(), path.with_name("weights.bin").read_bytes(), str(path))


@pytest.fixture
def both(toy_bundle):
    opened = [Recommender.of(toy_bundle, engine) for engine in ("onnxruntime", "numpy")]
    yield opened
    for rec in opened:
        rec.close()


def test_both_engines_give_the_same_lists(both):
    for rec in both:
        for item in ("i5", "i2", "i5"):
            rec.observe(item, "click", time=toy.NOW_MS)
    a, b = (rec.recommend(k=8, now=toy.NOW_MS, explain=True, exclude=["i1"], diversity=0.3) for rec in both)
    assert [r.item for r in a] == [r.item for r in b]
    assert [r.reasons[0].item for r in a] == [r.reasons[0].item for r in b]
    np.testing.assert_allclose([r.utility for r in a], [r.utility for r in b], rtol=1e-6)
    c, d = (rec.similar("i3", k=3) for rec in both)
    assert [r.item for r in c] == [r.item for r in d]
    assert both[1].check() == 1


def test_it_is_taken_where_onnxruntime_is_not_installed(toy_bundle):
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'onnxruntime' else find(name, *a)\n"
        "from edgerec.runtime import Recommender\n"
        f"rec = Recommender.open({str(toy_bundle)!r})\n"
        "print(rec.health()['engine'], rec.recommend(k=1)[0].item, rec.check())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["numpy", "i0", "1"]


def test_an_unknown_engine_is_refused(toy_bundle):
    with pytest.raises(ConfigError, match="expected one of auto, native, onnxruntime, numpy"):
        open_engine(Bundle.open(toy_bundle), "torch")


def graph(tmp_path, nodes, inputs, outputs, constants=()):
    def value(name, kind):
        return helper.make_tensor_value_info(name, kind, None)

    made = helper.make_graph(nodes, "g", [value(*i) for i in inputs.items()], [value(*o) for o in outputs.items()],
                             list(constants))  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "g.onnx"


F32, I64 = TensorProto.FLOAT, TensorProto.INT64
X = np.array([[1.5, -2.5, 0.5], [0.0, 3.0, -1.0]], np.float32)


@pytest.mark.parametrize(
    ("op", "attributes", "others"),
    [
        ("Abs", {}, []),
        ("Exp", {}, []),
        ("Neg", {}, []),
        ("Relu", {}, []),
        ("Round", {}, []),
        ("Sigmoid", {}, []),
        ("Tanh", {}, []),
        ("Sqrt", {}, []),
        ("Softmax", {"axis": 0}, []),
        ("Softmax", {}, []),
        ("Transpose", {"perm": [1, 0]}, []),
        ("Transpose", {}, []),
        ("ReduceSum", {"keepdims": 0}, [np.array([1])]),
        ("ReduceMax", {}, [np.array([0])]),
        ("ReduceMean", {}, [np.array([1])]),
        ("ReduceSum", {}, []),
        ("Reshape", {}, [np.array([0, -1])]),
        ("Unsqueeze", {}, [np.array([0, 2])]),
        ("Slice", {}, [np.array([-2]), np.array([9]), np.array([1]), np.array([1])]),
        ("Slice", {}, [np.array([2]), np.array([-9]), np.array([1]), np.array([-1])]),
        ("Gather", {"axis": 1}, [np.array([2, 0, -1])]),
        ("Concat", {"axis": 1}, [X]),
        ("Expand", {}, [np.array([2, 2, 3])]),
        ("Pad", {}, [np.array([0, 1, 1, 0])]),
        ("Mod", {"fmod": 1}, [X + 5]),
        ("Div", {}, [X + 5]),
        ("Max", {}, [X * 0, X * 0 + 1]),
        ("Min", {}, [X * 0]),
        ("MatMul", {}, [X.T.copy()]),
        ("Gemm", {"transB": 1, "alpha": 2.0, "beta": 0.5}, [X, np.float32([1.0, 2.0])]),
        ("Einsum", {"equation": "ij,kj->ik"}, [X]),
        ("ScatterElements", {"axis": 1, "reduction": "add"}, [np.array([[1, 1, 0], [2, 2, 2]]), X]),
        ("ScatterElements", {"axis": 1}, [np.array([[1], [2]]), X[:, :1].copy()]),
        ("Cast", {"to": TensorProto.INT64}, []),
        ("Shape", {}, []),
        ("Greater", {}, [X * 0]),
    ],
)
def test_an_operator_does_what_onnxruntime_does(tmp_path, op, attributes, others):
    import onnxruntime as ort

    constants = [numpy_helper.from_array(np.asarray(other), f"c{i}") for i, other in enumerate(others)]
    names = ["x", *(f"c{i}" for i in range(len(others)))]
    kind = {"Cast": I64, "Shape": I64, "Greater": TensorProto.BOOL}.get(op, F32)
    path = graph(tmp_path, [helper.make_node(op, names, ["y"], **attributes)], {"x": F32}, {"y": kind}, constants)
    wanted = ort.InferenceSession(str(path)).run(["y"], {"x": X})[0]
    ours = session(path).run(["y"], {"x": X})[0]
    assert ours.dtype == wanted.dtype and ours.shape == wanted.shape
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_the_best_k_stand_as_in_onnxruntime_ties_too(tmp_path, k):
    import onnxruntime as ort

    x = np.array([1.0, 3.0, 3.0, -np.inf, 3.0], np.float32)
    path = graph(tmp_path, [helper.make_node("TopK", ["x", "k"], ["v", "i"])], {"x": F32, "k": I64},
                 {"v": F32, "i": I64})  # fmt: skip
    feed = {"x": x, "k": np.array([k])}
    for wanted, ours in zip(ort.InferenceSession(str(path)).run(None, feed), session(path).run(["v", "i"], feed),
                             strict=True):  # fmt: skip
        assert ours.tolist() == wanted.tolist()


def test_an_operator_that_is_not_known_is_named(tmp_path):
    path = graph(tmp_path, [helper.make_node("Erf", ["x"], ["y"])], {"x": F32}, {"y": F32})
    with pytest.raises(BundleError, match="no graph of edgerec has the operator 'Erf'"):
        session(path)


def outside(location, **keys):
    tensor = TensorProto(name="c", data_type=F32, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **keys}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (outside("../secret"), "lie in '../secret'"),
        (outside("/etc/passwd"), "lie in '/etc/passwd'"),
        (outside("weights.bin.onnx"), "lie in"),
        (outside("weights.bin", offset=60, length=16), "lies outside weights.bin"),
        (outside("weights.bin", offset=0, length=99), "lies outside weights.bin"),
    ],
)
def test_constants_outside_the_bundle_are_refused(tmp_path, tensor, message):
    path = graph(tmp_path, [helper.make_node("Add", ["x", "c"], ["y"])], {"x": F32}, {"y": F32}, [tensor])
    with pytest.raises(BundleError, match=message):
        read(path)


def test_constants_in_an_attribute_point_nowhere_else_either(tmp_path):
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(outside("../secret"))
    path = graph(tmp_path, [node, helper.make_node("Add", ["x", "c"], ["y"])], {"x": F32}, {"y": F32})
    with pytest.raises(BundleError, match=r"lie in '\.\./secret'"):
        read(path)


@pytest.mark.parametrize("cut", [1, 7, 30, 60])
def test_a_file_that_is_cut_off_is_no_graph(tmp_path, cut):
    path = graph(tmp_path, [helper.make_node("Abs", ["x"], ["y"])], {"x": F32}, {"y": F32})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(BundleError, match="does not load"):
        session(path)
