"""A sample is copied with its data, which an installed package takes from the source."""

import pytest

from edgerec.errors import ConfigError
from edgerec.samples import folders


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as a wheel brings it, and the folder of the data in the source."""
    for place, name in (("package", "edgerec.toml"), ("source", "log.parquet")):
        (tmp_path / place / "shop").mkdir(parents=True)
        (tmp_path / place / "shop" / name).write_text(name)
    monkeypatch.setattr(folders, "_FOLDER", tmp_path / "package")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_without_data_one_line_says_where_they_are_and_nothing_is_written(installed):
    with pytest.raises(
        ConfigError, match=r"no data of the demo shop; .* edgerec/samples/shop of the source with --dat"
    ):
        folders.copy_sample("shop", installed / "run")

    assert not (installed / "run").exists()


@pytest.mark.parametrize("data", ["source/shop", "source"])
def test_data_are_taken_from_the_folder_of_a_sample_or_of_all(installed, data):
    folders.copy_sample("shop", installed / "run", data=installed / data)

    assert names(installed / "run") == ["edgerec.toml", "log.parquet"]


def test_data_of_an_earlier_run_stay_and_serve(installed):
    (installed / "run").mkdir()
    (installed / "run" / "mine.parquet").write_text("mine")
    folders.copy_sample("shop", installed / "run")

    assert names(installed / "run") == ["edgerec.toml", "mine.parquet"]


def test_the_source_has_the_data_of_every_sample(tmp_path):
    for name in folders.sample_names():
        folders.copy_sample(name, tmp_path / name)
        assert {"ATTRIBUTION.md", "edgerec.toml"} < set(names(tmp_path / name))
