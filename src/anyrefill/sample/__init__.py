"""Sampling: canvases in, painted panels out."""

from anyrefill.sample.batch import Step, condition_of, draw_noise, panels, sample, sampling, sheets
from anyrefill.sample.large import Large, large_sheet, sampling_large

__all__ = [
    "Large",
    "Step",
    "condition_of",
    "draw_noise",
    "large_sheet",
    "panels",
    "sample",
    "sampling",
    "sampling_large",
    "sheets",
]
