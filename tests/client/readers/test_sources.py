"""Several files and folders: which of them belong together."""

from losswire_client._readers import Source, sources
from tests.client.readers.reading import LISTS, refused, save_text, saved, write_table


def test_folder_of_one_kind_is_its_files(tmp_path):
    for i in (10, 9, 1):
        write_table(tmp_path / f"part-{i}.parquet", LISTS)
    save_text(tmp_path, "notes", "README.md")
    assert [source.path.name for source in sources([tmp_path])] == [
        "part-1.parquet",
        "part-9.parquet",
        "part-10.parquet",
    ]
    assert sources([tmp_path / "part-1.parquet"]) == [Source(tmp_path / "part-1.parquet")]


def test_folder_of_other_things_is_told_so(tmp_path):
    assert sources([tmp_path]) == [Source(tmp_path)]
    assert refused(tmp_path).startswith("is a folder without files that end in .npz")
    assert refused(tmp_path).endswith(", and empty")
    save_text(tmp_path, "notes", "README.md")
    assert refused(tmp_path).endswith("but of README.md")
    saved(tmp_path, "npz")
    saved(tmp_path, "parquet")
    assert refused(tmp_path) == "is a folder of files of several kinds (.npz, .parquet): name them one by one"


def test_pairs_have_one_target_or_one_each(tmp_path):
    a, b, y = (tmp_path / name for name in "aby")
    assert sources([a, b], [y]) == [Source(a, y), Source(b, y)]
    assert sources([a, b], [b, y]) == [Source(a, b), Source(b, y)]
