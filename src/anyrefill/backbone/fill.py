"""FLUX.1-Fill behind the seam: any folder in its diffusers layout, the real weights and the embedded ones alike."""

from collections import abc
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Generator, Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from anyrefill.backbone import Attention, Condition, Field, MaskRule, Text, call_by_call, engine
from anyrefill.backbone.fingerprint import fingerprint
from anyrefill.backbone.folder import Folder
from anyrefill.backbone.loading import load_part, load_tokenizer
from anyrefill.backbone.precision import default_dtype
from anyrefill.backbone.quantized import Quantize
from anyrefill.backbone.reader import Reader
from anyrefill.types import Latents, Sheets, Sigma, Tokens

__all__ = ["PARTS", "FluxFill", "Part", "VaeRule"]

ModelT = TypeVar("ModelT", bound=nn.Module)

VaeRule = Literal["mean", "sample"]
"""What the autoencoder's posterior becomes: its mean (repeatable) or one draw (diffusers)."""

Part = Literal["transformer", "vae", "text_encoder", "text_encoder_2"]
"""What can be in memory without the others; ``text_encoder`` is CLIP, ``text_encoder_2`` is T5."""

PARTS: tuple[Part, ...] = get_args(Part)


class FluxFill:
    """FLUX.1-Fill: transformer, autoencoder and the two text encoders.

    Attributes:
        name: what the user called the base, a path or a hub id.
        settings: what the base wants to be used with.
        mask_rule: what becomes of a grey mask.
        vae_rule: what the autoencoder's posterior becomes.
        idle_waits: whether what no step reads is kept elsewhere, so that every attention takes the engine's way.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        device: torch.device,
        dtype: torch.dtype,
        mask_rule: MaskRule = "binary",
        vae_rule: VaeRule = "mean",
        max_sequence_length: int | None = None,
        quantize: Quantize | None = None,
    ) -> None:
        """Know the base and hold none of it; ``bring`` loads its parts."""
        self.name, self.settings = folder.name, folder.settings
        self.mask_rule: MaskRule = mask_rule
        self.vae_rule: VaeRule = vae_rule
        self.idle_waits = False
        self._folder, self._device, self._dtype = folder, device, dtype
        self._quantize: Quantize | None = quantize
        self._length = max_sequence_length or folder.settings.max_sequence_length
        self._transformer: FluxTransformer2DModel | None = None
        self._vae: AutoencoderKL | None = None
        self._clip: Reader | None = None
        self._t5: Reader | None = None
        vae = folder.config("vae")
        self._scale, self._shift = float(vae["scaling_factor"]), float(vae.get("shift_factor") or 0.0)
        self._fingerprint: str | None = None

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
        parts: abc.Sequence[Part] = PARTS,
        quantize: Quantize | None = None,
    ) -> "FluxFill":
        """Load a base model, frozen and ready to paint.

        Args:
            base: a folder in diffusers' FLUX.1-Fill layout, or a hub id.
            device: where all parts go.
            dtype: of all weights; by default float32 on the CPU and bfloat16 elsewhere.
            mask_rule: cut grey masks at 0.5, or keep them.
            vae_rule: encode to the posterior's mean, or to a draw.
            max_sequence_length: T5 tokens; by default what the base's ``anyrefill.json`` says, else 512.
            parts: what to load now; ``bring`` loads others later.
            quantize: hold the transformer's linear layers in fewer bits.

        Raises:
            UserError: no such folder, an incomplete one, or one of another model.
        """
        device = torch.device(device)
        backbone = cls(
            Folder.find(base),
            device=device,
            dtype=dtype or default_dtype(device),
            mask_rule=mask_rule,
            vae_rule=vae_rule,
            max_sequence_length=max_sequence_length,
            quantize=quantize,
        )
        backbone.bring(*parts)
        return backbone

    def bring(self, *parts: Part) -> None:
        """Load parts that are not in memory, frozen; a transformer that comes back comes without its adapters.

        Raises:
            UserError: a part is damaged or incomplete.
        """
        if "transformer" in parts and self._transformer is None:
            self._transformer = self._loaded(FluxTransformer2DModel, "transformer")
            self._transformer.time_text_embed.register_forward_pre_hook(_feed_exact_time)
        if "vae" in parts and self._vae is None:
            self._vae = self._loaded(AutoencoderKL, "vae")
            if self._device.type == "cpu":  # a CPU decodes 1.2 to 1.4 times faster so, the same to rounding
                cast(Any, self._vae.decoder).to(memory_format=torch.channels_last)
        if "text_encoder" in parts and self._clip is None:
            tokenizer = load_tokenizer(CLIPTokenizer, self._folder, "tokenizer")
            encoder = self._loaded(CLIPTextModel, "text_encoder")
            self._clip = Reader(encoder=encoder, tokenizer=tokenizer, length=tokenizer.model_max_length)
        if "text_encoder_2" in parts and self._t5 is None:
            tokenizer = load_tokenizer(T5Tokenizer, self._folder, "tokenizer_2")
            encoder = self._loaded(T5EncoderModel, "text_encoder_2")
            self._t5 = Reader(encoder=encoder, tokenizer=tokenizer, length=self._length)

    def free(self, *parts: Part) -> None:
        """Drop parts that are not needed any more, as training does once it has cached what they give."""
        if "transformer" in parts:
            self._transformer = None
        if "vae" in parts:
            self._vae = None
        if "text_encoder" in parts:
            self._clip = None
        if "text_encoder_2" in parts:
            self._t5 = None

    @property
    def transformer(self) -> FluxTransformer2DModel:
        """The part that paints; ``adapters.lora`` changes it in place."""
        if self._transformer is None:
            raise RuntimeError("the transformer was freed, or not loaded")
        return self._transformer

    @property
    def device(self) -> torch.device:
        """Where the transformer is, or will be."""
        return self._device if self._transformer is None else self._transformer.device

    @property
    def dtype(self) -> torch.dtype:
        """What the transformer computes in, or will."""
        return self._dtype if self._transformer is None else self._transformer.dtype

    def loaded(self) -> list[nn.Module]:
        """Return the parts that are in memory."""
        readers = [reader.encoder for reader in (self._clip, self._t5) if reader is not None]
        return [part for part in (self._transformer, self._vae, *readers) if part is not None]

    @property
    def clip(self) -> Reader:
        """CLIP with its tokenizer; another reader may take its place, as ``adapters.prompt`` does."""
        if self._clip is None:
            raise RuntimeError("the text encoders were freed, or not loaded")
        return self._clip

    @clip.setter
    def clip(self, reader: Reader) -> None:
        self._clip = reader

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Text:
        """Encode prompts, equal ones once: T5's tokens and CLIP's pooled vector.

        Source: diffusers, FluxFillPipeline.encode_prompt.
        """
        clip, t5 = self.clip, self._t5
        if t5 is None:
            raise RuntimeError("the text encoders were freed, or not loaded")
        distinct = list(dict.fromkeys(prompts))
        rows = [distinct.index(prompt) for prompt in prompts]
        embeds, pooled = t5(distinct, self.device)[0], clip(distinct, self.device)["pooler_output"]
        return Text(embeds=embeds[rows], pooled=pooled[rows])

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

    def field(
        self,
        condition: Condition,
        guidance: float,
        sigmas: abc.Sequence[float],
        attention: Attention,
        draws: int = 1,
    ) -> Field:
        """Return the velocity field of a batch of canvases, all that the latents do not change made beforehand.

        ``full`` attention is the function of ``velocity`` to rounding; off the CPU, where our forms are not
        measured, it is ``velocity`` itself, unless ``idle_waits``. Adapters act, merged or not; merged is faster.
        """
        model, fusable = self.transformer, engine.fusable(self.transformer)
        ours = self.idle_waits or (self.device.type == "cpu" and (fusable or engine.unmerged(model)))
        if attention == "full" and not ours:
            return call_by_call(self, condition.repeated(draws), guidance)
        layers = engine.fused(model) if fusable else engine.by_modules(model)
        return engine.field(layers, condition, guidance, sigmas, attention, draws)

    def fingerprint(self) -> str:
        """Identify the base's weights, whatever dtype they are loaded in; see the function ``fingerprint``.

        Computed once: adapters merged afterwards do not change it.
        """
        if self._fingerprint is None:
            stored = None if self._quantize is None else self._folder.path / "transformer"
            self._fingerprint = fingerprint(self.transformer, scale=self._scale, shift=self._shift, stored=stored)
        return self._fingerprint

    def _loaded(self, kind: type[ModelT], part: Part) -> ModelT:
        quantize = self._quantize if part == "transformer" else None
        return load_part(kind, self._folder, part, self._device, self._dtype, quantize)

    def _autoencoder(self) -> AutoencoderKL:
        if self._vae is None:
            raise RuntimeError("the autoencoder was freed, or not loaded")
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
