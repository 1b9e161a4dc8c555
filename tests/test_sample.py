"""Sampling with the exact mock: what is kept, what is drawn, what is refused."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anyrefill import Canvas, UserError
from anyrefill.backbone import Condition
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import pack_mask
from anyrefill.backbone.tiny import TinyFill
from anyrefill.sample import Large, draw_noise, panels, sample, sampling, sampling_large
from anyrefill.types import Sigma, Tokens
from panels import random_panel


def canvas(seed: int = 0, side: str = "left") -> Canvas:
    mask = torch.zeros(1, 32, 48)
    mask[:, 5:20, 7:30] = 1
    return Canvas.stitch(random_panel(seed=seed), random_panel(seed=seed + 1), mask, side)


def test_the_exact_model_copies_the_reference_into_the_hole_and_keeps_the_rest() -> None:
    canvases = [canvas(0), canvas(2)]
    painted = sample(TinyFill(), canvases, ["", "two words"], seeds=[1, 2], steps=4)
    for one, panel in zip(canvases, painted, strict=True):
        hole = one.panel(one.mask)
        reference, target = one.pixels.chunk(2, dim=-1)
        assert torch.equal(panel * (1 - hole), target * (1 - hole))
        torch.testing.assert_close(panel * hole, reference * hole, atol=1e-5, rtol=0)


def test_every_step_is_yielded_and_only_when_asked_for() -> None:
    calls: list[float] = []

    class Counting(TinyFill):
        def velocity(self, latents: Tokens, sigma: Sigma, condition: Condition, guidance: float) -> Tokens:
            calls.append(sigma.tolist())
            assert not torch.is_grad_enabled()
            return super().velocity(latents, sigma, condition, guidance)

    run = sampling(Counting(), [canvas()], [""], seeds=[0], steps=3)
    first = next(run)
    assert torch.is_grad_enabled()
    assert (first.done, first.steps, len(calls)) == (1, 3, 1)
    assert [step.done for step in run] == [2, 3]
    assert calls[0] == [1.0]
    assert panels(TinyFill(), [canvas()], first.latents)[0].shape == (3, 32, 48)


def test_noise_is_each_canvas_own() -> None:
    backbone, canvases = TinyFill(), [canvas(), canvas()]
    condition = Condition.of(canvases, backbone.encode_text(["", ""]), backbone)

    def noise(*seeds: int) -> Tensor:
        return draw_noise(condition, canvases[0], [torch.Generator().manual_seed(seed) for seed in seeds])

    assert torch.equal(noise(3, 4)[1], noise(9, 4)[1])
    assert not torch.equal(noise(3, 4)[0], noise(3, 4)[1])
    assert noise(3, 4).std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_run_takes_a_step(steps: int) -> None:
    with pytest.raises(UserError, match=f"painting takes at least 1 step, not {steps}"):
        sample(TinyFill(), [canvas()], [""], seeds=[0], steps=steps)


def test_what_does_not_fit_together_is_refused() -> None:
    small = Canvas.stitch(torch.zeros(3, 16, 16), torch.zeros(3, 16, 16), torch.ones(1, 16, 16))
    with pytest.raises(UserError, match="canvases of one size; these are 16 x 32 and 32 x 96 pixels"):
        sample(TinyFill(), [canvas(), small], ["", ""], seeds=[0, 1])
    with pytest.raises(UserError, match="1 canvases, 2 prompts, 1 seeds"):
        sample(TinyFill(), [canvas()], ["", ""], seeds=[0])
    with pytest.raises(UserError, match="2 canvases, 2 prompts, 3 seeds"):
        sample(TinyFill(), [canvas(), canvas()], ["", ""], seeds=[0, 1, 2])
    with pytest.raises(UserError, match="0 canvases, 0 prompts, 0 seeds"):
        sample(TinyFill(), [], [], seeds=[])


def test_temperature_scales_the_noise_and_at_zero_all_seeds_paint_the_same(tiny: Path) -> None:
    backbone = FluxFill.load(tiny)
    two = {"backbone": backbone, "canvases": [canvas(), canvas()], "prompts": ["", ""], "seeds": [1, 2], "steps": 1}
    first, second = sample(**two, temperature=0.0)
    assert torch.equal(first, second)
    first, second = sample(**two)
    assert not torch.equal(first, second)
    whole, half, none = (next(sampling(**two, temperature=share)).latents for share in (1.0, 0.5, 0.0))
    assert (half - none).norm() < (whole - none).norm()


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_reference_guidance_goes_away_from_what_is_painted_beside_grey(strength: float) -> None:
    one = canvas()
    painted = sample(TinyFill(), [one], [""], seeds=[1], steps=4, reference_guidance=strength)[0]
    hole = one.panel(one.mask).bool().expand(3, -1, -1)
    # The exact model copies: the reference with it, grey (0) without, so the line between them is a multiple.
    expected = strength * one.beside(one.pixels)
    torch.testing.assert_close(painted[hole], expected[hole], atol=1e-5, rtol=0)
    assert torch.equal(painted[~hole], one.panel(one.pixels)[~hole])


@pytest.mark.parametrize("attention", ["full", "clean_ref_text"])
def test_reference_guidance_guides_the_target_alone(tiny: Path, attention: str) -> None:
    backbone, one = FluxFill.load(tiny), canvas()
    run = {"backbone": backbone, "canvases": [one], "prompts": ["a"], "seeds": [3], "steps": 1, "attention": attention}
    plain, same, guided = (next(sampling(**run, reference_guidance=w)).latents for w in (1.0, 1.0, 3.0))
    target = pack_mask(one.target[None])[0].amax(dim=-1).bool()
    assert torch.equal(plain, same)
    assert torch.equal(guided[:, ~target], plain[:, ~target])
    assert not torch.allclose(guided[:, target], plain[:, target], atol=1e-3)


@pytest.mark.parametrize("attention", ["full", "clean_ref_text"])
def test_caption_guidance_goes_away_from_what_no_prompt_paints(tiny: Path, attention: str) -> None:
    backbone, one = FluxFill.load(tiny), canvas()
    run = {"backbone": backbone, "canvases": [one], "seeds": [3], "steps": 1, "attention": attention}
    asked, silent = (next(sampling(**run, prompts=[prompt])).latents for prompt in ("a", ""))
    mute, half, same, guided = (
        next(sampling(**run, prompts=["a"], caption_guidance=w)).latents for w in (0.0, 0.5, 1.0, 3.0)
    )
    target = pack_mask(one.target[None])[0].amax(dim=-1).bool()
    assert torch.equal(same, asked)
    for found, strength in ((mute, 0.0), (half, 0.5), (guided, 3.0)):
        expected = silent + strength * (asked - silent)
        torch.testing.assert_close(found[:, target], expected[:, target], atol=1e-5, rtol=1e-5)
        assert torch.equal(found[:, ~target], asked[:, ~target])
    assert not torch.allclose(guided[:, target], asked[:, target], atol=1e-4)


@pytest.mark.parametrize("way", ["whole", "tiles"])
def test_a_seed_draws_from_the_autoencoder_too(tiny: Path, way: str) -> None:
    backbone, one = FluxFill.load(tiny, vae_rule="sample"), canvas()

    def painted(seed: int) -> Tensor:
        if way == "whole":
            *_, last = sampling(backbone, [one], ["a"], seeds=[seed], steps=1, reference_guidance=2.0)
        else:
            large = Large.of(one, (32, 32))
            *_, last = sampling_large(backbone, large, "a", seed=seed, steps=1, reference_guidance=2.0)
        return last.latents

    assert torch.equal(painted(1), painted(1))
    assert not torch.allclose(painted(1), painted(2), atol=1e-3)


def test_both_guides_add_up(tiny: Path) -> None:
    backbone, one = FluxFill.load(tiny), canvas()
    run = {"backbone": backbone, "canvases": [one], "prompts": ["a"], "seeds": [3], "steps": 1}
    plain, by_picture, by_words, by_both = (
        next(sampling(**run, reference_guidance=reference, caption_guidance=caption)).latents
        for reference, caption in ((1.0, 1.0), (2.0, 1.0), (1.0, 3.0), (2.0, 3.0))
    )
    torch.testing.assert_close(by_both, by_picture + by_words - plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["guidance", "temperature", "reference_guidance", "caption_guidance"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_strength_is_a_finite_factor(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name.replace('_', ' ')} must be at least 0 and finite"):
        sample(TinyFill(), [canvas()], [""], seeds=[0], **{name: value})
