"""Train a sparse encoder (LISTA) on handwritten digits, and compare it with as many iterations of ISTA and FISTA.

    python docs/gallery/lista.py [--quick] [--output docs/gallery/lista.svg]

The dictionary holds digits too. What is compared, on digits that neither the dictionary nor the training has seen, is
how far the lasso's objective is above its minimum, in units of the objective of codes that are all 0.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from shrinkops import softshrink
from shrinkops.nn import SparseEncoder
from shrinkops.sparse_coding import iterates, sparse_code

LAMBD = 0.1
ATOMS = 100
HELD_OUT = 500


def digits() -> tuple[Any, Any, Any]:
    """Return a dictionary, and signals to train with and to test with: images of norm 1."""
    images = load_digits().data[np.random.default_rng(0).permutation(1797)]
    signals = torch.tensor(images / np.linalg.norm(images, axis=1, keepdims=True), dtype=torch.float32)
    return signals[:ATOMS], signals[ATOMS:-HELD_OUT], signals[-HELD_OUT:]


def objective(x: Any, codes: Any, dictionary: Any) -> Any:
    """Return the lasso's objective of every signal."""
    residual = x - codes @ dictionary
    return residual.square().sum(-1) / 2 + softshrink.penalty(codes, LAMBD).sum(-1)


def trained(dictionary: Any, signals: Any, layers: int, epochs: int) -> SparseEncoder:
    """Return an encoder that minimises the objective of its codes, which needs no codes to learn from."""
    torch.manual_seed(0)
    encoder = SparseEncoder(dictionary, layers=layers, lambd=LAMBD)
    batches = max(1, len(signals) // 100)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(1, epochs * batches))
    for _ in range(epochs):
        for batch in signals[torch.randperm(len(signals))].chunk(batches):
            optimizer.zero_grad()
            objective(batch, encoder(batch), dictionary).mean().backward()
            optimizer.step()
            schedule.step()
    return encoder


def compare(depths: tuple[int, ...], epochs: int, iterations: int) -> dict[str, dict[int, float]]:
    """Return the mean excess on the held-out signals, by method and number of layers or iterations."""
    dictionary, training, test = digits()
    x, d = test.double(), dictionary.double()
    best = sparse_code(x, d, lambd=LAMBD, tolerance=1e-9, iterations=20_000).objective

    def excess(value: Any) -> float:
        return float((value - best[-1]).mean() / best[0].mean())

    found = {}
    for method in ("ista", "fista"):
        steps = itertools.islice(iterates(x, d, method=method, lambd=LAMBD), iterations + 1)
        found[method.upper()] = {k: excess(current.objective) for k, current in enumerate(steps) if k}
    for name, passes in {"LISTA untrained": 0, "LISTA": epochs}.items():
        found[name] = {}
        for layers in depths:
            encoder = trained(dictionary, training, layers, passes)
            with torch.no_grad():
                found[name][layers] = excess(objective(x, encoder.double()(x), d))
    return found


def report(found: dict[str, dict[int, float]]) -> str:
    """Return the numbers as a table, and what the deepest encoder saves."""
    lines = ["excess of the objective, part of that of zeros", "layers  " + "".join(f"{m:>17}" for m in found)]
    for k in found["LISTA"]:
        lines.append(f"{k:6}  " + "".join(f"{100 * values[k]:15.2f} %" for values in found.values()))
    deepest, reached = max(found["LISTA"].items())
    for method in ("ISTA", "FISTA"):
        needed = next((str(k) for k, value in found[method].items() if value <= reached), None)
        needed = needed or f"more than {max(found[method])}"
        lines.append(f"{method} needs {needed} iterations for what LISTA does in {deepest} layers")
    return "\n".join(lines)


def draw(found: dict[str, dict[int, float]]) -> Figure:
    """Draw the excess against the number of layers or iterations."""
    # Colours of Okabe and Ito, told apart by colour-blind eyes and in grey.
    styles = {
        "ISTA": {"color": "#8a9099", "linewidth": 1.6},
        "FISTA": {"color": "#0072b2", "linewidth": 1.6},
        "LISTA": {"color": "#d55e00", "linewidth": 2.2, "marker": "o", "markersize": 6},
    }
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    ax = figure.add_subplot()
    for method, style in styles.items():
        (line,) = ax.loglog(*zip(*found[method].items(), strict=True), **style)
        last = max(found[method])
        label = "LISTA, trained" if method == "LISTA" else method
        ax.annotate(
            label, (last, found[method][last]), (8, 0), textcoords="offset points", va="center", color=line.get_color()
        )
    untrained = found["LISTA untrained"]
    ax.loglog(
        *zip(*untrained.items(), strict=True),
        "o",
        color="white",
        markeredgecolor=styles["LISTA"]["color"],
        markersize=6,
    )
    first = min(untrained)
    ax.annotate(
        "LISTA, untrained (= ISTA)",
        (first, untrained[first]),
        (0, 12),
        textcoords="offset points",
        color=styles["LISTA"]["color"],
    )
    last = max(found["ISTA"])
    ticks = [2**k for k in range(last.bit_length()) if 2**k <= last]
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_yticks([0.003, 0.01, 0.03, 0.1, 0.3], ["0.3 %", "1 %", "3 %", "10 %", "30 %"])
    ax.set_xlim(0.9, 2.2 * last)
    ax.set_ylim(0.0025, 0.42)
    ax.set_xlabel("layers, or iterations")
    ax.set_title(
        "Objective above its minimum, part of the objective of zeros; held-out digits", loc="left", fontsize=10.5
    )
    ax.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Train, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a short training of small encoders")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_suffix(".svg"),
        help="where to draw; the table goes beside it",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # matrices this small are slower on several
    found = compare((1, 2, 4), 20, 16) if options.quick else compare((1, 2, 4, 8, 16), 200, 64)
    print(report(found))
    options.output.with_suffix(".txt").write_text(report(found) + "\n", encoding="utf-8")
    with rc_context({"font.family": "DejaVu Sans", "svg.hashsalt": "shrinkops"}):
        metadata = {"Date": None} if options.output.suffix == ".svg" else None
        draw(found).savefig(options.output, dpi=150, metadata=metadata)


if __name__ == "__main__":
    main()
