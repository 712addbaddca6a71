"""Sparse tensors of PyTorch, of every layout: functions of the stored values, through which autograd goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from . import stored

if TYPE_CHECKING:
    from .._dispatch import Function

BY_ROWS = {torch.sparse_csr, torch.sparse_bsr}
COMPRESSED = {*BY_ROWS, torch.sparse_csc, torch.sparse_bsc}
LAYOUTS = {torch.sparse_coo, *COMPRESSED}
DENSE = "x.to_dense()"  # what it takes to look along an axis


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on sparse tensors."""
    return stored.bind(function, LIBRARY)


def holds(x: Any) -> bool:
    """Whether something is a sparse tensor."""
    return isinstance(x, torch.Tensor) and x.layout in LAYOUTS


def refilled(x: Any, y: Any, filling: Any) -> Any:
    """Return x with other values."""
    if x.layout is torch.sparse_coo:
        return torch.sparse_coo_tensor(x.indices(), y, x.shape, is_coalesced=True, check_invariants=False)
    inner = (x.crow_indices(), x.col_indices()) if x.layout in BY_ROWS else (x.ccol_indices(), x.row_indices())
    return torch.sparse_compressed_tensor(*inner, y, x.shape, layout=x.layout, check_invariants=False)


def listed(x: Any) -> Any:
    """Return x with its values in one line, and coordinates."""
    if x.layout in COMPRESSED and x.ndim - x.dense_dim() > 2:
        msg = f"x, a batch of matrices in {x.layout}, takes numbers as parameters; x.to_sparse() takes arrays too"
        raise TypeError(msg)
    return x.to_sparse(layout=torch.sparse_coo).coalesce()


def alike(y: Any, x: Any) -> Any:
    """Return y in the layout of x, with blocks as large."""
    if y.layout is x.layout:
        return y
    blocks = x.values().shape[1:3] if x.layout in (torch.sparse_bsr, torch.sparse_bsc) else None
    return y.to_sparse(layout=x.layout, blocksize=blocks)


def added(n: int, zero: float, at: Any, y: Any) -> Any:
    """Return n numbers, to which values are added at positions."""
    wide = torch.promote_types(y.dtype, torch.float32)
    return torch.full((n,), zero, dtype=wide, device=y.device).index_add(0, at, y.to(wide)).to(y.dtype)


LIBRARY = stored.Sparse(
    xp=torch,
    types=(torch.Tensor,),
    holds=holds,
    tidy=lambda x: x.coalesce() if x.layout is torch.sparse_coo else x,
    values=lambda x: x.values(),
    complete=lambda x: x.values().numel() == x.numel(),
    listed=listed,
    where=lambda x: tuple(x.indices()),
    refilled=refilled,
    alike=alike,
    dense=lambda a: a.to_dense(),
    added=added,
    tracked=lambda a: isinstance(a, torch.Tensor) and a.requires_grad and torch.is_grad_enabled(),
)
