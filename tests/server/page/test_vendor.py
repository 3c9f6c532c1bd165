"""What the page has of others is what npm's registry has, with its licence."""

import json

import pytest

from tests.server.page.vendored import PACKAGES, ROOT, STATIC, VENDORED

MODULES = PACKAGES / "node_modules"


def test_vendored_files_are_those_of_the_package():
    if not MODULES.exists():
        pytest.skip("needs packages: npm ci --prefix server/vendor")
    assert {path.name for path in (STATIC / "vendor").iterdir()} == VENDORED.keys()
    for name, path in VENDORED.items():
        assert (STATIC / "vendor" / name).read_bytes() == (MODULES / path).read_bytes(), f"{name}: make vendor"


def test_vendored_version_is_pinned_by_its_hash():
    wanted = json.loads((PACKAGES / "package.json").read_text())["dependencies"]
    locked = json.loads((PACKAGES / "package-lock.json").read_text())["packages"]
    assert locked["node_modules/uplot"]["integrity"].startswith("sha512-")
    assert wanted["uplot"] == locked["node_modules/uplot"]["version"]
    head = (STATIC / "vendor/uPlot.iife.min.js").read_text()[:100]
    assert f"(v{wanted['uplot']})" in head


def test_licence_comes_with_it():
    assert "The MIT License" in (STATIC / "vendor/LICENSE").read_text()
    assert "uPlot" in (ROOT / "CONTRIBUTING.md").read_text()


def test_make_vendor_copies_all_of_it():
    makefile = (ROOT / "Makefile").read_text()
    assert [path for path in VENDORED.values() if path not in makefile] == []
