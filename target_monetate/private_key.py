"""Read the private key of the API user, and check it without a network.

No message of this module contains any part of the key.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from singer_martech.errors import SettingError
from singer_martech.runtime.redaction import register_secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

MIN_KEY_BITS = 2048
"""RFC 7518, section 3.3: RS256, RS384 and RS512 need at least this size."""

_MAX_BYTES = 64 * 1024
_PUBLIC = re.compile(
    r"-----BEGIN (?:(?:RSA |EC )?PUBLIC KEY|(?:TRUSTED )?CERTIFICATE)-----|^ssh-|^ecdsa-"
)
_BEGIN, _PRIVATE = "-----BEGIN ", "PRIVATE KEY-----"


def from_settings(config: Mapping[str, Any]) -> RSAPrivateKey:
    """Return the key that the settings name.

    Args:
        config: Has ``private_key_path``, which takes precedence, or ``private_key``, and for
            an encrypted key ``private_key_passphrase``.

    Raises:
        SettingError: There is no key, or it cannot be used.
    """
    passphrase = config.get("private_key_passphrase")
    path, text = config.get("private_key_path"), config.get("private_key")
    if path:
        return read_key(_read_file(path), passphrase, "private_key_path")
    if text:
        return read_key(text, passphrase, "private_key")
    raise SettingError("setting 'private_key' or 'private_key_path' is required")


def read_key(text: str, passphrase: str | None, setting: str) -> RSAPrivateKey:
    r"""Return the private key in a PEM text.

    Args:
        text: PKCS#1 or PKCS#8, encrypted or not; certificates beside it are ignored. Its line
            ends may have become the two characters ``\n``, or spaces, as happens in
            environment variables.
        passphrase: Decrypts an encrypted key.
        setting: The setting that holds the key, for messages.

    Raises:
        SettingError: The text is not an RSA private key, or it cannot be decrypted.
    """
    if len(text) > _MAX_BYTES:
        raise SettingError(f"setting '{setting}' is larger than {_MAX_BYTES} bytes")
    pem = _private_block(text)
    register_secret(pem)
    problem = _problem(pem, passphrase)
    if problem:
        raise SettingError(f"setting '{setting}' {problem}")
    key = _load(pem, passphrase, setting)
    if not isinstance(key, RSAPrivateKey):
        raise SettingError(
            f"setting '{setting}' holds a private key that is not RSA; RS256, RS384 and RS512 "
            "need an RSA key"
        )
    if key.key_size < MIN_KEY_BITS:
        raise SettingError(
            f"setting '{setting}' holds a key of {key.key_size} bits; create one of "
            f"{MIN_KEY_BITS} or more"
        )
    return key


def _problem(pem: str, passphrase: str | None) -> str | None:
    """Return the problem with a key that can be found before it is decrypted."""
    if _PRIVATE not in pem and _PUBLIC.search(pem):
        return (
            "holds a public key; set the private key whose public key is registered with Monetate"
        )
    if "BEGIN OPENSSH PRIVATE KEY" in pem:
        return "is in OpenSSH format; convert a copy with: ssh-keygen -p -m PEM -f COPY"
    if not pem.startswith(_BEGIN) or _PRIVATE not in pem or "-----END" not in pem:
        return (
            "is not a private key in PEM format, from -----BEGIN … PRIVATE KEY----- "
            "to -----END … PRIVATE KEY-----"
        )
    if "ENCRYPTED" in pem and not passphrase:
        return "holds an encrypted key: 'private_key_passphrase' is required"
    return None


def _load(pem: str, passphrase: str | None, setting: str) -> PrivateKeyTypes:
    encrypted = "ENCRYPTED" in pem
    try:
        return load_pem_private_key(
            pem.encode(), passphrase.encode() if encrypted and passphrase else None
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            message = (
                "setting 'private_key_passphrase' does not decrypt the key of "
                f"'{setting}', or that key is damaged"
            )
        else:
            message = f"setting '{setting}' holds a damaged or unsupported private key"
        raise SettingError(message) from None


def _private_block(text: str) -> str:
    """Return the private key's part of a PEM text with its line ends; else the whole text."""
    text = text.replace("\\r", "").replace("\\n", "\n").strip()
    before, marker, rest = text.partition(_PRIVATE)
    kind = before[before.rfind(_BEGIN) :]
    body, end_marker, _ = rest.partition(_PRIVATE)
    if end_marker and kind.startswith(_BEGIN):
        body, dashes, end = body.rpartition("-----END ")
        if "\n" not in body.strip():  # spaces in place of line ends
            body = "\n".join(body.split())
        text = f"{kind}{marker}\n{body.strip()}\n{dashes}{end}{end_marker}"
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


def _read_file(path: str) -> str:
    text = None
    try:
        text = _text_of_regular_file(Path(path).expanduser())
        problem = "is not a regular file"
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory for ~
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if text is None:
        raise SettingError(f"setting 'private_key_path': the file {path} {problem}")
    return text


def _text_of_regular_file(path: Path) -> str | None:
    # a FIFO without a writer does not block
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(_MAX_BYTES + 1).decode("utf-8-sig", "replace")
