"""The alignment of pretraining: which tokens are compared, and with what."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from recipes.micro import align
from recipes.micro.align import DEPTH, FILE, WIDTH, Alignment, Teacher
from recipes.micro.transformer import make_transformer
from torch import Tensor, nn

from anyrefill.backbone import kernels
from anyrefill.backbone.latents import image_ids


@pytest.fixture
def model() -> FluxTransformer2DModel:
    """Return a random transformer as it is trained."""
    torch.manual_seed(0)
    made = make_transformer()
    kernels.make_fast(made)
    return made


@pytest.fixture
def alignment(model: FluxTransformer2DModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alignment:
    """Return the transformer's alignment with features that differ from patch to patch."""
    monkeypatch.setattr(align, "Teacher", lambda: lambda panels: torch.ones(len(panels), 64, WIDTH).cumsum(1).cos())
    return Alignment(model, tmp_path / "align0", 1, 0.5)


def run(model: FluxTransformer2DModel, columns: int = 16) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    inputs = [torch.randn(shape, generator=draw) for shape in ((2, 8 * columns, 384), (2, 24, 256), (2, 256))]
    rope = kernels.rope_of(model, 24, image_ids(128, 16 * columns), torch.float32)
    return kernels.forward(model, *inputs, torch.full((2,), 0.5), torch.ones(2), rope)


@pytest.mark.parametrize("columns", [16, 8])
def test_tokens_of_the_last_panel_are_compared_in_the_order_of_its_patches(alignment: Alignment, columns: int) -> None:
    alignment.head = nn.Sequential(nn.Identity())
    panels = torch.zeros(2, 3, 128, 128)
    tokens = torch.randn(2, 8, columns, WIDTH)
    tokens[:, :, -8:] = 3 * alignment.teacher(panels).unflatten(1, (8, 8))
    alignment.tap.seen = tokens.flatten(1, 2)
    assert float(alignment.loss(panels)) == pytest.approx(0, abs=1e-6)
    alignment.tap.seen = tokens.transpose(1, 2).flatten(1, 2) if columns == 8 else tokens.flip(2).flatten(1, 2)
    assert float(alignment.loss(panels)) > 0.1


def test_what_is_tapped_paints_the_same_and_only_blocks_before_it_learn(
    model: FluxTransformer2DModel, alignment: Alignment
) -> None:
    tapped = run(model)
    alignment.loss(torch.zeros(2, 3, 128, 128)).backward()
    blocks = [*model.transformer_blocks, *model.single_transformer_blocks]
    moved = [any(p.grad is not None and bool(p.grad.any()) for p in block.parameters()) for block in blocks]
    assert moved == [index < DEPTH for index in range(len(blocks))]
    model.single_transformer_blocks[DEPTH - 3] = alignment.tap.block
    assert torch.equal(run(model), tapped)


def test_the_mapping_learns_and_goes_on_where_it_was(model: FluxTransformer2DModel, alignment: Alignment) -> None:
    run(model)
    alignment.tap.seen = alignment.tap.seen.detach()
    panels, losses = torch.zeros(2, 3, 128, 128), []
    for _ in range(20):
        losses.append(alignment.loss(panels))
        losses[-1].backward()
        alignment.step(1.0)
    assert losses[-1] < 0.7 * losses[0]
    alignment.save(20)
    again = Alignment(make_transformer(), alignment.folder, 1, 0.5)
    for one, other in zip(again.head.parameters(), alignment.head.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(not FILE.exists(), reason="no --align has fetched the network")
def test_the_network_read_is_the_one_in_the_file(tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = onnx.load(FILE)
    (last,) = (n for n in model.graph.node if "backbone.layernorm.bias" in n.input)
    model.graph.output.append(onnx.ValueInfoProto(name=last.output[0]))
    onnx.save(model, tmp_path / "with_features.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "with_features.onnx")
    pixels = torch.randn(1, 3, *session.get_inputs()[0].shape[2:], generator=torch.Generator().manual_seed(0))
    (wanted,) = session.run([last.output[0]], {session.get_inputs()[0].name: pixels.numpy()})
    found = Teacher().network(pixel_values=pixels).last_hidden_state
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-3)
