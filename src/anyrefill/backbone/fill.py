"""FLUX.1-Fill behind the seam: any folder in its diffusers layout, the real weights and the embedded ones alike."""

from collections import abc
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors import SafetensorError
from torch import Generator, Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer
from transformers.utils import logging as transformers_logging

from anyrefill.backbone import Attention, Condition, Field, MaskRule, Text, call_by_call, engine
from anyrefill.backbone.fingerprint import fingerprint
from anyrefill.backbone.folder import Folder, Settings
from anyrefill.backbone.reader import Reader
from anyrefill.errors import UserError
from anyrefill.types import Latents, Sheets, Sigma, Tokens

__all__ = ["FluxFill", "Part", "VaeRule"]

ModelT = TypeVar("ModelT", bound=nn.Module)

VaeRule = Literal["mean", "sample"]
"""What the autoencoder's posterior becomes: its mean (repeatable) or one draw (diffusers)."""

Part = Literal["text_encoder", "vae"]
"""What can be dropped from memory; ``text_encoder`` is CLIP and T5 together."""


class FluxFill:
    """FLUX.1-Fill: transformer, autoencoder and the two text encoders.

    Attributes:
        name: what the user called the base, a path or a hub id.
        transformer: the one trainable part; ``adapters.lora`` changes it in place.
        settings: what the base wants to be used with.
        mask_rule: what becomes of a grey mask.
        vae_rule: what the autoencoder's posterior becomes.
    """

    def __init__(
        self,
        *,
        transformer: FluxTransformer2DModel,
        vae: AutoencoderKL,
        clip: Reader,
        t5: Reader,
        name: str = "unnamed",
        settings: Settings | None = None,
        mask_rule: MaskRule = "binary",
        vae_rule: VaeRule = "mean",
    ) -> None:
        """Take the parts as they are, and keep time exact on its way into the transformer."""
        self.name = name
        self.transformer = transformer
        self.settings = settings or Settings()
        self.mask_rule: MaskRule = mask_rule
        self.vae_rule: VaeRule = vae_rule
        self._vae: AutoencoderKL | None = vae
        self._readers: tuple[Reader, Reader] | None = (clip, t5)
        self._scale = float(vae.config["scaling_factor"])
        self._shift = float(vae.config["shift_factor"] or 0.0)
        self._fingerprint: str | None = None
        transformer.time_text_embed.register_forward_pre_hook(_feed_exact_time)

    @classmethod
    def load(
        cls,
        base: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        mask_rule: MaskRule = "binary",
        vae_rule: VaeRule = "mean",
        max_sequence_length: int | None = None,
    ) -> "FluxFill":
        """Load a base model, frozen and ready to paint.

        Args:
            base: a folder in diffusers' FLUX.1-Fill layout, or a hub id.
            device: where all parts go.
            dtype: of all weights; by default float32 on the CPU and bfloat16 elsewhere.
            mask_rule: cut grey masks at 0.5, or keep them.
            vae_rule: encode to the posterior's mean, or to a draw.
            max_sequence_length: T5 tokens; by default what the base's ``anyrefill.json`` says, else 512.

        Raises:
            UserError: no such folder, an incomplete one, or one of another model.
        """
        folder, device = Folder.find(base), torch.device(device)
        dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)

        def part(kind: type[ModelT], subfolder: str) -> ModelT:
            return _load_part(kind, folder, subfolder, device, dtype)

        clip_tokenizer = CLIPTokenizer.from_pretrained(folder.path / "tokenizer")
        return cls(
            transformer=part(FluxTransformer2DModel, "transformer"),
            vae=part(AutoencoderKL, "vae"),
            clip=Reader(
                encoder=part(CLIPTextModel, "text_encoder"),
                tokenizer=clip_tokenizer,
                length=clip_tokenizer.model_max_length,
            ),
            t5=Reader(
                encoder=part(T5EncoderModel, "text_encoder_2"),
                tokenizer=T5Tokenizer.from_pretrained(folder.path / "tokenizer_2"),
                length=max_sequence_length or folder.settings.max_sequence_length,
            ),
            name=folder.name,
            settings=folder.settings,
            mask_rule=mask_rule,
            vae_rule=vae_rule,
        )

    @property
    def device(self) -> torch.device:
        """Where the transformer is."""
        return self.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        """What the transformer computes in."""
        return self.transformer.dtype

    @property
    def clip(self) -> Reader:
        """CLIP with its tokenizer; another reader may take its place, as ``adapters.prompt`` does."""
        return self._text_encoders()[0]

    @clip.setter
    def clip(self, reader: Reader) -> None:
        self._readers = (reader, self._text_encoders()[1])

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Text:
        """Encode prompts: T5's tokens and CLIP's pooled vector.

        Source: diffusers, FluxFillPipeline.encode_prompt.
        """
        clip, t5 = self._text_encoders()
        return Text(embeds=t5(prompts, self.device)[0], pooled=clip(prompts, self.device)["pooler_output"])

    @torch.no_grad()
    def encode(self, pixels: Sheets, generators: list[Generator] | None = None) -> Latents:
        """Return (z - shift) * scale in float32, z the posterior's mean or a draw.

        Args:
            pixels: sheets in [-1, 1].
            generators: one for each sheet, for ``vae_rule="sample"``; torch's own generator by default.
        """
        vae = self._autoencoder()
        posterior = cast(Any, vae.encode(pixels.to(vae.device, vae.dtype))).latent_dist
        latents = posterior.mode() if self.vae_rule == "mean" else posterior.sample(generators)
        return (latents.float() - self._shift) * self._scale

    @torch.no_grad()
    def decode(self, latents: Latents) -> Sheets:
        """Undo encode; float32 pixels in [-1, 1]."""
        vae = self._autoencoder()
        scaled = (latents / self._scale + self._shift).to(vae.device, vae.dtype)
        return cast(Any, vae).decode(scaled).sample.float().clamp(-1, 1)

    def velocity(self, latents: Tokens, sigma: Sigma, condition: Condition, guidance: float) -> Tokens:
        """Predict d latents / d sigma; gradients flow where they are on.

        Source: diffusers, FluxFillPipeline.__call__; but sigma reaches its embedding in float32, where
        bfloat16 would turn 690.687 thousandths into 692.
        """
        text, sigma = condition.text, sigma.to(self.device, torch.float32)
        inputs = torch.cat([latents, condition.fill.to(latents)], dim=-1).to(self.device, self.dtype)
        strength = sigma.new_full(sigma.shape, guidance) if self.transformer.config["guidance_embeds"] else None
        with _exact_time(1000 * sigma):
            predicted = self.transformer(
                hidden_states=inputs,
                encoder_hidden_states=text.embeds.to(self.device, self.dtype),
                pooled_projections=text.pooled.to(self.device, self.dtype),
                timestep=sigma,
                guidance=strength,
                img_ids=condition.img_ids.to(self.device),
                txt_ids=torch.zeros(text.embeds.shape[1], 3, device=self.device),
                return_dict=False,
            )[0]
        return predicted.to(latents)

    def field(self, condition: Condition, guidance: float, sigmas: abc.Sequence[float], attention: Attention) -> Field:
        """Return the velocity field of a batch of canvases, all that the latents do not change made beforehand.

        ``full`` attention is the function of ``velocity`` to rounding; off the CPU, where our forms are not
        measured, it is ``velocity`` itself. Adapters act, merged or not; merged is faster.
        """
        if attention == "full" and self.device.type != "cpu":
            return call_by_call(self, condition, guidance)
        acting = engine.unmerged(self.transformer)
        layers = engine.by_modules(self.transformer) if acting else engine.fused(self.transformer)
        return engine.field(layers, condition, guidance, sigmas, attention)

    def fingerprint(self) -> str:
        """Identify the base's weights, whatever dtype they are loaded in; see the function ``fingerprint``.

        Computed once: adapters merged afterwards do not change it.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.transformer, scale=self._scale, shift=self._shift)
        return self._fingerprint

    def free(self, *parts: Part) -> None:
        """Drop parts that are not needed any more, as training does once it has cached what they give."""
        if "vae" in parts:
            self._vae = None
        if "text_encoder" in parts:
            self._readers = None

    def _text_encoders(self) -> tuple[Reader, Reader]:
        if self._readers is None:
            raise RuntimeError("the text encoders were freed")
        return self._readers

    def _autoencoder(self) -> AutoencoderKL:
        if self._vae is None:
            raise RuntimeError("the autoencoder was freed")
        return self._vae


_TIME: ContextVar[Tensor | None] = ContextVar("_TIME", default=None)
"""The float32 timesteps of the forward pass that this thread is in."""


@contextmanager
def _exact_time(timesteps: Sigma) -> abc.Generator[None, None, None]:
    """Hand timesteps in [0, 1000] past the transformer, which would round them to its own dtype."""
    token = _TIME.set(timesteps)
    try:
        yield
    finally:
        _TIME.reset(token)


def _feed_exact_time(_embedder: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Replace the rounded timesteps that the transformer passes to its time embedding."""
    exact = _TIME.get()
    return arguments if exact is None else (exact, *arguments[1:])


def _load_part(kind: type[ModelT], folder: Folder, subfolder: str, device: torch.device, dtype: torch.dtype) -> ModelT:
    """Load one part, frozen, and refuse weights that are damaged or do not fill it."""
    loader = cast(Any, kind)
    try:
        with _no_bars():
            part, report = loader.from_pretrained(
                folder.path / subfolder, dtype=dtype, output_loading_info=True, local_files_only=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot read the {subfolder} of {folder.name}: {reason}") from error
    if missing := sorted(report["missing_keys"]):
        raise UserError(
            f"the {subfolder} of {folder.name} is incomplete: it lacks {missing[0]} ({len(missing)} in all)"
        )
    return part.eval().requires_grad_(False).to(device)


@contextmanager
def _no_bars() -> abc.Generator[None, None, None]:
    """Keep transformers from drawing a progress bar for each part: drawing is for the callers."""
    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()
