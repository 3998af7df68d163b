"""Signed images, read back with C2PA's own reader; the certificates are made here."""

from __future__ import annotations

import datetime
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from synthgen.errors import ConfigError, RunError
from synthgen.exporting.formats.coco import Coco
from synthgen.exporting.labels import LabelledImage, read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.signing import make_signer
from synthgen.exporting.write import export
from synthgen.imaging.images import read_image
from synthgen.storage.places import StoredFile
from synthgen.storage.provenance import PAINTED, PASTED, VOCABULARY, is_marked, mark_png
from tests.hard_set import make_hard_run

c2pa = pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
RNG = np.random.default_rng(0)
PIXELS = {
    "colour": RNG.integers(0, 256, (64, 48, 3), np.uint8),
    "grey": RNG.integers(0, 256, (64, 48), np.uint8),
    "grey_16_bit": RNG.integers(0, 65536, (64, 48), np.uint16),
}


def _name(text: str) -> Any:
    parts = [(NameOID.ORGANIZATION_NAME, "Test plant"), (NameOID.COMMON_NAME, text)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _certify(subject: str, key: Any, issuer: str, issuer_key: Any, *uses: str) -> bytes:
    """Return a certificate for ``key`` as PEM; one that may sign certificates is a CA's."""
    now = datetime.datetime.now(datetime.UTC)
    is_ca = "key_cert_sign" in uses
    builder = (
        x509.CertificateBuilder(_name(issuer), _name(subject), key.public_key(), 1 + is_ca)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in uses for use in USES}), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not is_ca:
        email = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(email, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem(key: Any) -> bytes:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pems")
    ca, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certify("CA", ca, "CA", ca, "key_cert_sign", "crl_sign")
    own = _certify("Line 3", key, "CA", ca, "digital_signature")
    (folder / "chain.pem").write_bytes(own + root)
    (folder / "root.pem").write_bytes(root)
    (folder / "key.pem").write_bytes(_pem(key))
    (folder / "other_key.pem").write_bytes(_pem(ca))
    (folder / "no_pem.txt").write_text("hello")
    return folder


def _image(term: str) -> LabelledImage:
    return LabelledImage(
        sample_id="pit-1",
        path=StoredFile.at(Path("pit-1.png")),
        split="train",
        group="a",
        size_hw=(64, 48),
        defects=(),
        digital_source=term,
    )


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def _read(data: bytes, **settings: Any) -> dict[str, Any]:
    context = c2pa.Context(settings=c2pa.Settings.from_dict(settings))
    with c2pa.Reader("image/png", io.BytesIO(data), context=context) as reader:
        return json.loads(reader.json()) | {"state": reader.get_validation_state()}


@pytest.mark.parametrize("kind", PIXELS)
def test_signed_pixels_and_mark_are_as_they_were(pems: Path, kind: str) -> None:
    sign = make_signer(pems / "chain.pem", pems / "key.pem", "es256")
    marked = mark_png(_png(PIXELS[kind]), PASTED)
    signed = sign(marked, _image(PASTED))
    decoded = cv2.imdecode(np.frombuffer(signed, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == PIXELS[kind].dtype
    assert np.array_equal(decoded, PIXELS[kind])
    with Image.open(io.BytesIO(signed)) as opened:
        opened.load()
        assert f"{VOCABULARY}{PASTED}" in opened.info["XML:com.adobe.xmp"]
    assert is_marked(signed)
    assert len(signed) < len(marked) + 8000  # no thumbnail


@pytest.mark.parametrize("term", [PASTED, PAINTED])
def test_the_reader_finds_a_valid_claim_of_how_the_image_was_made(pems: Path, term: str) -> None:
    sign = make_signer(pems / "chain.pem", pems / "key.pem", "ES256")
    for _ in range(2):  # one signer signs many
        report = _read(sign(_png(PIXELS["grey"]), _image(term)))
        assert report["state"] == "Valid"
        assert [s["code"] for s in report["validation_status"]] == ["signingCredential.untrusted"]
        manifest = report["manifests"][report["active_manifest"]]
        assert manifest["title"] == "pit-1.png"
        assert manifest["claim_generator_info"][0]["name"] == "synthgen"
        assert manifest["signature_info"]["common_name"] == "Line 3"
        assert "thumbnail" not in manifest
        (assertion,) = manifest["assertions"]
        made = {"action": "c2pa.created", "digitalSourceType": VOCABULARY + term}
        assert assertion["label"] == "c2pa.actions.v2"
        assert assertion["data"]["actions"] == [made]


def test_who_trusts_the_root_trusts_the_image(pems: Path) -> None:
    sign = make_signer(pems / "chain.pem", pems / "key.pem", "es256")
    signed = sign(_png(PIXELS["grey"]), _image(PASTED))
    report = _read(signed, trust={"trust_anchors": (pems / "root.pem").read_text()})
    assert report["state"] == "Trusted"
    assert report.get("validation_status", []) == []


def test_a_changed_pixel_breaks_the_signature(pems: Path) -> None:
    sign = make_signer(pems / "chain.pem", pems / "key.pem", "es256")
    signed = sign(_png(PIXELS["grey"]), _image(PASTED))
    at = signed.index(b"IDAT") + 100
    broken = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
    report = _read(broken)
    assert report["state"] == "Invalid"
    assert "assertion.dataHash.mismatch" in [s["code"] for s in report["validation_status"]]


@pytest.mark.parametrize(
    ("certificate", "key", "alg", "sentence"),
    [
        ("gone.pem", "key.pem", "es256", r"sign\.certificate='.*gone.pem' cannot be read: No such"),
        ("chain.pem", "gone.pem", "es256", r"sign\.key='.*gone.pem' cannot be read: No such"),
        ("no_pem.txt", "key.pem", "es256", r"sign\.certificate='.*no_pem.txt' is not a PEM file"),
        ("chain.pem", "no_pem.txt", "es256", r"sign\.key='.*no_pem.txt' is not a PEM file"),
        ("chain.pem", "other_key.pem", "es256", "cannot sign as es256 .*does not match"),
        ("chain.pem", "chain.pem", "es256", "cannot sign as es256 .*invalid ES256 private key"),
        ("key.pem", "key.pem", "es256", "cannot sign as es256 .*certificate is invalid"),
        ("root.pem", "other_key.pem", "es256", "cannot sign as es256 .*self-signed"),
        ("chain.pem", "key.pem", "ps256", "cannot sign as ps256 .*unsupported private key"),
        ("chain.pem", "key.pem", "rot13", r"sign\.alg='rot13' must be one of es256, es384"),
    ],
)
def test_what_cannot_sign_is_said_before_anything_is_exported(
    pems: Path, certificate: str, key: str, alg: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        make_signer(pems / certificate, pems / key, alg)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_image_is_named(pems: Path) -> None:
    sign = make_signer(pems / "chain.pem", pems / "key.pem", "es256")
    with pytest.raises(RunError, match=r"pit-1\.png cannot be signed"):
        sign(b"no image", _image(PASTED))


def test_the_missing_package_is_named(pems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ConfigError, match=r"pip install 'synthgen-inspection\[sign\]'"):
        make_signer(pems / "chain.pem", pems / "key.pem", "es256")


def test_exported_images_are_signed_and_photographs_are_not(pems: Path, tmp_path: Path) -> None:
    labels = read_labels(make_hard_run(tmp_path / "run"))
    small = [i for i in labels if i.sample_id in ("grey_16_bit", "hole", "defect_free")]
    images = [replace(i, digital_source="" if i.sample_id == "hole" else PAINTED) for i in small]
    media = Media("link", make_signer(pems / "chain.pem", pems / "key.pem", "es256"))
    out = export(replace(labels, images=images), {"coco": Coco()}, tmp_path / "out", media).path
    for image in images:
        path = out / "coco" / image.split / image.file_name
        assert np.array_equal(read_image(path), read_image(image.path))
        if image.is_synthetic:
            assert _read(path.read_bytes())["state"] == "Valid"
        else:
            assert path.read_bytes() == image.path.read_bytes()
