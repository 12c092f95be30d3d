from __future__ import annotations

import datetime
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from singer_martech.errors import SettingError
from target_monetate.private_key import from_settings

if TYPE_CHECKING:
    from pathlib import Path

PKCS1 = serialization.PrivateFormat.TraditionalOpenSSL
PKCS8 = serialization.PrivateFormat.PKCS8
PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any, form: serialization.PrivateFormat, passphrase: str | None = None) -> str:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return str(key.private_bytes(serialization.Encoding.PEM, form, encryption).decode())


def certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api-100-shop")])
    begin = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, begin, begin + datetime.timedelta(days=1)
    )
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.mark.parametrize("form", [PKCS1, PKCS8], ids=["PKCS#1", "PKCS#8"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "spoilt",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\\n"),
        lambda text: text.replace("\n", "\\r\\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "  " + text.replace("\n", "\n  "),
        str.strip,
    ],
    ids=["as is", "escaped", "escaped CRLF", "CRLF", "indented", "stripped"],
)
def test_a_key_is_read_in_every_form(
    key: rsa.RSAPrivateKey, form: serialization.PrivateFormat, passphrase: str | None, spoilt: Any
) -> None:
    config = {"private_key": spoilt(pem(key, form, passphrase))}
    if passphrase:
        config["private_key_passphrase"] = passphrase
    assert from_settings(config).private_numbers() == key.private_numbers()


@pytest.mark.parametrize("form", [PKCS1, PKCS8], ids=["PKCS#1", "PKCS#8"])
def test_a_key_whose_line_ends_became_spaces_is_read(
    key: rsa.RSAPrivateKey, form: serialization.PrivateFormat
) -> None:
    config = {"private_key": pem(key, form).strip().replace("\n", " ")}
    assert from_settings(config).private_numbers() == key.private_numbers()


def test_a_key_is_read_from_a_file(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    path = tmp_path / "monetate.pem"
    path.write_text(pem(key, PKCS8))
    assert from_settings({"private_key_path": str(path)}).key_size == 2048


def test_a_passphrase_for_an_unencrypted_key_is_ignored(
    key: rsa.RSAPrivateKey,
) -> None:
    config = {"private_key": pem(key, PKCS8), "private_key_passphrase": PASSPHRASE}
    assert from_settings(config).key_size == 2048


@pytest.mark.parametrize("form", [PKCS1, PKCS8], ids=["PKCS#1", "PKCS#8"])
@pytest.mark.parametrize("passphrase", [None, "wrong one"])
def test_an_encrypted_key_needs_its_passphrase(
    key: rsa.RSAPrivateKey, form: serialization.PrivateFormat, passphrase: str | None
) -> None:
    config = {
        "private_key": pem(key, form, PASSPHRASE),
        "private_key_passphrase": passphrase,
    }
    expected = "does not decrypt the key" if passphrase else "is required"
    assert_one_clear_line(config, f"'private_key_passphrase' {expected}")


def test_a_public_key_is_an_error(key: rsa.RSAPrivateKey) -> None:
    assert_one_clear_line({"private_key": public_pem(key)}, "'private_key' holds a public key")


def test_keys_of_other_kinds_are_errors() -> None:
    for other in (ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()):
        assert_one_clear_line({"private_key": pem(other, PKCS8)}, "that is not RSA")


def test_a_small_key_is_an_error() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - the point
    assert_one_clear_line({"private_key": pem(small, PKCS8)}, "1024 bits; create one of 2048")


def test_the_format_of_openssh_is_named_with_the_remedy(key: rsa.RSAPrivateKey) -> None:
    text = pem(key, serialization.PrivateFormat.OpenSSH)
    assert_one_clear_line({"private_key": text}, "OpenSSH format; convert")


def test_a_damaged_key_is_named(key: rsa.RSAPrivateKey) -> None:
    lines = pem(key, PKCS8).splitlines()
    assert_one_clear_line({"private_key": "\n".join(lines[:5] + lines[9:])}, "damaged")
    assert_one_clear_line({"private_key": "\n".join(lines[:5])}, "not a private key in PEM form")
    assert_one_clear_line({"private_key": "hunter2hunter2"}, "not a private key in PEM form")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.pem"
    assert_one_clear_line({"private_key_path": str(path)}, "nowhere.pem cannot be read: No such")
    path.write_bytes(b"\x30\x82\xff\xfe")
    assert_one_clear_line({"private_key_path": str(path)}, "'private_key_path' is not a private")


def test_a_key_is_required() -> None:
    assert_one_clear_line({}, "'private_key' or 'private_key_path' is required")


def test_the_path_takes_precedence_over_the_key(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    path = tmp_path / "monetate.pem"
    path.write_text(pem(key, PKCS8))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    config = {"private_key": pem(other, PKCS8), "private_key_path": str(path)}
    assert from_settings(config).private_numbers() == key.private_numbers()


@pytest.mark.parametrize("form", [PKCS1, PKCS8], ids=["PKCS#1", "PKCS#8"])
@pytest.mark.parametrize("order", [1, -1], ids=["key first", "certificate first"])
@pytest.mark.parametrize("line_end", ["\n", "\\n", " "], ids=["lines", "escaped", "spaces"])
def test_a_certificate_beside_the_key_is_ignored(
    key: rsa.RSAPrivateKey, form: serialization.PrivateFormat, order: int, line_end: str
) -> None:
    parts = ["Bag Attributes: <none>\n" + pem(key, form), certificate(key)][::order]
    config = {"private_key": "".join(parts).strip().replace("\n", line_end)}
    assert from_settings(config).private_numbers() == key.private_numbers()


def test_a_certificate_alone_is_not_a_private_key(key: rsa.RSAPrivateKey) -> None:
    assert_one_clear_line({"private_key": certificate(key)}, "'private_key' holds a public key")


def test_only_a_regular_file_of_reasonable_size_is_read(tmp_path: Path) -> None:
    assert_one_clear_line({"private_key_path": "/dev/zero"}, "/dev/zero is not a regular file")
    assert_one_clear_line({"private_key_path": str(tmp_path)}, "cannot be read: Is a directory")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert_one_clear_line({"private_key_path": str(fifo)}, "fifo is not a regular file")
    large = tmp_path / "large.pem"
    large.write_bytes(bytes(2**16 + 1))
    assert_one_clear_line({"private_key_path": str(large)}, "'private_key_path' is larger than")


@pytest.mark.parametrize(
    "text", ["-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "- ", "-"]
)
def test_a_long_text_is_rejected_quickly(text: str) -> None:
    started = time.process_time()
    assert_one_clear_line({"private_key": text * 2000}, "setting 'private_key'")
    assert time.process_time() - started < 5


def assert_one_clear_line(config: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingError) as caught:
        from_settings(config)
    line = str(caught.value)
    assert expected in line
    assert line.startswith("setting '")
    assert "\n" not in line
    text = config.get("private_key", "")
    for part in re.findall(r"[A-Za-z0-9+/]{12,}", text):
        assert part not in line
    assert not caught.value.__cause__
