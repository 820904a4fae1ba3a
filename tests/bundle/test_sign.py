"""Signatures: who signed, what was changed since, and which keys an app accepts."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from edgerec.bundle.sign import make_keys, public_key_of, require_signature, sign_bundle, signers
from edgerec.cli.main import app
from edgerec.errors import BundleError, ConfigError, DataError
from edgerec.runtime import Recommender


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two pairs: folder / "one.key", "one.pub", "two.key", "two.pub"."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("one", "two"):
        make_keys(folder / f"{name}.key", folder / f"{name}.pub")
    return folder


def test_a_signed_bundle_opens_with_its_key_and_with_no_other(toy_bundle, keys):
    sign_bundle(toy_bundle, keys / "one.key")

    with Recommender.open(toy_bundle, public_key=keys / "one.pub") as rec:
        assert len(rec.recommend(k=2)) == 2
    with pytest.raises(BundleError, match="the signature is by another key; do not use this bundle"):
        Recommender.open(toy_bundle, public_key=keys / "two.pub")


def test_an_unsigned_bundle_opens_unless_a_key_is_pinned(toy_bundle, keys):
    Recommender.open(toy_bundle).close()
    with pytest.raises(BundleError, match="is not signed, and only signed bundles are accepted here"):
        Recommender.open(toy_bundle, public_key=str(keys / "one.pub"))


def test_a_manifest_that_was_changed_since_is_refused(toy_bundle, keys):
    sign_bundle(toy_bundle, keys / "one.key")
    manifest = json.loads((toy_bundle / "manifest.json").read_text())
    (toy_bundle / "manifest.json").write_text(json.dumps(manifest | {"version": 99}))

    with pytest.raises(BundleError, match="is not valid: the manifest was changed"):
        Recommender.open(toy_bundle, public_key=keys / "one.pub")
    assert signers(toy_bundle) == []


def test_a_key_is_replaced_by_signing_with_both_for_a_while(toy_bundle, keys):
    sign_bundle(toy_bundle, keys / "one.key")
    both = sign_bundle(toy_bundle, keys / "two.key")

    assert both == sorted(public_key_of(keys / f"{name}.pub") for name in ("one", "two")) == signers(toy_bundle)
    for pinned in (keys / "one.pub", keys / "two.pub", [keys / "two.pub", keys / "one.pub"]):
        require_signature(toy_bundle, pinned)


def test_signing_again_drops_signatures_that_hold_no_more(toy_bundle, keys):
    sign_bundle(toy_bundle, keys / "one.key")
    manifest = json.loads((toy_bundle / "manifest.json").read_text())
    (toy_bundle / "manifest.json").write_text(json.dumps(manifest | {"version": 99}))

    assert sign_bundle(toy_bundle, keys / "two.key") == [public_key_of(keys / "two.pub")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_of_the_signature_is_accepted_and_none_crashes(toy_bundle, keys, at, bit):
    sign_bundle(toy_bundle, keys / "one.key")
    path = toy_bundle / "manifest.sig"
    content = bytearray(path.read_bytes())
    whole = bytes(content)
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)

    if bytes(content) != whole:
        with pytest.raises(BundleError):
            require_signature(toy_bundle, keys / "one.pub")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": 2, "signatures": {}}', b"x" * 70_000, b"[" * 60_000]
)
def test_a_damaged_signature_file_is_one_error(toy_bundle, keys, content):
    (toy_bundle / "manifest.sig").write_bytes(content)

    with pytest.raises(BundleError, match=r"manifest\.sig: damaged"):
        require_signature(toy_bundle, keys / "one.pub")


def test_a_private_key_is_for_its_owner_alone_and_never_overwritten(keys):
    before = (keys / "one.key").read_bytes()

    assert stat.S_IMODE((keys / "one.key").stat().st_mode) == 0o600
    with pytest.raises(DataError, match="a key is never overwritten"):
        make_keys(keys / "one.key", keys / "three.pub")
    assert (keys / "one.key").read_bytes() == before


def test_what_is_no_key_is_refused(toy_bundle, keys, tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    for key, message in [(tmp_path / "gone.pub", "cannot be read"), (tmp_path / "note.txt", "is not a public key"),
                      (b"short", "32 bytes, got 5"), (keys / "one.key", "is not a public key")]:  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            require_signature(toy_bundle, key)
    with pytest.raises(ConfigError, match="got none"):
        require_signature(toy_bundle, [])
    with pytest.raises(DataError, match="is not a private key"):
        sign_bundle(toy_bundle, keys / "one.pub")


def test_the_32_bytes_of_a_key_are_one(toy_bundle, keys):
    sign_bundle(toy_bundle, keys / "one.key")

    require_signature(toy_bundle, base64.b64decode(public_key_of(keys / "one.pub")))


def test_the_commands_make_keys_sign_and_verify(toy_bundle, tmp_path):
    def edgerec(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    assert edgerec("keygen", tmp_path / "shop").exit_code == 0
    assert "signed by" in edgerec("sign", toy_bundle, "--key", tmp_path / "shop.key").stdout
    assert "OK, signed by a pinned key" in edgerec("verify", toy_bundle, "--public-key", tmp_path / "shop.pub").stdout
    again = edgerec("keygen", tmp_path / "shop")
    assert (again.exit_code, "never overwritten" in again.stderr) == (2, True)


def test_an_app_without_pinned_keys_needs_no_cryptography(toy_bundle):
    code = (
        "import sys; sys.modules['cryptography'] = None; from edgerec.runtime import Recommender; "
        f"print(len(Recommender.open({str(toy_bundle)!r}).recommend(k=3)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "3\n"


def test_a_signed_bundle_can_be_copied(toy_bundle, keys, tmp_path):
    sign_bundle(toy_bundle, keys / "one.key")
    shutil.copytree(toy_bundle, tmp_path / "copy")

    require_signature(tmp_path / "copy", keys / "one.pub")
    assert sorted(path.name for path in toy_bundle.parent.iterdir() if path.name.endswith(".sig")) == []
