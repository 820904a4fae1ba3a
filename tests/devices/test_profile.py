import subprocess
import sys

import pytest

from edgerec.devices import list_profiles, load_profile
from edgerec.errors import ConfigError, RenamedWarning


def test_all_shipped_profiles_are_valid():
    names = [profile.name for profile in list_profiles()]
    assert names == [
        "android-low", "android-mid", "ios", "kiosk-x86", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2w",
        "server-x86", "web-wasm",
    ]  # fmt: skip


def test_a_profile_says_how_far_each_figure_can_be_trusted():
    p95 = load_profile("kiosk-x86").budget.p95_ms
    assert p95.limit == 10.0
    assert p95.basis == "estimated" and p95.source


def test_an_unknown_device_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="no device 'kiosk-x68', did you mean 'kiosk-x86'"):
        load_profile("kiosk-x86".replace("86", "68"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threads = 1", "thread = 1", r"has no key 'thread'; did you mean 'threads'\?"),
        ("cores = 4", "", "needs the key 'cores'"),
        ("cores = 4", 'cores = "4"', "cores must be int, got '4'"),
        ("threads = 1", "threads = 5", "between 1 and cores = 4"),
        ('kernel = "u8s8"', 'kernel = "fp4"', "kernel must be one of u8s8, nbits8, fp32, got 'fp4'"),
        ('runtime = "native"', 'runtime = "tflite"', "runtime must be one of native, onnxruntime, onnxruntime-web"),
        ('kernel = "u8s8"', 'kernel = "nbits8"', "the native engine has one kernel; set kernel = 'u8s8'"),
        (
            'kernel = "u8s8"\nruntime = "native"',
            'kernel = "nbits8"\nruntime = "onnxruntime-web"',
            "slower than u8s8",
        ),
        ("value = 8.0", "value = 0", r"\[memory_bandwidth_gb_s\] needs value > 0"),
        ("limit = 10.0", "limit = 0", r"\[budget.p95_ms\] needs limit > 0"),
        ('basis = "estimated"', 'basis = "guessed"', "measured or estimated"),
        ("cores = 4", "cores = = 4", "not valid TOML"),
    ],
)
def test_a_wrong_profile_is_one_clear_line(tmp_path, old, new, message):
    from edgerec.devices.profile import _known

    path = tmp_path / "mine.toml"
    path.write_text(_known()["kiosk-x86"].read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message) as caught:
        load_profile(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_profile(tmp_path / "none.toml")


def test_the_old_name_of_a_key_is_read_with_one_warning(tmp_path):
    from edgerec.devices.profile import _known

    path = tmp_path / "mine.toml"
    path.write_text(_known()["kiosk-x86"].read_text().replace("kernel = ", "body = "))
    with pytest.warns(RenamedWarning, match=r"mine.toml: body is now called kernel; the old name is read") as caught:
        profile = load_profile(path)
        load_profile(path)

    assert len(caught) == 1
    assert profile.kernel == profile.to_json()["body"] == "u8s8"
    assert "kernel" not in profile.to_json()


def test_the_command_line_shows_the_warning_in_one_line(tmp_path):
    from edgerec.devices.profile import _known

    path = tmp_path / "mine.toml"
    path.write_text(_known()["kiosk-x86"].read_text().replace("kernel = ", "body = "))
    run = subprocess.run([sys.executable, "-m", "edgerec", "devices", str(path)], capture_output=True, text=True)

    assert run.returncode == 0
    assert run.stderr == f"{path}: body is now called kernel; the old name is read until version 0.3\n"
