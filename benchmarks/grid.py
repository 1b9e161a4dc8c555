"""What a plain grid of lines scores as image-to-canny: its F1 counts lines within 1 px.

python -m benchmarks.grid                        # the 64 held-out pairs of the results, seconds

The goal of 0.6 and the adapter's score are to be read against that.
"""

import torch

from anyrefill import tasks
from anyrefill.evaluate import held_out_pairs

APART = (3, 4, 6, 8)
"""Pixels from line to line."""


def main() -> None:
    """Print the mean score of each grid."""
    task = tasks.get("image-to-canny")
    (line_f1,) = task.metrics
    pairs = held_out_pairs(task, (128, 128), limit=64)
    for apart in APART:
        grid = -torch.ones(3, 128, 128)
        grid[:, ::apart] = grid[:, :, ::apart] = 1
        values = [line_f1(task.decode(grid), task.decode(pair.target)) for pair in pairs]
        print(f"lines {apart} px apart: {sum(values) / len(values):.3f}")


if __name__ == "__main__":
    main()
