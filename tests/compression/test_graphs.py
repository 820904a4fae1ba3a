"""The three INT8 graphs against the student in torch, on random weights and real requests."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

from edgerec.compression import export, kernels
from edgerec.compression.export import ExportedStudent, export_student
from edgerec.compression.graph import HALF_FROM, GraphBuilder, pack
from edgerec.compression.graphs import Expectation, ItemTable, recommend_graph, score_graph, similar_graph, top_k
from edgerec.compression.rows import quantize_rows
from edgerec.compression.storage import STORAGES
from edgerec.devices import profile
from edgerec.models import student as student_module
from edgerec.models.qat import round_rows, row_scales
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import Task

EXPECTATIONS = {"watch": Expectation(slope=0.5, offset=2.0, cap=9.0)}
TASKS = 5  # next, new, click, liked, watch
NAMES = ("next", "new", "click", "liked", "watch")
WEIGHTS = np.array([1.0, 0.0, 0.3, 0.2, 0.001], np.float32)
NONE = np.zeros(0, np.int64)


@dataclass
class Exported:
    student: Student
    parts: ExportedStudent
    items: ItemTable
    folder: Path
    weights: bytes
    tensors: list

    def __post_init__(self):
        self._sessions = {}

    @property
    def table(self):
        """(N, dim), as it was rounded."""
        storage = self.items.table.storage
        return (storage.values * storage.scales).T.copy()

    @property
    def prior(self):
        """(T, N), as it was rounded."""
        prior = self.items.prior
        return prior.codes * prior.scale + prior.middle

    def run(self, graph, **feed):
        if graph not in self._sessions:
            self._sessions[graph] = session(self.folder / f"{graph}.onnx")
        known = {i.name for i in self._sessions[graph].get_inputs()}
        outputs = [o.name for o in self._sessions[graph].get_outputs()]
        found = self._sessions[graph].run(None, {n: v for n, v in feed.items() if n in known})
        return dict(zip(outputs, found, strict=True))


def session(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=[0, 3], ids=["plain", "transitions"])
def exported(request, tiny_data, tmp_path_factory) -> Iterator[Exported]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (export, student_module):
            patch.setattr(module, "FOLLOWED", 5)  # so that some of the past is too long ago
        yield _export(request.param, tiny_data, tmp_path_factory.mktemp("graphs"))


def _export(n_transitions, tiny_data, folder) -> Exported:
    torch.manual_seed(0)
    sizes = StudentSizes.of(8, 16, 2, transitions=n_transitions)
    sizes = replace(sizes, context=12, pooling=10, repeat=6, head=14)  # as pruning leaves them
    student = Student(tiny_data.shape, tiny_data.features, TASKS, sizes).eval()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.normal_(std=0.25)  # every part speaks
        student.step.mul_(0.02)  # hardly ever is a number cut
        student.requests.repeat.out.bias[:TASKS] = 2.0  # and the repeat term loudest
        if student.transitions is not None:
            weight = student.transitions.weight
            student.transitions.start(
                torch.randint(0, 40, (40, 3)), round_rows(weight, row_scales(weight, torch.zeros(40)))
            )
    parts = export_student(student, tiny_data.statistics.values[-1], tiny_data.tasks)
    items = ItemTable.of(parts)
    builders = [recommend_graph(parts, items, EXPECTATIONS), score_graph(parts, items, EXPECTATIONS)]
    builders.append(similar_graph(parts, items))
    models, tensors = pack(builders, folder / "weights.bin")
    for builder, model in zip(builders, models, strict=True):
        (folder / f"{builder.name}.onnx").write_bytes(model)
    return Exported(student, parts, items, folder, (folder / "weights.bin").read_bytes(), tensors)


@dataclass(frozen=True)
class Asked:
    """One request: the batch for torch, the feed for the graphs."""

    batch: object
    feed: dict


@pytest.fixture(scope="module")
def asked(tiny_data) -> list[Asked]:
    """Requests with long histories, short ones, and none at all."""
    requests = tiny_data.train.sessions.requests
    return [ask(requests, r) for r in np.argsort(requests.lengths(), kind="stable")[::9]]


def ask(requests, r, weights=WEIGHTS, exclude=NONE, k=40):
    batch = requests.batch(np.array([r]))
    length = int(batch.present.sum())  # an empty history is padded to one
    feed = {
        "history": batch.item[0, :length].numpy(),
        "history_kind": batch.kind[0, :length].numpy(),
        "history_count": batch.count[0, :length].numpy(),
        "history_age_h": batch.age_h[0, :length].numpy(),
        "history_interval_h": batch.interval_h[0, :length].numpy(),
        "context_categorical": batch.categorical[0].numpy(),
        "context_numeric": batch.numeric[0].numpy(),
        "task_weights": weights,
        "exclude": exclude,
        "k": np.array(k, np.int64),
    }
    return Asked(batch, feed)


def probabilities(exported, tiny_data, batch):
    """(T, N) in torch, float32, by the definition of each task."""
    with torch.no_grad():
        items = exported.student.encode_items(tiny_data.as_of(-1))
        next_, new, click, liked, watch = exported.student.score_catalog(batch, items)[0].double()
    had = batch.item[0][batch.present[0]]
    new[had] = -1e4
    watched = torch.exp(0.5 * watch + 2.0).clamp(max=9.0)
    clicked = torch.sigmoid(click)
    return torch.stack([next_.softmax(0), new.softmax(0), clicked, clicked * torch.sigmoid(liked), watched]).numpy()


def by_item(found):
    """`probability` (N, T) and `utility` (N,) of all items, in the order of the catalogue."""
    order = np.argsort(found["item"])
    return found["probability"][order], found["utility"][order]


# ---------------------------------------------------------------------------- the same as in torch


def test_probabilities_and_utilities_are_those_of_the_student_in_torch(exported, asked, tiny_data):
    assert {len(a.feed["history"]) for a in asked} >= {0, 16}
    for a in asked:
        probability, utility = by_item(exported.run("recommend", **a.feed))
        wanted = probabilities(exported, tiny_data, a.batch)

        assert np.allclose(probability.T, wanted, rtol=0.05, atol=5e-3)
        assert utility == pytest.approx(probability @ WEIGHTS, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("task", [0, 2, 3])
def test_the_best_items_are_those_of_the_student_in_torch(exported, asked, tiny_data, task):
    weights = np.eye(TASKS, dtype=np.float32)[task]
    overlaps = []
    for a in asked:
        top = exported.run("recommend", **{**a.feed, "task_weights": weights, "k": np.array(10)})["item"]
        best = np.argsort(-probabilities(exported, tiny_data, a.batch)[task], kind="stable")[:10]
        overlaps.append(len(set(top.tolist()) & set(best.tolist())) / 10)

    assert len(top) == 10
    assert np.mean(overlaps) >= 0.9


def as_shipped(student: Student) -> Student:
    """With the weights of the file: 16 bits where a tensor is long, INT8 where rows of it are looked up."""
    shipped = copy.deepcopy(student)
    for name, parameter in shipped.requests.named_parameters():
        if name == "context.category.table.weight":
            codes, scales = quantize_rows(parameter.detach().numpy())
            parameter.data = torch.from_numpy(codes * scales[:, None])
        elif 4 * parameter.numel() >= HALF_FROM:
            parameter.data = parameter.data.half().float()
    return shipped


def test_torch_over_the_rounded_weights_agrees_closely(exported, asked, tiny_data):
    student = as_shipped(exported.student)
    table = torch.from_numpy(exported.table)
    prior = torch.from_numpy(exported.prior.T.copy())
    for a in asked:
        with torch.inference_mode():
            logits = student.score_catalog(a.batch, (table, prior))[0]
        wanted = torch.sigmoid(logits[2]).numpy()

        # Half a step of the task vectors' 14 bits in each of their dimensions; 8 bits alone would be off by 1e-2.
        assert by_item(exported.run("recommend", **a.feed))[0][:, 2] == pytest.approx(wanted, abs=4e-4)


def test_the_codes_of_the_bundle_are_those_that_training_saw_bit_for_bit(exported, tiny_data):
    """Of the student in training, of numpy, and of onnxruntime's own operator."""
    student = exported.student
    table, _ = student.encode_items(tiny_data.as_of(-1))
    student.qat = True
    with torch.no_grad():
        seen, _ = student.encode_items(tiny_data.as_of(-1))
    student.qat = False
    codes, scales = exported.items.table.storage.values.T, exported.items.table.storage.scales

    assert np.array_equal(seen.numpy(), codes.astype(np.float32) * scales[:, None])
    assert np.array_equal(_quantized_by_onnxruntime(table.detach().numpy(), scales), codes)


def _quantized_by_onnxruntime(table, scales):
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["table", "scales", "zero"], ["wide"], axis=0),
        onnx.helper.make_node("Clip", ["wide", "least"], ["codes"]),  # -128 is no code of ours
    ]
    constants = [
        onnx.numpy_helper.from_array(scales, "scales"),
        onnx.numpy_helper.from_array(np.zeros(len(scales), np.int8), "zero"),
        onnx.numpy_helper.from_array(np.array(-127, np.int8), "least"),
    ]
    value = onnx.helper.make_tensor_value_info
    inputs = [value("table", onnx.TensorProto.FLOAT, table.shape)]
    outputs = [value("codes", onnx.TensorProto.INT8, table.shape)]
    graph = onnx.helper.make_graph(nodes, "quantize", inputs, outputs, constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    return ort.InferenceSession(model.SerializeToString()).run(None, {"table": table})[0]


def test_an_expectation_is_capped(exported, asked):
    watched = np.concatenate([by_item(exported.run("recommend", **a.feed))[0][:, 4] for a in asked])

    assert watched.max() == EXPECTATIONS["watch"].cap
    assert 0 < watched.min() < 9.0


def test_a_task_after_another_has_the_product_of_their_probabilities(exported, asked, tiny_data):
    for a in asked[:5]:
        probability, _ = by_item(exported.run("recommend", **a.feed))
        with torch.inference_mode():
            items = exported.student.encode_items(tiny_data.as_of(-1))
            own = torch.sigmoid(exported.student.score_catalog(a.batch, items)[0, 3]).numpy()

        assert (probability[:, 3] <= probability[:, 2]).all()
        assert probability[:, 3] == pytest.approx(probability[:, 2] * own, abs=0.02)


def test_a_task_without_repeats_gives_items_of_the_history_no_probability(exported, asked):
    a = asked[-1]
    probability, _ = by_item(exported.run("recommend", **a.feed))
    had = a.feed["history"]

    assert len(had) == 16
    assert (probability[had, 1] == 0).all()
    assert probability[:, 1].sum() == pytest.approx(1, rel=1e-5)
    assert (probability[had, 0] > 0).all()


# ---------------------------------------------------------------------------- what is asked for


def test_an_excluded_item_has_a_utility_of_minus_infinity_and_comes_last(exported, asked):
    gone = np.array([3, 17, 3], np.int64)  # one of them twice
    found = exported.run("recommend", **{**asked[-1].feed, "exclude": gone})

    assert set(found["item"][-2:].tolist()) == {3, 17}
    assert (found["utility"][-2:] == -np.inf).all()
    assert np.isfinite(found["utility"][:-2]).all()


def test_a_cold_user_is_scored_without_a_history(exported, asked):
    found = exported.run("recommend", **asked[0].feed)

    assert asked[0].feed["history"].shape == (0,)
    assert found["reason"].shape == (40, 0)
    assert np.isfinite(found["utility"]).all()


def test_score_gives_candidates_what_recommend_gives_them(exported, asked):
    for a in (asked[0], asked[-1]):
        best = exported.run("recommend", **a.feed)
        scored = exported.run("score", **a.feed, candidates=best["item"])
        for name in ("utility", "probability", "reason"):
            assert scored[name] == pytest.approx(best[name], rel=1e-6, abs=1e-7)


def test_score_takes_candidates_in_any_order_and_more_than_once(exported, asked):
    found = exported.run("score", **asked[-1].feed, candidates=np.array([5, 2, 5]))

    assert found["utility"][0] == found["utility"][2] != found["utility"][1]
    assert exported.run("score", **asked[-1].feed, candidates=NONE)["probability"].shape == (0, TASKS)


def test_similar_gives_the_related_items_of_torch_and_never_the_item_itself(exported, tiny_data):
    with torch.inference_mode():
        items = exported.student.encode_items(tiny_data.as_of(-1))
        wanted = exported.student.score_related(torch.arange(40), items).fill_diagonal_(-torch.inf).softmax(1).numpy()
    overlaps = []
    for item in range(40):
        found = exported.run("similar", item=np.array(item), exclude=NONE, k=np.array(10))
        assert item not in found["related"]
        assert found["score"] == pytest.approx(wanted[item, found["related"]], rel=0.1, abs=2e-3)
        assert (np.diff(found["score"]) <= 0).all()
        overlaps.append(len(set(found["related"].tolist()) & set(np.argsort(-wanted[item])[:10].tolist())) / 10)

    assert np.mean(overlaps) >= 0.9


def test_similar_marks_the_item_and_what_is_excluded_by_minus_infinity(exported):
    found = exported.run("similar", item=np.array(7), exclude=np.array([1, 2]), k=np.array(40))

    assert set(found["related"][-3:].tolist()) == {1, 2, 7}
    assert (found["score"][-3:] == -np.inf).all()
    assert found["score"][:-3].sum() == pytest.approx(1, rel=1e-5)


# ---------------------------------------------------------------------------- reasons


def test_reasons_add_up_to_what_the_weighted_logits_lose_without_an_item_of_the_past(exported, asked, tiny_data):
    """A reason is a derivative: the change of the logits for a small change of the attended values."""
    a, requests = asked[-1], tiny_data.train.sessions.requests
    assert requests is not None
    reason = exported.run("score", **a.feed, candidates=np.arange(40))["reason"]
    table = torch.from_numpy(exported.table)
    student, batch, step = exported.student, a.batch, 1e-3
    weights = torch.from_numpy(WEIGHTS)

    def weighted(attention_factor):
        tower = student.requests
        with torch.inference_mode():
            _, repeat, follow, attention = student.encode_requests(batch, table)
            context = tower.context(batch.categorical, batch.numeric)
            pooled = torch.einsum("lh,ld->hd", attention[0] * attention_factor[:, None], table[batch.item[0]]).flatten()
            user = tower.mix(pooled) + tower.head(torch.cat([context[0], pooled]))
            logits = user.unflatten(0, (TASKS, -1)) @ table.T
        return (weights @ logits), repeat[0] @ weights, follow[0] @ weights if follow.shape[2] else None

    one = torch.ones(16)
    base, repeat, follow = weighted(one)
    for place in range(16):
        moved = one.clone()
        moved[place] -= step
        change = (base - weighted(moved)[0]) / step
        change[batch.item[0, place]] += repeat[place]
        if student.transitions is not None:
            lists = student.transitions
            for item, weight in zip(*(of[batch.item[0, place]] for of in (lists.item, lists.weight)), strict=True):
                change[item] += follow[place] * weight.detach()
        assert reason[:, place] == pytest.approx(change.numpy(), abs=2e-2)


def test_an_item_that_is_bought_again_is_its_own_strongest_reason_where_repeats_count_most(exported, asked):
    had = asked[-1].feed["history"]
    reason = exported.run("score", **asked[-1].feed, candidates=had)["reason"]

    assert len(had) == 16
    assert reason.argmax(axis=1).tolist() == list(range(16))


# ---------------------------------------------------------------------------- kernels


def test_pairs_of_products_stay_below_sixteen_bits_so_that_every_processor_computes_the_same():
    low, high = np.array([-kernels.LARGEST, kernels.LARGEST])
    codes = np.arange(low, high + 1)
    tens = np.rint(codes / kernels.DIGIT)
    ones = codes - tens * kernels.DIGIT
    unsigned = np.concatenate([tens, ones]) + kernels.ZERO_POINT

    assert unsigned.min() >= 0
    assert unsigned.max() <= 128
    assert 2 * unsigned.max() * 127 < 2**15  # two u8 x s8 products are added in 16 bits without VNNI
    assert np.array_equal(tens * kernels.DIGIT + ones, codes)


@pytest.mark.parametrize(("kernel", "off"), [("fp32", 4e-4), ("nbits8", 2e-2)])
def test_every_kernel_gives_the_probabilities_of_the_portable_one(exported, asked, kernel, off, tmp_path):
    """The portable one rounds task vectors to 14 bits, MatMulNBits to 8."""
    parts = exported.parts
    if kernel == "fp32":  # of numbers that INT8 can hold
        parts = replace(parts, table=exported.table, prior=exported.prior)
    builder = recommend_graph(parts, ItemTable.of(parts, kernel), EXPECTATIONS)
    (model,), tensors = pack([builder], tmp_path / "weights.bin")
    (tmp_path / "recommend.onnx").write_bytes(model)
    other = Exported(exported.student, exported.parts, exported.items, tmp_path, b"", tensors)
    for a in asked:
        wanted, found = (by_item(of.run("recommend", **a.feed))[0] for of in (exported, other))
        assert found[:, :4] == pytest.approx(wanted[:, :4], abs=off)


def test_retrieval_tasks_alone_are_a_softmax_over_the_catalogue_task_by_task(exported, asked, tmp_path):
    tasks = tuple(Task(name, "retrieval") for name in NAMES)
    builder = recommend_graph(replace(exported.parts, tasks=tasks), exported.items, {})
    (model,), tensors = pack([builder], tmp_path / "weights.bin")
    (tmp_path / "recommend.onnx").write_bytes(model)
    other = Exported(exported.student, exported.parts, exported.items, tmp_path, b"", tensors)
    for a in asked:
        wanted, found = (by_item(of.run("recommend", **a.feed))[0] for of in (exported, other))
        assert found.sum(axis=0) == pytest.approx(np.ones(5), abs=1e-5)
        assert found[:, 0] == pytest.approx(wanted[:, 0], abs=1e-6)  # the one that is a ranking in both


def test_a_profile_can_name_the_kernels_that_there_are():
    table, scales = np.ones((3, 4), np.float32), np.ones(3, np.float32)

    kinds = [type(kernels.make_kernel(kernel, "int8", table, scales)) for kernel in profile.KERNELS]
    assert kinds == [kernels.U8S8Kernel, kernels.NBitsKernel, kernels.FloatKernel]


@pytest.mark.parametrize("dim", [3, 16, 20])
def test_rows_of_every_kernel_are_the_rounded_ones(dim, tmp_path):
    rng = np.random.default_rng(dim)
    table = rng.normal(size=(6, dim)).astype(np.float32)
    user = rng.normal(size=(2, dim)).astype(np.float32)
    for kernel, storage in itertools.product(profile.KERNELS, STORAGES):
        levels = 7 if storage == "int4" else 127
        codes, scales = quantize_rows(table, levels=levels)
        wanted, off = codes * scales[:, None], 1e-6
        if kernel == "fp32":
            wanted = table
        elif storage == "pq":  # six rows have a pair each in the codebook, which is rounded to INT8 by one scale
            wanted, off = table, float(np.abs(table).max()) / 127 / 2 * 1.001
        g = GraphBuilder(kernel)
        of = kernels.make_kernel(kernel, storage, table, scales)
        g.output(of.rows(g, g.input("index", TensorProto.INT64, ["n"])), "rows", TensorProto.FLOAT, ["n", "d"])
        g.output(of.scan(g, g.input("user", TensorProto.FLOAT, [2, dim]), 2), "logits", TensorProto.FLOAT, [2, 6])
        (model,), _ = pack([g], tmp_path / "weights.bin")
        (tmp_path / "rows.onnx").write_bytes(model)
        found, logits = session(tmp_path / "rows.onnx").run(None, {"index": np.array([4, 0, 4]), "user": user})

        assert found == pytest.approx(wanted[[4, 0, 4]], abs=off), (kernel, storage)
        largest = float(np.abs(user).sum(axis=1).max())
        assert logits == pytest.approx(user @ wanted.T, abs=largest * (off + 0.02)), (kernel, storage)


def test_a_prior_takes_a_byte_and_is_off_by_half_a_step_at_most(exported):
    kinds = {t["name"]: (t["type"], t["bytes"]) for t in exported.tensors}
    off = np.abs(exported.prior - exported.parts.prior).max(axis=1)

    assert kinds["prior"] == ("int8", TASKS * 40)
    assert (off <= np.ptp(exported.parts.prior, axis=1) / 254 / 2 * 1.001).all()


def test_no_copy_of_the_table_in_fp32_is_shipped(exported):
    shapes = [(t["type"], tuple(t["shape"])) for t in exported.tensors]

    assert ("int8", (8, 40)) in shapes
    assert not [s for s in shapes if s[0].startswith("float") and sorted(s[1]) == [8, 40]]
    assert len({t["name"] for t in exported.tensors}) == len(exported.tensors)


def test_a_tensor_in_two_shapes_is_shipped_once(exported):
    """The matrices of the task vectors are read as (T * dim, H) and, for the reasons, as (T, dim, H)."""
    names = [t["name"] for t in exported.tensors]

    assert "tower/tower.mix.weight" in names and "tower/tower.head.last.weight" in names
    assert len(exported.weights) < 1.02 * sum(t["bytes"] for t in exported.tensors) + 64 * len(names)
    for i, a in enumerate(exported.tensors):
        for b in exported.tensors[:i]:
            first, second = (exported.weights[t["offset"] : t["offset"] + t["bytes"]] for t in (a, b))
            assert first != second, f"{a['name']} is {b['name']} again"


def test_rows_that_are_looked_up_are_shipped_as_int8_and_long_tensors_in_16_bits(exported):
    kinds = {t["name"]: t["type"] for t in exported.tensors}

    assert kinds["tower/tower.context.category.table.weight"] == kinds["item_table"] == "int8"
    assert kinds["item_scales"] == kinds["tower/tower.context.category.table.weight_scales"] == "float32"
    assert all(t["bytes"] < 1024 for t in exported.tensors if t["type"] == "float32" and "scales" not in t["name"])


def test_the_tensors_of_the_weights_file_lie_where_they_are_listed(exported):
    codes = next(t for t in exported.tensors if t["name"] == "item_table")
    part = exported.weights[codes["offset"] : codes["offset"] + codes["bytes"]]

    assert np.array_equal(np.frombuffer(part, np.int8).reshape(codes["shape"]), exported.items.table.storage.values)
    ends = [t["offset"] + t["bytes"] for t in exported.tensors]
    assert all(t["offset"] % 64 == 0 for t in exported.tensors)
    assert all(end <= t["offset"] for end, t in zip(ends[:-1], exported.tensors[1:], strict=True))
    assert ends[-1] == len(exported.weights)


def run_top_k(values, k, blocks_from, tmp_path):
    g = GraphBuilder("top")
    scores = g.input("values", TensorProto.FLOAT, [len(values)])
    sizes = {"exact_sizes": (5,), "other_size": 4}  # 30 items fill blocks of 5, 16 and 17 do not
    count = g.input("k", TensorProto.INT64, [])
    best, at = top_k(g, scores, count, len(values), blocks_from=blocks_from, **sizes)
    g.output(best, "best", TensorProto.FLOAT, ["k"])
    g.output(at, "at", TensorProto.INT64, ["k"])
    (model,), _ = pack([g], tmp_path / "weights.bin")
    path = tmp_path / "top.onnx"
    path.write_bytes(model)
    return session(path).run(None, {"values": np.array(values, np.float32), "k": np.array(k, np.int64)})


@pytest.mark.parametrize("n", [16, 17, 30])
@pytest.mark.parametrize("k", [1, 5, 16])
def test_the_best_found_block_by_block_are_the_best(n, k, tmp_path):
    rng = np.random.default_rng(n)
    values = rng.permutation(n).astype(np.float32)
    values[rng.integers(0, n, 3)] = -np.inf
    plain = run_top_k(values, k, n + 1, tmp_path)
    blocks = run_top_k(values, k, 1, tmp_path)

    assert blocks[0].tolist() == plain[0].tolist()
    finite = np.isfinite(plain[0])
    assert blocks[1][finite].tolist() == plain[1][finite].tolist()


@pytest.mark.parametrize("k", [1, 3, 7, 18])
def test_ties_are_found_block_by_block_with_the_same_values_each_item_once(k, tmp_path):
    values = [1, 1, 0, 1, 2, 2, 1, 1, 1, 0, 0, 0, 2, 1, 1, 1, 1, 0]
    plain = run_top_k(values, k, 100, tmp_path)
    blocks = run_top_k(values, k, 1, tmp_path)

    assert blocks[0].tolist() == plain[0].tolist()
    assert [values[i] for i in blocks[1]] == plain[0].tolist()
    assert len(set(blocks[1].tolist())) == k


def test_the_same_name_cannot_mean_two_constants():
    g = GraphBuilder("g")
    g.constant("a", np.array([1.0]))
    g.constant("a", np.array([1.0]))

    with pytest.raises(ValueError, match="constant a is given twice"):
        g.constant("a", np.array([2.0]))


def test_the_tasks_of_the_graphs_are_the_scored_ones(exported):
    assert tuple(t.name for t in exported.parts.tasks) == NAMES
    assert all(isinstance(t, Task) and t.kind != "related" for t in exported.parts.tasks)
