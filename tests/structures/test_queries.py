"""Who sees whom: against a loop over pairs of queries and tokens."""

from __future__ import annotations

import pytest
import torch

from freeseg.structures import ANYONE, QueryGroup, QuerySet, TokenGroup

BATCH, WIDTH = 2, 4


def random_set(seed: int) -> QuerySet:
    """Groups of every kind: with owners of one or of each image, with padding, that read some."""
    generator = torch.Generator().manual_seed(seed)

    def owners(*shape):
        return torch.randint(ANYONE, 2, shape, generator=generator)

    def padding(*shape):
        return torch.rand(*shape, generator=generator) < 0.4

    def group(name, count, **more):
        content = torch.randn(BATCH, count, WIDTH, generator=generator)
        return QueryGroup(name, content, content, **more)

    lengths = (2, 3, 1)
    contents = tuple(torch.randn(BATCH, k, WIDTH, generator=generator) for k in lengths)
    return QuerySet(
        [
            group("all", 2),
            group("own", 3, owners=owners(3), reads=("own", "marks")),
            group("unlike", 3, owners=owners(BATCH, 3), padding=padding(BATCH, 3)),
            group("alone", 2, reads=("unlike",)),
        ],
        [
            TokenGroup("marks", contents, owners=tuple(owners(BATCH, k) for k in lengths)),
            TokenGroup("words", contents, padding=tuple(padding(BATCH, k) for k in lengths)),
        ],
    )


def by_hand(queries: QuerySet, level: int, image: int) -> list[list[bool]]:
    """One pair after the other."""
    columns = []
    for group in (*queries.groups, *queries.token_groups):
        is_tokens = isinstance(group, TokenGroup)
        content = group.levels[level] if is_tokens else group.content
        owners = group.owners[level] if is_tokens and group.owners else group.owners
        padding = group.padding[level] if is_tokens and group.padding else group.padding
        for index in range(content.shape[1]):
            owner = ANYONE
            if owners is not None:
                owner = int(owners[image, index] if owners.dim() == 2 else owners[index])
            is_padding = padding is not None and bool(padding[image, index])
            columns.append((group, owner, is_padding))
    rows = []
    for number, (reader, mine, _) in enumerate(columns[: len(queries)]):
        row = []
        for group, theirs, is_padding in columns:
            reads = reader.reads is None or group.name in reader.reads
            shares = mine == theirs or ANYONE in (mine, theirs)
            row.append(reads and shares and not is_padding)
        row[number] = row[number] or not any(row)
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_visibility_is_that_of_a_loop(seed):
    queries = random_set(seed)
    for level in range(3):
        visible = queries.visibility(level)
        assert queries.tokens(level).shape == (BATCH, visible.shape[2] - len(queries), WIDTH)
        for image in range(BATCH):
            assert visible[image].tolist() == by_hand(queries, level, image)


def test_tokens_of_all_that_all_see_need_no_mask():
    content = torch.zeros(1, 2, WIDTH)
    tokens = TokenGroup("marks", (content,))
    assert QuerySet([QueryGroup("a", content, content)], [tokens]).visibility() is None
    assert QuerySet([QueryGroup("a", content, content)]).tokens(0) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: QueryGroup("a", c, c, padding=torch.zeros(1, 2).bool()), r"padding of shape"),
        (lambda c: QueryGroup("a", c, c, guide=torch.zeros(2, 3, 4)), r"guide of shape \(2, 3, 4"),
        (lambda c: QueryGroup("a", c, c, owners=torch.zeros(1, 3)), r"of each of 2, got shape"),
        (lambda c: TokenGroup("a", (c,), owners=(torch.zeros(2),)), r"owners of shapes \[\(2,\)"),
        (lambda c: TokenGroup("a", (c,), padding=(torch.zeros(3),)), r"padding of shapes"),
        (lambda c: QuerySet([QueryGroup("a", c, c)], [TokenGroup("a", (c,))]), "its own name"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(torch.zeros(2, 3, WIDTH))
