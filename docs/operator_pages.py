"""One page for each operator of shrinkops.OPERATORS, from one template.

What is the same for every operator stands in _templates/operator.rst.jinja; what differs is computed here, from its
signature, its docstring and by calling it. No operator is named: a new one has its page once it is in the registry.
"""

import itertools
from inspect import Parameter, Signature
from pathlib import Path

import jinja2
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpydoc.docscrape import NumpyDocString

import shrinkops

FOLDER = "operators"
TEMPLATES = Path(__file__).parent / "_templates"
COLOURS = {"value": "#1f77b4", "derivative": "#d62728", "penalty": "#2ca02c"}
FONT = {"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "shrinkops", "svg.fonttype": "path"}


def setup(app):
    """Write the pages at the beginning of a build, and read them again in each: they depend on more than their text."""
    app.connect("builder-inited", write)
    app.connect("env-get-outdated", lambda app, env, *_: [page for page in env.found_docs if page.startswith(FOLDER)])


def write(app):
    """Write the page and the curves of every operator, and the overview; remove what is not among them."""
    folder = Path(app.srcdir, FOLDER)
    folder.mkdir(exist_ok=True)
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    pages = {name: Page(op) for name, op in shrinkops.OPERATORS.items()}
    written = {folder / "index.rst"}
    overview = templates.get_template("operators.rst.jinja").render(pages=pages.values())
    update(folder / "index.rst", overview)
    for name, page in pages.items():
        update(folder / f"{name}.rst", templates.get_template("operator.rst.jinja").render(page=page))
        page.draw(folder / f"{name}.svg")
        page.draw_small(folder / f"{name}-small.svg")
        written |= {folder / f"{name}.rst", folder / f"{name}.svg", folder / f"{name}-small.svg"}
    for stale in set(folder.iterdir()) - written:
        stale.unlink()


def update(path, text):
    """Write a file, unless that is what it holds."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


class Page:
    """What the template asks about an operator."""

    def __init__(self, op):
        self.op = op
        self.name = op.__name__
        self.doc = NumpyDocString(op.__doc__)
        self.summary = " ".join(self.doc["Summary"])
        self.signature = op.__signature__
        self.values = illustrative(op)
        self.arguments = ", ".join(f"{p}={v:g}" for p, v in zip(op.parameters, self.values, strict=True))
        self.call = self.name + "(x" + (f", {self.arguments})" if self.arguments else ")")

    @property
    def companions(self):
        """The names of what belongs to the operator, each with its signature."""
        found = {"derivative": self.signature}
        g = Parameter("g", Parameter.POSITIONAL_OR_KEYWORD)
        found["vjp"] = Signature([g, *list(self.signature.parameters.values())[:-1]])
        if self.has("penalty"):
            found["penalty"] = self.signature
        return found

    def has(self, companion):
        """Whether the operator has a companion."""
        return hasattr(self.op, companion)

    @property
    def thresholds(self):
        """The parameters that x is compared with, by their description: they are in the unit of x."""
        compared = {
            name
            for entry in self.doc["Parameters"]
            for name in entry.name.split(", ")
            if "in the unit of" in " ".join(entry.desc)
        }
        return {p: v for p, v in zip(self.op.parameters, self.values, strict=True) if p in compared}

    @property
    def cases(self):
        """The rows of the table of special cases: what x is, then value and derivative in each precision."""
        chosen = {"``0.0``": 0.0, "``-0.0``": -0.0, "``1e-5``": 1e-5, "``1.0``": 1.0}
        for name, v in self.thresholds.items():
            chosen |= {f"``{name}``": v, f"``-{name}``": -v, f"next above ``{name}``": (v, np.inf)}
        chosen |= {"largest finite": np.finfo, "``inf``": np.inf, "``-inf``": -np.inf, "``nan``": np.nan}
        return [(label, *self.evaluated(x, np.float32), *self.evaluated(x, np.float64)) for label, x in chosen.items()]

    def evaluated(self, x, dtype):
        """Value and derivative at x, as text."""
        if x is np.finfo:
            x = np.finfo(dtype).max
        elif isinstance(x, tuple):
            x = np.nextafter(*map(dtype, x))
        x = np.asarray(x, dtype)
        return str(self.op(x, *self.values)[()]), str(self.op.derivative(x, *self.values)[()])

    @property
    def inputs(self):
        """Expressions and what comes of them: other kinds of x, and parameters that are refused."""
        rest = "".join(f", {v:g}" for v in self.values)
        wholes = [
            f"{self.name}(np.array([-2, 0, 3]){rest})",
            f"{self.name}(2.0{rest})",
            f"{self.name}([-2.0, 2.0]{rest})",
        ]
        refused = [f"{self.name}(np.array([True]){rest})", f'{self.name}(np.array(["1"]){rest})']
        for k, bad in itertools.product(range(len(self.values)), ["-1.0", "np.nan", "None"]):
            given = [f"{v:g}" for v in self.values]
            given[k] = bad
            refused.append(f"{self.name}({', '.join(['2.0', *given])})")
        return [(expression, outcome(expression)) for expression in (*wholes, *refused)]

    def curves(self):
        """The curves at the illustrative parameters, by name; broken where they jump."""
        x = np.linspace(-3, 3, 6001)
        found = {"value": self.op(x, *self.values), "derivative": self.op.derivative(x, *self.values)}
        if self.has("penalty"):
            found["penalty"] = self.op.penalty(x, *self.values)
        for y in found.values():
            y[1:][np.abs(np.diff(y)) > 0.05] = np.nan
        return x, found

    def draw(self, path):
        """Draw value, derivative and, where it has one, the penalty."""
        x, curves = self.curves()
        with rc_context(FONT):
            figure = Figure(figsize=(3.1 * len(curves), 2.9), layout="constrained")
            for axes, (what, y) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
                axes.axhline(0, color="0.8", linewidth=0.8)
                axes.axvline(0, color="0.8", linewidth=0.8)
                if what == "value":
                    axes.plot(x, x, color="0.6", linewidth=0.8, linestyle="--")
                    axes.set_aspect("equal")
                axes.plot(x, y, color=COLOURS[what], linewidth=1.8)
                for sign, threshold in itertools.product((-1, 1), self.thresholds.values()):
                    axes.axvline(sign * threshold, color="0.6", linewidth=0.6, linestyle=":")
                axes.set(title=what, xlabel="x", xlim=(-3, 3))
                axes.spines[["top", "right"]].set_visible(False)
            figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})

    def draw_small(self, path):
        """Draw the value without words, for the overview."""
        x, curves = self.curves()
        figure = Figure(figsize=(1.3, 1.3))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        axes.plot(x, x, color="0.6", linewidth=0.8, linestyle="--")
        axes.plot(x, curves["value"], color=COLOURS["value"], linewidth=2)
        axes.set(xlim=(-3, 3), ylim=(-3, 3))
        axes.set_axis_off()
        with rc_context(FONT):
            figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def illustrative(op):
    """Return values for the parameters: the defaults; else the first of 0.5, 1.5, ... that the operator accepts."""
    choices = []
    for k, default in enumerate(op.defaults):
        later = [(2 * j + 1) * 0.5 for j in range(k, k + 4)]
        choices.append([*later, 0.5] if default is Parameter.empty else [default])
    for values in itertools.product(*choices):
        try:
            op.checked(np.zeros(1), values, {})
        except ValueError:
            continue
        return tuple(map(float, values))
    msg = f"no values for the parameters of {op.__name__}: {', '.join(op.parameters)}"
    raise ValueError(msg)


def outcome(expression):
    """Return what comes of an expression, in words for a table."""
    try:
        result = eval(expression, {"np": np, **shrinkops.OPERATORS})
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return repr(result)
