"""The private key that proves who sends: read, and checked without a network.

No message of this module holds any part of the key.
"""

from __future__ import annotations

import re
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

SMALLEST_KEY_BITS = 2048
"""RFC 7518, section 3.3: no smaller key may be used with RS256, RS384 or RS512."""

_LARGEST_FILE_BYTES = 1024 * 1024
_PUBLIC = re.compile(
    r"-----BEGIN (?:(?:RSA |EC )?PUBLIC KEY|(?:TRUSTED )?CERTIFICATE)-----|^ssh-|^ecdsa-"
)
_ONE_LINE = re.compile(r"(-----BEGIN [A-Z ]+-----) (.+) (-----END [A-Z ]+-----)")


def from_settings(config: Mapping[str, Any]) -> RSAPrivateKey:
    """Return the key that the settings name.

    Args:
        config: Holds ``private_key`` or ``private_key_path``, and, for an encrypted key,
            ``private_key_passphrase``.

    Raises:
        SettingError: They name none, or two, or one that cannot be used.
    """
    text, path = config.get("private_key"), config.get("private_key_path")
    if text and path:
        raise SettingError(
            "setting 'private_key' and 'private_key_path' are both given; keep one of them"
        )
    passphrase = config.get("private_key_passphrase")
    if text:
        return read_key(text, passphrase, "private_key")
    if path:
        return read_key(_file_text(path), passphrase, "private_key_path")
    raise SettingError("setting 'private_key' or 'private_key_path' is required")


def read_key(text: str, passphrase: str | None, setting: str) -> RSAPrivateKey:
    r"""Return the key that a PEM text holds.

    Args:
        text: PKCS#1 or PKCS#8, encrypted or not. Its line ends may have become the two
            characters ``\n``, or spaces, as happens in environment variables.
        passphrase: What opens an encrypted key.
        setting: Where the text comes from, for messages.

    Raises:
        SettingError: It is not the private key of an RSA pair, or cannot be opened.
    """
    pem = _with_line_ends(text)
    register_secret(pem)
    problem = _problem(pem, passphrase)
    if problem:
        raise SettingError(f"setting '{setting}' {problem}")
    encrypted = "ENCRYPTED" in pem
    try:
        key = load_pem_private_key(
            pem.encode(), passphrase.encode() if encrypted and passphrase else None
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            message = (
                "setting 'private_key_passphrase' does not open the key of "
                f"'{setting}', or that key is damaged"
            )
        else:
            message = f"setting '{setting}' holds a damaged or unsupported private key"
        raise SettingError(message) from None
    if not isinstance(key, RSAPrivateKey):
        raise SettingError(
            f"setting '{setting}' holds a private key of another kind than RSA, which RS256, "
            "RS384 and RS512 need"
        )
    if key.key_size < SMALLEST_KEY_BITS:
        raise SettingError(
            f"setting '{setting}' holds a key of {key.key_size} bits; make one of "
            f"{SMALLEST_KEY_BITS} or more"
        )
    return key


def _problem(pem: str, passphrase: str | None) -> str | None:
    """Say what is wrong with a key that need not be opened for that."""
    if _PUBLIC.search(pem):
        return (
            "holds a public key; give the private key whose public key is registered with Monetate"
        )
    if "BEGIN OPENSSH PRIVATE KEY" in pem:
        return "is in OpenSSH's own format; convert a copy with: ssh-keygen -p -m PEM -f COPY"
    if "PRIVATE KEY-----" not in pem or "-----END" not in pem:
        return (
            "is not a private key in PEM form, which runs from -----BEGIN … PRIVATE KEY----- "
            "to -----END … PRIVATE KEY-----"
        )
    if "ENCRYPTED" in pem and not passphrase:
        return "holds an encrypted key: 'private_key_passphrase' is required"
    return None


def _with_line_ends(text: str) -> str:
    text = text.replace("\\r", "").replace("\\n", "\n").strip()
    one_line = _ONE_LINE.fullmatch(text)
    if one_line:
        before, body, after = one_line.groups()
        text = "\n".join([before, *body.split(), after])
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


def _file_text(path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(_LARGEST_FILE_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise SettingError(
            f"setting 'private_key_path': the file {path} cannot be read: {error.strerror}"
        ) from None
