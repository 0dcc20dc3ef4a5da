"""Language-guided query selection: the image tokens that some word means most become queries.

Shapes: B images, S image tokens of all levels, T text tokens, Q queries, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from freeseg.layers import MLP
from freeseg.layers.deformable import pixel_centres
from freeseg.systems.grounding_dino.enhancer import Enhanced
from freeseg.systems.grounding_dino.features import TokenFeatures
from freeseg.systems.grounding_dino.initial import fill, fill_zeros
from freeseg.systems.grounding_dino.scores import WordScores

SIDE = 0.05  # of a proposal of the finest level, in shares of the picture; twice that on the next
NEAREST = 0.01  # a proposal's centre and sides are further than this from 0 and 1


class Proposals(NamedTuple):
    """What every image token proposes."""

    memory: Tensor  # [B, S, C]
    word_logits: Tensor  # [B, S, T]
    boxes: Tensor  # [B, S, 4], logits of the boxes proposed, infinite where there is none

    @property
    def scores(self) -> Tensor:
        """[B, S], logit of the best word."""
        return self.word_logits.amax(-1)


class Selected(NamedTuple):
    """What decoding begins with."""

    tokens: Tensor  # int64 [B, Q], the best first
    box_logits: Tensor  # [B, Q, 4]
    word_logits: Tensor  # [B, Q, T]
    content: Tensor  # [Q, C], by rank


class QuerySelection(nn.Module):
    """Scores all image tokens by their best word and takes the best ones.

    Parity: tokens at the border of a level, and padding, have no proposal, yet stay among the
    candidates with zeros for what they show.

    Args:
        channels: C.
        num_queries: Q at most: a small image has fewer tokens.
        word_scores: Of tokens.
    """

    def __init__(self, *, channels: int, num_queries: int, word_scores: WordScores) -> None:
        super().__init__()
        self.enc_output = nn.Linear(channels, channels)
        self.enc_output_norm = nn.LayerNorm(channels)
        self.enc_out_bbox_embed = box_head(channels)
        self.tgt_embed = nn.Embedding(num_queries, channels)
        self.word_scores = word_scores
        fill(self.enc_output)
        nn.init.xavier_uniform_(self.tgt_embed.weight)

    def forward(self, features: TokenFeatures, enhanced: Enhanced, is_token: Tensor) -> Selected:
        """The best tokens of B images under texts, of which `is_token` [B, T] is no padding."""
        proposals = self.propose(features, enhanced, is_token)
        count = min(len(self.tgt_embed.weight), proposals.memory.shape[1])
        chosen = proposals.scores.topk(count, dim=1).indices
        rows = torch.arange(len(chosen), device=chosen.device)[:, None]
        deltas = self.enc_out_bbox_embed(proposals.memory[rows, chosen])
        return Selected(
            chosen,
            proposals.boxes[rows, chosen] + deltas,
            proposals.word_logits[rows, chosen],
            self.tgt_embed.weight[:count],
        )

    def propose(self, features: TokenFeatures, enhanced: Enhanced, is_token: Tensor) -> Proposals:
        """What every token proposes."""
        boxes = self._boxes(features)
        is_proposal = boxes.isfinite().all(-1, keepdim=True)
        memory = self.enc_output_norm(self.enc_output(enhanced.image * is_proposal))
        words = self.word_scores(memory, enhanced.text, is_token)
        return Proposals(memory, words, boxes)

    def _boxes(self, features: TokenFeatures) -> Tensor:
        centres = features.of_picture(pixel_centres(features.sizes, features.tokens))  # [B, S, 2]
        sides = torch.cat(
            [
                centres.new_full((height * width,), SIDE * 2**level)
                for level, (height, width) in enumerate(features.sizes)
            ]
        )
        boxes = torch.cat([centres, sides[:, None].expand_as(centres)], dim=-1)
        is_proposal = ((boxes > NEAREST) & (boxes < 1 - NEAREST)).all(-1)
        if features.padding is not None:
            is_proposal = is_proposal & ~features.padding
        return (boxes / (1 - boxes)).log().masked_fill(~is_proposal[..., None], torch.inf)


def box_head(channels: int) -> MLP:
    """Makes what is added to the logits of boxes; in the beginning nothing."""
    head = MLP(in_channels=channels, hidden_channels=channels, out_channels=4, num_layers=3)
    *hidden, last = head.layers
    fill(*hidden)
    fill_zeros(last)
    return head
