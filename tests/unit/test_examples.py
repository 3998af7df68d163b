"""Drawn photos of parts: the same in every call, with a part that is found and true masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from synthgen.errors import SourceError
from synthgen.imaging.images import read_image
from synthgen.samples.seeds import stream
from synthgen.sources import FolderSources
from synthgen.sources.examples import draw_plate, main, write_defect_photos, write_good_photos


def test_photo_n_is_the_same_in_every_call(tmp_path) -> None:
    write_good_photos(tmp_path / "all", 3)
    write_good_photos(tmp_path / "last", 1, first=2)
    names = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert names == ["plate-000.png", "plate-001.png", "plate-002.png"]
    one, other = (read_image(tmp_path / folder / names[2]) for folder in ("all", "last"))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, read_image(tmp_path / "all" / names[1]))


def test_the_part_is_found_on_each_photo(tmp_path) -> None:
    sources = FolderSources(str(write_good_photos(tmp_path / "photos", 4)))
    for entry in sources.entries:
        part = sources.part(sources.read(entry.source_id))
        assert part.finding == "part"
        assert part.mask is not None
        assert 0.25 < part.mask.mean() < 0.5  # of a plate that covers 0.37 of the photo


def test_the_mask_marks_what_is_darker_than_the_plate(tmp_path) -> None:
    write_defect_photos(tmp_path / "bad", tmp_path / "masks", 4)
    for path in sorted((tmp_path / "bad").iterdir()):
        photo, mask = read_image(path), read_image(tmp_path / "masks" / path.name) > 0
        ring = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15))) > 0
        around = np.median(photo[ring & ~mask])
        assert 40 < mask.sum() < 1000
        assert around > 100  # it lies on the plate, not on the mat
        assert photo[mask].mean() < around - 10


def test_a_good_plate_has_no_gouge() -> None:
    assert not draw_plate(stream(0, "example", 0), has_gouge=False)[1].any()


def test_a_folder_that_exists_is_not_touched(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SourceError, match="photos exists; give a new folder"):
        write_good_photos(tmp_path / "photos")
    with pytest.raises(SourceError, match="photos exists"):
        write_defect_photos(tmp_path / "bad", tmp_path / "photos")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_module_is_a_command(tmp_path) -> None:
    main([str(tmp_path / "photos")])
    main([str(tmp_path / "bad"), str(tmp_path / "masks")])
    found = [len(list((tmp_path / name).iterdir())) for name in ("photos", "bad", "masks")]
    assert found == [12, 8, 8]
    with pytest.raises(SystemExit, match="give a folder for photos"):
        main([])
