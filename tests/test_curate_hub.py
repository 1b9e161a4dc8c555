"""Annotators of `transformers`, on tiny random models of the right classes: the code runs, the answers are noise."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import (
    BertConfig,
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2Model,
    Sam2VisionConfig,
    SwinConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from anyrefill import Photo, UserError
from anyrefill.curate import annotators
from anyrefill.curate.annotators.depth import spread
from anyrefill.curate.annotators.grounded_sam import GroundedSam
from anyrefill.curate.annotators.hub import pretrained
from panels import random_panel

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "cat", "the", "main", "subject")


def photos(count: int = 2) -> list[Photo]:
    return [Photo(pixels=random_panel(32, 48, seed), caption="" if seed else "A cat.") for seed in range(count)]


def tokenizer(folder: Path) -> BertTokenizer:
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)})


@pytest.fixture(scope="module")
def depth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return Depth Anything with two layers."""
    folder = tmp_path_factory.mktemp("depth")
    backbone = Dinov2Config(
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=1,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=8,
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        head_in_index=-1,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": 28, "width": 28}, ensure_multiple_of=14, keep_aspect_ratio=True
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return BLIP with one layer."""
    folder = tmp_path_factory.mktemp("blip")
    layers = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = {
        **layers,
        "vocab_size": len(WORDS),
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    config = BlipConfig(
        text_config={**text, "encoder_hidden_size": 8}, vision_config={**layers, "image_size": 16, "patch_size": 8}
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    BlipProcessor(BlipImageProcessorPil(size=size), tokenizer(folder)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return GroundingDINO with one layer of everything."""
    folder = tmp_path_factory.mktemp("dino")
    backbone = SwinConfig(
        image_size=32,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1, 1],
        num_heads=[1, 1, 1],
        window_size=2,
        out_features=["stage2", "stage3"],
    )
    text = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=4,
        num_feature_levels=2,
        disable_custom_kernels=True,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(folder)
    tokenizer(folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return SAM 2 with the smallest encoder that its decoder can take."""
    folder = tmp_path_factory.mktemp("sam")
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=16,
        num_feature_levels=3,
        image_size=64,
    )
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
    decoder = {
        "hidden_size": 16,
        "mlp_dim": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "iou_head_hidden_dim": 16,
    }
    Sam2Model(
        Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    ).save_pretrained(folder)
    return folder


def test_depth_is_of_each_picture_and_spread(depth: Path) -> None:
    found = annotators.load_depth(str(depth))
    maps = found(photos())
    assert found.name == str(depth)
    assert [tuple(one.shape) for one in maps] == [(1, 32, 48)] * 2
    assert all(one.min() == -1 and one.max() == 1 for one in maps)
    alone = found(photos()[1:])[0]
    torch.testing.assert_close(alone, maps[1], atol=1e-3, rtol=1e-3)


def test_the_nearest_is_one_and_a_plain_wall_is_zero() -> None:
    ramp = torch.arange(12.0).view(1, 3, 4)
    assert spread(ramp)[0, 0, 0] == -1
    assert spread(ramp)[0, 2, 3] == 1
    assert not spread(torch.full((1, 2, 2), 7.0)).any()


def test_a_caption_is_words_and_the_same_each_time(blip: Path) -> None:
    found = annotators.load_captioner(str(blip))
    told = found(photos())
    assert len(told) == 2
    assert found(photos()) == told
    assert set(re.findall(r"\w+", " ".join(told))) <= set(WORDS)


def test_grounded_sam_cuts_out_what_is_in_the_boxes(dino: Path, sam: Path) -> None:
    found = GroundedSam(str(dino), str(sam), box=0.0)
    masks = found(photos())
    assert [tuple(mask.shape) for mask in masks] == [(1, 32, 48)] * 2
    assert all(set(mask.unique().tolist()) <= {0.0, 1.0} for mask in masks)


def test_no_box_gives_an_empty_mask(dino: Path, sam: Path) -> None:
    masks = GroundedSam(str(dino), str(sam), box=1.0)(photos())
    assert not any(mask.any() for mask in masks)


def test_the_caption_is_what_is_looked_for(dino: Path, sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = GroundedSam(str(dino), str(sam))
    asked: list[str] = []
    words = found._words

    class Listening:
        def __call__(self, *, text: Sequence[str], **more: object) -> object:
            asked.extend(text)
            return words(text=text, **more)

        def post_process_grounded_object_detection(self, *given: object, **more: object) -> object:
            return words.post_process_grounded_object_detection(*given, **more)

    monkeypatch.setattr(found, "_words", Listening())
    found(photos())
    assert asked == ["a cat.", "the main subject."]


def test_weights_that_are_not_here_are_told_how_to_get() -> None:
    with pytest.raises(
        UserError, match=r"nobody/nothing is not on this machine: .* --download.*hf download nobody/nothing"
    ):
        annotators.load_depth("nobody/nothing")


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(UserError, match="cannot be used as AutoImageProcessor|is not on this machine"):
        annotators.load_depth(str(tmp_path))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ImportError("\nProcessor requires the num2words library. Run pip"),
            "a package that is not installed: Processor",
        ),
        (RuntimeError("size mismatch for weight"), "cannot be used as Model: size mismatch for weight"),
        (SafetensorError("header too large"), "cannot be used as Model: header too large"),
        (ValueError(""), "cannot be used as Model: ValueError"),
        (OSError(), "Cannot download it: OSError"),
    ],
)
def test_whatever_keeps_a_model_from_loading_is_one_sentence(error: Exception, sentence: str) -> None:
    class Model:
        @staticmethod
        def from_pretrained(_name: str, **_more: object) -> None:
            raise error

    with pytest.raises(UserError, match=sentence):
        pretrained(Model, "it", download=True)


@pytest.mark.parametrize("name", ["u2", "only-one-model", ""])
def test_foreground_is_one_name_or_two(name: str) -> None:
    with pytest.raises(UserError, match="must be u2netp, or GroundingDINO and SAM 2"):
        annotators.load_foreground(name)
