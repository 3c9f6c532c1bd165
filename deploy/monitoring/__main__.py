"""Writes the dashboards, the rules and the page of metrics: ``make monitoring``."""

from pathlib import Path

from deploy.monitoring.written import written

ROOT = Path(__file__).parents[2]


def main() -> None:
    for name, text in written(ROOT).items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
