import dataclasses
import itertools

import pytest
import torch
from omegaconf import DictConfig

from detectron2.config import LazyCall, LazyConfig, instantiate
from detectron2.config.instantiate import dump_dataclass
from detectron2.layers import ShapeSpec

BASE = """
from detectron2.config import LazyCall as L
import itertools
names = {"a": 1, "b": "two"}
number = 5
counter = L(itertools.count)(start=names["a"], step="${..number_config.n}")
number_config = {"n": number}
_private = {"x": 1}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.py").write_text(BASE)
    (tmp_path / "root.py").write_text(
        "from .shared.base import names, number\n"
        "names.a = number + 1\n"
        "from .shared.base import names as untouched\n"
    )
    return tmp_path


def test_load_takes_public_configs_only(folder):
    cfg = LazyConfig.load(str(folder / "shared" / "base.py"))
    assert sorted(cfg) == ["counter", "names", "number_config"]


def test_relative_import_reloads_every_time(folder):
    for _ in range(2):
        cfg = LazyConfig.load(str(folder / "root.py"))
        assert (cfg.names.a, cfg.names.b, cfg.untouched.a) == (6, "two", 1)


def test_load_by_keys(folder):
    path = str(folder / "shared" / "base.py")
    assert LazyConfig.load(path, "number") == 5
    names, number = LazyConfig.load(path, ("names", "number"))
    assert isinstance(names, DictConfig)
    assert (names.b, number) == ("two", 5)


def test_load_rel(folder):
    (folder / "caller.py").write_text(
        "from detectron2.config import LazyConfig\n"
        "x = LazyConfig.load_rel('shared/base.py', 'names')\n"
    )
    assert LazyConfig.load(str(folder / "caller.py")).x.b == "two"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("from . import x", ImportError, "[Rr]elative import"),
        ("from .shared import x", ImportError, "Cannot import from"),
        ("from .absent import x", ImportError, "not exist"),
        ("x = = 1", SyntaxError, "syntax error"),
    ],
)
def test_bad_config_files(folder, text, error, message):
    (folder / "bad.py").write_text(text)
    with pytest.raises(error, match=message):
        LazyConfig.load(str(folder / "bad.py"))
    # the import hook is gone whatever happened; an ordinary relative import still fails plainly
    with pytest.raises(ImportError):
        exec("from .absent import x", {"__package__": "", "__name__": "y"})


def test_wrong_extension(tmp_path):
    with pytest.raises(ValueError, match="python or yaml"):
        LazyConfig.load(str(tmp_path / "x.json"))


def test_save_and_load_keep_targets_and_interpolations(folder, tmp_path):
    cfg = LazyConfig.load(str(folder / "shared" / "base.py"))
    cfg.spec = ShapeSpec(channels=3, stride=4)
    LazyConfig.save(cfg, str(tmp_path / "saved.yaml"))
    again = LazyConfig.load(str(tmp_path / "saved.yaml"))
    assert again.counter._target_ == "itertools.count"
    again.number_config.n = 7
    counter = instantiate(again.counter)
    assert [next(counter), next(counter)] == [1, 8]
    assert instantiate(again.spec) == ShapeSpec(channels=3, stride=4)
    assert cfg.counter._target_ is itertools.count  # saving does not change what it saves


def test_save_falls_back_to_pickle(tmp_path):
    cfg = DictConfig({"f": lambda: 3}, flags={"allow_objects": True})
    LazyConfig.save(cfg, str(tmp_path / "x.yaml"))
    assert (tmp_path / "x.yaml").exists()
    assert (tmp_path / "x.yaml.pkl").exists()


def test_overrides():
    cfg = DictConfig({"a": {"b": 1, "c": [1, 2]}, "d": "x"})
    returned = LazyConfig.apply_overrides(cfg, ["a.b=2.5", "a.c=[3]", 'd="7"', "new.key=true"])
    assert returned is cfg
    assert cfg == {"a": {"b": 2.5, "c": [3]}, "d": "7", "new": {"key": True}}
    with pytest.raises(KeyError, match="not a config"):
        LazyConfig.apply_overrides(cfg, ["a.b.c=1"])
    with pytest.raises(NotImplementedError):
        LazyConfig.apply_overrides(cfg, ["~d"])


def test_to_py():
    cfg = DictConfig({"m": {"z": "it's", "y": [1, None]}}, flags={"allow_objects": True})
    cfg.long = LazyCall(itertools.count)(start={"first": "x" * 40, "second": ["y" * 40, 1]}, step=2)
    assert LazyConfig.to_py(cfg, prefix="c.") == (
        "c.long = itertools.count(\n"
        "    start={\n"
        f'        "first": "{"x" * 40}",\n'
        f'        "second": ["{"y" * 40}", 1],\n'
        "    },\n"
        "    step=2,\n"
        ")\n"
        "c.m.y = [1, None]\n"
        'c.m.z = "it\'s"\n'
    )


def record(**arguments):
    return arguments


def test_instantiate_nested_calls_and_lists():
    inner = LazyCall(record)(n=1)
    call = LazyCall(record)(parts=[inner, 2, LazyCall(record)(n=3)], single=inner)
    assert instantiate(call) == {"parts": [{"n": 1}, 2, {"n": 3}], "single": {"n": 1}}
    assert instantiate([LazyCall(record)()]) == [{}]
    plain = {"no": "target"}
    assert instantiate(plain) is plain
    assert instantiate(None) is None


def test_instantiate_by_name():
    relu = instantiate({"_target_": "torch.nn.LeakyReLU", "negative_slope": 0.5})
    assert relu(torch.tensor(-2.0)) == -1.0
    with pytest.raises(TypeError):
        instantiate({"_target_": "torch.nn.LeakyReLU", "no_such": 1})
    with pytest.raises(AssertionError, match="callable"):
        instantiate({"_target_": "math.pi"})


def test_lazy_call_needs_a_callable():
    with pytest.raises(TypeError, match="callable"):
        LazyCall(3)


@dataclasses.dataclass
class Nested:
    specs: list
    single: ShapeSpec
    plain: int = 1


def test_dump_dataclass_is_undone_by_instantiate():
    value = Nested([ShapeSpec(1), 2], ShapeSpec(3))
    dumped = dump_dataclass(value)
    assert dumped["single"]["_target_"] == "detectron2.layers.ShapeSpec"
    assert dumped["specs"][1] == 2
    restored = instantiate(dumped["single"])
    assert restored == ShapeSpec(3)
    with pytest.raises(AssertionError):
        dump_dataclass(Nested)
