"""A placed base paints what it painted before, as far as this machine can place one."""

from functools import partialmethod
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from anyrefill import Canvas, UserError
from anyrefill.backbone import ATTENTIONS, Attention
from anyrefill.backbone.adapters.files import load_adapter
from anyrefill.backbone.adapters.lora import merge
from anyrefill.backbone.engine import fusable, idle
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.placement import Placement, held_bytes, place
from anyrefill.bench.flops import flux_fill
from anyrefill.painter import load
from anyrefill.sample import sample
from panels import random_panel

WHOLE = Placement()


def adapted(tiny: Path) -> FluxFill:
    backbone = FluxFill.load(tiny)
    load_adapter(tiny / "adapters" / "colorization.safetensors", backbone)
    merge(backbone)
    return backbone


def painted(backbone: FluxFill, attention: Attention) -> Tensor:
    canvas = Canvas.stitch(random_panel(64, 64, 1), random_panel(64, 64, 2), torch.ones(1, 64, 64))
    return sample(backbone, [canvas], ["a"], seeds=[0], steps=2, guidance=1.0, attention=attention)[0]


def stored(backbone: FluxFill) -> int:
    weights = [weight for name, weight in backbone.transformer.named_parameters() if ".lora_" not in name]
    return sum(weight.numel() * weight.element_size() for weight in weights)


@pytest.mark.parametrize("attention", ["full", "clean_ref", "clean_ref_text"])
def test_layers_that_come_one_by_one_paint_the_same(tiny: Path, attention: Attention) -> None:
    backbone = adapted(tiny)
    before = painted(backbone, attention)
    place(backbone, Placement(offload="all"))
    assert not fusable(backbone.transformer), "fused weights would not know that a layer is away"
    torch.testing.assert_close(painted(backbone, attention), before, atol=1e-4, rtol=0)


@pytest.mark.parametrize("attention", ["full", "clean_ref", "clean_ref_text"])
def test_steps_call_nothing_that_waits(tiny: Path, attention: Attention) -> None:
    backbone = adapted(tiny)
    before = painted(backbone, attention)
    place(backbone, Placement(offload="idle"), attention)
    called, names = list[str](), set[str]()
    for name, layer in backbone.transformer.named_modules():
        if type(layer) is torch.nn.Linear and ".lora_" not in name:
            names.add(name)
            layer.register_forward_hook(lambda *_, name=name: called.append(name))
    torch.testing.assert_close(painted(backbone, attention), before, atol=1e-4, rtol=0)
    first, last = (index for index, name in enumerate(called) if name == "proj_out")
    waiting = {name for name in names if idle(name, attention)}
    assert set(called[first + 1 : last + 1]) == names - waiting - {"x_embedder"}, "whose weight is read past it"
    assert waiting <= set(called[:first])


@pytest.mark.parametrize("offload", ["idle", "no"])
def test_a_placed_painter_keeps_no_copy_of_weights_and_no_factors(
    as_micro: Path, offload: Literal["idle", "no"]
) -> None:
    painter = load("colorization", placement=Placement(offload=offload), for_good=offload == "no")
    backbone = painter.backbone
    assert isinstance(backbone, FluxFill)
    assert painter.merged is None
    assert not any("lora_" in name for name in backbone.transformer.state_dict())
    torch.testing.assert_close(painted(backbone, "full"), painted(adapted(as_micro), "full"), atol=1e-4, rtol=0)


def test_text_encoders_wait_beside_an_idle_transformer(tiny: Path) -> None:
    backbone = adapted(tiny)
    place(backbone, Placement(offload="idle"))
    away = [any(hasattr(module, "_diffusers_hook") for module in part.modules()) for part in backbone.loaded()]
    assert away == [True, False, True, True], "transformer, autoencoder, CLIP, T5"


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_weights_in_fewer_bits_paint_nearly_the_same(tiny: Path, attention: Attention) -> None:
    backbone = adapted(tiny)
    before, size = painted(backbone, attention), stored(backbone)
    assert held_bytes(FluxFill.load(tiny).transformer, WHOLE) == size
    place(backbone, Placement(weights="fp8"))
    after = painted(backbone, attention)
    assert 0 < (after - before).norm() / before.norm() < 0.1  # measured 0.05 of random weights
    assert stored(backbone) == held_bytes(FluxFill.load(tiny).transformer, Placement(weights="fp8")) < 0.6 * size


def test_eight_bit_integers(tiny: Path) -> None:
    pytest.importorskip("torchao")
    backbone = adapted(tiny)
    before = painted(backbone, "clean_ref")
    place(backbone, Placement(weights="int8"))
    assert not fusable(backbone.transformer)
    for attention in ATTENTIONS:
        place(again := adapted(tiny), Placement(weights="int8"))
        assert torch.isfinite(painted(again, attention)).all()
    assert 0 < (painted(backbone, "clean_ref") - before).norm() / before.norm() < 0.1


def test_blocks_are_compiled_and_not_walked_past(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built by torch's tracer alone: its code generator is its own business, and takes minutes."""
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
    backbone = adapted(tiny)
    before = painted(backbone, "full")
    place(backbone, Placement(compiled="blocks"))
    torch.testing.assert_close(painted(backbone, "full"), before, atol=1e-4, rtol=0)
    transformer = backbone.transformer
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    assert all(block._compiled_call_impl is not None for block in blocks)
    assert not fusable(transformer)


def test_an_adapter_beside_smaller_weights_is_refused(tiny: Path) -> None:
    backbone = FluxFill.load(tiny)
    load_adapter(tiny / "adapters" / "colorization.safetensors", backbone)
    with pytest.raises(UserError, match="weights in fp8 need the adapter in them: merge it first"):
        place(backbone, Placement(weights="fp8"))


@pytest.mark.parametrize(
    ("placement", "sentence"),
    [
        (Placement(device="gpu"), "no device 'gpu'; there are cpu, cuda"),
        (Placement(device="xpu"), "this machine has no xpu device, or its torch was built without it"),
        (Placement(compiled="graphs"), "CUDA graphs need a CUDA device, not cpu"),
        (Placement(compiled="blocks", offload="all"), "offloaded cannot be compiled"),
    ],
)
def test_what_cannot_be_is_one_sentence(placement: Placement, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        placement.check()


def test_compiled_blocks_are_for_full_attention() -> None:
    with pytest.raises(UserError, match="full attention alone, not with clean_ref"):
        Placement(compiled="blocks").check("clean_ref")


def test_forms_have_names() -> None:
    placement = Placement()
    object.__setattr__(placement, "weights", "int3")  # past the types that tests enforce and users may ignore
    with pytest.raises(UserError, match="no form of weights 'int3'; there are whole, int8, fp8"):
        placement.check()


def test_smaller_weights_are_made_in_main_memory() -> None:
    assert Placement(device="cuda").loads_on == torch.device("cuda")
    assert Placement(device="cuda", weights="int8").loads_on == torch.device("cpu")
    assert Placement(device="cuda", offload="all").loads_on == torch.device("cpu")


def test_counted_at_full_size() -> None:
    """FLUX.1-Fill on tensors without storage: 11.9 billion weights of two bytes, and what is left of them."""
    model, giga = flux_fill(), 1e9
    assert held_bytes(model, WHOLE) / giga == pytest.approx(23.805, abs=0.001)
    assert held_bytes(model, Placement(weights="int8")) / giga == pytest.approx(11.9, abs=0.1)
    assert held_bytes(model, Placement(weights="fp8")) / giga == pytest.approx(15.2, abs=0.1)
    assert held_bytes(model, Placement(offload="all")) / giga < 0.3
    waiting = Placement(offload="idle")
    assert held_bytes(model, waiting) / giga == pytest.approx(17.2, abs=0.1)
    assert held_bytes(model, waiting, "clean_ref_text") / giga < 13.1


def test_one_device_is_named_once() -> None:
    with pytest.raises(UserError, match="The device is cuda, but cpu in the placement"):
        load("deblur", device="cuda", placement=Placement(offload="all"))
