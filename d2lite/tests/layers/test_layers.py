import pytest
import torch
from torch import nn
from torch.nn import functional as F

from detectron2.layers import (
    ASPP,
    CNNBlockBase,
    Conv2d,
    CycleBatchNormList,
    DepthwiseSeparableConv2d,
    FrozenBatchNorm2d,
    NaiveSyncBatchNorm,
    ShapeSpec,
    cat,
    cross_entropy,
    get_norm,
    nonzero_tuple,
    shapes_to_tensor,
)
from detectron2.layers.batch_norm import LayerNorm


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_shape_spec():
    spec = ShapeSpec(channels=3, stride=4)
    assert (spec.channels, spec.height, spec.width, spec.stride) == (3, None, None, 4)
    assert spec == ShapeSpec(3, None, None, 4)


def test_conv_applies_norm_then_activation():
    x = torch.randn(2, 3, 7, 7)
    norm = nn.GroupNorm(1, 4)
    conv = Conv2d(3, 4, 3, padding=1, bias=False, norm=norm, activation=F.relu)
    expected = F.relu(norm(F.conv2d(x, conv.weight, padding=1)))
    torch.testing.assert_close(conv(x), expected)
    assert set(conv.state_dict()) == {"weight", "norm.weight", "norm.bias"}
    assert Conv2d(3, 4, 1)(torch.zeros(0, 3, 5, 5)).shape == (0, 4, 5, 5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BN", nn.BatchNorm2d),
        ("SyncBN", nn.SyncBatchNorm),
        ("FrozenBN", FrozenBatchNorm2d),
        ("GN", nn.GroupNorm),
        ("nnSyncBN", nn.SyncBatchNorm),
        ("naiveSyncBN", NaiveSyncBatchNorm),
        ("naiveSyncBN_N", NaiveSyncBatchNorm),
        ("LN", LayerNorm),
        (nn.InstanceNorm2d, nn.InstanceNorm2d),
    ],
)
def test_get_norm(name, kind):
    norm = get_norm(name, 64)
    assert type(norm) is kind
    if name == "GN":
        assert (norm.num_groups, norm.num_channels) == (32, 64)


def test_no_norm_and_unknown_norm():
    assert get_norm("", 8) is None
    assert get_norm(None, 8) is None
    with pytest.raises(KeyError):
        get_norm("NoSuchNorm", 8)


def trained_batch_norm(channels=5):
    batch_norm = nn.BatchNorm2d(channels)
    for tensor in (batch_norm.weight, batch_norm.bias, batch_norm.running_mean):
        tensor.data.normal_()
    batch_norm.running_var.uniform_(0.5, 2)
    return batch_norm.eval()


def test_frozen_batch_norm_equals_batch_norm_in_evaluation():
    x, batch_norm = torch.randn(2, 5, 4, 4), trained_batch_norm()
    frozen = FrozenBatchNorm2d.convert_frozen_batchnorm(batch_norm)
    assert type(frozen) is FrozenBatchNorm2d
    assert not list(frozen.parameters())
    torch.testing.assert_close(frozen(x), batch_norm(x))
    with_gradient = x.clone().requires_grad_()
    torch.testing.assert_close(frozen(with_gradient), batch_norm(x))
    assert frozen(with_gradient.half()).dtype == torch.float16
    thawed = FrozenBatchNorm2d.convert_frozenbatchnorm2d_to_batchnorm2d(frozen)
    assert type(thawed) is nn.BatchNorm2d
    torch.testing.assert_close(thawed.eval()(x), batch_norm(x))


def test_new_frozen_batch_norm_is_the_identity():
    x = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(FrozenBatchNorm2d(5)(x), x)


def test_freezing_replaces_nested_norms():
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Sequential(trained_batch_norm(), nn.ReLU()))
    converted = FrozenBatchNorm2d.convert_frozen_batchnorm(model)
    assert converted is model
    assert type(model[1][0]) is FrozenBatchNorm2d
    assert type(model[0]) is nn.Conv2d
    back = FrozenBatchNorm2d.convert_frozenbatchnorm2d_to_batchnorm2d(model)
    assert type(back[1][0]) is nn.BatchNorm2d


def test_frozen_batch_norm_loads_weights_without_statistics():
    frozen = FrozenBatchNorm2d(3)
    result = frozen.load_state_dict({"weight": torch.full((3,), 2.0), "bias": torch.ones(3)})
    assert not result.missing_keys
    x = torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(frozen(x), 2 * x + 1, rtol=1e-4, atol=1e-4)


def test_frozen_batch_norm_of_a_batch_norm_state():
    frozen, batch_norm = FrozenBatchNorm2d(5), trained_batch_norm()
    state = batch_norm.state_dict()
    del state["num_batches_tracked"]
    frozen.load_state_dict(state)
    x = torch.randn(2, 5, 3, 3)
    torch.testing.assert_close(frozen(x), batch_norm(x))


def test_naive_sync_batch_norm_alone_is_batch_norm():
    x, batch_norm, naive = torch.randn(4, 5, 3, 3), nn.BatchNorm2d(5), NaiveSyncBatchNorm(5)
    torch.testing.assert_close(naive(x), batch_norm(x))
    torch.testing.assert_close(naive.running_var, batch_norm.running_var)
    with pytest.raises(AssertionError):
        NaiveSyncBatchNorm(5, stats_mode="X")


def test_layer_norm_over_channels():
    x, norm = torch.randn(2, 6, 3, 4), LayerNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    last = F.layer_norm(x.permute(0, 2, 3, 1), (6,), norm.weight, norm.bias, eps=1e-6)
    torch.testing.assert_close(norm(x), last.permute(0, 3, 1, 2))


def test_cycle_batch_norm_takes_turns():
    norms = CycleBatchNormList(2, num_features=3)
    nn.init.normal_(norms.weight)
    first, second = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2) * 5 + 3
    for _ in range(2):
        out1, out2 = norms(first), norms(second)
    plain = nn.BatchNorm2d(3, affine=False)
    torch.testing.assert_close(out1, plain(first) * norms.weight[:, None, None])
    torch.testing.assert_close(out2, plain(second) * norms.weight[:, None, None])
    assert norms[0].running_mean.abs().max() < norms[1].running_mean.abs().max()
    unshared = CycleBatchNormList(2, num_features=3, affine=False)
    assert not list(unshared.parameters())


def test_block_freezes_itself():
    class Block(CNNBlockBase):
        def __init__(self):
            super().__init__(3, 4, 2)
            self.conv = Conv2d(3, 4, 1, norm=get_norm("BN", 4))

    block = Block()
    assert (block.in_channels, block.out_channels, block.stride) == (3, 4, 2)
    assert block.freeze() is block
    assert not any(parameter.requires_grad for parameter in block.parameters())
    assert isinstance(block.conv.norm, FrozenBatchNorm2d)


def test_separable_convolution():
    layer = DepthwiseSeparableConv2d(4, 6, norm1="BN", activation1=F.relu, norm2="", dilation=1)
    x = torch.randn(1, 4, 8, 8)
    depthwise = F.conv2d(x, layer.depthwise.weight, padding=1, groups=4)
    hidden = F.relu(layer.depthwise.norm.eval()(depthwise))
    expected = F.conv2d(hidden, layer.pointwise.weight, layer.pointwise.bias)
    torch.testing.assert_close(layer.eval()(x), expected)
    assert layer.depthwise.bias is None


@pytest.mark.parametrize("pool", [None, (6, 9)])
@pytest.mark.parametrize("separable", [False, True])
def test_aspp(pool, separable):
    layer = ASPP(
        4, 32, [2, 3, 4], norm="GN" if not separable else "SyncBN", activation=nn.ReLU(),
        pool_kernel_size=pool, dropout=0.1, use_depthwise_separable_conv=separable,
    ).eval()  # fmt: skip
    x = torch.randn(2, 4, 6, 9)
    assert len(layer.convs) == 5
    pooled = layer.convs[4][1](x.mean((2, 3), keepdim=True)).expand(2, 32, 6, 9)
    branches = [conv(x) for conv in list(layer.convs)[:4]]
    torch.testing.assert_close(layer(x), layer.project(torch.cat([*branches, pooled], 1)))
    if pool:
        with pytest.raises(ValueError, match="divisible"):
            layer(x[:, :, :5])
    with pytest.raises(AssertionError):
        ASPP(4, 4, [1, 2], norm="", activation=F.relu)


def test_cat():
    one = torch.ones(2, 3)
    assert cat([one]) is one
    assert torch.equal(cat([one, one], dim=1), torch.ones(2, 6))
    with pytest.raises(AssertionError):
        cat(iter([one]))


def test_cross_entropy_of_nothing_is_a_differentiable_zero():
    logits = torch.zeros(0, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.shape == (0, 4)
    x, target = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 1])
    torch.testing.assert_close(cross_entropy(x, target), F.cross_entropy(x, target))
    assert cross_entropy(x, target, reduction="none").shape == (5,)


def test_nonzero_and_shapes():
    mask = torch.tensor([[0, 1], [1, 1]])
    rows, columns = nonzero_tuple(mask)
    assert rows.tolist() == [0, 1, 1]
    assert columns.tolist() == [1, 0, 1]
    assert nonzero_tuple(torch.tensor(5))[0].tolist() == [0]
    assert shapes_to_tensor([3, 4]).tolist() == [3, 4]


def box_losses(box1, box2):
    """DIoU and CIoU losses of two boxes, from the papers' formulas in plain Python."""
    import math

    ax0, ay0, ax1, ay1 = box1
    bx0, by0, bx1, by1 = box2
    inter = max(0, min(ax1, bx1) - max(ax0, bx0)) * max(0, min(ay1, by1) - max(ay0, by0))
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - inter
    iou = inter / union
    center = ((ax0 + ax1 - bx0 - bx1) / 2) ** 2 + ((ay0 + ay1 - by0 - by1) / 2) ** 2
    diagonal = (max(ax1, bx1) - min(ax0, bx0)) ** 2 + (max(ay1, by1) - min(ay0, by0)) ** 2
    diou = 1 - iou + center / diagonal
    angle = math.atan((bx1 - bx0) / (by1 - by0)) - math.atan((ax1 - ax0) / (ay1 - ay0))
    v = 4 / math.pi**2 * angle**2
    return diou, diou + v * v / (1 - iou + v)
