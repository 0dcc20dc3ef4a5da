import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from detectron2.config import (
    CfgNode,
    configurable,
    downgrade_config,
    get_cfg,
    global_cfg,
    set_global_cfg,
    upgrade_config,
)

# key -> repr(value) of every default of Detectron2 main, made by walking its get_cfg()
DEFAULTS = json.loads((Path(__file__).parent / "default_values.json").read_text())


def leaves(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_every_default_key_and_value():
    assert {key: repr(value) for key, value in leaves(get_cfg())} == DEFAULTS


def test_changing_one_default_changes_no_other():
    cfg = get_cfg()
    cfg.MODEL.RESNETS.OUT_FEATURES.append("res5")
    cfg.MODEL.RPN.IOU_LABELS.append(7)
    assert {k: repr(v) for k, v in leaves(get_cfg())} == DEFAULTS
    changed = {key for key, value in leaves(cfg) if repr(value) != DEFAULTS[key]}
    assert changed == {"MODEL.RESNETS.OUT_FEATURES", "MODEL.RPN.IOU_LABELS"}


def test_dump_loads_back_as_the_same_config():
    cfg = CfgNode.load_cfg(get_cfg().dump())
    assert OmegaConf.create(get_cfg().dump()).SOLVER.BASE_LR == 0.001
    assert cfg.MODEL.PIXEL_MEAN == [103.53, 116.28, 123.675]


def test_base_chain_and_overrides(tmp_path):
    (tmp_path / "base.yaml").write_text("VERSION: 2\nSEED: 3\nSOLVER: {BASE_LR: 0.5, GAMMA: 0.2}\n")
    child = tmp_path / "sub" / "child.yaml"
    child.parent.mkdir()
    child.write_text('_BASE_: "../base.yaml"\nSOLVER: {BASE_LR: 0.25}\nVERSION: 2\n')
    cfg = get_cfg()
    cfg.merge_from_file(str(child))
    cfg.merge_from_list(["DATASETS.TRAIN", "('a', 'b')", "MODEL.MASK_ON", True])
    assert (cfg.SEED, cfg.SOLVER.BASE_LR, cfg.SOLVER.GAMMA) == (3, 0.25, 0.2)
    assert cfg.DATASETS.TRAIN == ("a", "b")
    assert cfg.MODEL.MASK_ON is True


def test_unknown_key_and_wrong_type_are_refused(tmp_path):
    cfg = get_cfg()
    with pytest.raises(AssertionError, match="NO_SUCH_KEY"):
        cfg.merge_from_list(["MODEL.NO_SUCH_KEY", 1])
    (tmp_path / "x.yaml").write_text("VERSION: 2\nMODEL: {NO_SUCH_KEY: 1}\n")
    with pytest.raises(KeyError, match="NO_SUCH_KEY"):
        cfg.merge_from_file(str(tmp_path / "x.yaml"))
    with pytest.raises(ValueError, match="Type mismatch"):
        cfg.merge_from_list(["SOLVER.MAX_ITER", "many"])
    with pytest.raises(AssertionError, match="does not exist"):
        cfg.merge_from_file(str(tmp_path / "absent.yaml"))
    cfg.freeze()
    with pytest.raises(AttributeError):
        cfg.SEED = 1


def test_old_files_are_upgraded(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(
        "MODEL:\n  WEIGHT: w.pkl\n  RPN: {ANCHOR_SIZES: [[8]]}\n"
        "  PANOPTIC_FPN: {COMBINE_ON: False}\nTEST: {AUG_ON: True, AUG_MAX_SIZE: 77}\n"
    )
    cfg = get_cfg()
    cfg.merge_from_file(str(path))
    assert cfg.VERSION == 2
    assert cfg.MODEL.WEIGHTS == "w.pkl"
    assert cfg.MODEL.ANCHOR_GENERATOR.SIZES == [[8]]
    assert cfg.MODEL.PANOPTIC_FPN.COMBINE.ENABLED is False
    assert (cfg.TEST.AUG.ENABLED, cfg.TEST.AUG.MAX_SIZE) == (True, 77)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("architecture", ["GeneralizedRCNN", "RetinaNet"])
def test_downgrade_and_upgrade_are_inverse(version, architecture):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.OWN_KEY = 1
    older = downgrade_config(cfg, to_version=version)
    assert version == older.VERSION
    assert "WEIGHT" in older.MODEL
    assert ("RPN_HEAD" in older.MODEL) == (version == 0)
    assert upgrade_config(older) == cfg


def test_newer_file_is_refused(tmp_path):
    path = tmp_path / "new.yaml"
    path.write_text("VERSION: 3\n")
    with pytest.raises(AssertionError):
        get_cfg().merge_from_file(str(path))


def test_global_cfg_is_one_object():
    import detectron2.config as module

    set_global_cfg(CfgNode({"A": 1}))
    set_global_cfg(CfgNode({"B": 2}))
    assert dict(global_cfg) == {"B": 2}
    assert module.global_cfg is global_cfg


class Layer:
    @configurable
    def __init__(self, width, *, depth=2, name="x"):
        self.made = (width, depth, name)

    @classmethod
    def from_config(cls, cfg, width_factor=1):
        return {"width": cfg.WIDTH * width_factor, "depth": cfg.DEPTH}


CFG = CfgNode({"WIDTH": 8, "DEPTH": 4})


@pytest.mark.parametrize("cfg", [CFG, OmegaConf.create(dict(CFG))], ids=["yacs", "omegaconf"])
def test_configurable_class(cfg):
    assert Layer(3).made == (3, 2, "x")
    assert Layer(cfg).made == (8, 4, "x")
    assert Layer(cfg=cfg).made == (8, 4, "x")
    assert Layer(cfg, 2, name="y").made == (16, 4, "y")
    assert Layer(cfg, depth=1).made == (8, 1, "x")
    with pytest.raises(TypeError):
        Layer(cfg, no_such=1)


def test_configurable_subclass_uses_its_own_translation():
    class Wide(Layer):
        @classmethod
        def from_config(cls, cfg):
            return {**super().from_config(cfg), "name": cls.__name__}

    assert Wide(CFG).made == (8, 4, "Wide")


def test_configurable_function():
    @configurable(from_config=lambda cfg, scale: {"a": cfg.WIDTH * scale})
    def make(a, b=0):
        """Make it."""
        return a, b

    assert make(1) == (1, 0)
    assert make(CFG, scale=2, b=5) == (16, 5)
    assert make(CFG, scale=2, a=5) == (5, 0)
    assert make.__doc__ == "Make it."
    assert callable(make.from_config)


def test_configurable_needs_a_proper_from_config():
    class Without:
        @configurable
        def __init__(self):
            pass

    class WrongName:
        @configurable
        def __init__(self):
            pass

        @classmethod
        def from_config(cls, config):
            return {}

    with pytest.raises(AttributeError, match="from_config"):
        Without()
    with pytest.raises(TypeError, match="'cfg' as the first argument"):
        WrongName(CFG)
    with pytest.raises(AssertionError):
        configurable(lambda self: None)
