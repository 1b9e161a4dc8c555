"""Muon of the recipes against torch's own."""

import pytest
import torch
from recipes.micro import muon
from recipes.micro.muon import Muon, orthogonalised


def test_takes_the_steps_of_torchs_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "fast_dtype", lambda: torch.bfloat16)
    draw = torch.Generator().manual_seed(0)
    shapes = [(8, 8), (6, 12), (12, 6)]
    ours = [torch.randn(shape, generator=draw).requires_grad_() for shape in shapes]
    theirs = [matrix.detach().clone().requires_grad_() for matrix in ours]
    one = Muon(ours, 0.02)
    other = torch.optim.Muon(theirs, 0.02, momentum=0.95, weight_decay=0.01, ns_steps=4, adjust_lr_fn="match_rms_adamw")
    before = [matrix.detach().clone() for matrix in ours]
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=draw)
            b.grad = a.grad.clone()
        one.step()
        other.step()
    for a, b, was in zip(ours, theirs, before, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, was)


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8)])
def test_orthogonalised_moves_singular_values_towards_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    out = orthogonalised(matrix, torch.float32)
    values = left.mT @ out @ right.mT
    assert (values - values.diagonal().diag()).abs().max() < 1e-4
    assert values.diagonal().min() > 0.4
    assert values.diagonal().max() < 1.4
