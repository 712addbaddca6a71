"""Layers from the registry: a class for every operator, with the signature and the documentation of its parameters."""

from __future__ import annotations

import inspect
import re
from typing import Any

from ._dispatch import OPERATORS, Operator
from ._domain import domain_of, example


def class_name(operator: Operator) -> str:
    """Return the name of an operator's layer."""
    return operator.__name__.capitalize()


def classes(base: type, module: str, docstring: str, options: str, **names: str) -> dict[str, type]:
    """
    Return a subclass of a base for every operator, by name.

    Its signature is the operator's parameters and then the keywords of ``base.__init__``, of which the docstring tells
    in the section of parameters behind what the operator tells of its own.
    """
    made = {}
    for operator in OPERATORS.values():
        name = class_name(operator)
        described = "\n".join(filter(None, [described_parameters(operator), inspect.cleandoc(options)]))
        values = [f"{p}={v:g}" for p, v in zip(operator.parameters, example(operator), strict=True)]
        text = inspect.cleandoc(docstring).format(
            name=name,
            operator=operator.__name__,
            parameters=described,
            call=f"{name}({', '.join(values)})",
            arguments=", ".join([*values, ""]),
        )
        keywords = [p for p in inspect.signature(base).parameters.values() if p.kind is p.KEYWORD_ONLY]
        bare = [p.replace(annotation=p.empty) for p in keywords]
        own = list(operator.__signature__.parameters.values())[1:-1]
        made[name] = type(
            name,
            (base,),
            {
                "__module__": module,
                "__doc__": text,
                "__signature__": inspect.Signature([*own, *bare]),
                "operator": operator,
                "domain": domain_of(operator),
            },
        )
    return made


def described_parameters(operator: Operator) -> str:
    """Return the section of the parameters in an operator's docstring, without x and out."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n---)", f"{operator.__doc__}\n", re.MULTILINE | re.DOTALL)
    entries = re.split(r"\n(?=\S)", section[1].strip()) if section else []
    return "\n".join(entry for entry in entries if entry.partition(" : ")[0] not in ("x", "out"))


def bound(operator: Operator, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an operator by name, as they were given, defaults filled in; refuse others."""
    _, *parameters = inspect.signature(operator).parameters.values()
    signature = inspect.Signature(parameters[:-1])
    try:
        given = signature.bind(*args, **named)
    except TypeError as error:
        msg = f"{class_name(operator)}: {error}"
        raise TypeError(msg) from None
    given.apply_defaults()
    return given.arguments
