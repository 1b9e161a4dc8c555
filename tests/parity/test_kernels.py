"""The CPU forms of attention, GELU and the whole forward pass compute what diffusers computes."""

import copy
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel

from anyrefill.backbone import kernels
from anyrefill.backbone.latents import image_ids
from tiny_checkpoint import tiny_transformer


@pytest.fixture(params=[True, False], ids=["guided", "unguided"])
def model(request: pytest.FixtureRequest) -> FluxTransformer2DModel:
    torch.manual_seed(0)
    transformer = tiny_transformer(guidance_embeds=request.param)
    for weight in transformer.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return transformer


def both(model: FluxTransformer2DModel) -> tuple[FluxTransformer2DModel, torch.Tensor, torch.Tensor]:
    """Return a fast copy, diffusers' output and ours."""
    torch.manual_seed(1)
    tokens, text, pooled = torch.randn(3, 32, 384), torch.randn(3, 5, 32), torch.randn(3, 24)
    sigma, guidance, ids = torch.tensor([0.1, 0.5, 1.0]), torch.tensor([1.0, 3.5, 30.0]), image_ids(64, 128)
    fast = copy.deepcopy(model)
    kernels.make_fast(fast)
    theirs = model(
        hidden_states=tokens,
        encoder_hidden_states=text,
        pooled_projections=pooled,
        timestep=sigma,
        guidance=guidance if model.config["guidance_embeds"] else None,
        img_ids=ids,
        txt_ids=torch.zeros(5, 3),
        return_dict=False,
    )[0]
    ours = kernels.forward(fast, tokens, text, pooled, sigma, guidance, kernels.rope_of(fast, 5, ids, torch.float32))
    return fast, theirs, ours


def test_the_fast_forward_is_diffusers(model: FluxTransformer2DModel) -> None:
    _, theirs, ours = both(model)
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_its_gradients_are_diffusers(model: FluxTransformer2DModel) -> None:
    fast, theirs, ours = both(model)
    theirs.pow(2).sum().backward()
    ours.pow(2).sum().backward()
    for (name, a), b in zip(model.named_parameters(), fast.parameters(), strict=True):
        assert a.grad is not None, name
        assert b.grad is not None, name
        torch.testing.assert_close(b.grad, a.grad, atol=1e-4 * float(a.grad.abs().max()) + 1e-9, rtol=1e-3)


def test_gelu_is_the_tanh_form() -> None:
    x = torch.linspace(-8, 8, 2001, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_(True)
    ours, theirs = kernels.SigmoidGelu.apply(x), torch.nn.functional.gelu(y, approximate="tanh")
    torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-7)
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-7, rtol=1e-7)


def test_state_dict_does_not_change(model: FluxTransformer2DModel, tmp_path: Path) -> None:
    before = list(model.state_dict())
    kernels.make_fast(model)
    assert list(model.state_dict()) == before
