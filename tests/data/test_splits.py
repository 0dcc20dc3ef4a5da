"""Published divisions of class lists: parts that do not overlap, flags that say which is which."""

from __future__ import annotations

import json

import pytest

from freeseg.data.categories import load_categories
from freeseg.data.splits import load_split, split_metadata

NAMES = (
    "ade20k_135_15",
    "coco_instance_73_7",
    "coco_panoptic_122_11",
    "coco_stuff_156_15",
    "voc_15_5",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_split_divides_the_classes_of_any_list(name):
    """Seen and unseen are all classes, in their order, and the flags say which is which."""
    split = load_split.__wrapped__(name)  # read anew
    assert split == load_split(name)
    rows = load_categories(split.table)
    for chosen in (rows, rows[::-1], rows[::3]):
        names = [row.name for row in chosen]
        values = split_metadata(names, split.unseen)
        seen, unseen = values["evaluation_set"]["seen"], values["evaluation_set"]["unseen"]
        assert [each for each in names if each in split.unseen] == unseen
        assert sorted([*seen, *unseen]) == sorted(names)
        assert seen == [each for each, flag in zip(names, values["trainable_flag"]) if flag == 1]
        assert unseen == [each for each, flag in zip(names, values["trainable_flag"]) if flag == 0]


def test_a_split_of_classes_that_its_table_has_not_is_refused(tmp_path, monkeypatch):
    content = {"table": "camvid", "unseen": ["Sky", "moon", "Tree", "apple"], "source": "nobody"}
    (tmp_path / "own.json").write_text(json.dumps(content))
    monkeypatch.setattr("freeseg.data.splits.__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ValueError, match=r"split own: .*apple, moon.* is not in the table camvid"):
        load_split.__wrapped__("own")
