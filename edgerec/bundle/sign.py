"""Ed25519 signatures of a bundle's manifest, which holds the hash of every other file.

manifest.sig is JSON: ``{"format": 1, "signatures": {KEY: SIGNATURE}}``, both in base64, KEY the 32 bytes of a public
key. A bundle may be signed with several keys, so that a key can be replaced: ship bundles with both signatures until
no device pins only the old key. Signing and verifying need the extra `sign`; nothing else does.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from edgerec.bundle.manifest import MANIFEST, SIGNATURE
from edgerec.errors import BundleError, ConfigError, DataError, need
from edgerec.files import dump_json

__all__ = ["PublicKey", "make_keys", "public_key_of", "require_signature", "sign_bundle", "signers"]

FORMAT = 1
MAX_BYTES = 1 << 16
"""A longer signature file is refused before it is parsed."""
PublicKey: TypeAlias = str | Path | bytes
"""The file of a public key, or its 32 bytes."""


def make_keys(private: Path, public: Path) -> str:
    """Write a new pair of keys as PEM; returns the public one in base64, as signatures name it.

    The private key's file can be read by its owner alone.
    Raises:
        DataError: one of the files exists: a key that is overwritten is lost.
        MissingExtraError: cryptography is not installed.
    """
    keys, serialization = _ed25519(), _serialization()
    for path in (private, public):
        if path.exists():
            raise DataError(f"{path}: exists, and a key is never overwritten; name another file")
    key = keys.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    layout = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, layout))
    return _named(_raw(key.public_key()))


def sign_bundle(folder: Path, private: Path) -> list[str]:
    """Sign the bundle in a folder; valid signatures by other keys stay.

    Returns:
        The public keys, in base64, of all valid signatures.
    Raises:
        DataError: `private` is not an Ed25519 key. BundleError: there is no bundle.
    """
    key = _private(private)
    manifest = _manifest(folder)
    before = _signatures(folder, lenient=True)
    valid = {name: _named(value) for name, value in before.items() if _is_valid(name, value, manifest)}
    valid[_named(_raw(key.public_key()))] = _named(key.sign(manifest))
    part = folder.with_name(f".{folder.name}.sig")  # beside the bundle: in it, it would be a file too many
    part.write_bytes(dump_json({"format": FORMAT, "signatures": valid}))
    part.replace(folder / SIGNATURE)
    return sorted(valid)


def signers(folder: Path) -> list[str]:
    """The public keys, in base64, whose signatures are valid; empty where a bundle is not signed.

    Raises:
        BundleError: the signature file is damaged. MissingExtraError: cryptography is not installed.
    """
    manifest = _manifest(folder)
    return sorted(name for name, value in _signatures(folder).items() if _is_valid(name, value, manifest))


def require_signature(folder: Path, keys: PublicKey | Sequence[PublicKey], manifest: bytes | None = None) -> None:
    """Refuse a bundle that none of the pinned keys has signed.

    Args:
        manifest: what was read of its manifest; None: it is read here.
    Raises:
        BundleError: it is not signed, or signed by other keys, or the signature is not valid.
        ConfigError: a pinned key is not valid. MissingExtraError: cryptography is not installed.
    """
    pinned = list(keys) if isinstance(keys, Sequence) and not isinstance(keys, str | bytes) else [keys]
    wanted = {public_key_of(key) for key in pinned}
    if not wanted:
        raise ConfigError("public_key: expected at least one key, got none")
    signatures = _signatures(folder)
    manifest = _manifest(folder) if manifest is None else manifest
    if not signatures:
        raise BundleError(f"{folder}: is not signed, and only signed bundles are accepted here; sign it: edgerec sign")
    if not any(_is_valid(name, signatures[name], manifest) for name in wanted & signatures.keys()):
        why = "is not valid: the manifest was changed" if wanted & signatures.keys() else "is by another key"
        raise BundleError(f"{folder / SIGNATURE}: the signature {why}; do not use this bundle")


def public_key_of(key: PublicKey) -> str:
    """A public key in base64, as signatures name it.

    Raises:
        ConfigError: it is not a valid key.
    """
    if isinstance(key, bytes):
        if len(key) != 32:
            raise ConfigError(f"public_key: an Ed25519 key has 32 bytes, got {len(key)}")
        return _named(key)
    if not isinstance(key, str | Path):
        raise ConfigError(f"public_key: expected a key's file, or its 32 bytes; got a {type(key).__name__}")
    path = Path(key)
    try:
        loaded = _serialization().load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the file of edgerec keygen") from None
    except ValueError:
        raise ConfigError(f"{path}: is not a public key; give the .pub file of edgerec keygen") from None
    if not isinstance(loaded, _ed25519().Ed25519PublicKey):
        raise ConfigError(f"{path}: is not an Ed25519 key; give the .pub file of edgerec keygen")
    return _named(_raw(loaded))


def _private(path: Path) -> Any:
    try:
        key = _serialization().load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the private file of edgerec keygen") from None
    except (ValueError, TypeError):
        raise DataError(f"{path}: is not a private key without a password; give the file of edgerec keygen") from None
    if not isinstance(key, _ed25519().Ed25519PrivateKey):
        raise DataError(f"{path}: is not an Ed25519 key; give the private file of edgerec keygen")
    return key


def _manifest(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError:
        raise BundleError(f"{folder}: no bundle here ({MANIFEST} is missing); check the path") from None


def _signatures(folder: Path, lenient: bool = False) -> dict[str, bytes]:
    """By public key in base64; `lenient`: a damaged file counts as empty."""
    path = folder / SIGNATURE
    if not path.exists():
        return {}
    try:
        if path.is_symlink() or path.stat().st_size > MAX_BYTES:
            raise ValueError("a link, or too long")
        value = json.loads(path.read_bytes())
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']!r}")
        return {name: _bytes_of(text) for name, text in value["signatures"].items() if _bytes_of(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if lenient:
            return {}
        raise BundleError(f"{path}: damaged ({error}); copy the bundle again or sign it again") from None


def _bytes_of(text: str) -> bytes:
    """Decode base64; only one string is accepted for the same bytes.

    Raises:
        ValueError: it is not valid base64.
    """
    raw = base64.b64decode(text, validate=True)
    if _named(raw) != text:
        raise ValueError("base64 with bits to spare")
    return raw


def _is_valid(name: str, signature: bytes, manifest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        _ed25519().Ed25519PublicKey.from_public_bytes(_bytes_of(name)).verify(signature, manifest)
    except (InvalidSignature, ValueError):
        return False
    return True


def _raw(key: Any) -> bytes:
    serialization = _serialization()
    raw: bytes = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return raw


def _named(raw: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(raw).decode()


def _ed25519() -> Any:
    return need("cryptography.hazmat.primitives.asymmetric.ed25519", "sign", "a signature")


def _serialization() -> Any:
    return need("cryptography.hazmat.primitives.serialization", "sign", "a signature")
