"""The recipes' own inventions do what their docstrings say."""

import copy

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxPosEmbed
from recipes.micro.fast_norm import make_fast
from recipes.micro.pca import Codec, fit, make_autoencoder, write_encoder
from recipes.micro.run import take_gradients
from recipes.micro.transformer import AXES, HEAD, place_bias
from recipes.world.canvases import TONES, diptych, single
from recipes.world.sources import held_out_by_hash, words_of
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from anyrefill.backbone.kernels import pair_rotation
from anyrefill.backbone.latents import image_ids


@pytest.mark.parametrize("offset", [(0, -8), (0, 8), (0, 0), (-1, 0), (1, 1)])
def test_a_looking_head_looks_there(offset: tuple[int, int]) -> None:
    ids = image_ids(128, 256)
    cos, sin = FluxPosEmbed(theta=10000, axes_dim=list(AXES))(ids)
    query, key = place_bias(*offset)
    turned = [bias * cos + (bias @ pair_rotation(HEAD)) * sin for bias in (query, key)]
    scores = turned[0] @ turned[1].T
    for row in range(8):
        for column in range(16):
            wanted = (row + offset[0], column + offset[1])
            if 0 <= wanted[0] < 8 and 0 <= wanted[1] < 16:
                found = int(scores[row * 16 + column].argmax())
                assert divmod(found, 16) == wanted


def smooth(count: int, side: int) -> torch.Tensor:
    """Return random pictures with more energy at low frequencies, as photographs have."""
    coarse = interpolate(torch.randn(count, 3, side // 8, side // 8), scale_factor=8, mode="bilinear")
    return (0.5 * coarse + 0.1 * avg_pool2d(torch.randn(count, 3, side + 2, side + 2), 3, 1)).clamp(-1, 1)


def test_the_encoder_is_the_linear_code() -> None:
    x = smooth(24, 64)
    codec, basis, weights = fit(x)
    vae = make_autoencoder()
    write_encoder(vae, basis, weights)
    with torch.no_grad():
        found = vae.encode(x).latent_dist.mode()
    wanted = codec.encode(x)
    assert wanted.std() > 0.5
    assert float((found - wanted).norm() / wanted.norm()) < 2e-3
    assert float((Codec.of(vae).encode(x) - wanted).norm() / wanted.norm()) < 2e-3, "the code is read back"


def test_the_mean_gradient_lies_in_memory_as_its_parameter_does() -> None:
    """A fused optimiser walks along both in memory's order, so another order would give each weight another's step."""
    layer = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    layer(torch.randn(2, 3, 8, 8)).pow(2).sum().backward()
    wanted = [parameter.grad.clone() for parameter in layer.parameters() if parameter.grad is not None]
    take_gradients(layer, layer, 1)
    for parameter, gradient in zip(layer.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)
        assert parameter.grad.stride() == parameter.stride()


def test_the_fast_norm_is_group_norm_and_silu() -> None:
    plain = make_autoencoder()
    fast = copy.deepcopy(plain)
    make_fast(fast)
    x = smooth(1, 32)
    a, b = (model.decoder(model.encoder(x)[:, :16]) for model in (plain, fast))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    a.pow(2).sum().backward()
    b.pow(2).sum().backward()
    for (name, p), q in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert float((p.grad - q.grad).norm() / p.grad.norm().clamp_min(1e-6)) < 1e-3, name


@pytest.mark.parametrize("make", [diptych, single])
def test_a_canvas_depends_on_its_generator_alone(make: object) -> None:
    scene = np.random.default_rng(0).integers(0, 256, (160, 160, 3)).astype(np.uint8)
    one, two = (make(scene, "a cat", np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one.pixels, two.pixels)
    assert np.array_equal(one.mask, two.mask)
    assert one.caption == two.caption
    assert one.mask.shape == one.pixels.shape[:2]
    assert 0 < one.mask.mean() <= 1


def test_named_tones_stand_in_the_caption() -> None:
    scene = np.random.default_rng(0).integers(0, 256, (160, 160, 3)).astype(np.uint8)
    captions = {diptych(scene, "a cat", np.random.default_rng(seed)).caption for seed in range(200)}
    assert {f"a cat, {name}" for name in TONES} <= captions
    assert "a cat" in captions


def test_an_eighth_is_held_out_by_name() -> None:
    share = np.mean([held_out_by_hash(f"object-{index}") for index in range(4000)])
    assert 0.1 < share < 0.15


@pytest.mark.parametrize(
    ("stem", "words"),
    [("tajMahal", "taj mahal"), ("Wine_by_Somebody", "a glass of wine"), ("polar_bear", "polar bear")],
)
def test_file_names_become_words(stem: str, words: str) -> None:
    assert words_of(stem) == words
