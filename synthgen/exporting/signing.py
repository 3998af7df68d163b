"""Content Credentials (C2PA): signs exported images, so that their origin can be proven."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from synthgen.errors import ConfigError, RunError
from synthgen.exporting.labels import LabelledImage
from synthgen.storage.provenance import SIGNATURE, VOCABULARY

__all__ = ["make_signer"]

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
NO_THUMBNAIL = {"builder": {"thumbnail": {"enabled": False}}}  # it would be larger than the image
PNG, JPEG = "image/png", "image/jpeg"


def make_signer(certificate: Path, key: Path, alg: str) -> Callable[[bytes, LabelledImage], bytes]:
    """Return what signs the bytes of an image file; pixels and marks stay as they are.

    ``certificate``: PEM, that of the key first, then those that vouch for it; ``key``: PEM, PKCS#8,
    without a passphrase; ``alg``: one of ``ALGORITHMS``. A small image is signed at once to see if
    they fit. No server is asked for the time. Each signature has a random number and an id of its
    own: signed exports are never byte-identical, unlike all others. Raises ConfigError; what is
    returned raises RunError for an image that cannot be signed.
    """
    try:
        import c2pa
    except ImportError as error:
        raise ConfigError(
            "sign needs the package c2pa-python: pip install 'synthgen-inspection[sign]'"
        ) from error
    if alg.lower() not in ALGORITHMS:
        raise ConfigError(f"sign.alg={alg!r} must be one of {', '.join(ALGORITHMS)}")
    chain, secret = _read_pem(certificate, "certificate"), _read_pem(key, "key")
    smallest = io.BytesIO()
    Image.new("L", (1, 1)).save(smallest, "PNG")
    try:
        # ta_url: None = no time server; an empty text would be taken for the address of one
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(alg.lower(), chain, secret, None))
        context = c2pa.Context(settings=c2pa.Settings.from_dict(NO_THUMBNAIL))
        trial = _claim("trial.png", "algorithmicMedia")
        _sign(c2pa, signer, context, smallest.getvalue(), trial)
    except c2pa.C2paError as error:
        raise ConfigError(
            f"sign.certificate={str(certificate)!r} and sign.key={str(key)!r} cannot sign as "
            f"{alg} ({error}); give the chain and its own PKCS#8 key as PEM, and their algorithm"
        ) from error

    def sign(data: bytes, image: LabelledImage) -> bytes:
        """Return the bytes of an image file with a signature in them."""
        claim = _claim(image.file_name, image.digital_source)
        try:
            return _sign(c2pa, signer, context, data, claim)
        except c2pa.C2paError as error:
            raise RunError(f"{image.path} cannot be signed: {error}") from error

    return sign


def _read_pem(path: Path, name: str) -> bytes:
    """Return a PEM file; raises ConfigError where it cannot be read, or holds something else."""
    try:
        data = path.expanduser().read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"sign.{name}={str(path)!r} cannot be read: {reason}") from error
    if b"-----BEGIN" not in data:
        raise ConfigError(f"sign.{name}={str(path)!r} is not a PEM file; it has no -----BEGIN line")
    return data


def _claim(title: str, term: str) -> dict[str, Any]:
    """Return what a signature says of a file: its name, and how it came to be, as an IPTC term."""
    made = {"action": "c2pa.created", "digitalSourceType": VOCABULARY + term}
    generator = {"name": "synthgen", "version": version("synthgen-inspection")}
    return {
        "title": title,
        "claim_generator_info": [generator],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [made]}}],
    }


def _sign(c2pa: Any, signer: Any, context: Any, data: bytes, claim: dict[str, Any]) -> bytes:
    kind = PNG if data.startswith(SIGNATURE) else JPEG
    signed = io.BytesIO()
    with c2pa.Builder({**claim, "format": kind}, context=context) as builder:
        builder.sign(signer, kind, io.BytesIO(data), signed)
    return signed.getvalue()
