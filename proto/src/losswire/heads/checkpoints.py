"""Finds the output layer in files: in a checkpoint of Hugging Face's Transformers, or in a plain file.

What is found says where the tensors are. Readers need them alone, of files that may have many others.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from losswire.heads.families import FAMILIES, Family

CONFIG = "config.json"
NO_HEAD = "expected an output layer"
METADATA = ("norm", "norm_eps", "softcap", "temperature")
NOT_OURS = ("format",)  # which libraries write for themselves
MOST_TOLD = 5  # names of a file that are shown


class UnknownHeadError(ValueError):
    """A file has no output layer that can be found. The message says what was looked for."""


class NormPlace(NamedTuple):
    """Where the final norm is.

    Attributes:
        kind: ``rms`` or ``layer``.
        eps: What is added to the mean square, or to the variance.
        weight: Name of its tensor; None if it has none.
        bias: The same.
        adds_one: Whether the factor is 1 + the weight, computed in float32, or in float64 if that is its dtype.
    """

    kind: Literal["rms", "layer"]
    eps: float
    weight: str | None = None
    bias: str | None = None
    adds_one: bool = False


class HeadPlace(NamedTuple):
    """Where a head is, and its numbers.

    Attributes:
        weight: Name of its tensor.
        bias: The same; None if it has none.
        norm: What is done to hidden states first.
        softcap: Bounds logits; None if nothing does.
        temperature: What logits are divided by.
    """

    weight: str
    bias: str | None = None
    norm: NormPlace | None = None
    softcap: float | None = None
    temperature: float = 1.0

    @property
    def names(self) -> dict[str, str]:
        """The names of the tensors in the file, by their names in a head."""
        norm = self.norm or NormPlace("rms", 0.0)
        own = {"weight": self.weight, "bias": self.bias, "norm.weight": norm.weight, "norm.bias": norm.bias}
        return {name: place for name, place in own.items() if place is not None}


def find_in_checkpoint(config: Mapping[str, Any], names: Collection[str]) -> HeadPlace:
    """Finds the head of a checkpoint, with its final norm.

    Args:
        config: Of ``config.json``.
        names: Of all tensors.

    Raises:
        UnknownHeadError: The model's type is not known, or a tensor is missing, or a number is none.
    """
    text = _text_config(config)
    family = _family(text)
    if any(name.endswith("decoder.project_out.weight") for name in names):
        raise UnknownHeadError(f"{NO_HEAD} of one matrix, got decoder.project_out.weight before it")
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    weight = _weight(family, names, tied=tied)
    bias = weight.removesuffix("weight") + "bias"
    scale = _above_zero(text, family.divisor) / _above_zero(text, family.factor)
    return HeadPlace(weight, bias if bias in names else None, _norm(family, text, names), _softcap(family, text), scale)


def find_in_file(metadata: Mapping[str, str], names: Collection[str]) -> HeadPlace:
    """Finds the head of a plain file: tensors ``weight``, ``bias``, ``norm.weight`` and ``norm.bias``.

    Args:
        metadata: Texts: ``norm``, which is ``rms`` or ``layer``, with ``norm_eps``; ``softcap``; ``temperature``.
        names: Of all tensors.

    Raises:
        UnknownHeadError: It lacks a weight, has other tensors or texts, or a text is no number.
    """
    if unknown := sorted(set(metadata) - {*METADATA, *NOT_OURS}):
        raise UnknownHeadError(f"metadata {unknown[0]!r:.100}: expected any of {', '.join(METADATA)}")
    known = ("weight", "bias", "norm.weight", "norm.bias")
    others = sorted(set(names) - set(known))
    if "weight" not in names or others:
        came = ", ".join((others or sorted(names))[:MOST_TOLD]) or "none"
        raise UnknownHeadError(f"expected the tensor weight, and of {', '.join(known[1:])} what there is; got {came}")
    bias, *norm = (name if name in names else None for name in known[1:])
    softcap = _text_number(metadata, "softcap") if "softcap" in metadata else None
    temperature = _text_number(metadata, "temperature") if "temperature" in metadata else 1.0
    return HeadPlace("weight", bias, _plain_norm(metadata, norm), softcap, temperature)


def _plain_norm(metadata: Mapping[str, str], places: Sequence[str | None]) -> NormPlace | None:
    kind = metadata.get("norm")
    if kind is None:
        if any(places):
            raise UnknownHeadError("metadata norm: expected rms or layer with the norm's tensors, got nothing")
        if "norm_eps" in metadata:
            raise UnknownHeadError("metadata norm_eps: expected none without norm, got one")
        return None
    match kind:
        case "rms" | "layer":
            return NormPlace(kind, _text_number(metadata, "norm_eps"), places[0], places[1])
    raise UnknownHeadError(f"metadata norm: expected rms or layer, got {kind!r}")


def _text_number(metadata: Mapping[str, str], name: str) -> float:
    try:
        return float(metadata[name])
    except KeyError:
        raise UnknownHeadError(f"metadata {name}: expected a number, got nothing") from None
    except ValueError:
        raise UnknownHeadError(f"metadata {name}: expected a number, got {metadata[name]!r}") from None


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that is about text: models of images too have it apart."""
    text = config.get("text_config") or config
    if not isinstance(text, Mapping):
        raise UnknownHeadError(f"{CONFIG}: text_config: expected an object, got {text!r}")
    return text


def _family(text: Mapping[str, Any]) -> Family:
    kind = text.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UnknownHeadError(
            f"{CONFIG}: model_type: expected one of {known}, got {kind!r}; "
            "a head of another model may be saved as a plain file"
        )
    return FAMILIES[kind]


def _weight(family: Family, names: Collection[str], *, tied: object) -> str:
    """The output layer. A tied one is the embedding, also if the file has a copy."""
    own = [f"{name}.weight" for name in family.outputs]
    embeddings = [f"{body}{family.embedding}.weight" for body in family.bodies]
    looked = [*embeddings, *own] if tied is True else own if tied is False else [*own, *embeddings]
    return _first(looked, names, NO_HEAD)


def _norm(family: Family, text: Mapping[str, Any], names: Collection[str]) -> NormPlace | None:
    eps = _number(text, family.eps, family.default_eps)
    if family.norm is None:
        return NormPlace(family.kind, eps)
    if not text.get("do_layer_norm_before", True) or text.get("_remove_final_layer_norm"):  # of OPT
        return None
    weight = _first([f"{body}{family.norm}.weight" for body in family.bodies], names, "expected the final norm")
    bias = weight.removesuffix("weight") + "bias"
    return NormPlace(family.kind, eps, weight, bias if bias in names else None, family.adds_one)


def _softcap(family: Family, text: Mapping[str, Any]) -> float | None:
    if family.softcap is None:
        return None
    name, default = family.softcap
    return None if text.get(name, default) is None else _above_zero(text, (name, default or 0.0))


def _above_zero(text: Mapping[str, Any], place: tuple[str, float] | None) -> float:
    if place is None:
        return 1.0
    number = _number(text, *place)
    if not number:
        raise UnknownHeadError(f"{CONFIG}: {place[0]}: expected a number above 0, got {text[place[0]]!r}")
    return number


def _number(text: Mapping[str, Any], name: str, default: float) -> float:
    value = text.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise UnknownHeadError(f"{CONFIG}: {name}: expected a finite number of at least 0, got {value!r:.100}")
    return float(value)


def _first(looked: Sequence[str], names: Collection[str], what: str) -> str:
    for name in looked:
        if name in names:
            return name
    raise UnknownHeadError(f"{what} in one of the tensors {', '.join(looked)}; the file has none of them")
