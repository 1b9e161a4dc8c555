"""Pretraining draws from every bank it is given, and what it leaves is packed as it is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from recipes.micro.pack import ASSETS, pack_transformer
from recipes.micro.transformer import Bank, scene_of
from safetensors.torch import load_file

WEIGHTS = "diffusion_pytorch_model.safetensors"


def bank(*captions: str) -> Bank:
    return Bank(pixels=np.arange(len(captions), dtype=np.uint8)[:, None, None, None], captions=list(captions))


def test_rows_run_through_the_banks_one_after_the_other() -> None:
    banks = [bank("a", "b"), bank("c"), bank("d", "e")]
    found = [scene_of(banks, row) for row in range(5)]
    assert [caption for _, caption in found] == list("abcde")
    assert [int(pixels.item()) for pixels, _ in found] == [0, 1, 0, 0, 1]
    with pytest.raises(IndexError):
        scene_of(banks, 5)


def test_a_packed_transformer_and_a_runs_average_come_out_alike(tmp_path: Path) -> None:
    shipped = load_file(ASSETS / "transformer" / WEIGHTS)
    (tmp_path / "run" / "decayed").mkdir(parents=True)
    torch.save({name: tensor.float() for name, tensor in shipped.items()}, tmp_path / "run" / "decayed" / "ema.pt")
    torch.save({}, tmp_path / "run" / "ema.pt")  # the average before the decay is not the one to take
    for source in (ASSETS / "transformer", tmp_path / "run"):
        pack_transformer(source, tmp_path / "out")
        packed = load_file(tmp_path / "out" / "transformer" / WEIGHTS)
        assert packed.keys() == shipped.keys()
        assert all(torch.equal(packed[name], shipped[name]) for name in shipped)
