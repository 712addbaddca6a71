"""The front door: from a call to the function of the array library that the arguments come from.

`operator` makes an `Operator` of a formula on the page and enters it in OPERATORS. Called, it binds and checks its
parameters, looks up type(x) in a dictionary and calls what it finds with everything positional. A type that is not
there yet is bound once: the roots of the modules of its base classes name a backend, so that no library is imported to
tell whose an array is.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from . import _backends, _formula
from ._backends import PENALTY, VALUE
from ._checks import check_scalar, refused_mix, refused_requirement, refused_type

F = TypeVar("F", bound=Callable[..., Any])

OPERATORS: dict[str, Operator] = {}
ALL = -1  # parameters, in the order of the signature


class Function:
    """
    One function of an operator - its value, a derivative, its penalty - on arrays of any library.

    A backend binds it to an array type: ``bind(function, cls)`` returns ``implementation(x, params, out, g)``, whose
    parameters are checked. Its ``quickly(x, params, out)``, if it has one, takes them as they come, and gives
    NotImplemented where there is more to see to.

    Parameters
    ----------
    operator : Operator
        The operator.
    which : int
        VALUE, PENALTY, 0 for the derivative with respect to `x`, k for that to the k-th parameter.
    doc : str, optional
        The docstring.
    """

    count: int  # of the parameters
    further: tuple[tuple[int, Callable[..., Any]], ...]  # what they must meet beside being at least 0: one, ALL of them

    def __init__(self, operator: Operator, which: int, doc: str | None = None) -> None:
        self.operator = operator
        self.which = which
        if operator is not self:  # which says them itself
            self.count, self.further = operator.count, operator.further
        self.implementations: dict[type, Callable[..., Any]] = {}
        self.quick: dict[type, Callable[..., Any]] = {}  # that check the parameters of most calls themselves
        self.__doc__ = doc
        self.__annotations__ = {}  # those of the class are not meant

    def formula(self, xp: Any, x: Any, params: tuple[Any, ...], g: Any = None) -> Any:
        """Evaluate the formula in a namespace."""
        if self.which == VALUE:
            return _formula.value(self.operator, xp, x, params)
        if self.which == PENALTY:
            return _formula.penalty(self.operator, xp, x, params)
        return _formula.pull(self.operator, xp, self.which, g, x, params)

    def implementation(self, cls: type, x: Any) -> Callable[..., Any]:
        """Return what runs this function on arrays of a type."""
        found = self.implementations.get(cls)
        if found is None:
            backend = _backends.backend_of(cls)
            if backend is None:
                raise refused_type(self.operator.__name__, "x", x)
            found = self.implementations[cls] = backend.bind(self, cls)
            if hasattr(found, "quickly"):
                self.quick[cls] = found.quickly
        return found

    def __call__(self, x: Any, *params: Any, out: Any = None, **named: Any) -> Any:
        """Evaluate the function; see its docstring."""
        cls = type(x)
        # What most calls are like is seen here, where that costs least.
        quickly = self.quick.get(cls)
        if quickly is not None and not named:
            y = quickly(x, params, out)
            if y is not NotImplemented:
                return y
        plain = not named and len(params) == self.count
        numbers = True
        for p in params:
            if type(p) is float:
                plain = plain and p >= 0
            elif type(p) is np.ndarray:
                numbers = False
            else:
                plain = False
        if plain:
            for k, holds in self.further:
                plain = plain and numbers and (holds(*params) if k == ALL else holds(params[k]))
        if not plain:
            cls, params = self.operator.checked(x, params, named)
        return (self.implementations.get(cls) or self.implementation(cls, x))(x, params, out)

    def enter(self, x: Any, params: tuple[Any, ...], g: Any = None) -> Any:
        """Evaluate at the front door, for arrays that hold others, with a cotangent or without."""
        cls, params = self.operator.checked(x, params, {})
        if g is not None:
            cls = self.operator.checked_cotangent(cls, x, g)
        return self.implementation(cls, x)(x, params, None, g)

    def __repr__(self) -> str:
        """Return the name of the function."""
        name = {VALUE: "", PENALTY: ".penalty"}.get(self.which, ".derivative")
        return f"<shrinkops.{self.operator.__name__}{name}>"

    def __reduce__(self) -> Any:
        """Pickle by name."""
        if self.which in (PENALTY, 0):
            return getattr, (self.operator, "penalty" if self.which == PENALTY else "derivative")
        return _pull, (self.operator.__name__, self.which)


class Operator(Function):
    """
    A shrinkage operator: a function with a derivative, cotangents and a penalty.

    Parameters
    ----------
    formula : callable
        ``formula(xp, a, *params)``, the operator at ``a = abs(x)`` in the functions of the namespace `xp`.
    requires : dict of str to callable, optional
        What the parameters must meet, by the sentence that says so. What is said of one of them alone replaces that it
        must be at least 0.
    analytic : bool, default: False
        Whether the formula takes complex `x` as it is, rather than its magnitude.
    odd : bool, default: True
        Whether the operator is; if not, the formula takes real `x` with its sign, and complex `x` is refused.
    unit : tuple of float, optional
        The parameters in units of a threshold (`shrinkops.rules.AtThreshold`), of an operator whose parameters are not
        thresholds themselves.
    """

    def __init__(
        self,
        formula: Callable[..., Any],
        requires: dict[str, Callable[..., Any]] | None = None,
        analytic: bool = False,
        odd: bool = True,
        unit: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(self, VALUE, inspect.getdoc(formula))
        self.__name__ = self.__qualname__ = formula.__name__
        self.__module__ = "shrinkops"
        self.__wrapped__ = formula
        self.formula_at = formula
        self.analytic = analytic
        self.odd = odd
        _, x, *parameters = inspect.signature(formula).parameters.values()
        self.parameters = tuple(p.name for p in parameters)
        self.unit = unit if parameters else ()
        self.defaults = tuple(p.default for p in parameters)
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in (x, *parameters, out)]
        self.__signature__ = inspect.Signature(bare)
        given = [
            Requirement(text, tuple(map(self.parameters.index, inspect.signature(holds).parameters)), holds)
            for text, holds in (requires or {}).items()
        ]
        alone = {r.positions[0] for r in given if len(r.positions) == 1}
        defaults = [
            Requirement(f"{p} >= 0", (k,), _at_least_zero) for k, p in enumerate(self.parameters) if k not in alone
        ]
        self.requirements = tuple(sorted(defaults + given, key=lambda r: (len(r.positions), r.positions)))
        self.count = len(parameters)
        self.further = tuple(r.applied(len(parameters)) for r in given)
        missing = inspect.Parameter.empty
        self._rest = [None if missing in self.defaults[n:] else self.defaults[n:] for n in range(len(parameters))]
        self.partials: Callable[..., Any]
        self.penalty_formula: Any = None
        self.derivative = Function(self, 0, _DERIVATIVE.format(name=self.__name__))
        self.pulls = (self.derivative, *(Function(self, k) for k in range(1, len(parameters) + 1)))

    def derivatives(self, formula: F) -> F:
        """Register ``formula(xp, a, *params)``, the derivatives with respect to `a` and to each parameter."""
        self.partials = formula
        return formula

    def penalty_of(self, formula: F) -> F:
        """Register ``formula(xp, a, *params)``, the penalty."""
        self.penalty_formula = formula
        self._penalty = Function(self, PENALTY, _PENALTY.format(name=self.__name__))
        return formula

    @property
    def penalty(self) -> Function:
        """The penalty of which the operator is the proximal map, where it has a closed form."""
        if self.penalty_formula is None:
            msg = f"{self.__name__} has no penalty in closed form"
            raise AttributeError(msg)
        return self._penalty

    def vjp(self, g: Any, x: Any, *params: Any, **named: Any) -> tuple[Any, ...]:
        """
        Pull a cotangent of the result back to the arguments.

        Parameters
        ----------
        g : array
            Cotangent of the result, of its shape and dtype.
        x : array
            Argument of the operator.
        *params : number or array
            Parameters of the operator.
        **named : number or array
            The same by name.

        Returns
        -------
        tuple of arrays
            Cotangents of `x` and of every parameter: `g` times the derivative, summed to the shape of the argument.

        Raises
        ------
        TypeError, ValueError
            As the operator does.

        Examples
        --------
        >>> import numpy as np
        >>> import shrinkops
        >>> x = np.array([-2.0, 0.25, 1.0])
        >>> shrinkops.softshrink.vjp(np.ones(3), x, 0.5)
        (array([1., 0., 1.]), np.float64(0.0))
        """
        cls, params = self.checked(x, params, named)
        cls = self.checked_cotangent(cls, x, g)
        return tuple(pull.implementation(cls, x)(x, params, None, g) for pull in self.pulls)

    def checked(self, x: Any, params: tuple[Any, ...], named: dict[str, Any]) -> tuple[type, tuple[Any, ...]]:
        """Return the type that decides the backend, and all parameters: checked floats, or arrays as they came."""
        if named or len(params) != len(self.parameters):
            params = self._complete(params, named)
        return self._examined(x, params)

    def checked_cotangent(self, cls: type, x: Any, g: Any) -> type:
        """Return the type that decides the backend, now that a cotangent has come."""
        if _backends.is_array(g):
            return self._joined(cls, x, "g", g)
        if not isinstance(g, numbers.Number | np.generic):
            raise refused_type(self.__name__, "g", g)
        return cls

    def _complete(self, params: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """Return all parameters in the order of the signature."""
        if not named and len(params) < len(self.parameters):
            defaults = self._rest[len(params)]
            if defaults is not None:
                return params + defaults
        if len(params) > len(self.parameters):
            msg = f"{self.__name__} takes x and {len(self.parameters)} parameters, got {len(params)}"
            raise TypeError(msg)
        rest = []
        for parameter, default in list(zip(self.parameters, self.defaults, strict=True))[len(params) :]:
            value = named.pop(parameter, default)
            if value is inspect.Parameter.empty:
                msg = f"{self.__name__} requires the parameter {parameter!r}"
                raise TypeError(msg)
            rest.append(value)
        if named:
            msg = f"{self.__name__} got an unexpected or repeated argument {next(iter(named))!r}"
            raise TypeError(msg)
        return (*params, *rest)

    def _examined(self, x: Any, params: tuple[Any, ...]) -> tuple[type, tuple[Any, ...]]:
        """Convert and check scalar parameters; an array among them decides where x is NumPy's or a number."""
        cls, converted = type(x), []
        for name, p in zip(self.parameters, params, strict=True):
            if type(p) is float or type(p) is np.ndarray:
                pass
            elif _backends.is_array(p):
                cls = self._joined(cls, x, name, p)
            else:
                p = check_scalar(self.__name__, name, p)
            converted.append(p)
        for requirement in self.requirements:
            about = [converted[k] for k in requirement.positions]
            for p in about:
                if type(p) is not float:
                    break
            else:
                if not requirement.holds(*about):
                    names = [self.parameters[k] for k in requirement.positions]
                    raise refused_requirement(self.__name__, requirement.text, dict(zip(names, about, strict=True)))
        return cls, tuple(converted)

    def _joined(self, cls: type, x: Any, argument: str, value: Any) -> type:
        """Return the type that decides the backend, now that another array has come; refuse two libraries."""
        if _backends.is_numpy(type(value)):
            return cls
        backend = _backends.backend_of(type(value))
        if backend is None:
            raise refused_type(self.__name__, argument, value)
        if _backends.is_numpy(cls):
            return type(value)
        if backend is not _backends.backend_of(cls):
            raise refused_mix(self.__name__, argument, value, x)
        return cls

    def __reduce__(self) -> str:
        """Pickle by name."""
        return self.__name__


def _at_least_zero(parameter: Any) -> Any:
    return parameter >= 0


class Requirement(NamedTuple):
    """What some of the parameters must meet, and the sentence that says so."""

    text: str
    positions: tuple[int, ...]
    holds: Callable[..., Any]

    def among(self, params: tuple[Any, ...]) -> list[Any]:
        """Return the parameters that it is about."""
        return [params[k] for k in self.positions]

    def applied(self, count: int) -> tuple[int, Callable[..., Any]]:
        """Return the parameter that it is about, or ALL of them, and a function of that or these."""
        if len(self.positions) == 1:
            return self.positions[0], self.holds
        if self.positions == tuple(range(count)):
            return ALL, self.holds
        return ALL, lambda *params: self.holds(*self.among(params))


@overload
def operator(formula: Callable[..., Any]) -> Operator: ...
@overload
def operator(**options: Any) -> Callable[[Callable[..., Any]], Operator]: ...
def operator(formula: Callable[..., Any] | None = None, **options: Any) -> Any:
    """
    Make an operator of a formula, as a decorator, bare or with the options of `Operator`.

    Parameters
    ----------
    formula : callable, optional
        ``formula(xp, a, *params)``.
    **options
        Passed to `Operator`.

    Returns
    -------
    Operator or decorator
        The operator, which is entered in OPERATORS.
    """
    if formula is None:
        return functools.partial(operator, **options)
    made = OPERATORS[formula.__name__] = Operator(formula, **options)
    return made


def check_operator(value: Any) -> None:
    """Refuse what is no operator."""
    if not isinstance(value, Operator):
        msg = f"operator must be one of {', '.join(OPERATORS)}, got {value!r}"
        raise TypeError(msg)


def _pull(name: str, which: int) -> Function:
    return OPERATORS[name].pulls[which]


_SHARED = """
    Parameters
    ----------
    x : array of numbers, or number
        As for `{name}`.
    *params : number or array
        The parameters of `{name}`.
    out : array, optional
        Where to put the result, as for `{name}`.
    **named : number or array
        The parameters by name.

    Returns
    -------
    array
        {result}

    Raises
    ------
    TypeError, ValueError
        As `{name}` does."""
_DERIVATIVE = "Evaluate the derivative of `{name}` with respect to `x`.\n" + _SHARED.replace(
    "{result}", "The derivative, of the dtype of the result."
)
_PENALTY = "Evaluate the penalty of which `{name}` is the proximal map with step 1.\n" + _SHARED.replace(
    "{result}", "The penalty of each element; real where `x` is complex."
)
