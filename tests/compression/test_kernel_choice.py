"""Which kernel a bundle gets, and the reason that is printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgerec.compression.export import export_student
from edgerec.compression.graphs import Expectation
from edgerec.compression.kernel_choice import MOST_ITEMS, choose_kernel, decide
from edgerec.devices import load_profile
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import Encoded

LIKED = {"watch": Expectation(1.0, 0.0, 1.0)}


def test_int8_is_taken_where_it_is_faster_and_where_it_is_only_smaller():
    assert decide("u8s8", "kiosk", 0.99, 1.0, 2.0).kernel == "u8s8"
    assert "faster than float32 (1.00 ms, float32 2.00 ms, 99.0%" in decide("u8s8", "kiosk", 0.99, 1.0, 2.0).why
    assert decide("u8s8", "kiosk", 0.99, 1.2, 1.0).kernel == "u8s8"
    assert "smaller" in decide("u8s8", "kiosk", 0.99, 1.2, 1.0).why


def test_float32_is_used_where_int8_is_slow_or_finds_other_items():
    native = decide("u8s8", "kiosk", 0.99, 3.0, 1.0, "native")  # whose speed onnxruntime says nothing about
    slow, other = decide("u8s8", "kiosk", 0.99, 3.0, 1.0), decide("u8s8", "kiosk", 0.5, 0.5, 1.0)

    assert (native.kernel, slow.kernel, other.kernel) == ("u8s8", "fp32", "fp32")
    assert "INT8 is slower (3.00 ms, float32 1.00 ms, 99.0%" in slow.why
    assert "INT8 finds other items" in other.why


@pytest.fixture(scope="module")
def exported(tiny_data):
    torch.manual_seed(0)
    student = Student(tiny_data.shape, tiny_data.features, 5, StudentSizes.of(8, 16, 2)).eval()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.normal_(std=0.4)  # the table matters beside priors and repeats
        student.step.zero_()
    return export_student(student, tiny_data.statistics.values[-1], tiny_data.tasks)


def asked(tiny_data) -> list[Encoded]:
    from edgerec.compression.quantization import some_requests

    return list(some_requests(tiny_data, 3))


def chosen(tiny_config, exported, tiny_data, folder: Path, most_items: int = MOST_ITEMS, **quantization):
    settings, device = tiny_config.quantization.model_copy(update=quantization), load_profile(tiny_config.device)
    return choose_kernel(exported, settings, device, LIKED, asked(tiny_data), folder, most_items)


def test_the_profiles_kernel_is_compared_with_float32(tiny_config, exported, tiny_data, tmp_path):
    choice = chosen(tiny_config, exported, tiny_data, tmp_path)

    assert choice.ms is not None and choice.fp32_ms is not None and choice.ms > 0 < choice.fp32_ms
    assert choice.overlap > 0.8  # of 40 items the ten best
    assert choice.kernel in ("u8s8", "fp32")


def test_a_kernel_that_the_settings_name_is_taken_as_it_is(tiny_config, exported, tiny_data, tmp_path):
    choice = chosen(tiny_config, exported, tiny_data, tmp_path, kernel="nbits8")

    assert (choice.kernel, choice.ms) == ("nbits8", None)


def test_a_table_with_wrong_scales_is_not_shipped(tiny_config, exported, tiny_data, tmp_path):
    wrong = replace(exported, scales=exported.scales * 1000)

    assert chosen(tiny_config, wrong, tiny_data, tmp_path).kernel == "fp32"


def test_of_a_long_catalogue_a_part_is_measured(tiny_config, exported, tiny_data, tmp_path):
    sizes = []
    for most in (40, 15):
        (tmp_path / str(most)).mkdir()
        chosen(tiny_config, exported, tiny_data, tmp_path / str(most), most)
        sizes.append((tmp_path / str(most) / "try-fp32" / "weights.bin").stat().st_size)

    assert sizes[0] - sizes[1] >= 25 * 8 * 4  # 25 rows of 8 dimensions in float32 less
