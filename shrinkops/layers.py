"""Layers without a framework: values forward, gradients backward, for arrays of any library.

There is a class for every operator of `shrinkops.OPERATORS`, of its name with a capital. A training loop in NumPy calls
``forward`` from the first layer to the last, ``backward`` from the last to the first, and then ``update``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np

from ._dispatch import Operator
from ._domain import Domain, check_learnable, reflected
from ._registered import bound, class_name, classes

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the layers of the registry


class Layer:
    """
    The layer of an operator; those of `shrinkops.OPERATORS` are classes of their own, made of this one.

    Parameters
    ----------
    *args : number or array
        Parameters of the operator, which become attributes; arrays broadcast against the input.
    **named : number or array
        Parameters of the operator by name.

    Attributes
    ----------
    operator : Operator
        The operator.
    gradients : dict of str to array
        What the last `backward` found of every parameter, of its shape.

    Raises
    ------
    TypeError
        If a parameter is missing, or no real number and no array.
    ValueError
        If numbers are not in the domain of the operator.

    Examples
    --------
    >>> import numpy as np
    >>> from shrinkops.layers import Softshrink
    >>> layer = Softshrink(np.array([0.5, 1.0]))
    >>> x = np.array([[2.0, 3.0], [0.1, 4.0]])
    >>> layer.forward(x)
    array([[1.5, 2. ],
           [0. , 3. ]])
    >>> layer.backward(np.ones((2, 2)))
    array([[1., 1.],
           [0., 1.]])
    >>> layer.gradients["lambd"]
    array([-1., -2.])
    >>> layer.update(-0.3)
    >>> layer.lambd
    array([0.2, 0.4])
    """

    operator: Operator
    domain: Domain

    def __init__(self, *args: Any, **named: Any) -> None:
        given = bound(self.operator, args, named)
        # Lists are numbers of NumPy's, as everywhere.
        given = {p: np.asarray(v, dtype=float) if isinstance(v, list | tuple) else v for p, v in given.items()}
        self.operator.checked(0.0, tuple(v for v in given.values()), {})
        for parameter, value in given.items():
            setattr(self, parameter, value)
        self.gradients: dict[str, Any] = {}
        self._input: Any = None

    def forward(self, x: Any) -> Any:
        """
        Shrink, and keep the input for `backward`.

        Parameters
        ----------
        x : array of numbers
            Values to shrink.

        Returns
        -------
        array
            Shrunk values, as the operator returns them.

        Raises
        ------
        TypeError, ValueError
            As the operator does.
        """
        y = self.operator(x, *self._params())
        self._input = x
        return y

    __call__ = forward

    def backward(self, g: Any) -> Any:
        """
        Pull the gradient of a loss with respect to the output back to the input, and to the parameters.

        Parameters
        ----------
        g : array
            The gradient with respect to what `forward` returned last, of its shape.

        Returns
        -------
        array
            The gradient with respect to the input; those with respect to parameters are in `gradients`.

        Raises
        ------
        RuntimeError
            If there was no `forward` before.
        TypeError, ValueError
            As the operator's ``vjp`` does.
        """
        if self._input is None:
            msg = f"{class_name(self.operator)}: backward needs a forward before it"
            raise RuntimeError(msg)
        dx, *rest = self.operator.vjp(g, self._input, *self._params())
        self.gradients = dict(zip(self.operator.parameters, rest, strict=True))
        return dx

    def update(self, rate: float, *names: str) -> None:
        """
        Step down the gradients that `backward` found; what would leave its domain is reflected at the bound.

        Parameters
        ----------
        rate : float
            By how much of the gradient.
        *names : str
            Which parameters to move, by default all.

        Raises
        ------
        RuntimeError
            If there was no `backward` before.
        ValueError
            If the operator has no such parameter, or it cannot be kept in its domain.
        """
        name, operator = class_name(self.operator), self.operator
        for p in names:
            if p not in operator.parameters:
                msg = f"{name}: update moves parameters ({', '.join(operator.parameters)}), got {p!r}"
                raise ValueError(msg)
        if operator.parameters and not self.gradients:
            msg = f"{name}: update needs a backward before it"
            raise RuntimeError(msg)
        moved = [k for k, p in enumerate(operator.parameters) if p in names or not names]
        if not moved:
            return
        check_learnable(operator, [operator.parameters[k] for k in moved])
        values = list(self._params())
        for k in moved:
            values[k] = values[k] - rate * self.gradients[operator.parameters[k]]
        # Gradients of numbers are numbers of NumPy's, of which the array API has arrays without dimensions.
        values = [np.asarray(v) if isinstance(v, np.generic) else v for v in values]
        xp = array_api_compat.array_namespace(*(values[k] for k in moved))
        values = reflected(xp, self.domain, values, moved, values[moved[0]].dtype)
        for k in moved:
            setattr(self, operator.parameters[k], values[k])

    def _params(self) -> tuple[Any, ...]:
        return tuple(getattr(self, p) for p in self.operator.parameters)

    def __repr__(self) -> str:
        """Return the call that makes such a layer."""
        values = ", ".join(f"{p}={v!r}" for p, v in zip(self.operator.parameters, self._params(), strict=True))
        return f"{class_name(self.operator)}({values})"


_DOCSTRING = """
Apply `shrinkops.{operator}` to an array, as a layer that knows its gradients.

Parameters
----------
{parameters}

Raises
------
TypeError, ValueError
    As `Layer` and `shrinkops.{operator}` do.

See Also
--------
Layer : What a layer can do.

Examples
--------
>>> import numpy as np
>>> from shrinkops.layers import {name}
>>> layer = {call}
>>> layer.forward(np.ones((2, 3))).shape
(2, 3)
>>> layer.backward(np.ones((2, 3))).shape
(2, 3)
"""
LAYERS = classes(Layer, __name__, _DOCSTRING, "")
globals().update(LAYERS)
__all__ = ["Layer", *LAYERS]
