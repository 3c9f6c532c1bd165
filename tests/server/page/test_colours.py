"""Colours of both themes, by the contrast that WCAG asks for: 4.5 for texts, 3 for lines."""

import re

import pytest

from tests.server.page.vendored import STATIC

THEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root.*?\{(.*?)\}", (STATIC / "page.css").read_text(), re.DOTALL)
]
LINES = [f"line-{number}" for number in range(8)]


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_definition():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_texts_can_be_read_and_lines_be_seen(theme):
    for text in ("text", "muted", "link", "good", "warn", "bad"):
        assert contrast(theme[text], theme["card"]) >= 4.5, text
    for text, back in (
        ("muted", "page"),
        ("text", "page"),
        ("text", "bad-back"),
        ("bad", "bad-back"),
        ("muted", "bad-back"),
    ):
        assert contrast(theme[text], theme[back]) >= 4.5, (text, back)
    for line in LINES:
        assert contrast(theme[line], theme["card"]) >= 3, line


def test_themes_have_the_same_colours_of_lines():
    assert [[line for line in LINES if line in theme] for theme in THEMES] == [LINES, LINES]
