"""Sparse autoencoders of the residual stream, in the formats of SAELens and Gemma Scope.

Encoders: Cunningham et al. 2023 (arXiv 2309.08600, ReLU), Gao et al. 2024 (arXiv 2406.04093, top k), Rajamanoharan et
al. 2024 (arXiv 2407.14435, JumpReLU). What an autoencoder's configuration asks for is honoured or refused.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from skilljobs.errors import InputError

_BEHIND = re.compile(r"(?:blocks\.(\d+)\.hook_resid_post|model\.layers\.(\d+)(?:\.output)?)$")
_BEFORE = re.compile(r"blocks\.(\d+)\.hook_resid_pre$")
_GEMMA_SCOPE_1 = re.compile(r"layer_(\d+)$")
_UNREADABLE = (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError)


@dataclass(frozen=True)
class SparseAutoencoder:
    """An encoder of the residual stream behind `layer`.

    `encoder` is d_model x features, `decoder` features x d_model, both float32. A feature is the ReLU of the encoder's
    output, or 0 if that is not above its threshold; with `k`, it is 0 unless it is among the k largest of its position.
    """

    layer: int
    encoder: torch.Tensor
    encoder_bias: torch.Tensor
    decoder: torch.Tensor
    subtracted: torch.Tensor | None = None
    """What is subtracted from the stream first."""
    threshold: torch.Tensor | None = None
    k: int | None = None

    @property
    def width(self) -> int:
        """d_model."""
        return len(self.encoder)

    @property
    def features(self) -> int:
        """The number of features."""
        return self.encoder.shape[1]

    def encode(self, stream: torch.Tensor) -> torch.Tensor:
        """Return the features, float32, ... x features, of the stream, ... x d_model."""
        stream = stream.float() if self.subtracted is None else stream.float() - self.subtracted
        before = stream @ self.encoder + self.encoder_bias
        features = torch.relu(before)
        if self.threshold is not None:
            features = features * (before > self.threshold)
        if self.k is not None:
            largest = features.topk(self.k, dim=-1)
            features = torch.zeros_like(features).scatter(-1, largest.indices, largest.values)
        return features

    def direction(self, feature: int) -> torch.Tensor:
        """Return the vector of d_model that the feature stands for."""
        return self.decoder[feature]

    def to(self, device: torch.device) -> "SparseAutoencoder":
        """Return the same autoencoder with its encoder on a device."""
        return replace(
            self,
            encoder=self.encoder.to(device),
            encoder_bias=self.encoder_bias.to(device),
            subtracted=None if self.subtracted is None else self.subtracted.to(device),
            threshold=None if self.threshold is None else self.threshold.to(device),
        )


def read_autoencoder(directory: str) -> SparseAutoencoder:
    """Read an autoencoder from a directory: SAELens, Gemma Scope 2 (safetensors), or Gemma Scope 1 (`params.npz`).

    Raises:
        InputError: there is none, it is not of the residual stream, or it asks for something that is not supported.
    """
    path = Path(directory).expanduser()
    try:
        if (path / "cfg.json").is_file():
            return _of_saelens(path)
        if (path / "config.json").is_file():
            return _of_gemma_scope_2(path)
        if (path / "params.npz").is_file():
            return _of_gemma_scope_1(path)
    except _UNREADABLE as error:
        raise InputError(f"the autoencoder in {path} cannot be read: {type(error).__name__}: {error}") from error
    raise InputError(
        f"there is no autoencoder in {path}: no cfg.json (SAELens), config.json (Gemma Scope 2) or params.npz (Gemma"
        " Scope 1)"
    )


def _of_saelens(path: Path) -> SparseAutoencoder:
    config: dict[str, Any] = json.loads((path / "cfg.json").read_text())
    config = {**config.get("metadata", {}), **config}
    architecture = config["architecture"]
    kwargs = config.get("activation_fn_kwargs") or {}
    function = config.get("activation_fn_str") or config.get("activation_fn") or "relu"
    k = config.get("k") or kwargs.get("k")
    is_top_k = architecture == "topk" or str(function) == "topk"
    _refuse_unless(path, "architecture", architecture, {"standard", "jumprelu", "topk"})
    _refuse_unless(path, "activation_fn", str(function), {"relu", "topk", "jumprelu"})
    _refuse_unless(path, "normalize_activations", config.get("normalize_activations", "none"), {"none", None})
    _refuse_unless(path, "reshape_activations", config.get("reshape_activations", "none"), {"none", None})
    _refuse_unless(path, "hook_head_index", config.get("hook_head_index"), {None})
    _refuse_unless(path, "rescale_acts_by_decoder_norm", bool(config.get("rescale_acts_by_decoder_norm")), {False})
    if (config.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights"):
        raise InputError(f"the autoencoder in {path} is of a model with centred weights, whose stream is another one")
    if is_top_k and not isinstance(k, int):
        raise InputError(f"the autoencoder in {path} does not say its k")
    if "apply_b_dec_to_input" not in config:
        raise InputError(f"the autoencoder in {path} does not say whether b_dec is subtracted (apply_b_dec_to_input)")
    tensors = load_file(path / "sae_weights.safetensors")
    subtracted = tensors["b_dec"] if config["apply_b_dec_to_input"] else None
    threshold = tensors["threshold"] if architecture == "jumprelu" else None
    return _checked(
        path, _layer_of(path, str(config["hook_name"])), tensors["W_enc"], tensors["b_enc"], tensors["W_dec"],
        subtracted, threshold, k if is_top_k else None,
    )  # fmt: skip


def _of_gemma_scope_2(path: Path) -> SparseAutoencoder:
    config: dict[str, Any] = json.loads((path / "config.json").read_text())
    _refuse_unless(path, "architecture", config.get("architecture"), {"jump_relu"})
    _refuse_unless(path, "type", config.get("type", "sae"), {"sae"})
    _refuse_unless(path, "affine_connection", bool(config.get("affine_connection")), {False})
    tensors = {name.lower(): tensor for name, tensor in load_file(path / "params.safetensors").items()}
    return _checked(
        path, _layer_of(path, str(config["hf_hook_point_in"])), tensors["w_enc"], tensors["b_enc"], tensors["w_dec"],
        None, tensors["threshold"], None,
    )  # fmt: skip


def _of_gemma_scope_1(path: Path) -> SparseAutoencoder:
    """Its files do not name the place that they read: the folders do."""
    folders = [*path.resolve().parts]
    layers = [int(match[1]) for folder in folders if (match := _GEMMA_SCOPE_1.match(folder))]
    of_other_places = [folder for folder in folders if re.search(r"gemma-scope-.*-(mlp|att|transcoders)", folder)]
    if len(layers) != 1 or of_other_places:
        raise InputError(
            f"the autoencoder in {path} does not say which layer it reads: Gemma Scope's folders of the residual stream"
            " do, as in gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82"
        )
    arrays = np.load(path / "params.npz", allow_pickle=False)
    tensors = {name: torch.from_numpy(arrays[name]) for name in ("W_enc", "b_enc", "W_dec", "threshold")}
    return _checked(
        path, layers[0], tensors["W_enc"], tensors["b_enc"], tensors["W_dec"], None, tensors["threshold"], None
    )


def _layer_of(path: Path, hook: str) -> int:
    """The layer behind which the stream is read."""
    if match := _BEHIND.match(hook):
        return int(match[1] or match[2])
    match = _BEFORE.match(hook)
    if match and int(match[1]) > 0:
        return int(match[1]) - 1
    raise InputError(f"the autoencoder in {path} reads {hook}: only the residual stream behind a layer is supported")


def _refuse_unless(path: Path, name: str, value: object, known: set[object]) -> None:
    if value not in known:
        raise InputError(f"the autoencoder in {path} has {name} = {value!r}, which is not supported")


def _checked(
    path: Path,
    layer: int,
    encoder: torch.Tensor,
    encoder_bias: torch.Tensor,
    decoder: torch.Tensor,
    subtracted: torch.Tensor | None,
    threshold: torch.Tensor | None,
    k: int | None,
) -> SparseAutoencoder:
    width, features = encoder.shape
    shapes = {
        "b_enc": (encoder_bias, (features,)),
        "W_dec": (decoder, (features, width)),
        "b_dec": (subtracted, (width,)),
        "threshold": (threshold, (features,)),
    }
    for name, (tensor, shape) in shapes.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise InputError(f"the autoencoder in {path} has {name} of shape {tuple(tensor.shape)}, not {shape}")
    given = (encoder, encoder_bias, decoder, subtracted, threshold)
    if not all(bool(tensor.isfinite().all()) for tensor in given if tensor is not None):
        raise InputError(f"the autoencoder in {path} has a weight that is not finite")
    if k is not None and not 0 < k <= features:
        raise InputError(f"the autoencoder in {path} has k = {k} of {features} features")
    return SparseAutoencoder(
        layer,
        encoder.float(),
        encoder_bias.float(),
        decoder.float(),
        None if subtracted is None else subtracted.float(),
        None if threshold is None else threshold.float(),
        k,
    )
