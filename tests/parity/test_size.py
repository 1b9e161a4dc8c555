"""The published numbers: FLUX.1-Fill's size and the paper's +3.0 %, counted on tensors without storage."""

import pytest
import torch
from diffusers import FluxTransformer2DModel

from anyrefill.backbone.adapters.lora import inject
from anyrefill.backbone.flux import FLUX_TRANSFORMER

SIZE = 11_902_391_360


@pytest.mark.parametrize(
    ("targets", "percent"), [("paper", 3.01), ("attention", 1.26), ("paper+mlp", 3.64), ("all", 5.83)]
)
def test_a_lora_of_rank_128_on_flux_fill(targets: str, percent: float) -> None:
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**FLUX_TRANSFORMER)
        assert sum(weight.numel() for weight in transformer.parameters()) == SIZE
        added = sum(weight.numel() for weight in inject(transformer, rank=128, targets=targets))
    assert 100 * added / SIZE == pytest.approx(percent, abs=0.006)
    if targets == "paper":
        assert added == 358_612_992
    assert added == sum(weight.numel() for weight in transformer.parameters() if weight.requires_grad)
