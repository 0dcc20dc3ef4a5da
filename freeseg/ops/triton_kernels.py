"""Multi-scale deformable attention in Triton: the kernels. Imported only where Triton is.

A program serves one block of queries of one head of one image, all channels at once; its tiles are
[queries, channels]. Sums are of the type of locations and weights.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _item(queries, heads, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Image, head and queries of this program."""
    blocks = tl.cdiv(queries, block)
    program = tl.program_id(0).to(tl.int64)
    query = program % blocks * block + tl.arange(0, block)
    return program // blocks // heads, program // blocks % heads, query


@triton.jit
def _corners(x, y, height, width):  # type: ignore[no-untyped-def]
    """Column and row left above a sample, its shares to the right and below, whether it hits."""
    x = x * width - 0.5
    y = y * height - 0.5
    is_hit = (x > -1) & (x < width) & (y > -1) & (y < height)
    x = tl.where(is_hit, x, 0.0)
    y = tl.where(is_hit, y, 0.0)
    left = tl.floor(x)
    up = tl.floor(y)
    return left.to(tl.int64), up.to(tl.int64), x - left, y - up, is_hit


@triton.jit
def _corner(left, up, right_share, down_share, corner: tl.constexpr):  # type: ignore[no-untyped-def]
    """Column and row of one of the four pixels, and its shares along both axes."""
    x_share = right_share if corner % 2 else 1 - right_share
    y_share = down_share if corner // 2 else 1 - down_share
    return left + corner % 2, up + corner // 2, x_share, y_share


@triton.jit
def _pixel(column, row, height, width, is_hit, channel, channels, stride):  # type: ignore[no-untyped-def]
    """Offsets [queries, channels] of one pixel per query, and which of them may be read."""
    is_inside = is_hit & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    offset = (row * width + column)[:, None] * stride + channel[None, :]
    return offset, is_inside[:, None] & (channel < channels)[None, :]


@triton.jit
def forward_kernel(  # type: ignore[no-untyped-def]
    value,
    sizes,
    starts,
    locations,
    weights,
    output,
    pixels,
    heads,
    channels,
    queries,
    levels,
    points,
    block: tl.constexpr,
    padded: tl.constexpr,
):
    """Writes the output [B, Q, M, D]."""
    image, head, query = _item(queries, heads, block)
    channel = tl.arange(0, padded)
    exists = query < queries
    stride = heads * channels
    row_index = (image * queries + query) * heads + head
    total = tl.zeros([block, padded], dtype=locations.dtype.element_ty)
    for level in range(levels):
        height = tl.load(sizes + 2 * level)
        width = tl.load(sizes + 2 * level + 1)
        start = tl.load(starts + level)
        width = tl.where(start + height * width <= pixels, width, 0)  # else it reads nothing
        part = value + (image * pixels + start) * stride + head * channels
        for point in range(points):
            sample = (row_index * levels + level) * points + point
            x = tl.load(locations + 2 * sample, mask=exists, other=-9.0)
            y = tl.load(locations + 2 * sample + 1, mask=exists, other=-9.0)
            weight = tl.load(weights + sample, mask=exists, other=0.0)
            left, up, right_share, down_share, is_hit = _corners(x, y, height, width)
            for corner in tl.static_range(4):
                column, row, x_share, y_share = _corner(left, up, right_share, down_share, corner)
                offset, mask = _pixel(column, row, height, width, is_hit, channel, channels, stride)
                pixel = tl.load(part + offset, mask=mask, other=0.0)
                total += (weight * x_share * y_share)[:, None] * pixel
    mask = exists[:, None] & (channel < channels)[None, :]
    tl.store(output + row_index[:, None] * channels + channel[None, :], total, mask=mask)


@triton.jit
def backward_kernel(  # type: ignore[no-untyped-def]
    value,
    sizes,
    starts,
    locations,
    weights,
    grad_output,
    grad_value,
    grad_locations,
    grad_weights,
    pixels,
    heads,
    channels,
    queries,
    levels,
    points,
    block: tl.constexpr,
    padded: tl.constexpr,
):
    """Writes the gradients of locations and weights, adds to that of the value."""
    image, head, query = _item(queries, heads, block)
    channel = tl.arange(0, padded)
    exists = query < queries
    stride = heads * channels
    row_index = (image * queries + query) * heads + head
    grad = tl.load(
        grad_output + row_index[:, None] * channels + channel[None, :],
        mask=exists[:, None] & (channel < channels)[None, :],
        other=0.0,
    ).to(locations.dtype.element_ty)
    for level in range(levels):
        height = tl.load(sizes + 2 * level)
        width = tl.load(sizes + 2 * level + 1)
        start = tl.load(starts + level)
        width = tl.where(start + height * width <= pixels, width, 0)  # else it reads nothing
        first = (image * pixels + start) * stride + head * channels
        for point in range(points):
            sample = (row_index * levels + level) * points + point
            x = tl.load(locations + 2 * sample, mask=exists, other=-9.0)
            y = tl.load(locations + 2 * sample + 1, mask=exists, other=-9.0)
            weight = tl.load(weights + sample, mask=exists, other=0.0)
            left, up, right_share, down_share, is_hit = _corners(x, y, height, width)
            along_x = tl.zeros([block], dtype=locations.dtype.element_ty)
            along_y = tl.zeros([block], dtype=locations.dtype.element_ty)
            along_weight = tl.zeros([block], dtype=locations.dtype.element_ty)
            for corner in tl.static_range(4):
                column, row, x_share, y_share = _corner(left, up, right_share, down_share, corner)
                offset, mask = _pixel(column, row, height, width, is_hit, channel, channels, stride)
                pixel = tl.load(value + first + offset, mask=mask, other=0.0)
                change = tl.sum(grad * pixel, axis=1)  # of the loss with this pixel
                along_x += (y_share if corner % 2 else -y_share) * change
                along_y += (x_share if corner // 2 else -x_share) * change
                along_weight += x_share * y_share * change
                addend = (weight * x_share * y_share)[:, None] * grad
                tl.atomic_add(grad_value + first + offset, addend, mask=mask, sem="relaxed")
            tl.store(grad_locations + 2 * sample, along_x * weight * width, mask=exists)
            tl.store(grad_locations + 2 * sample + 1, along_y * weight * height, mask=exists)
            tl.store(grad_weights + sample, along_weight, mask=exists)
