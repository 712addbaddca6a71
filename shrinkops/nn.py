"""Layers for PyTorch: drop-in for those of `torch.nn`, and one for every other operator, with thresholds that learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._checks import type_name
from ._dispatch import OPERATORS, Operator, check_operator
from ._domain import Domain, check_learnable, holds, reflected
from ._operators import softshrink
from ._registered import bound, class_name, classes
from .sparse_coding import family_of, largest_eigenvalue, scaled

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    msg = "shrinkops.nn needs PyTorch, which is not installed: pip install torch"
    raise ImportError(msg, name="torch") from None

import array_api_compat.torch as xp

from ._backends.torch import PLAIN, transformed, unseen

TENSORS = (torch.Tensor, torch.fx.Proxy, torch.fx.Node)  # the last two stand for one in a graph

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the layers of the registry


class Shrinkage(torch.nn.Module):  # type: ignore[misc]
    """
    The layer of an operator; those of `shrinkops.OPERATORS` are classes of their own, made of this one.

    Parameters
    ----------
    *args : number, or array of shape (num_parameters,)
        Parameters of the operator. Numbers that are not learnt are attributes and not in the ``state_dict``, as in
        `torch.nn.Softshrink`; arrays are buffers, and what is learnt is a ``torch.nn.Parameter``, of shape
        ``(num_parameters,)``.
    learnable : bool, str or iterable of str, default: False
        What to learn: all parameters, none, or those of these names.
    num_parameters : int, default: 1
        How many of each there are that are learnt or arrays: 1, or as many as channels, which are dimension 1 of the
        input, as in `torch.nn.PReLU`.
    device : torch.device, optional
        Where tensors are.
    dtype : torch.dtype, optional
        Floating-point dtype of the tensors, by default PyTorch's.
    **named : number, or array of shape (num_parameters,)
        Parameters of the operator by name.

    Attributes
    ----------
    operator : Operator
        The operator.
    learnable : tuple of str
        The names of what is learnt.

    Raises
    ------
    TypeError
        If a parameter is missing or no number, or `dtype` is not of real floating-point numbers.
    ValueError
        If a parameter is not in its domain or has another shape, if `learnable` names none, or if `num_parameters` is
        not positive.

    Notes
    -----
    What is learnt stays where the operator allows it by being reflected at the bounds of the domain: the threshold is
    ``abs(p)`` where ``p`` is the tensor that is learnt, ``a > 2`` is ``2 + abs(p - 2)``, and ``low <= high`` is
    ``high = low + abs(p - low)``. Inside the domain that is the identity: a layer begins with the very thresholds that
    it was given, and a ``state_dict`` shows them. Its slope is 1 or -1, so that a step of an optimiser is in the unit
    of the input, whatever the threshold, and none gets stuck, as outside a clamp; and 0 is reached and left again.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", IEEE International Conference on Computer Vision (2015), doi:10.1109/ICCV.2015.123 (parameters of
    an activation that learn, one for each channel).

    Examples
    --------
    >>> import torch
    >>> from shrinkops.nn import Softshrink
    >>> layer = Softshrink(0.5, learnable=True)
    >>> layer(torch.tensor([-2.0, 0.25, 3.0])).sum().backward()
    >>> layer.lambd.grad
    tensor([0.])
    >>> _ = layer.load_state_dict({"lambd": torch.tensor([-1.0])})
    >>> layer(torch.tensor([-2.0, 0.25, 3.0])).detach()
    tensor([-1.,  0.,  2.])
    """

    operator: Operator
    domain: Domain

    def __init__(
        self,
        *args: Any,
        learnable: bool | str | Iterable[str] = False,
        num_parameters: int = 1,
        device: Any = None,
        dtype: Any = None,
        **named: Any,
    ) -> None:
        super().__init__()
        operator, name = self.operator, class_name(self.operator)
        given = bound(operator, args, named)
        if isinstance(num_parameters, bool) or not isinstance(num_parameters, int) or num_parameters < 1:
            msg = f"{name} requires num_parameters >= 1, got {num_parameters!r}"
            raise ValueError(msg)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            msg = f"{name}: dtype must be of real floating-point numbers, got {dtype}"
            raise TypeError(msg)
        self.num_parameters = num_parameters
        self.learnable = _names(name, operator, learnable)
        check_learnable(operator, self.learnable)
        checked = [_initial(name, p, value, num_parameters) for p, value in given.items()]
        for numbers in zip(*_broadcast(checked), strict=True):
            operator.checked(0.0, numbers, {})
        for (p, value), initial in zip(given.items(), checked, strict=True):
            tensor = torch.tensor(initial, device=device, dtype=dtype)
            if p in self.learnable:
                self.register_parameter(p, torch.nn.Parameter(tensor.expand(num_parameters).clone()))
            elif len(initial) == 1 and not hasattr(value, "__len__"):
                setattr(self, p, value)
            else:
                self.register_buffer(p, tensor)

    def forward(self, input: Any) -> Any:
        """
        Shrink.

        Parameters
        ----------
        input : Tensor
            Values to shrink, of any shape if ``num_parameters`` is 1, else of shape (batch, num_parameters, ...).

        Returns
        -------
        Tensor
            Shrunk values, of the shape, device and dtype of `input`.

        Raises
        ------
        TypeError
            If `input` does not hold numbers.
        ValueError
            If `input` has another number of channels.
        """
        return _shrunk(self, input, self._values(), self._learnt())

    def shrinkage_parameters(self, dtype: Any = None) -> dict[str, Any]:
        """
        Return the parameters of the operator as it is called with them: what is learnt, inside its domain.

        Parameters
        ----------
        dtype : torch.dtype, optional
            Of the input that they are for, by default PyTorch's.

        Returns
        -------
        dict of str to float or Tensor
            The parameters by name, tensors of shape (num_parameters,).
        """
        dtype = torch.get_default_dtype() if dtype is None else dtype
        values = _inside(self.domain, self._values(), self._learnt(), dtype)
        return dict(zip(self.operator.parameters, values, strict=True))

    def extra_repr(self) -> str:
        """Return what is between the parentheses of the layer's repr, for one number as `torch.nn` has it."""
        names = self.operator.parameters
        numbers = {p: v for p, v in zip(names, self._values(), strict=True) if not isinstance(v, torch.Tensor)}
        words = [str(v) if len(names) == 1 else f"{p}={v}" for p, v in numbers.items()]
        if len(numbers) < len(names):
            words.append(f"num_parameters={self.num_parameters}")
        if self.learnable:
            words.append(f"learnable={True if self.learnable == names else self.learnable}")
        return ", ".join(words)

    def _values(self) -> list[Any]:
        return [getattr(self, p) for p in self.operator.parameters]

    def _learnt(self) -> list[int]:
        return [k for k, p in enumerate(self.operator.parameters) if p in self.learnable]

    def __prepare_scriptable__(self) -> Any:
        """Return what TorchScript can read: a graph that calls the operator as one of PyTorch's own."""
        graph = torch.fx.Graph()
        x = graph.placeholder("input", torch.Tensor)
        names = self.operator.parameters
        values = [graph.get_attr(p) if torch.is_tensor(v) else v for p, v in zip(names, self._values(), strict=True)]
        arguments = _as_one(self.operator, x, values, self._learnt())
        graph.output(graph.call_function(torch.ops.shrinkops.shrink, arguments))
        return torch.fx.GraphModule(self, graph, type(self).__name__)


def _names(name: str, operator: Operator, learnable: object) -> tuple[str, ...]:
    """Return the names of what to learn, in the order of the operator's parameters."""
    if isinstance(learnable, bool):
        return operator.parameters if learnable else ()
    if not isinstance(learnable, Iterable):
        msg = f"{name}: learnable must be True, False, or names of parameters, got {learnable!r}"
        raise TypeError(msg)
    asked = {learnable} if isinstance(learnable, str) else set(learnable)
    unknown = sorted(map(str, asked - set(operator.parameters)))
    if unknown:
        msg = f"{name}: learnable must name parameters ({', '.join(operator.parameters)}), got {unknown[0]!r}"
        raise ValueError(msg)
    return tuple(p for p in operator.parameters if p in asked)


def _initial(name: str, parameter: str, value: Any, num_parameters: int) -> list[Any]:
    """Return the numbers of a parameter, one or as many as there are to be."""
    if not hasattr(value, "__len__") or isinstance(value, str):
        return [value.item() if isinstance(value, torch.Tensor) else value]
    shape = tuple(torch.as_tensor(value).shape)
    if shape not in {(), (1,), (num_parameters,)}:
        msg = f"{name}: {parameter} must be a number or of shape (num_parameters,) = ({num_parameters},), got {shape}"
        raise ValueError(msg)
    numbers = torch.as_tensor(value).reshape(-1).tolist()
    return list(numbers)


def _broadcast(lists: list[list[Any]]) -> list[list[Any]]:
    n = max(map(len, lists), default=0)
    return [a * n if len(a) == 1 else a for a in lists]


def _shrunk(layer: Shrinkage | type[Shrinkage], x: Any, values: list[Any], learnt: list[int]) -> Any:
    """Apply a layer's operator with parameters along dimension 1, those that are learnt inside the domain."""
    operator = layer.operator
    if isinstance(x, torch.fx.Proxy):  # what is learnt or an array becomes a node of its own
        tensors = any(isinstance(p, TENSORS) for p in values)
        return torch.ops.shrinkops.shrink(*_as_one(operator, x, values, learnt)) if tensors else operator(x, *values)
    if not isinstance(x, torch.Tensor):
        msg = f"{class_name(operator)}: input must be a torch.Tensor, got {type_name(x)}"
        raise TypeError(msg)
    if learnt:
        real = x.real if x.is_complex() else x
        dtype = real.dtype if real.is_floating_point() else torch.get_default_dtype()
        values = _inside(layer.domain, values, learnt, dtype, unwatched=not torch.is_grad_enabled())
    return operator(x, *(_along_channels(operator, x, p) for p in values))


def _as_one(operator: Operator, x: Any, values: list[Any], learnt: list[int]) -> tuple[Any, ...]:
    """Return the arguments of the operation of PyTorch's that is every layer."""
    places = [k for k, v in enumerate(values) if isinstance(v, TENSORS)]
    numbers = [0.0 if k in places else float(v) for k, v in enumerate(values)]
    return operator.__name__, x, numbers, [values[k] for k in places], places, learnt


def _inside(domain: Domain, values: list[Any], learnt: list[int], dtype: Any, unwatched: bool = False) -> list[Any]:
    """
    Return parameters in a dtype, those that are learnt inside their domain, where most are all the time.

    Where nobody watches, single ones become numbers, with which an operator is called sooner.
    """
    if not torch.compiler.is_compiling() and not transformed() and not unseen():
        numbers = [_looked_at(p, dtype) for p in values]
        if all(p is not None for p in numbers) and holds(xp, domain, numbers, learnt, dtype):
            return [n if unwatched and type(n) is float else p for n, p in zip(numbers, values, strict=True)]
    return reflected(xp, domain, values, learnt, dtype)


def _looked_at(p: Any, dtype: Any) -> Any:
    """Return a parameter as a number or an array of NumPy; None where it would take time or may not be looked at."""
    if not isinstance(p, torch.Tensor):
        return float(p)
    if type(p) not in PLAIN or not p.is_cpu or p.dtype is not dtype:
        return None
    if p.numel() == 1:
        return p.item()
    return (p.detach().float() if dtype is torch.bfloat16 else p.detach()).numpy()


def _along_channels(operator: Operator, x: Any, p: Any) -> Any:
    """Return a parameter that broadcasts against the channels of x."""
    if not isinstance(p, torch.Tensor):
        return p
    if p.numel() == 1:
        return p.reshape(())
    if x.ndim < 2 or x.shape[1] != p.numel():
        msg = (
            f"{class_name(operator)} requires input of {p.numel()} channels, on dimension 1, got shape {tuple(x.shape)}"
        )
        raise ValueError(msg)
    return p.reshape(-1, *[1] * (x.ndim - 2))


_OPTIONS = """
learnable : bool, str or iterable of str, default: False
    What to learn: all parameters, none, or those of these names.
num_parameters : int, default: 1
    How many of each there are that are learnt or arrays: 1, or as many as channels, which are dimension 1 of the input.
device : torch.device, optional
    Where tensors are.
dtype : torch.dtype, optional
    Floating-point dtype of the tensors, by default PyTorch's.
"""
_DOCSTRING = """
Apply `shrinkops.{operator}` to a tensor of real or complex numbers, of any shape, as a layer of PyTorch.

Parameters
----------
{parameters}

Raises
------
TypeError, ValueError
    As `Shrinkage` and `shrinkops.{operator}` do.

See Also
--------
Shrinkage : How thresholds learn, and stay in their domain.

Examples
--------
>>> import torch
>>> from shrinkops.nn import {name}
>>> layer = {name}({arguments}learnable=True, num_parameters=3)
>>> layer(torch.ones(2, 3, 5)).shape
torch.Size([2, 3, 5])
"""
LAYERS = classes(Shrinkage, __name__, _DOCSTRING, _OPTIONS)
globals().update(LAYERS)
__all__ = ["Shrinkage", "SparseEncoder", *LAYERS]


class SparseEncoder(torch.nn.Module):  # type: ignore[misc]
    r"""
    Find sparse codes in a given number of layers: ISTA unrolled, with weights and thresholds that learn (LISTA).

    .. math:: z_{k + 1} = h_{\theta_k} (x W + z_k S), \qquad z_0 = 0

    for every signal :math:`x`, with an operator :math:`h`. It begins as ISTA, :math:`W = t D^\top`,
    :math:`S = I - t D D^\top` with the step :math:`t` and the thresholds of `shrinkops.sparse_coding.sparse_code`, and
    learns from there.

    Parameters
    ----------
    dictionary : Tensor of real numbers, shape (atoms, features)
        The atoms :math:`D` to begin with; not kept.
    operator : Operator, default: softshrink
        The proximal map of the penalty; one of `shrinkops.OPERATORS`.
    layers : int, default: 8
        How many layers, each of the cost of an iteration.
    learnable : bool, str or iterable of str, default: True
        Which parameters of the operator to learn, in each layer one for each atom; the weights learn in any case.
    step : float, optional
        Step of the gradient, by default 1 divided by the largest eigenvalue of :math:`D D^*`.
    **parameters : number
        Parameters of the operator by name, as ``lambd=0.1``.

    Attributes
    ----------
    encoder : torch.nn.Parameter, shape (features, atoms)
        :math:`W`.
    inhibition : torch.nn.Parameter, shape (atoms, atoms)
        :math:`S`, the same in every layer.
    shrinkages : torch.nn.ModuleList of Shrinkage
        :math:`h`, of every layer.

    Raises
    ------
    TypeError
        If `operator` is none or `dictionary` no tensor of real floating-point numbers, or as the operator does.
    ValueError
        If `dictionary` is no matrix or not finite, if `layers` is not positive, or as the operator does.

    See Also
    --------
    shrinkops.sparse_coding.sparse_code : Iterates until the codes have converged.

    References
    ----------
    K. Gregor and Y. LeCun, "Learning fast approximations of sparse coding", Proceedings of the 27th International
    Conference on Machine Learning (2010), pages 399 to 406, doi:10.5555/3104322.3104374.

    Examples
    --------
    >>> import torch
    >>> from shrinkops.nn import SparseEncoder
    >>> dictionary = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> encoder = SparseEncoder(dictionary, layers=4, lambd=0.5)
    >>> encoder(torch.tensor([[1.2, 1.6]])).shape
    torch.Size([1, 3])
    """

    def __init__(
        self,
        dictionary: Any,
        operator: Operator = softshrink,
        *,
        layers: int = 8,
        learnable: bool | str | Iterable[str] = True,
        step: Any = None,
        **parameters: Any,
    ) -> None:
        super().__init__()
        check_operator(operator)
        if not (isinstance(dictionary, torch.Tensor) and dictionary.is_floating_point()):
            got = dictionary.dtype if isinstance(dictionary, torch.Tensor) else type_name(dictionary)
            msg = f"SparseEncoder: dictionary must be a torch.Tensor of real floating-point numbers, got {got}"
            raise TypeError(msg)
        if dictionary.ndim != 2 or not dictionary.isfinite().all():
            got = f"shape {tuple(dictionary.shape)}" if dictionary.ndim != 2 else "NaN or infinity"
            msg = f"SparseEncoder requires a finite dictionary of shape (atoms, features), got {got}"
            raise ValueError(msg)
        if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
            msg = f"SparseEncoder requires layers >= 1, got {layers!r}"
            raise ValueError(msg)
        d = dictionary.detach()
        step = 1 / float(largest_eigenvalue(xp, d)) if step is None else step
        _, params = operator.checked(0.0, (), dict(parameters))
        exponents = family_of(operator).exponents
        params = params if exponents is None else scaled(params, exponents, step)
        like = {"device": d.device, "dtype": d.dtype}
        self.encoder = torch.nn.Parameter(step * d.T)
        self.inhibition = torch.nn.Parameter(torch.eye(len(d), **like) - step * (d @ d.T))
        self.shrinkages = torch.nn.ModuleList(
            LAYERS[class_name(operator)](*params, learnable=learnable, num_parameters=len(d), **like)
            for _ in range(layers)
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """
        Find codes.

        Parameters
        ----------
        input : Tensor, shape (..., features)
            Signals, of the dtype of the weights.

        Returns
        -------
        Tensor, shape (..., atoms)
            Codes.

        Raises
        ------
        ValueError
            If `input` has another number of features.
        """
        if input.ndim < 1 or input.shape[-1] != self.encoder.shape[0]:
            msg = f"SparseEncoder requires input of shape (..., {self.encoder.shape[0]}), got {input.shape}"
            raise ValueError(msg)
        drive = input.reshape(-1, input.shape[-1]) @ self.encoder
        codes = torch.zeros_like(drive)
        for shrinkage in self.shrinkages:
            codes = shrinkage(drive + codes @ self.inhibition)
        return codes.reshape(input.shape[:-1] + codes.shape[1:])


# What TorchScript calls, and keeps by name in what it saves: the same as in Python, autograd and kernels included.
_library = torch.library.Library("shrinkops", "FRAGMENT")
_library.define(
    "shrink(str operator, Tensor input, float[] numbers, Tensor[] tensors, int[] places, int[] learnt) -> Tensor"
)


def _shrink(operator: str, x: Any, numbers: list[Any], tensors: list[Any], places: list[int], learnt: list[int]) -> Any:
    values = list(numbers)
    for place, tensor in zip(places, tensors, strict=True):
        values[place] = tensor
    return _shrunk(LAYERS[class_name(OPERATORS[operator])], x, values, learnt)


_library.impl("shrink", _shrink, "CompositeImplicitAutograd")
