"""What torch.compile puts into its graph as it stands: autograd traces it, and finds our derivatives in every mode."""

from __future__ import annotations

from typing import Any

import torch

from .._dispatch import OPERATORS
from . import PENALTY, VALUE
from .torch import differentiable


@torch.compiler.allow_in_graph
def in_graph(name: str, which: int, g: Any, x: Any, *params: Any) -> Any:
    """Evaluate one function of an operator, which are named, since a graph holds tensors and constants."""
    operator = OPERATORS[name]
    real = x.dtype.to_real()
    # A number that has changed between calls comes as a symbol, for which a tensor stands in.
    params = tuple(
        torch.scalar_tensor(p, dtype=real, device=x.device) if isinstance(p, torch.SymFloat) else p for p in params
    )
    function = {VALUE: operator, PENALTY: getattr(operator, "penalty", None)}.get(which) or operator.pulls[which]
    return differentiable(function, x, params, g)
