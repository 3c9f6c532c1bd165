"""Writes the digests of the images that the project's images stand on: ``make lock-images``.

Asks the registries for the digest that each tag has now. With --check nothing is written, and the exit status is 1 if a
tag has another digest than the files say: somebody has published a newer image under the same name.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("deploy/Dockerfile", "docker-compose.yml", "docker-compose.cuda.yml")
PINNED = re.compile(r"([\w./-]+:[\w.-]+)@(sha256:[0-9a-f]{64})")


def main() -> None:
    """Rewrites the files that name images, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a digest is not that of today"
    )
    given = parser.parse_args()
    texts = {name: (ROOT / name).read_text() for name in FILES}
    pinned = {image: digest for text in texts.values() for image, digest in PINNED.findall(text)}
    now = {image: digest_of(image) for image in pinned}
    for image in sorted(now):
        print(f"{image}: {now[image]}" + ("" if now[image] == pinned[image] else f", before {pinned[image]}"))
    if given.check:
        sys.exit(now != pinned)
    for name, text in texts.items():
        (ROOT / name).write_text(PINNED.sub(lambda found: f"{found[1]}@{now[found[1]]}", text))


def digest_of(image: str) -> str:
    """The digest of an image of any platform, as its registry has it now."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    digest = done.stdout.strip()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ValueError(f"expected a digest of {image}, got {digest[:100]!r}")
    return digest


if __name__ == "__main__":
    main()
