"""How models of Hugging Face's Transformers make logits of hidden states, by the ``model_type`` of their configuration.

Other types are refused: no tensor shows that a norm adds 1 to its weight, or that logits have a factor.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

DECODER = ("model.", "language_model.model.", "model.language_model.", "")
GPT = ("transformer.", "")


class Family(NamedTuple):
    """Models whose output layers are alike.

    Attributes:
        kind: Of the final norm.
        eps: What the norm's epsilon is called in the configuration.
        default_eps: What it is if the configuration lacks it.
        bodies: What the names of the embedding and of the norm may begin with.
        embedding: Where the embedding is, which may be the output layer as well.
        norm: Where the final norm is; None if it has no tensors.
        outputs: Where an output layer of its own may be.
        adds_one: Whether the norm's factor is 1 + its weight.
        softcap: What the softcap is called in the configuration, and what it is if the configuration lacks it.
        divisor: The same of what logits are divided by.
        factor: The same of what logits are multiplied by.
    """

    kind: Literal["rms", "layer"]
    eps: str
    default_eps: float
    bodies: tuple[str, ...] = DECODER
    embedding: str = "embed_tokens"
    norm: str | None = "norm"
    outputs: tuple[str, ...] = ("lm_head", "language_model.lm_head")
    adds_one: bool = False
    softcap: tuple[str, float | None] | None = None
    divisor: tuple[str, float] | None = None
    factor: tuple[str, float] | None = None


_RMS = Family("rms", "rms_norm_eps", 1e-6)
_RMS_5 = _RMS._replace(default_eps=1e-5)
_GEMMA = _RMS._replace(adds_one=True)
_GRANITE = _RMS._replace(divisor=("logits_scaling", 1.0))
_COHERE = Family("layer", "layer_norm_eps", 1e-5, factor=("logit_scale", 0.0625))
_GPT = Family("layer", "layer_norm_epsilon", 1e-5, GPT, "wte", "ln_f")
_BLOOM = _GPT._replace(embedding="word_embeddings")

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3"), _RMS),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), _RMS),
    **dict.fromkeys(("mixtral", "phi3", "olmo2", "olmo3", "llama4_text", "mllama_text_model"), _RMS_5),
    "olmo": Family("layer", "", 1e-5, norm=None),
    "gemma": _GEMMA,
    "gemma2": _GEMMA._replace(softcap=("final_logit_softcapping", 30.0)),
    "gemma3_text": _GEMMA._replace(softcap=("final_logit_softcapping", None)),
    **dict.fromkeys(("granite", "granitemoe"), _GRANITE),
    **dict.fromkeys(("cohere", "cohere2"), _COHERE),
    **dict.fromkeys(("gpt2", "gptj", "gpt_bigcode"), _GPT),
    "gpt_neox": Family(
        *("layer", "layer_norm_eps", 1e-5, ("gpt_neox.", ""), "embed_in", "final_layer_norm", ("embed_out", "lm_head"))
    ),
    **dict.fromkeys(("falcon", "bloom"), _BLOOM),
    "opt": Family("layer", "", 1e-5, ("model.decoder.", "decoder."), norm="final_layer_norm"),
    "phi": Family("layer", "layer_norm_eps", 1e-5, norm="final_layernorm"),
    "stablelm": Family("layer", "layer_norm_eps", 1e-5),
    "starcoder2": Family("layer", "norm_epsilon", 1e-5),
    "internlm2": _RMS._replace(embedding="tok_embeddings", outputs=("output",)),
    "mamba": Family("rms", "layer_norm_epsilon", 1e-5, ("backbone.", ""), "embeddings", "norm_f"),
}
