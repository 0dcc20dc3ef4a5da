"""OneFormer's query decoder: object queries that start from the task (arXiv 2211.06220).

Shapes: B images, T tasks of an image, Q queries (the last one is the task's), C channels,
K classes, h w mask size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d
from freeseg.config import query_decoder_arguments
from freeseg.layers import DetrDecoderLayer, MultiheadAttention, projected_sine_position
from freeseg.modeling.decoder.mask2former import TRANSFORMER_DECODER_REGISTRY
from freeseg.modeling.decoder.masked import DecoderSizes, MaskedQueryDecoder
from freeseg.structures import MaskPrediction, PyramidFeatures, QueryGroup, QuerySet
from freeseg.systems.oneformer.config import task_query_arguments


@dataclass(frozen=True)
class TaskConditionedOutput:
    """Predictions of every layer, and the queries before the first one."""

    predictions: list[MaskPrediction]  # the final one last
    initial_queries: Tensor  # [B, Q, C], what the contrastive loss compares with texts


@TRANSFORMER_DECODER_REGISTRY.register()
class OneFormerDecoder(MaskedQueryDecoder):
    """Q - 1 object queries grown from the task token, and the token itself as the last query."""

    @configurable
    def __init__(
        self,
        *,
        sizes: DecoderSizes,
        num_queries: int,
        num_classes: int,
        class_transformer: nn.Module,
        use_task_norm: bool,
        init_from_task: bool,
    ) -> None:
        """Builds the decoder.

        Args:
            sizes: As of `MaskedQueryDecoder`.
            num_queries: Q, with the task's.
            num_classes: K, without "no object".
            class_transformer: `ClassTransformer` that grows object queries.
            use_task_norm: Normalise the task token as the decoder's layers are.
            init_from_task: Grow object queries from the task token, else from zeros.
        """
        super().__init__(sizes)
        self.class_transformer = class_transformer
        self.class_input_proj = Conv2d(sizes.mask_channels, sizes.channels, kernel_size=1)
        self.query_embed = nn.Embedding(num_queries, sizes.channels)
        self.class_embed = nn.Linear(sizes.channels, num_classes + 1)
        self.use_task_norm = use_task_norm
        self.init_from_task = init_from_task
        weight_init.c2_xavier_fill(self.class_input_proj)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        arguments = task_query_arguments(cfg)
        class_transformer = ClassTransformer(**arguments.pop("class_transformer"))
        return {
            "sizes": DecoderSizes(**query_decoder_arguments(cfg)),
            **arguments,
            "class_transformer": class_transformer,
        }

    def forward(self, features: PyramidFeatures, task_tokens: Tensor) -> TaskConditionedOutput:
        """Decodes every image under its own task.

        Args:
            features: Of B images.
            task_tokens: [B, C].
        """
        queries = self.task_queries(features.mask_features, task_tokens[:, None])
        predictions = [
            MaskPrediction(self.class_embed(layer.queries), layer.mask_logits)
            for layer in self.decode(features, queries).layers
        ]
        return TaskConditionedOutput(predictions, queries.content())

    def final(self, features: PyramidFeatures, task_tokens: Tensor) -> MaskPrediction:
        """The last prediction of `forward`, computed alone.

        Tasks of one image share what is computed of its pixels.

        Args:
            features: Of B images.
            task_tokens: [B, C], or [B, T, C] for T tasks of every image.

        Returns:
            For B images, or for B*T pairs of an image and a task, the tasks of an image together.
        """
        tokens = task_tokens if task_tokens.dim() == 3 else task_tokens[:, None]  # [B, T, C]
        queries = self.task_queries(features.mask_features, tokens)
        layer = self.decode_final(features, queries)
        class_logits = self.class_embed(layer.queries)
        if tokens.shape[1] == 1:
            return MaskPrediction(class_logits, layer.mask_logits)
        return MaskPrediction(_by_task(queries, class_logits), _by_task(queries, layer.mask_logits))

    def task_queries(self, mask_features: Tensor, task_tokens: Tensor) -> QuerySet:
        """Queries of every task in `task_tokens` [B, T, C], which see none of another task's.

        Object queries have read the picture at stride 4 from the task's point of view.

        Returns:
            Groups "object", T*(Q-1) queries task by task, and "task", T queries.
        """
        # len() would be a constant of exported programs
        batch_size, num_tasks = mask_features.shape[0], task_tokens.shape[1]
        position = self.query_embed.weight.expand(batch_size, -1, -1)  # [B, Q, C]
        num_objects = position.shape[1] - 1
        object_position = position[:, :-1].repeat(1, num_tasks, 1)
        token = self.decoder_norm(task_tokens) if self.use_task_norm else task_tokens
        start = token if self.init_from_task else torch.zeros_like(token)
        tasks = owners = visible = None
        if num_tasks > 1:
            tasks = torch.arange(num_tasks, device=token.device)
            owners = tasks.repeat_interleave(num_objects)
            visible = (owners[:, None] == owners)[None]
        content = self.class_transformer(
            start[:, :, None].expand(-1, -1, num_objects, -1).flatten(1, 2),
            object_position,
            mask_features,
            self.class_input_proj,
            visible,
        )
        return QuerySet(
            [
                QueryGroup("object", content, object_position, owners=owners),
                QueryGroup("task", token, position[:, -1:].expand_as(token), owners=tasks),
            ]
        )


@TRANSFORMER_DECODER_REGISTRY.register()
class ContrastiveMultiScaleMaskedTransformerDecoder(OneFormerDecoder):
    """`OneFormerDecoder` under the name that the published configurations use."""


class ClassTransformer(nn.Module):
    """DETR's decoder under the release's parameter names."""

    def __init__(
        self,
        *,
        channels: int,
        num_heads: int,
        hidden_channels: int,
        num_layers: int,
        dropout: float,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        layers = nn.ModuleList(
            DetrDecoderLayer(
                channels=channels,
                num_heads=num_heads,
                hidden_channels=hidden_channels,
                dropout=dropout,
                pre_norm=pre_norm,
            )
            for _ in range(num_layers)
        )
        self.decoder = nn.ModuleDict({"layers": layers, "norm": nn.LayerNorm(channels)})

    def forward(
        self,
        content: Tensor,
        position: Tensor,
        features: Tensor,
        projection: nn.Conv2d,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Refines queries by what they find in a map.

        Args:
            content: [B, Q, C].
            position: [B, Q, C].
            features: [B, C_mask, h, w].
            projection: From C_mask to C channels, with kernels of 1x1.
            visible: Bool [B, Q, Q], which queries a query sees; None when it sees all.
        """
        for layer in self.decoder["layers"]:  # type: ignore[attr-defined]
            keys, values = _keys_and_values(layer.multihead_attn, features, projection)
            content = layer(content, position, keys, values, visible)
        return self.decoder["norm"](content)


def _keys_and_values(
    attention: MultiheadAttention, features: Tensor, projection: nn.Conv2d
) -> tuple[Tensor, Tensor]:
    """What an attention layer makes of the pixels of a map, [B, h*w, C] each.

    Parity: it reads the sine positions and takes the projected features for their positions, so
    that features choose where to look and positions are what is read.

    Both are linear in features, rows and columns, so one product with all pixels is left of three.
    """
    _, (key_weight, key_bias), (value_weight, value_bias) = attention.projections()
    weight = key_weight @ projection.weight.flatten(1)  # [C, C_mask]
    if projection.bias is not None:
        key_bias = key_bias + key_weight @ projection.bias
    keys = F.linear(features.flatten(2).mT, weight, key_bias)
    size = features.shape[-2:]
    for line in projected_sine_position(features, key_weight):
        keys.unflatten(1, size).add_(line)
    rows, columns = projected_sine_position(features, value_weight)
    values = (rows + (columns + value_bias)).flatten(0, 1)
    return keys, values.expand_as(keys)


def _by_task(queries: QuerySet, values: Tensor) -> Tensor:
    """Values [B, T*Q, ...] of the queries of T tasks as [B*T, Q, ...], the task's query last."""
    parts = queries.split(values)
    num_tasks = parts["task"].shape[1]
    by_task = [part.unflatten(1, (num_tasks, -1)) for part in (parts["object"], parts["task"])]
    return torch.cat(by_task, dim=2).flatten(0, 1)
