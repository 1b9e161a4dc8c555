"""How near two pictures are, pixel by pixel and window by window."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

from anyrefill.types import Mask, Panel

__all__ = [
    "colourfulness",
    "colourfulness_error",
    "colourfulness_ratio",
    "luma",
    "luma_psnr",
    "psnr",
    "psnr_in",
    "rmse",
    "ssim",
    "ssim_in",
    "ssim_legacy",
]

Channels = Float[Tensor, "C H W"]


def luma(panel: Panel) -> Float[Tensor, "1 H W"]:
    """Return Y' = 0.299 R + 0.587 G + 0.114 B, in the panel's own range.

    Source: ITU-R BT.601, as PIL's and OpenCV's grey.
    """
    weights = panel.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (panel * weights).sum(dim=0, keepdim=True)


def psnr(painted: Channels, target: Channels) -> float:
    """Return the peak signal-to-noise ratio in dB, 10 log10(2^2 / MSE); infinite for equal pictures."""
    return _decibel((painted - target).double().pow(2).mean().item())


def psnr_in(painted: Channels, target: Channels, mask: Mask) -> float:
    """Return the PSNR in dB of the pixels where the mask is 1; nan if there is none."""
    inside = mask.bool().expand_as(painted)
    return _decibel((painted - target)[inside].double().pow(2).mean().item())


def rmse(painted: Channels, target: Channels) -> float:
    """Return the root of the mean squared error as a share of the full range, 0-1; 0.6 of another's is 4.4 dB less."""
    return (painted - target).double().pow(2).mean().sqrt().item() / 2


def luma_psnr(painted: Panel, target: Panel) -> float:
    """Return the PSNR in dB of the brightness alone, so that a wrong colour of the right brightness costs nothing."""
    return psnr(luma(painted), luma(target))


def ssim(painted: Channels, target: Channels) -> float:
    """Return the mean structural similarity: Gaussian window of 11 px, sigma 1.5, the mean over channels.

    As scikit-image's with gaussian_weights=True, use_sample_covariance=False and the true data_range.

    Raises:
        ValueError: a side is shorter than 11 px.

    Source: Wang et al. 2004, eq. 13, K1 = 0.01, K2 = 0.03.
    """
    return _ssim_map(painted, target, _gaussian_window(), data_range=1.0).mean().item()


def ssim_in(painted: Channels, target: Channels, mask: Mask) -> float:
    """Return the mean SSIM of the windows whose centre lies where the mask is 1; nan if there is none.

    The map has no border, so the outer 5 px of the mask do not count.

    Raises:
        ValueError: a side is shorter than 11 px.
    """
    scores = _ssim_map(painted, target, _gaussian_window(), data_range=1.0)
    inside = mask[:, 5:-5, 5:-5].bool().expand_as(scores)
    return scores[inside].mean().item()


def ssim_legacy(painted: Panel, target: Panel) -> float:
    """Return SSIM as LeftRefill computed it, to compare with published tables only: it is 0.08-0.16 too high.

    Brightness in [0, 1], uniform window of 7 px with sample covariance, and the data_range of 2 that old scikit-image
    assumed of floats.

    Raises:
        ValueError: a side is shorter than 7 px.

    Source: ewrfcas/LeftRefill, test_inpainting.py; scikit-image < 0.20, structural_similarity's defaults.
    """
    window = torch.full((7, 7), 1 / 49, dtype=torch.float64)
    painted_grey, target_grey = luma(painted.double()), luma(target.double())
    return _ssim_map(painted_grey, target_grey, window, data_range=2.0, sample=49 / 48).mean().item()


def colourfulness(panel: Panel) -> float:
    """Return M = sigma_rgyb + 0.3 mu_rgyb on the 0-255 scale: 0 is grey, 109 extremely colourful.

    Source: Hasler and Suesstrunk 2003, Measuring colourfulness in natural images, section 7.
    """
    red, green, blue = ((panel.double() + 1) * 127.5).unbind(0)
    opponents = torch.stack([red - green, (red + green) / 2 - blue]).flatten(1)
    spread = opponents.var(dim=1, correction=0).sum().sqrt()
    return (spread + 0.3 * opponents.mean(dim=1).norm()).item()


def colourfulness_error(painted: Panel, target: Panel) -> float:
    """Return |M(painted) - M(target)|, see `colourfulness`; 0 is best."""
    return abs(colourfulness(painted) - colourfulness(target))


def colourfulness_ratio(painted: Panel, target: Panel) -> float:
    """Return M(painted) / M(target), see `colourfulness`; 1 is best, below it colours are too dull.

    nan beside a target that is exactly grey, where no ratio says anything.
    """
    wanted = colourfulness(target)
    return colourfulness(painted) / wanted if wanted else math.nan


def _decibel(mse: float) -> float:
    """Return 10 log10(4 / MSE)."""
    return math.inf if mse == 0 else 10 * math.log10(4 / mse)


def _gaussian_window() -> Float[Tensor, "11 11"]:
    """Return the window of Wang et al. 2004, which sums to 1."""
    line = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    window = torch.outer(line, line)
    return window / window.sum()


def _ssim_map(
    painted: Channels, target: Channels, window: Float[Tensor, "k k"], data_range: float, sample: float = 1.0
) -> Float[Tensor, "C h w"]:
    """Return SSIM for every window that lies inside the picture, taken from [-1, 1] to [0, 1].

    ``sample`` is n / (n - 1) for the sample covariance, 1 for the population's.
    """
    if min(painted.shape[1:]) < len(window):
        raise ValueError(f"SSIM's window needs {len(window)} px on each side, got {tuple(painted.shape[1:])}")
    x, y = ((panel.double()[:, None] + 1) / 2 for panel in (painted, target))

    def mean(values: Tensor) -> Tensor:
        return conv2d(values, window.to(values.device)[None, None])

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = (sample * (mean(v * v) - m * m) for v, m in ((x, mean_x), (y, mean_y)))
    covariance = sample * (mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))[:, 0]
