"""Parameters and operations by part, against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from freeseg import Segmenter
from freeseg.engine.analysis import REST, PartSize, analyze, sizes_table
from freeseg.ops import ms_deform_attn


class Toy(nn.Module):
    """A convolution, a head of two linear layers, and an operator of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.sem_seg_head = nn.ModuleDict({"pixels": nn.Linear(8, 4), "queries": nn.Linear(4, 2)})
        self.resize = nn.Identity()

    def forward(self, inputs):
        for one in inputs:
            features = self.backbone(one["image"][None].float())  # [1, 8, H, W]
            pixels = self.sem_seg_head["pixels"](features.flatten(2).mT)
            self.sem_seg_head["queries"](pixels)
            height, width = features.shape[-2:]
            ms_deform_attn(
                features.flatten(2).mT[:, :, None].contiguous(),  # [1, S, M=1, D=8]
                torch.tensor([[height, width]]),
                torch.tensor([0]),
                torch.rand(1, 5, 1, 1, 3, 2),
                torch.rand(1, 5, 1, 1, 3),
            )


def test_parts_are_counted_by_hand(capsys) -> None:
    sizes = analyze(Toy(), [{"image": torch.zeros(3, 6, 7, dtype=torch.uint8)}] * 2)
    pixels = 6 * 7
    convolution, deformable = 2 * pixels * 27 * 8, 5 * 3 * 8 * 10
    linear = (2 * pixels * 8 * 4, 2 * pixels * 4 * 2)
    assert sizes == [
        PartSize("", 216 + 36 + 10, convolution + sum(linear) + deformable),
        PartSize("backbone", 216, convolution),
        PartSize("sem_seg_head.pixels", 36, linear[0]),
        PartSize("sem_seg_head.queries", 10, linear[1]),
        PartSize(REST, 0, deformable),
    ]
    assert capsys.readouterr() == ("", "")


class Decoder(nn.Module):
    """What `MaskFormerHead.final` calls is not `forward`; some of it is in no child."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 4)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.final(pixels)

    def final(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.embed(pixels) @ pixels.new_zeros(4, 5)


@pytest.mark.parametrize("path", ["forward", "final", "embed"])
def test_a_part_computes_in_any_of_its_methods(path: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = Decoder()

        def forward(self, inputs) -> torch.Tensor:
            return getattr(self.decoder, path)(inputs[0])

    model = Model()
    whole, decoder, rest = analyze(model, [torch.zeros(3, 8)])
    assert decoder.flops == whole.flops >= 2 * 3 * 8 * 4
    assert rest == PartSize(REST, 0, 0)
    assert "final" not in vars(model.decoder)  # as it was


@pytest.mark.parametrize("name", ["camvid", "camvid-mask2former"])
def test_parts_of_bundled_models_add_up(name: str) -> None:
    segmenter = Segmenter.from_pretrained(name)
    request = {"image": torch.zeros(3, 64, 64, dtype=torch.uint8), "tasks": ("panoptic",)}
    if segmenter.takes_text:
        request["vocabulary"] = segmenter.vocabulary
    whole, *parts = analyze(segmenter.model, [request])
    flops = {part.name: part.flops for part in parts}
    assert sum(flops.values()) == whole.flops
    assert flops["sem_seg_head.predictor"] > 0.05 * whole.flops
    assert 0 <= flops[REST] < 0.05 * whole.flops


def test_the_table_ends_with_the_whole() -> None:
    table = sizes_table([PartSize("", 200, 4_000_000_000), PartSize("a", 50, 1_000_000_000)])
    assert table.splitlines()[2:] == [
        "| a | 50 | 25.0 % | 1.00 | 25.0 % |",
        "| whole | 200 | 100.0 % | 4.00 | 100.0 % |",
    ]


class Wide(nn.Module):
    """Parts of which one has no parameters, one holds another's, and one is called in private."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Identity()
        self.first = nn.Linear(6, 5)
        self.sem_seg_head = nn.Sequential(nn.Linear(5, 3, bias=False), nn.Identity())
        self.scale = nn.Parameter(torch.ones(7))
        self.first.register_buffer("table", torch.ones(100))

    def forward(self, inputs):
        assert not self.training
        assert not torch.is_grad_enabled()
        for one in inputs:
            self.sem_seg_head(self.first(self.plain(one["x"])) * 2) @ torch.ones(3, 4)


def test_figures_are_of_one_image_and_of_parameters_alone() -> None:
    model = Wide().train()
    inputs = [{"x": torch.ones(11, 6)}] * 3
    first, head, rest = 2 * 11 * 6 * 5, 2 * 11 * 5 * 3, 2 * 11 * 3 * 4
    sizes = analyze(model, inputs)
    assert sizes == [
        PartSize("", 35 + 15 + 7, first + head + rest),
        PartSize("first", 35, first),
        PartSize("sem_seg_head.0", 15, head),
        PartSize("sem_seg_head.1", 0, 0),
        PartSize(REST, 7, rest),
    ]
    assert analyze(model, inputs) == sizes, "nothing of the first time is left"


def test_a_failure_leaves_the_model_as_it_was() -> None:
    model = Wide()
    with pytest.raises(KeyError):
        analyze(model, [{"y": 1}])
    assert all("forward" not in vars(module) for module in model.modules())
    assert len(analyze(model, [{"x": torch.ones(1, 6)}])) == 5


def test_nothing_of_nothing_has_no_share() -> None:
    table = sizes_table([PartSize("a", 0, 0), PartSize("", 0, 0)])
    assert table.splitlines() == [
        "| part | parameters | share | GFLOPs | share |",
        "|---|---:|---:|---:|---:|",
        "| a | 0 |  | 0.00 |  |",
        "| whole | 0 |  | 0.00 |  |",
    ]
    table = sizes_table([PartSize("", 1_234_567, 8), PartSize("b", 1_000, 1), PartSize("a", 0, 7)])
    assert [line.split(" | ")[:3] for line in table.splitlines()[2:]] == [
        *(["| b", "1,000", "0.1 %"], ["| a", "0", "0.0 %"], ["| whole", "1,234,567", "100.0 %"])
    ]
