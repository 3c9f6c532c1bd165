"""Where checkpoints and plain files have the head. The names and numbers are those of published models."""

import pytest

from losswire.heads.checkpoints import HeadPlace, NormPlace, UnknownHeadError, find_in_checkpoint, find_in_file

LLAMA = ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight"]
NORM = NormPlace("rms", 1e-5, "model.norm.weight")
GPT = ["wte.weight", "h.0.ln_1.weight", "ln_f.weight", "ln_f.bias"]
GPT_BODY = [f"transformer.{name}" for name in GPT]
FALCON = ["transformer.word_embeddings.weight", "transformer.ln_f.weight", "transformer.ln_f.bias"]
OPT = [f"model.decoder.{name}" for name in ("embed_tokens.weight", "final_layer_norm.weight", "final_layer_norm.bias")]
NEOX = ["gpt_neox.embed_in.weight", "gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias"]
PHI = ["lm_head.weight", "lm_head.bias", "model.final_layernorm.weight", "model.final_layernorm.bias"]
GEMMA_3 = ["language_model.model.embed_tokens.weight", "language_model.model.norm.weight", "vision_tower.norm.weight"]
NEW_GEMMA_3 = ["model.language_model.embed_tokens.weight", "model.language_model.norm.weight"]


def layer(place, eps=1e-5):
    return NormPlace("layer", eps, f"{place}.weight", f"{place}.bias")


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "phi3", "olmo2"])
def test_decoders_have_an_output_layer_and_a_norm(kind):
    config = {"model_type": kind, "rms_norm_eps": 1e-5, "tie_word_embeddings": False}
    assert find_in_checkpoint(config, [*LLAMA, "lm_head.weight"]) == HeadPlace("lm_head.weight", norm=NORM)


CASES = {
    "tied": ({"model_type": "qwen2", "rms_norm_eps": 1e-5}, LLAMA, HeadPlace("model.embed_tokens.weight", norm=NORM)),
    "tied with a copy": (
        {"model_type": "llama", "rms_norm_eps": 1e-5, "tie_word_embeddings": True},
        [*LLAMA, "lm_head.weight"],
        HeadPlace("model.embed_tokens.weight", norm=NORM),
    ),
    "gemma": (
        {"model_type": "gemma", "rms_norm_eps": 1e-6},
        LLAMA,
        HeadPlace("model.embed_tokens.weight", norm=NormPlace("rms", 1e-6, "model.norm.weight", adds_one=True)),
    ),
    "gemma2": (
        {"model_type": "gemma2", "rms_norm_eps": 1e-6, "final_logit_softcapping": 30.0},
        LLAMA,
        HeadPlace(
            "model.embed_tokens.weight",
            norm=NormPlace("rms", 1e-6, "model.norm.weight", adds_one=True),
            softcap=30.0,
        ),
    ),
    "gemma3 with images": (
        {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "final_logit_softcapping": None}},
        GEMMA_3,
        HeadPlace(GEMMA_3[0], norm=NormPlace("rms", 1e-6, GEMMA_3[1], adds_one=True)),
    ),
    "gemma3 as saved later": (
        {"model_type": "gemma3", "tie_word_embeddings": True, "text_config": {"model_type": "gemma3_text"}},
        [*NEW_GEMMA_3, "lm_head.weight"],
        HeadPlace(NEW_GEMMA_3[0], norm=NormPlace("rms", 1e-6, NEW_GEMMA_3[1], adds_one=True)),
    ),
    "gpt2": ({"model_type": "gpt2", "layer_norm_epsilon": 1e-5}, GPT, HeadPlace("wte.weight", norm=layer("ln_f"))),
    "gpt2 as saved later": (
        {"model_type": "gpt2", "layer_norm_epsilon": 1e-6},
        GPT_BODY,
        HeadPlace("transformer.wte.weight", norm=layer("transformer.ln_f", 1e-6)),
    ),
    "pythia": (
        {"model_type": "gpt_neox", "layer_norm_eps": 1e-5, "tie_word_embeddings": False},
        [*NEOX, "embed_out.weight"],
        HeadPlace("embed_out.weight", norm=layer("gpt_neox.final_layer_norm")),
    ),
    "tied pythia": (
        {"model_type": "gpt_neox", "layer_norm_eps": 1e-5, "tie_word_embeddings": True},
        NEOX,
        HeadPlace("gpt_neox.embed_in.weight", norm=layer("gpt_neox.final_layer_norm")),
    ),
    "falcon": (
        {"model_type": "falcon", "layer_norm_epsilon": 1e-5},
        [*FALCON, "lm_head.weight"],
        HeadPlace("lm_head.weight", norm=layer("transformer.ln_f")),
    ),
    "opt": ({"model_type": "opt"}, OPT, HeadPlace(OPT[0], norm=layer("model.decoder.final_layer_norm"))),
    "opt without a final norm": ({"model_type": "opt", "do_layer_norm_before": False}, OPT[:1], HeadPlace(OPT[0])),
    "phi": (
        {"model_type": "phi", "layer_norm_eps": 1e-5, "tie_word_embeddings": False},
        PHI,
        HeadPlace("lm_head.weight", "lm_head.bias", layer("model.final_layernorm")),
    ),
    "granite": (
        {"model_type": "granite", "rms_norm_eps": 1e-5, "logits_scaling": 16.0},
        LLAMA,
        HeadPlace("model.embed_tokens.weight", norm=NORM, temperature=16.0),
    ),
    "cohere": (
        {"model_type": "cohere", "layer_norm_eps": 1e-5, "logit_scale": 0.0625},
        LLAMA,
        HeadPlace(LLAMA[0], norm=NormPlace("layer", 1e-5, "model.norm.weight"), temperature=16.0),
    ),
    "olmo": (
        {"model_type": "olmo", "tie_word_embeddings": False},
        ["model.embed_tokens.weight", "lm_head.weight"],
        HeadPlace("lm_head.weight", norm=NormPlace("layer", 1e-5)),
    ),
}


@pytest.mark.parametrize(("config", "names", "place"), CASES.values(), ids=CASES)
def test_head_is_found(config, names, place):
    assert find_in_checkpoint(config, names) == place


@pytest.mark.parametrize(
    ("config", "names", "problem"),
    [
        ({"model_type": "bert"}, LLAMA, r"^config\.json: model_type: expected one of bloom, .*, got 'bert'; a head of"),
        ({}, LLAMA, "got None"),
        ({"model_type": "llama"}, ["a"], r"in one of the tensors lm_head\.weight, .*model\.embed_tokens\.weight"),
        ({"model_type": "llama", "tie_word_embeddings": False}, LLAMA, r"in one of the tensors lm_head\.weight"),
        ({"model_type": "llama"}, LLAMA[:1], r"expected the final norm in one of the tensors model\.norm\.weight"),
        (
            {"model_type": "llama", "rms_norm_eps": "1e-5"},
            LLAMA,
            r"^config\.json: rms_norm_eps: expected .* got '1e-5'",
        ),
        ({"model_type": "llama", "rms_norm_eps": 10**400}, LLAMA, "rms_norm_eps: expected a finite number"),
        ({"model_type": "llama", "rms_norm_eps": float("nan")}, LLAMA, "rms_norm_eps: expected .*, got nan"),
        ({"model_type": "gemma2", "final_logit_softcapping": 0}, LLAMA, "final_logit_softcapping: expected .* above 0"),
        ({"model_type": "llama", "rms_norm_eps": True}, LLAMA, "rms_norm_eps: expected a finite number"),
        ({"model_type": "granite", "logits_scaling": 0}, LLAMA, "logits_scaling: expected a number above 0, got 0"),
        ({"model_type": "cohere", "logit_scale": 0.0}, LLAMA, "logit_scale: expected a number above 0, got 0.0"),
        ({"model_type": "opt"}, [*OPT, "model.decoder.project_out.weight"], "expected an output layer of one matrix"),
        ({"model_type": "gemma3", "text_config": 3}, LLAMA, "text_config: expected an object, got 3"),
        ({"model_type": ["llama"]}, LLAMA, r"got \['llama'\]"),
    ],
)
def test_what_cannot_be_found_is_told(config, names, problem):
    with pytest.raises(UnknownHeadError, match=problem):
        find_in_checkpoint(config, names)


@pytest.mark.parametrize(
    ("metadata", "names", "place"),
    [
        ({}, ["weight"], HeadPlace("weight")),
        ({"format": "pt", "softcap": "30", "temperature": "0.5"}, ["bias", "weight"], None),
        ({"norm": "rms", "norm_eps": "1e-6"}, ["weight"], HeadPlace("weight", norm=NormPlace("rms", 1e-6))),
        ({"norm": "layer", "norm_eps": "0"}, ["weight", "norm.weight", "norm.bias"], None),
    ],
)
def test_plain_file_has_a_head(metadata, names, place):
    found = find_in_file(metadata, names)
    assert sorted(found.names) == sorted(names)
    assert place is None or found == place
    assert (found.softcap, found.temperature) == ((30.0, 0.5) if "softcap" in metadata else (None, 1.0))


@pytest.mark.parametrize(
    ("metadata", "names", "problem"),
    [
        ({}, ["bias"], "expected the tensor weight, .*; got bias"),
        ({}, [], "got none"),
        ({}, ["weight", "lm_head.weight"], "got lm_head.weight"),
        ({}, ["weight", "norm.weight"], "metadata norm: expected rms or layer with the norm's tensors, got nothing"),
        ({"norm": "batch"}, ["weight"], "metadata norm: expected rms or layer, got 'batch'"),
        ({"norm": "rms"}, ["weight"], "metadata norm_eps: expected a number, got nothing"),
        ({"norm_eps": "1e-5"}, ["weight"], "metadata norm_eps: expected none without norm"),
        ({"softcap": "much"}, ["weight"], "metadata softcap: expected a number, got 'much'"),
        (
            {"softcapp": "30", "format": "pt"},
            ["weight"],
            "metadata 'softcapp': expected any of norm, norm_eps, softcap, temperature",
        ),
    ],
)
def test_wrong_plain_file_is_told(metadata, names, problem):
    with pytest.raises(UnknownHeadError, match=problem):
        find_in_file(metadata, names)
