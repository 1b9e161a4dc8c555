"""The embedded backbone and its adapters are what they say."""

import json

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel

from anyrefill.backbone.adapters.files import load_adapter, read_passport
from anyrefill.backbone.embedded import EMBEDDED, adapter_of, shipped
from anyrefill.backbone.fill import FluxFill
from anyrefill.images import to_panel

pytestmark = pytest.mark.skipif(not EMBEDDED.is_dir(), reason="the embedded backbone is not in this checkout")


@pytest.fixture(scope="module")
def micro() -> FluxFill:
    return FluxFill.load(EMBEDDED)


def test_it_has_the_layout_of_flux_fill(micro: FluxFill) -> None:
    assert isinstance(micro.transformer, FluxTransformer2DModel)
    assert micro.transformer.config["in_channels"] == 384
    assert micro.transformer.config["out_channels"] == 64
    assert AutoencoderKL.load_config(EMBEDDED / "vae")["latent_channels"] == 16
    assert json.loads((EMBEDDED / "model_index.json").read_text())["_class_name"] == "FluxFillPipeline"


def test_everything_weighs_at_most_110_mb() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED.rglob("*") if path.is_file()) <= 110e6


def test_a_held_out_photograph_survives_the_autoencoder(micro: FluxFill) -> None:
    photo = to_panel(EMBEDDED.parent / "photos" / "chelsea.jpg", (128, 128))[None]
    error = (micro.decode(micro.encode(photo)) - photo).pow(2).mean()
    assert float(-10 * (error / 4).log10()) > 26


def test_the_latents_of_a_panel_do_not_depend_on_the_other_panel(micro: FluxFill) -> None:
    photo = to_panel(EMBEDDED.parent / "photos" / "coffee.jpg", (128, 128))
    other = to_panel(EMBEDDED.parent / "photos" / "rocket.jpg", (128, 128))
    alone = micro.encode(photo[None])
    beside = micro.encode(torch.cat([photo, other], dim=-1)[None])[..., :16]
    assert float((alone - beside).norm() / alone.norm()) < 0.01


@pytest.mark.parametrize("name", shipped())
def test_every_adapter_is_for_this_base_and_its_task(name: str, micro: FluxFill) -> None:
    passport = read_passport(adapter_of(name))
    assert passport.task == name
    assert (passport.height, passport.width) == (128, 256)
    load_adapter(adapter_of(name), micro, name=name)
