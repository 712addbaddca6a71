"""Sparse coding: signals as combinations of few atoms of a dictionary, by ISTA and FISTA with any operator."""

from __future__ import annotations

import functools
import itertools
import math
import numbers
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from ._checks import check_count, type_name
from ._dispatch import Operator, check_operator
from ._operators import softshrink
from .denoise import progress_bar

__all__ = ["Iterate", "Solution", "iterates", "sparse_code"]

METHODS = ("ista", "fista")


class Iterate(NamedTuple):
    """
    Where the iteration stands, each signal by itself.

    Parameters
    ----------
    codes : array, shape (..., atoms)
        The codes.
    objective : array, shape (...), or None
        The objective at the codes; None where the operator has no penalty.
    gap : array, shape (...), or None
        Bound on how far the objective is from its minimum, the duality gap; None where there is none.
    change : array, shape (...)
        Norm of the last step, in units of the norm of the codes; infinite before the first.
    """

    codes: Any
    objective: Any
    gap: Any
    change: Any


class Solution(NamedTuple):
    """
    Sparse codes, and how they came about.

    Parameters
    ----------
    codes : array, shape (..., atoms)
        The codes.
    objective : array, shape (iterations + 1, ...), or None
        The objective before the first and after every iteration; None where the operator has no penalty.
    gap : array, shape (...), or None
        Bound on how far the objective is from its minimum, the duality gap; None where there is none.
    iterations : int
        Number of iterations.
    converged : bool
        Whether all signals met the tolerance.
    """

    codes: Any
    objective: Any
    gap: Any
    iterations: int
    converged: bool


def sparse_code(
    x: Any,
    dictionary: Any,
    operator: Operator = softshrink,
    *,
    method: str = "fista",
    iterations: int = 1000,
    tolerance: float | None = 1e-5,
    step: Any = None,
    start: Any = None,
    progress: bool = False,
    **parameters: Any,
) -> Solution:
    r"""
    Find sparse codes of signals in a dictionary.

    .. math:: \min_z \; \tfrac12 \lVert x - z D \rVert^2 + r(z)

    for every signal :math:`x`, where :math:`r` is the penalty of the operator. With softshrink this is the lasso.

    Parameters
    ----------
    x : array of real or complex numbers, shape (..., features)
        Signals.
    dictionary : array, shape (atoms, features)
        The atoms :math:`D`, of the library of `x`.
    operator : Operator, default: softshrink
        The proximal map of the penalty; one of `shrinkops.OPERATORS`.
    method : {"fista", "ista"}, default: "fista"
        Iterative shrinkage-thresholding, or the same with momentum, which is faster: from rest again for each signal
        where it leads uphill. Only ISTA is sure not to increase the objective.
    iterations : int, default: 1000
        Most iterations.
    tolerance : float or None, default: 1e-5
        When to stop: the duality gap is at most this part of the objective at 0, or, where the penalty has no duality
        gap, the codes change by at most this part of their norm. Below 3e-6 float32 may not get. None makes all
        iterations without looking, so that JAX can trace them.
    step : number or array, optional
        Step of the gradient, by default 1 divided by the largest eigenvalue of :math:`D D^*`.
    start : array, shape (..., atoms), optional
        Where to start; by default at 0.
    progress : bool, default: False
        Whether to show progress on stderr.
    **parameters : number or array
        Parameters of the operator by name, as ``lambd=0.1``; arrays broadcast against the codes.

    Returns
    -------
    Solution
        The codes, of the library, device and dtype of `x`, the objective along the way, and whether they converged.

    Raises
    ------
    ImportError
        If tqdm is missing for `progress`.
    TypeError
        If `operator` is none, or as the operator does.
    ValueError
        If the shapes do not match, `x` or `dictionary` is not finite, another argument is out of range, or as the
        operator does.

    See Also
    --------
    iterates : The same, iteration by iteration.

    Notes
    -----
    Every iteration goes down the gradient of the first term by the step :math:`t`, and shrinks by the proximal map of
    :math:`t\,r`:

    .. math:: z \leftarrow \operatorname{prox}_{t r} \bigl(z + t\, (x - z D)\, D^*\bigr)

    Most penalties times :math:`t` are of the same family, with other parameters: which ones and how is found out from
    the penalty itself. Where they are of another (garroteshrink), or the operator has no penalty (tanhshrink), the
    operator is applied with the parameters as they are, and the penalty in the objective is divided by the step. What
    the codes converge to depends on the step then.

    Where the penalty grows in proportion to the codes (softshrink), the residual, scaled to be dual feasible, bounds
    the minimum from below. The largest eigenvalue is found by the power method on the smaller of the two Gram matrices,
    which is squared until the bound is within 1 %: about ten products of matrices, which `step` saves.

    References
    ----------
    I. Daubechies, M. Defrise and C. De Mol, "An iterative thresholding algorithm for linear inverse problems with a
    sparsity constraint", Communications on Pure and Applied Mathematics 57 (2004), doi:10.1002/cpa.20042.

    A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", SIAM
    Journal on Imaging Sciences 2 (2009), doi:10.1137/080716542.

    B. O'Donoghue and E. Candès, "Adaptive restart for accelerated gradient schemes", Foundations of Computational
    Mathematics 15 (2015), doi:10.1007/s10208-013-9150-3.

    Examples
    --------
    >>> import numpy as np
    >>> from shrinkops.sparse_coding import sparse_code
    >>> dictionary = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> found = sparse_code(np.array([1.2, 1.6]), dictionary, lambd=0.5, tolerance=1e-9)
    >>> found.codes.round(3)
    array([0. , 1.5, 0. ])
    >>> found.converged
    True
    """
    check_count("sparse_code", "iterations", iterations)
    if isinstance(step, numbers.Real) and not float(step) > 0:
        msg = f"sparse_code requires step > 0, got step={step}"
        raise ValueError(msg)
    if tolerance is not None and not tolerance >= 0:
        msg = f"sparse_code requires tolerance >= 0, got tolerance={tolerance}"
        raise ValueError(msg)
    xp, x, dictionary = _arrays(x, dictionary)
    if tolerance is not None and not all(bool(xp.all(xp.isfinite(a))) for a in (x, dictionary)):
        msg = "sparse_code requires finite signals and atoms, got NaN or infinity"
        raise ValueError(msg)
    steps = iterates(x, dictionary, operator, method=method, step=step, start=start, **parameters)
    energy = _half_square(xp, x)
    objective, converged = [], False
    with progress_bar("sparse coding", iterations, "iteration", progress) as advance:
        for k, current in enumerate(steps):
            objective.append(current.objective)
            if tolerance is not None:
                reached = current.change <= tolerance if current.gap is None else current.gap <= tolerance * energy
                converged = bool(xp.all(reached))
            if converged or k == iterations:
                break
            advance(1)
    history = None if current.objective is None else xp.stack(objective)
    return Solution(current.codes, history, current.gap, k, converged)


def iterates(
    x: Any,
    dictionary: Any,
    operator: Operator = softshrink,
    *,
    method: str = "fista",
    step: Any = None,
    start: Any = None,
    **parameters: Any,
) -> Iterator[Iterate]:
    """
    Iterate toward sparse codes, without an end.

    A loop over it can stop when it likes, be interrupted and go on, and look at what there is in between.

    Parameters
    ----------
    x : array of real or complex numbers, shape (..., features)
        As for `sparse_code`.
    dictionary : array, shape (atoms, features)
        As for `sparse_code`.
    operator : Operator, default: softshrink
        As for `sparse_code`.
    method : {"fista", "ista"}, default: "fista"
        As for `sparse_code`.
    step : number or array, optional
        As for `sparse_code`.
    start : array, shape (..., atoms), optional
        As for `sparse_code`.
    **parameters : number or array
        As for `sparse_code`.

    Returns
    -------
    iterator of Iterate
        The start, and then where every iteration arrives.

    Raises
    ------
    TypeError, ValueError
        As `sparse_code` does.

    See Also
    --------
    sparse_code : Stops when the codes have converged.

    Examples
    --------
    >>> import numpy as np
    >>> from shrinkops.sparse_coding import iterates
    >>> dictionary = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> for current in iterates(np.array([1.0, 0.1]), dictionary, method="ista", lambd=0.1):
    ...     print(current.objective.round(4))
    ...     if current.gap < 0.01:
    ...         break
    0.505
    0.1534
    0.125
    0.116
    0.111
    0.1071
    0.1041
    0.1021
    """
    if method not in METHODS:
        msg = f"sparse_code requires method to be one of {', '.join(METHODS)}, got {method!r}"
        raise ValueError(msg)
    check_operator(operator)
    xp, x, dictionary = _arrays(x, dictionary)
    _, params = operator.checked(x, (), dict(parameters))
    if dictionary.ndim != 2 or x.ndim < 1 or x.shape[-1] != dictionary.shape[1]:
        shapes = f"{tuple(x.shape)} and {tuple(dictionary.shape)}"
        msg = f"sparse_code requires x of shape (..., features) and dictionary of shape (atoms, features), got {shapes}"
        raise ValueError(msg)
    shape = (*x.shape[:-1], dictionary.shape[0])
    codes = xp.zeros(shape, dtype=x.dtype, device=array_api_compat.device(x)) if start is None else xp.asarray(start)
    if tuple(codes.shape) != shape:
        msg = f"sparse_code requires start of shape {shape}, got {tuple(codes.shape)}"
        raise ValueError(msg)
    if step is None:
        step = _number(1 / largest_eigenvalue(xp, dictionary))
    return _iterates(xp, x, dictionary, operator, method == "fista", step, codes, params)


def _iterates(
    xp: ModuleType, x: Any, dictionary: Any, operator: Operator, fast: bool, step: Any, codes: Any, params: Any
) -> Iterator[Iterate]:
    adjoint = xp.conj(dictionary).T if xp.isdtype(x.dtype, "complex floating") else dictionary.T
    family = family_of(operator)
    shrinking = params if family.exponents is None else scaled(params, family.exponents, step)
    weight = 1 / step if family.exponents is None else 1
    energy = _half_square(xp, x)
    change = xp.full_like(energy, math.inf)
    momentum = xp.ones_like(energy[..., None])
    before = descent_before = None
    while True:
        residual = x - codes @ dictionary
        descent = residual @ adjoint
        objective = gap = None
        if hasattr(operator, "penalty"):
            penalty = xp.sum(operator.penalty(codes, *params), axis=-1)
            objective = _half_square(xp, residual) + weight * penalty
            if family.proportional:
                feasible = _feasible(xp, descent, operator, params)
                # Primal minus dual objective, in which nothing cancels: no summand is negative.
                gap = penalty - feasible * _inner(xp, codes, descent)
                gap = gap + (1 - feasible) ** 2 * _half_square(xp, residual)
        yield Iterate(codes, objective, gap, change)
        ahead, slope = codes, descent
        if fast and before is not None:
            previous, momentum = momentum, (1 + xp.sqrt(1 + 4 * momentum * momentum)) / 2
            beta = (previous - 1) / momentum
            # What is linear in the codes needs no product of its own at the point ahead.
            ahead, slope = codes + beta * (codes - before), descent + beta * (descent - descent_before)
        before, descent_before = codes, descent
        codes = operator(ahead + step * slope, *shrinking)
        moved, scale = codes - before, _norm(xp, codes)
        change = _norm(xp, moved) / xp.where(scale > 0, scale, xp.ones_like(scale))
        if fast:
            uphill = _inner(xp, ahead - codes, moved)[..., None] > 0
            momentum = xp.where(uphill, xp.ones_like(momentum), momentum)


def _feasible(xp: ModuleType, descent: Any, operator: Operator, params: Any) -> Any:
    """Return how much of the residual is dual feasible: as much as no atom correlates with more than the penalty."""
    one = xp.ones_like(descent)
    bound = operator.penalty(one, *params)
    if not xp.isdtype(descent.dtype, "complex floating"):
        bound = xp.where(descent < 0, operator.penalty(-one, *params), bound)
    size = xp.abs(descent)
    ratio = xp.where(size > bound, bound / xp.where(size > 0, size, xp.ones_like(size)), xp.ones_like(size))
    return xp.min(ratio, axis=-1)


# ---------------------------------------------------------------------------------------------------------------------
# Penalties


class Family(NamedTuple):
    """How a penalty depends on its parameters and its argument."""

    exponents: tuple[float, ...] | None
    """t times the penalty is the penalty with every parameter times t to such a power; None if it is not."""
    proportional: bool
    """Whether the penalty is proportional to abs(x), on either side of 0."""


@functools.cache
def family_of(operator: Operator) -> Family:
    """
    Return the family of an operator's penalty, by trying.

    Parameters
    ----------
    operator : Operator
        The operator.

    Returns
    -------
    Family
        What was found.
    """
    if not hasattr(operator, "penalty"):
        return Family(None, False)
    a = np.array([0.01, 0.3, 0.7, 1.1, 1.9, 4.0, 20.0])
    params = next(p for p in itertools.permutations((0.5, 0.75, 3.0), len(operator.parameters)) if _valid(operator, p))
    penalty = operator.penalty(a, *params)

    def agree(found: Any, expected: Any) -> bool:
        return bool(np.allclose(found, expected, rtol=1e-12, atol=0))

    exponents = None
    for powers in itertools.product((1.0, 0.0, 0.5, -1.0), repeat=len(params)):
        tried = [(t, scaled(params, powers, t)) for t in (0.9, 0.8)]
        if all(_valid(operator, p) and agree(operator.penalty(a, *p), t * penalty) for t, p in tried):
            exponents = powers
            break
    return Family(exponents, agree(operator.penalty(2 * a, *params), 2 * penalty))


def scaled(params: tuple[Any, ...], exponents: tuple[float, ...], t: Any) -> tuple[Any, ...]:
    """Return the parameters of t times a penalty."""
    return tuple(p * t**power if power else p for p, power in zip(params, exponents, strict=True))


def _valid(operator: Operator, params: tuple[float, ...]) -> bool:
    try:
        operator.checked(0.0, params, {})
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Arrays


def largest_eigenvalue(xp: ModuleType, dictionary: Any) -> Any:
    """
    Return the largest eigenvalue of D D* or up to 1 % more, never less: the norm of a high power of the matrix, rooted.

    Parameters
    ----------
    xp : module
        Namespace of the array.
    dictionary : array, shape (m, n)
        The matrix D.

    Returns
    -------
    array, shape ()
        The eigenvalue; 1 if all are 0.
    """
    wide = dictionary if xp.finfo(dictionary.dtype).bits >= 32 else xp.astype(dictionary, xp.float32)
    adjoint = xp.conj(wide).T if xp.isdtype(wide.dtype, "complex floating") else wide.T
    gram = wide @ adjoint if wide.shape[0] <= wide.shape[1] else adjoint @ wide
    # The norm of the m-th power of a matrix of rank n is at most sqrt(n) times the m-th power of the eigenvalue.
    squarings = max(0, math.ceil(math.log2(math.log(max(gram.shape[0], 1) + 1) / 0.02)))
    logarithm: Any = 0.0
    for k in range(squarings + 1):
        norm = xp.sqrt(xp.sum(xp.abs(gram) ** 2))
        norm = xp.where(norm > 0, norm, xp.ones_like(norm))
        logarithm = logarithm + xp.log(norm) / 2**k
        gram = gram / norm
        if k < squarings:
            gram = gram @ gram
    return xp.exp(logarithm)


def _arrays(x: Any, dictionary: Any) -> tuple[ModuleType, Any, Any]:
    """Return arrays of floating-point numbers, and their namespace; NumPy's for lists."""
    for name, a in {"x": x, "dictionary": dictionary}.items():
        if hasattr(a, "shape") and not array_api_compat.is_array_api_obj(a):
            msg = f"sparse_code: {name} must be an array of the array API, to be multiplied, got {type_name(a)}"
            raise TypeError(msg)
    x, dictionary = (a if array_api_compat.is_array_api_obj(a) else np.asarray(a) for a in (x, dictionary))
    xp = array_api_compat.array_namespace(x, dictionary)
    default = xp.asarray(1.0).dtype
    x, dictionary = (xp.astype(a, default) if xp.isdtype(a.dtype, "integral") else a for a in (x, dictionary))
    dtype = xp.result_type(x, dictionary)
    return xp, xp.astype(x, dtype, copy=False), xp.astype(dictionary, dtype, copy=False)


def _number(a: Any) -> Any:
    """Return a number, where an array of no dimension is one already and not traced."""
    try:
        return float(a.item()) if hasattr(a, "item") else float(a)
    except (TypeError, RuntimeError):
        return a


def _inner(xp: ModuleType, a: Any, b: Any) -> Any:
    """Return the inner product of vectors on the last axis, of which complex numbers are pairs of real ones."""
    product = xp.real(a * xp.conj(b)) if xp.isdtype(a.dtype, "complex floating") else a * b
    return xp.sum(product, axis=-1)


def _half_square(xp: ModuleType, a: Any) -> Any:
    return _inner(xp, a, a) / 2


def _norm(xp: ModuleType, a: Any) -> Any:
    return xp.sqrt(_inner(xp, a, a))
