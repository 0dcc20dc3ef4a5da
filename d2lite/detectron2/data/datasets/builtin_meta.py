"""Class names, ids and colours of the built-in datasets.

Tables hold "id colour name" for each category, in the order of contiguous ids; colours are RGB
in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def _entries(table: str) -> list[str]:
    return [entry.strip() for entry in table.replace("\n", " ").split(";")]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour))


def _parse(table: str) -> Iterator[tuple[int, tuple[int, ...], str]]:
    for entry in _entries(table):
        category_id, colour, name = entry.split(" ", 2)
        yield int(category_id), _rgb(colour), name


_COCO_THINGS = """
1 dc143c person; 2 770b20 bicycle; 3 00008e car; 4 0000e6 motorcycle; 5 6a00e4 airplane; 6
003c64 bus; 7 005064 train; 8 000046 truck; 9 0000c0 boat; 10 faaa1e traffic light; 11 64aa1e
fire hydrant; 13 dcdc00 stop sign; 14 af74af parking meter; 15 fa001e bench; 16 a52a2a bird; 17
ff4dff cat; 18 00e2fc dog; 19 b6b6ff horse; 20 005200 sheep; 21 78a69d cow; 22 6e4c00 elephant;
23 ae39ff bear; 24 c76400 zebra; 25 480076 giraffe; 27 ffb3f0 backpack; 28 007d5c umbrella; 31
d10097 handbag; 32 bcd0b6 tie; 33 00dcb0 suitcase; 34 ff63a4 frisbee; 35 5c0049 skis; 36 8581ff
snowboard; 37 4eb4ff sports ball; 38 00e400 kite; 39 aefff3 baseball bat; 40 2d59ff baseball
glove; 41 868667 skateboard; 42 9194ae surfboard; 43 ffd0ba tennis racket; 44 c5e2ff bottle; 46
ab8601 wine glass; 47 6d3f36 cup; 48 cf8aff fork; 49 97005f knife; 50 09503d spoon; 51 546933
bowl; 52 4a4169 banana; 53 a6c466 apple; 54 d0c3d2 sandwich; 55 ff6d41 orange; 56 008f95
broccoli; 57 b300c2 carrot; 58 d1636a hot dog; 59 057900 pizza; 60 e3ffcd donut; 61 93bad0 cake;
62 994501 chair; 63 035fa1 couch; 64 a3ff00 potted plant; 65 7700aa bed; 67 00b6c7 dining table;
70 00a578 toilet; 72 b78258 tv; 73 5f2000 laptop; 74 827287 mouse; 75 6e8185 remote; 76 a64a76
keyboard; 77 db8eb9 cell phone; 78 4fd272 microwave; 79 b25a3e oven; 80 41460f toaster; 81
7fa773 sink; 82 3b696a refrigerator; 84 8e6c2d book; 85 c4ac00 clock; 86 5f3650 vase; 87 804cff
scissors; 88 c93901 teddy bear; 89 f6007a hair drier; 90 bfa2d0 toothbrush
"""

_COCO_STUFF = """
92 ffff80 banner; 93 93d3cb blanket; 95 966464 bridge; 100 a8abac cardboard; 107 9270c6 counter;
109 d2aa64 curtain; 112 5c8859 door-stuff; 118 da58b8 floor-wood; 119 f18100 flower; 122 d911ff
fruit; 125 7c4ab5 gravel; 128 464646 house; 130 ffe4ff light; 133 9ad000 mirror-stuff; 138
c1005c net; 141 4c5b71 pillow; 144 ffb4c3 platform; 145 6a9ab0 playingfield; 147 e6968c
railroad; 148 3c8fff river; 149 804080 road; 151 5c5237 roof; 154 fed47c sand; 155 494dae sea;
156 ffa062 shelf; 159 ffffff snow; 161 68546d stairs; 166 a9a483 tent; 168 e1c7ff towel; 171
89364a wall-brick; 175 879edf wall-stone; 176 07f6e7 wall-tile; 177 6bffc8 wall-wood; 178 3a2995
water-other; 180 b7798e window-blind; 181 ff4961 window-other; 184 6b8e23 tree-merged; 185
be9999 fence-merged; 186 928b8d ceiling-merged; 187 4682b4 sky-other-merged; 188 86c79c
cabinet-merged; 189 d1e28c table-merged; 190 60246c floor-other-merged; 191 606060
pavement-merged; 192 40aa40 mountain-merged; 193 98fb98 grass-merged; 194 d0e5e4 dirt-merged;
195 cebaab paper-merged; 196 98a140 food-other-merged; 197 747000 building-other-merged; 198
00728f rock-merged; 199 66669c wall-other-merged; 200 fa8dff rug-merged
"""

# All 133 categories of COCO panoptic; ids reach 200, with gaps.
COCO_CATEGORIES = [
    {"color": list(color), "isthing": isthing, "id": category_id, "name": name}
    for isthing, table in ((1, _COCO_THINGS), (0, _COCO_STUFF))
    for category_id, color, name in _parse(table)
]

_CITYSCAPES = """
7 804080 road; 8 f423e8 sidewalk; 11 464646 building; 12 66669c wall; 13 be9999 fence; 17 999999
pole; 19 faaa1e traffic light; 20 dcdc00 traffic sign; 21 6b8e23 vegetation; 22 98fb98 terrain;
23 4682b4 sky; 24 dc143c person; 25 ff0000 rider; 26 00008e car; 27 000046 truck; 28 003c64 bus;
31 005064 train; 32 0000e6 motorcycle; 33 770b20 bicycle
"""

_FIRST_CITYSCAPES_THING = 24  # smaller ids are stuff

# The 19 categories that are evaluated, in the order of their training ids.
CITYSCAPES_CATEGORIES = [
    {
        "color": color,
        "isthing": int(category_id >= _FIRST_CITYSCAPES_THING),
        "id": category_id,
        "trainId": train_id,
        "name": name,
    }
    for train_id, (category_id, color, name) in enumerate(_parse(_CITYSCAPES))
]

_ADE20K = """
wall; building; sky; floor; tree; ceiling; road, route; bed; window; grass; cabinet; sidewalk,
pavement; person; earth, ground; door; table; mountain, mount; plant; curtain; chair; car;
water; painting, picture; sofa; shelf; house; sea; mirror; rug; field; armchair; seat; fence;
desk; rock, stone; wardrobe, closet, press; lamp; tub; rail; cushion; base, pedestal, stand;
box; column, pillar; signboard, sign; chest of drawers, chest, bureau, dresser; counter; sand;
sink; skyscraper; fireplace; refrigerator, icebox; grandstand, covered stand; path; stairs;
runway; case, display case, showcase, vitrine; pool table, billiard table, snooker table;
pillow; screen door, screen; stairway, staircase; river; bridge, span; bookcase; blind, screen;
coffee table; toilet, can, commode, crapper, pot, potty, stool, throne; flower; book; hill;
bench; countertop; stove; palm, palm tree; kitchen island; computer; swivel chair; boat; bar;
arcade machine; hovel, hut, hutch, shack, shanty; bus; towel; light; truck; tower; chandelier;
awning, sunshade, sunblind; street lamp; booth; tv; plane; dirt track; clothes; pole; land,
ground, soil; bannister, banister, balustrade, balusters, handrail; escalator, moving staircase,
moving stairway; ottoman, pouf, pouffe, puff, hassock; bottle; buffet, counter, sideboard;
poster, posting, placard, notice, bill, card; stage; van; ship; fountain; conveyer belt,
conveyor belt, conveyer, conveyor, transporter; canopy; washer, automatic washer, washing
machine; plaything, toy; pool; stool; barrel, cask; basket, handbasket; falls; tent; bag;
minibike, motorbike; cradle; oven; ball; food, solid food; step, stair; tank, storage tank;
trade name; microwave; pot; animal; bicycle; lake; dishwasher; screen; blanket, cover;
sculpture; hood, exhaust hood; sconce; vase; traffic light; tray; trash can; fan; pier; crt
screen; plate; monitor; bulletin board; shower; radiator; glass, drinking glass; clock; flag
"""

# The 150 categories of the scene parsing challenge. Parity: "window " ends in a space.
ADE20K_SEM_SEG_CATEGORIES = [name + " " * (name == "window") for name in _entries(_ADE20K)]

_PAIRED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_PERSON_KEYPOINT_FLIP_MAP = tuple((f"left_{part}", f"right_{part}") for part in _PAIRED)
COCO_PERSON_KEYPOINT_NAMES = ("nose", *sum(COCO_PERSON_KEYPOINT_FLIP_MAP, ()))

_CONNECTIONS = """
left_ear left_eye 66ccff; right_ear right_eye 3399ff; left_eye nose 6600cc; nose right_eye
3366ff; left_shoulder right_shoulder ff8000; left_shoulder left_elbow 99ffcc; right_shoulder
right_elbow 80e5ff; left_elbow left_wrist 99ff99; right_elbow right_wrist 66ffe0; left_hip
right_hip ff6600; left_hip left_knee ffff4d; right_hip right_knee 99ffcc; left_knee left_ankle
bfff80; right_knee right_ankle ffc34d
"""

# Pairs of keypoints to join by a line, and its colour.
KEYPOINT_CONNECTION_RULES = [
    (start, end, _rgb(colour)) for start, end, colour in map(str.split, _entries(_CONNECTIONS))
]


def _names(categories: list[dict]) -> list[str]:
    return [category["name"] for category in categories]


def _colors(categories: list[dict]) -> list:
    return [category["color"] for category in categories]


def _split(categories: list[dict]) -> tuple[list[dict], list[dict]]:
    """Return the things and the stuff."""
    things = [category for category in categories if category["isthing"]]
    return things, [category for category in categories if not category["isthing"]]


def _get_coco_instances_meta() -> dict[str, Any]:
    """Describe the 80 things."""
    things, _ = _split(COCO_CATEGORIES)
    return {
        "thing_dataset_id_to_contiguous_id": {c["id"]: i for i, c in enumerate(things)},
        "thing_classes": _names(things),
        "thing_colors": _colors(things),
    }


def _get_coco_panoptic_separated_meta() -> dict[str, Any]:
    """Describe things and stuff with ids of their own; stuff 0 is any thing (Panoptic FPN)."""
    _, stuff = _split(COCO_CATEGORIES)
    short_names = [n.replace("-other", "").replace("-merged", "") for n in _names(stuff)]
    contiguous_id = {category["id"]: i for i, category in enumerate(stuff, start=1)}
    return {
        "stuff_dataset_id_to_contiguous_id": {**contiguous_id, 0: 0},
        "stuff_classes": ["things", *short_names],
        "stuff_colors": [[82, 18, 128], *_colors(stuff)],
        **_get_coco_instances_meta(),
    }


def _joint_meta(categories: list[dict]) -> dict[str, Any]:
    """Describe things and stuff in one space of contiguous ids.

    Both lists of classes are the full one, so that either is indexed by the joint id; the maps
    of ids tell things from stuff.
    """
    contiguous_id = {category["id"]: i for i, category in enumerate(categories)}
    meta: dict[str, Any] = {}
    for kind, members in zip(("thing", "stuff"), _split(categories)):
        ids = [category["id"] for category in members]
        meta[f"{kind}_classes"] = _names(categories)
        meta[f"{kind}_colors"] = _colors(categories)
        meta[f"{kind}_dataset_id_to_contiguous_id"] = {i: contiguous_id[i] for i in ids}
    return meta


def _get_coco_panoptic_standard_meta() -> dict[str, Any]:
    return _joint_meta(COCO_CATEGORIES)


def _get_coco_person_meta() -> dict[str, Any]:
    return {
        "thing_classes": ["person"],
        "keypoint_names": COCO_PERSON_KEYPOINT_NAMES,
        "keypoint_flip_map": COCO_PERSON_KEYPOINT_FLIP_MAP,
        "keypoint_connection_rules": KEYPOINT_CONNECTION_RULES,
    }


def _get_cityscapes_meta() -> dict[str, Any]:
    things, _ = _split(CITYSCAPES_CATEGORIES)
    return {"thing_classes": _names(things), "stuff_classes": _names(CITYSCAPES_CATEGORIES)}


_METADATA: dict[str, Callable[[], dict[str, Any]]] = {
    "coco": _get_coco_instances_meta,
    "coco_panoptic_separated": _get_coco_panoptic_separated_meta,
    "coco_panoptic_standard": _get_coco_panoptic_standard_meta,
    "coco_person": _get_coco_person_meta,
    "cityscapes": _get_cityscapes_meta,
}


def _get_builtin_metadata(dataset_name: str) -> dict[str, Any]:
    """Return new metadata for a family of datasets."""
    if dataset_name not in _METADATA:
        raise KeyError(f"No built-in metadata for dataset {dataset_name}")
    return _METADATA[dataset_name]()
