"""Sparse products with the turned matrix at hand: turning it at each step costs more than the product."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from edgerec.models.inputs import Adjacency


def both_ways(row: Tensor, column: Tensor, weight: Tensor, shape: tuple[int, int]) -> Adjacency:
    """The matrix that has the sum of the weights at each place (row, column), (n,) each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that sparse rows are in beta
        matrix = torch.sparse_coo_tensor(torch.stack([row, column]), weight, shape, check_invariants=False).coalesce()
        parts = [
            tensor
            for of in (matrix.to_sparse_csr(), matrix.t().coalesce().to_sparse_csr())
            for tensor in (of.crow_indices(), of.col_indices(), of.values())
        ]
    return Adjacency(*parts)


def matrices(edges: Adjacency, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The matrix (N, M), and it turned (M, N), of compressed rows."""
    there = _compressed(edges.offsets, edges.source, edges.weight, shape)
    return there, _compressed(edges.back_offsets, edges.back_source, edges.back_weight, shape[::-1])


def product(there: Tensor, back: Tensor, x: Tensor) -> Tensor:
    """``there @ x``, whose derivative by `x` is taken with `back`, the turned matrix."""
    result: Tensor = _Product.apply(there, back, x)  # type: ignore[no-untyped-call]
    return result


class _Product(torch.autograd.Function):
    """In float32 whatever `x` has: sparse products know no others everywhere."""

    @staticmethod
    def forward(ctx: Any, there: Tensor, back: Tensor, x: Tensor) -> Tensor:
        ctx.back = back
        return _multiplied(there, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:
        return None, None, _multiplied(ctx.back, gradient)


def _multiplied(matrix: Tensor, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return (matrix @ x.float()).to(x.dtype)


def _compressed(offsets: Tensor, columns: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.sparse_csr_tensor(offsets, columns, weight, shape, check_invariants=False)
