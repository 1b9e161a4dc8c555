"""Panels for tests. A module of its own, since `conftest` is the name of several."""

import torch


def random_panel(height: int = 32, width: int = 48, seed: int = 0) -> torch.Tensor:
    """Return a panel of 8-bit noise, so that writing and reading it loses nothing."""
    levels = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed))
    return levels.float() / 127.5 - 1
