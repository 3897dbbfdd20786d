import csv
import json

import numpy as np
import pytest
from audit_tables import picture, places, save_pictures, table

from geocsp.data.audit import audit, write_audit
from geocsp.data.quarantine import Problem
from geocsp.errors import DataError


@pytest.fixture
def mixed(tmp_path):
    """Twelve images: one gone, one damaged, two copies; two rows that a reader left out."""
    folder = tmp_path / "photos"
    folder.mkdir()
    names = save_pictures(folder, 12)
    (folder / names[3]).unlink()
    (folder / names[4]).write_bytes(b"")
    (folder / names[11]).write_bytes((folder / names[2]).read_bytes())
    return table(
        places(12),
        names=names,
        folder=folder,
        time=np.array([[0.5, np.nan]] * 6 + [[np.nan, np.nan]] * 6),
        label=["a"] * 5 + ["b"] * 5 + [None, "c"],
        split=["train"] * 8 + ["test"] * 4,
        group=["x", "y"] * 6,
        problems=[
            Problem("t.csv", 3, "no coordinates"),
            Problem("t.csv", 8, "no coordinates"),
        ],
    )


def test_an_audit_is_about_what_can_be_used(mixed):
    found = audit(mixed)
    counts = found.counts
    assert found.rows.tolist() == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]
    assert (counts.images, counts.quarantined) == (10, 4)
    assert (counts.with_place, counts.with_time, counts.with_label) == (10, 4, 9)
    assert (counts.groups, counts.splits) == (2, {"test": 4, "train": 6})
    assert found.places.rows == 10
    assert found.classes.count == 3
    assert (found.reasons[0].rows, found.reasons[0].reason) == (2, "no coordinates")
    assert [p.file for p in found.quarantine] == ["t.csv", "t.csv", "3.png", "4.png"]
    files, pictures = found.duplicates
    assert files.groups == ((2, 11),)
    assert pictures.groups == ()
    assert (found.leakage[0].same_file, found.leakage[0].same_group) == (1, 4)
    assert found.errors == 1
    assert str(found.findings[0].severity) == "error"
    assert found.fingerprint == mixed.fingerprint


def test_without_images_nothing_is_opened(mixed, monkeypatch):
    monkeypatch.setattr(type(mixed.images), "load", None)
    found = audit(mixed, images=False)
    assert found.images is None
    assert found.duplicates == ()
    assert (found.counts.images, found.counts.quarantined) == (12, 2)
    assert found.leakage[0].same_file is None


def test_the_same_audit_twice_is_the_same(mixed, tmp_path):
    for name in ("one", "two"):
        write_audit(audit(mixed, workers=3), mixed, tmp_path / name, {})
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_an_audit_is_written_as_json_and_csv(mixed, tmp_path):
    found = audit(mixed, seed=5)
    facts = write_audit(found, mixed, tmp_path / "a" / "b", {"source": "here"})
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "check.json",
        "duplicates.csv",
        "quarantine.csv",
    ]
    assert json.loads((tmp_path / "a" / "b" / "check.json").read_text()) == json.loads(
        json.dumps(facts)
    )
    assert facts["settings"] == {"source": "here"}
    assert facts["seed"] == 5
    assert facts["fingerprint"] == mixed.fingerprint
    assert set(facts["versions"]) == {"geocsp", "python", "numpy", "pillow", "pyarrow", "scipy"}
    assert facts["duplicates"]["same file"] == {
        "groups": 1,
        "copies": 1,
        "across_splits": 2,
        "other_labels": 2,
        "other_places": 2,
    }
    assert facts["images"]["sizes"]["width"] == (96, 96, 96)
    assert facts["findings"][0]["severity"] == "error"
    assert facts["leakage"][0]["near"][0]["km"] == 0
    with (tmp_path / "a" / "b" / "quarantine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["3", "8", "", ""]
    with (tmp_path / "a" / "b" / "duplicates.csv").open(newline="") as file:
        copies = list(csv.DictReader(file))
    assert [copy["file"] for copy in copies] == ["2.png", "11.png"]
    assert [copy["label"] for copy in copies] == ["a", "c"]
    assert [copy["split"] for copy in copies] == ["train", "test"]
    assert float(copies[1]["lon"]) == mixed.lonlat[11, 0]
    assert {copy["likeness"] for copy in copies} == {"same file"}


def test_names_that_are_no_text_are_written_escaped(tmp_path):
    name = b"caf\xe9\n.png".decode("utf-8", "surrogateescape")
    picture(1).save(tmp_path / "0.png")
    data = table(places(2), names=["0.png", "0.png"], folder=tmp_path)
    problem = Problem(name, None, "is empty (0 bytes)")
    data = table(places(2), names=["0.png", "0.png"], folder=tmp_path, problems=[problem])
    write_audit(audit(data), data, tmp_path / "out", {})
    assert b"caf\\udce9" in (tmp_path / "out" / "quarantine.csv").read_bytes()
    assert json.loads((tmp_path / "out" / "check.json").read_text())["reasons"][0]["file"] == name


def test_a_table_without_places_or_rows_can_be_audited(tmp_path):
    names = save_pictures(tmp_path, 2)
    found = audit(table(np.full((2, 2), np.nan), names=names, folder=tmp_path))
    assert found.places is None
    assert found.counts.with_place == 0
    empty = audit(table(places(0)))
    assert empty.counts.images == 0
    assert empty.findings == ()
    all_gone = audit(table(places(3), folder=tmp_path / "gone"))
    assert all_gone.counts.images == 0
    assert all_gone.errors == 1
    write_audit(all_gone, table(places(3)), tmp_path / "out", {})


def test_a_folder_that_cannot_be_made_is_told(mixed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/out: Not a directory"):
        write_audit(audit(mixed, images=False), mixed, tmp_path / "file" / "out", {})


def test_a_full_disk_leaves_no_json(mixed, tmp_path, monkeypatch):
    from geocsp.data.audit import report

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_atomically", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_audit(audit(mixed, images=False), mixed, tmp_path / "out", {})
    assert not (tmp_path / "out" / "check.json").exists()


def test_a_hundred_thousand_rows_take_seconds():
    count = 100_000
    data = table(
        places(count),
        names=["x.jpg"] * count,
        label=np.random.default_rng(0).integers(0, 500, count).tolist(),
        split=["train", "train", "test", "val"] * (count // 4),
    )
    found = audit(data, images=False)
    assert found.counts.images == count
    assert len(found.leakage) == 2
