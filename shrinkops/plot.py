"""Pictures: the curves of operators with their derivatives, and signals before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._dispatch import OPERATORS, Operator
from .denoise import optional
from .rules import AtThreshold

__all__ = ["Row", "curves", "picture"]

# Of Okabe and Ito, told apart by colour-blind eyes and in grey.
_VALUE = "#0072b2"
_DERIVATIVE = "#d55e00"
_BEFORE = "#a4aab2"
_INK = "#30343a"
_FAINT = "#8a9099"

_STYLE = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

# More points than this are drawn as the extent of each of as many blocks: no screen shows more.
_POINTS = 4000


class Row(NamedTuple):
    """
    One row of a picture: an operator and what it did to a signal.

    Parameters
    ----------
    operator : Operator
        The operator.
    title : str
        What stands above the signal.
    before, after : ndarray
        The signal, one-dimensional.
    """

    operator: Operator
    title: str
    before: Any
    after: Any


def curves(operators: Iterable[Operator] | None = None, axes: Sequence[Any] | None = None) -> Any:
    """
    Draw operators and their derivatives, each in a panel of its own, in units of the threshold.

    Parameters
    ----------
    operators : iterable of Operator, optional
        What to draw; by default every operator of `shrinkops.OPERATORS` that is odd.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one for each operator; by default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which pyplot does not know of; ``figure.savefig(path)`` writes it.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If there is no operator, or fewer axes than operators.

    See Also
    --------
    picture : Curves beside the signals that were shrunk.

    Examples
    --------
    >>> import shrinkops
    >>> from shrinkops.plot import curves
    >>> figure = curves([shrinkops.softshrink, shrinkops.hardshrink])
    >>> [ax.get_title("left") for ax in figure.axes]
    ['softshrink', 'hardshrink']
    """
    drawn = [op for op in OPERATORS.values() if op.odd] if operators is None else list(operators)
    with optional("matplotlib").rc_context(_STYLE):
        if axes is None:
            axes = _small_multiples(len(drawn))
        if len(axes) < len(drawn) or not drawn:
            msg = f"curves requires an operator, and axes for each: got {len(drawn)} operators and {len(axes)} axes"
            raise ValueError(msg)
        for ax, operator in zip(axes, drawn, strict=False):
            lines = _draw_curve(ax, operator)
            ax.set_title(operator.__name__)
        figure = axes[0].figure
        if not figure.legends:
            figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
        return figure


def _small_multiples(n: int) -> list[Any]:
    """Return `n` axes of a new figure, five in a row at most."""
    columns = max(min(n, 5), 1)
    rows = -(-n // columns)
    figure = optional("matplotlib.figure").Figure(figsize=(2.4 * columns, 2.4 * rows + 0.5), layout="constrained")
    return [figure.add_subplot(rows, columns, k + 1) for k in range(n)]


def picture(rows: Sequence[Row], title: str = "") -> Any:
    """
    Draw each operator's curve beside the signal before and after it, many operators in two columns.

    Parameters
    ----------
    rows : sequence of Row
        What to draw, from top to bottom; at least one.
    title : str, optional
        What stands above all.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, 12 inches wide, or 18 with two columns.

    Raises
    ------
    ImportError
        If matplotlib is missing.

    See Also
    --------
    curves : The curves alone.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> from shrinkops.plot import Row, picture
    >>> x = np.linspace(-1.0, 1.0, 50)
    >>> figure = picture([Row(shrinkops.softshrink, "a ramp", x, shrinkops.softshrink(x))])
    >>> figure.get_size_inches()
    array([12. ,  3.1])
    """
    with optional("matplotlib").rc_context(_STYLE):
        columns = 2 if len(rows) > 8 else 1
        height = -(-len(rows) // columns)
        size = (6 + 6 * columns, 1.9 * height + 1.2)
        figure = optional("matplotlib.figure").Figure(figsize=size, layout="constrained")
        figure.get_layout_engine().set(hspace=0.04, wspace=0.03, h_pad=0.06)
        grid = figure.add_gridspec(height, 2 * columns, width_ratios=(1, 5.2 - columns) * columns)
        for k, row in enumerate(rows):
            last = k + columns >= len(rows)
            line, column = divmod(k, columns)
            curve = figure.add_subplot(grid[line, 2 * column])
            lines = _draw_curve(curve, row.operator, labelled=last)
            curve.set_title(row.operator.__name__, fontweight="bold")
            signal = figure.add_subplot(grid[line, 2 * column + 1])
            before = _draw_signal(signal, row.before, color=_BEFORE, linewidth=0.9, label="before")
            after = _draw_signal(signal, row.after, color=_VALUE, linewidth=1.3, label="after")
            signal.set_title(row.title)
            signal.set_xlim(0, max(len(row.before) - 1, 1))
            signal.tick_params(labelbottom=last)
            if last:
                signal.set_xlabel("sample")
        lines = [*lines, before, after]
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", parse_math=False)
        return figure


def _draw_curve(ax: Any, operator: Operator, labelled: bool = True) -> list[Any]:
    """Draw an operator and its derivative in units of the threshold, and return the lines for a legend."""
    unit = AtThreshold(operator, 1.0)
    # An even number of points steps over the thresholds, where derivatives are 0 by convention.
    x = np.linspace(-3.0, 3.0, 1200)
    slope = operator.derivative(x, **unit.parameters)
    for line in (ax.axhline, ax.axvline):
        line(0, color=_FAINT, linewidth=0.5, alpha=0.6, zorder=0)
    lines = [
        *ax.plot(*_broken(x, unit(x)), color=_VALUE, linewidth=2.4, label="operator", zorder=3),
        *ax.plot(*_broken(x, slope), color=_DERIVATIVE, linewidth=1.1, label="derivative", zorder=4),
        *ax.plot(x, x, color=_FAINT, linewidth=1, linestyle=":", label="identity"),
    ]
    ax.set_xlim(-3, 3)
    ax.set_ylim(-3, 3)
    ticks = {-2: "−2λ", -1: "−λ", 0: "0", 1: "λ", 2: "2λ"}
    ax.set_xticks(list(ticks), list(ticks.values()) if labelled else [""] * len(ticks))
    # Without the unit: the operator's values are multiples of the threshold, its derivative is a number.
    ax.set_yticks(list(ticks), ["−2", "−1", "0", "1", "2"])
    return lines


def _broken(x: Any, y: Any) -> tuple[Any, Any]:
    """Return a curve that is interrupted where it jumps."""
    jumps = np.flatnonzero(np.abs(np.diff(y)) > 20 * np.diff(x)) + 1
    return np.insert(x, jumps, np.nan), np.insert(y, jumps, np.nan)


def _draw_signal(ax: Any, x: Any, **style: Any) -> Any:
    """Draw a signal against the number of the sample, and return the line."""
    x = np.asarray(x)
    at = np.arange(x.size)
    if x.size > _POINTS:
        first = np.arange(0, x.size, -(-2 * x.size // _POINTS))
        extent = np.minimum.reduceat(x, first), np.maximum.reduceat(x, first)
        at, x = np.repeat(first, 2), np.stack(extent, axis=-1).ravel()
    (line,) = ax.plot(at, x, **style)
    return line
