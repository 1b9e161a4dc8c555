"""Scores that look at a pair's reference or mask, and distances of sets."""

import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from recipes import nearness as recipe
from safetensors.torch import save_file

from anyrefill import Pair, UserError, judges, metrics, tasks
from anyrefill.demo.examples import examples
from anyrefill.metrics import nearness, weights
from anyrefill.metrics.faces import Faces
from anyrefill.metrics.features import kernel_distance
from anyrefill.metrics.weights import FACE_NETWORK
from panels import random_panel

WEIGHTS = weights.weights_folder()
needs_lpips = pytest.mark.skipif(not (WEIGHTS / "alexnet.ckpt").is_file(), reason="run recipes/weights.py")
needs_vgg = pytest.mark.skipif(not (WEIGHTS / "vgg16.ckpt").is_file(), reason="run recipes/weights.py")


def square(inside: float = 1.0) -> torch.Tensor:
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:48, 16:48] = inside
    return mask


def some_pair(mask: torch.Tensor | None) -> Pair:
    reference = random_panel(64, 64, 1)
    target = torch.where(square().bool(), random_panel(64, 64, 2), reference)
    return Pair(reference=reference, target=target, mask=mask)


def test_the_hole_alone_is_looked_at() -> None:
    pair = some_pair(square())
    ruined_outside = torch.where(square().bool(), pair.target, -pair.target)
    assert judges.psnr_hole(ruined_outside, pair) == math.inf
    darker = pair.target - 0.2 * square()
    assert judges.psnr_hole(darker, pair) == pytest.approx(20, abs=1e-3)
    with pytest.raises(UserError, match="a pair has none"):
        judges.psnr_hole(darker, some_pair(None))


def test_the_background_is_what_the_mask_leaves_or_what_both_pictures_share() -> None:
    outside = 1 - square()
    assert torch.equal(judges.background(some_pair(square())), outside)
    shared = judges.background(some_pair(None))
    assert torch.equal(shared * outside, outside)
    assert shared[square().bool()].mean() < 0.01


@needs_lpips
def test_only_the_background_counts_as_background() -> None:
    pair = some_pair(square())
    assert judges.lpips_background(torch.where(square().bool(), -pair.target, pair.target), pair) == 0
    assert judges.lpips_background(-pair.target, pair) > 0.05
    assert math.isnan(judges.lpips_background(pair.target, some_pair(torch.ones(1, 64, 64))))


def test_rmse_is_a_share_of_the_full_range() -> None:
    black, white = -torch.ones(3, 8, 8), torch.ones(3, 8, 8)
    assert metrics.rmse(black, white) == 1
    panel = random_panel(16, 16)
    assert metrics.rmse(panel, panel + 0.2) == pytest.approx(0.1)
    gain = metrics.psnr(panel, panel + 0.12) - metrics.psnr(panel, panel + 0.2)
    assert gain == pytest.approx(4.437, abs=1e-3), "60 % of an error is 4.4 dB"


def test_a_kernel_distance_tells_sets_apart_and_knows_equal_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(60, 8, generator=generator) for _ in range(2))
    equal = kernel_distance(one, one)
    assert (equal.mean, equal.low, equal.high) == pytest.approx((0, 0, 0), abs=1e-12)
    alike, apart = kernel_distance(one, other), kernel_distance(one, other + 1)
    assert alike.low < 0 < alike.high
    assert apart.low > alike.high
    assert apart.low < apart.mean < apart.high
    with pytest.raises(ValueError, match="two sets of one size"):
        kernel_distance(one[:2], other[:2])


def test_the_distance_is_the_mean_over_all_other_pictures() -> None:
    x, y = torch.randn(5, 3, dtype=torch.float32), torch.randn(5, 3)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a.double() @ b.double() / 3 + 1) ** 3)

    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    wanted = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) - 2 * kernel(x[i], y[j]) for i, j in pairs) / 20
    found = kernel_distance(x, y)
    assert found.mean == pytest.approx(wanted)
    left = [kernel_distance(x[keep], y[keep]).mean for keep in ([j for j in range(5) if j != i] for i in range(5))]
    error = math.sqrt(4 / 5 * sum((value - sum(left) / 5) ** 2 for value in left))
    assert found.high - found.mean == pytest.approx(1.96 * error)


@needs_lpips
def test_noise_is_far_from_smooth_pictures() -> None:
    smooth = [torch.full((3, 48, 48), level) for level in (-0.5, -0.2, 0.0, 0.3, 0.6)]
    noise = [random_panel(48, 48, seed) for seed in range(5)]
    assert metrics.kid_alex(noise, smooth).low > 0
    assert metrics.kid_alex(smooth, smooth).mean == 0


@needs_vgg
def test_a_head_learns_where_the_near_things_are(tmp_path: Path) -> None:
    def pair(seed: int) -> Pair:
        """Return a picture whose busy half is near."""
        near = torch.zeros(1, 64, 64)
        near[:, :, :32] = 1
        near = near if seed % 2 else near.flip(2)
        return Pair(reference=random_panel(64, 64, seed) * near, target=(2 * near - 1).repeat(3, 1, 1))

    head = tmp_path / "head.safetensors"
    with pytest.raises(UserError, match=r"sees depth is not in this installation: .*head.safetensors is missing"):
        nearness.nearness_vgg(pair(0).reference, head)
    seen = [recipe.observed(found.reference, found.target) for found in map(pair, range(6))]
    save_file(recipe.fit(seen, epochs=12, batch=3).state_dict(), head)
    for seed in (10, 11):
        right, wrong = pair(seed), pair(seed + 1)
        assert metrics.depth_correlation(nearness.nearness_vgg(right.reference, head), right.target[:1]) > 0.7
        assert metrics.depth_correlation(nearness.nearness_vgg(wrong.reference, head), right.target[:1]) < -0.5


@needs_vgg
def test_the_shipped_head_sees_the_depth_of_pictures_that_it_was_not_trained_on() -> None:
    task = tasks.get("depth-to-image")
    pairs = [example.pair for example in examples(task, (128, 128))]
    right = [judges.depth_vgg(pair.target, pair) for pair in pairs]
    mirrored = [judges.depth_vgg(pair.target.flip(2), pair) for pair in pairs]
    assert min(right) > 0.8
    assert all(seen > other for seen, other in zip(right, mirrored, strict=True)), "it looks at the picture"


@pytest.mark.skipif(not (WEIGHTS / "u2netp.onnx").is_file(), reason="run recipes/weights.py")
def test_a_subject_is_found_and_compared_with_the_silhouette() -> None:
    pytest.importorskip("onnxruntime")
    from anyrefill import images
    from anyrefill.demo import PHOTOS

    photo = images.to_panel(PHOTOS / "coffee.jpg", (128, 128))
    silhouette = images.to_panel(PHOTOS / "coffee.mask.png", (128, 128))
    pair = Pair(reference=silhouette, target=photo)
    assert judges.iou_u2netp(photo, pair) > 0.8
    assert judges.iou_u2netp(photo.flip(2), pair) < 0.75


def test_dlib_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"needs dlib, .* 'anyrefill\[faces\]'"):
        Faces()


@pytest.mark.skipif(not (WEIGHTS / FACE_NETWORK.name).is_file(), reason="run recipes/weights.py")
def test_a_person_is_known_again_in_another_light() -> None:
    pytest.importorskip("dlib")
    from anyrefill import images
    from anyrefill.demo import PHOTOS

    astronaut, coffee = (
        images.to_panel(Image.open(PHOTOS / f"{name}.jpg").crop((44, 0, 172, 128)), (128, 128))
        for name in ("astronaut", "coffee")
    )
    darker = Pair(reference=astronaut, target=astronaut * 0.6 - 0.4)
    assert judges.identity_dlib(astronaut, darker) == 0
    assert 0 < judges.identity_dlib(darker.target, darker) < 0.5
    assert math.isnan(judges.identity_dlib(coffee, darker)), "no face"
    assert metrics.aim(judges.identity_dlib) == "lower"
