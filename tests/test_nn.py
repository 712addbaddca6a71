"""Layers: as torch.nn has them where it has them, and for every operator, with thresholds that learn."""

from __future__ import annotations

import copy
import inspect
import io
import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import shrinkops
from shrinkops import _domain, layers, nn
from shrinkops._dispatch import Operator
from shrinkops.sparse_coding import iterates

ROOT = Path(__file__).parents[1]
DROP_IN = ("Tanhshrink", "Softshrink", "Hardshrink")
quiet_script = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def layer_of(operator, module=nn):
    return getattr(module, operator.__name__.capitalize())


def made(operator, help, **options):
    """Return a layer with parameters that the operator accepts."""
    return layer_of(operator)(*help.example(operator), **options)


def some(*shape, dtype=None, grad=False):
    """Return numbers that are not on a knot."""
    a = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.7
    return a.to(dtype or torch.float64).requires_grad_(grad)


# ---------------------------------------------------------------------------------------------------------------------
# Drop-in for torch.nn


@pytest.mark.parametrize("name", DROP_IN)
@pytest.mark.parametrize("args", [(), (0.25,), (1,)], ids=str)
def test_drop_in(name, args):
    """Signature, repr, attributes, state_dict, values."""
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    positional = [p for p in inspect.signature(ours).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    expected = list(inspect.signature(theirs).parameters.values()) if name != "Tanhshrink" else []
    assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in expected]
    assert inspect.signature(ours.forward).parameters.keys() == inspect.signature(theirs.forward).parameters.keys()
    if args and not positional:
        with pytest.raises(TypeError, match=name):
            ours(*args)
        return
    layer, model = ours(*args), theirs(*args)
    assert repr(layer) == repr(model)
    assert repr(torch.nn.Sequential(layer)) == repr(torch.nn.Sequential(model))
    assert layer.state_dict() == model.state_dict() == {}
    assert layer.load_state_dict(model.state_dict()) == model.load_state_dict(layer.state_dict())
    assert [getattr(layer, p.name) for p in positional] == [getattr(model, p.name) for p in positional]
    x = some(4, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), model(x), rtol=0, atol=1e-15)
    for p in positional:
        changed = ours(**{p.name: 0.125})
        setattr(layer, p.name, 0.125)
        assert torch.equal(layer(x), changed(x))


@quiet_script
@pytest.mark.parametrize("learnable", [False, True])
def test_script(operator, help, learnable, tmp_path):
    """TorchScript has the same values, gradients and state_dict, also once saved."""
    options = {"learnable": learnable, "num_parameters": 3 if learnable else 1}
    layer = made(operator, help, dtype=torch.float64, **options)
    scripted = torch.jit.script(torch.nn.Sequential(layer))
    torch.jit.save(scripted, tmp_path / "layer.pt")
    for other in (scripted, torch.jit.load(tmp_path / "layer.pt")):
        x = some(2, 3, 4, grad=True)
        assert torch.equal(other(x), layer(x))
        assert list(other.state_dict()) == [f"0.{name}" for name in layer.state_dict()]
        ours, theirs = (torch.autograd.grad(m(x).sum(), [x, *m.parameters()]) for m in (layer, other))
        assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("learnable", [False, True])
def test_export(operator, help, learnable):
    """torch.export makes a graph of PyTorch's own operations, for any size of the batch."""
    layer = made(operator, help, learnable=learnable, num_parameters=3 if learnable else 1, dtype=torch.float64)
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(layer, (some(2, 3, 4),), dynamic_shapes=shapes)
    calls = [node.target for node in exported.graph.nodes if node.op == "call_function"]
    assert all(call.namespace in ("aten", "prim") for call in calls if hasattr(call, "namespace"))
    assert exported.state_dict.keys() == layer.state_dict().keys()
    x = some(5, 3, 4)
    torch.testing.assert_close(exported.module()(x), layer(x), rtol=1e-12, atol=1e-14)


def test_compile(operator, help):
    """In one graph, gradients too."""
    torch._dynamo.reset()
    layer = made(operator, help, learnable=True, num_parameters=3, dtype=torch.float64)
    x = some(2, 3, 4, grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    ours, theirs = (torch.autograd.grad(m(x).sum(), [x, *layer.parameters()]) for m in (layer, compiled))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("learnable", [False, True])
def test_copies(operator, help, learnable):
    """deepcopy, pickle, and a state_dict carry everything."""
    layer = made(operator, help, learnable=learnable)
    with torch.no_grad():
        for p in layer.parameters():
            p += 0.125
    fresh = made(operator, help, learnable=learnable)
    fresh.load_state_dict(layer.state_dict())
    x = some(7, dtype=torch.float32)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert type(other) is type(layer)
        assert repr(other) == repr(layer)
        assert torch.equal(other(x), layer(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_dtypes_and_devices(operator, help, dtype):
    """Layers move with .to(); what comes out is of the dtype and on the device of the input."""
    layer = made(operator, help, learnable=True, num_parameters=3).to(dtype)
    x = some(2, 3, 4, dtype=dtype)
    assert layer(x).dtype == dtype
    assert made(operator, help, learnable=True)(x).dtype == dtype
    y = layer.to("meta")(x.to("meta"))
    assert (y.shape, y.dtype, y.device.type) == (x.shape, dtype, "meta")
    assert made(operator, help, learnable=True, device="meta")(x.to("meta")).device.type == "meta"


# ---------------------------------------------------------------------------------------------------------------------
# Thresholds


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_values(operator, help, dtype):
    """Exactly those of the operator, fixed or learnable."""
    x = some(2, 3, 4, dtype=dtype)
    params = help.example(operator)
    expected = operator(x, *params)
    assert torch.equal(made(operator, help)(x), expected)
    assert torch.equal(made(operator, help, learnable=True)(x), expected)
    assert torch.equal(made(operator, help, learnable=True, num_parameters=3)(x), expected)
    if operator.parameters:
        assert torch.equal(layer_of(operator)(**dict(zip(operator.parameters, params, strict=True)))(x), expected)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("learnable", [False, True])
def test_channels(thresholding, help, shape, learnable):
    """Dimension 1 has them; fixed ones are buffers, and learnt ones parameters."""
    arrays = [torch.tensor(a) for a in help.arrays(thresholding, (3,))]
    layer = layer_of(thresholding)(*arrays, num_parameters=3, learnable=learnable, dtype=torch.float64)
    x = some(*shape)
    expected = [thresholding(x[:, c], *(float(a[c]) for a in arrays)) for c in range(3)]
    assert torch.equal(layer(x), torch.stack(expected, 1))
    assert list(layer.state_dict()) == list(thresholding.parameters)
    assert len(list(layer.parameters())) == learnable * len(arrays)
    assert "num_parameters=3" in repr(layer)


def test_gradients(thresholding, help):
    """With respect to input and thresholds, of channels too, by finite differences; outside the domain as well."""
    arrays = [torch.tensor(a) for a in help.arrays(thresholding, (2,))]
    layer = layer_of(thresholding)(*arrays, num_parameters=2, learnable=True, dtype=torch.float64)
    x = some(3, 2, 2, grad=True)

    def call(x, *values):
        return torch.func.functional_call(layer, dict(zip(thresholding.parameters, values, strict=True)), x)

    assert torch.autograd.gradcheck(call, (x, *layer.parameters()))
    outside = [torch.nn.Parameter(-p.detach()) for p in layer.parameters()]
    assert torch.autograd.gradcheck(call, (x, *outside))


@pytest.mark.parametrize("k", range(3))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_domain_while_learning(thresholding, help, k, dtype):
    """However an optimiser throws them about: the operator accepts what it is called with, and gradients are finite."""
    learnable = thresholding.parameters[k:] or thresholding.parameters
    layer = made(thresholding, help, learnable=learnable, num_parameters=4)
    x = some(16, 4, dtype=dtype)
    rng = torch.Generator().manual_seed(k)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    for _ in range(40):
        optimizer.zero_grad()
        y = layer(x)
        assert y.isfinite().all()
        y.square().sum().backward()
        for p in layer.parameters():
            assert p.grad.isfinite().all()
            p.grad = torch.randn(p.shape, generator=rng) * 2
        optimizer.step()
        values = [v.tolist() if torch.is_tensor(v) else [v] * 4 for v in layer.shrinkage_parameters(dtype).values()]
        for numbers in zip(*values, strict=True):
            assert help.accepts(thresholding, numbers)


def bounded(**requires):
    """Return an operator of a few parameters with requirements, that is not in the registry."""

    def example(xp, x, lambd, a=3.0, p=0.5, free=0.0):
        return x

    texts = {"a > 2": lambda a: a > 2, "0 < p < 1": lambda p: (p > 0) & (p < 1), "free": lambda free: free == free}
    return Operator(example, requires={**texts, **requires})


def test_domains_are_found():
    """Intervals to the last bit, half lines, no bounds, and orders; what is none of these cannot be learnt."""
    orders = {"lambd <= a": lambda lambd, a: lambd <= a, "p >= free": lambda p, free: p >= free}
    domain = _domain.domain_of(bounded(**orders))
    above, below = np.nextafter(2, 3), np.nextafter(1, 0)
    assert domain.bounds == ((0.0, np.inf), (above, np.inf), (5e-324, below), (-np.inf, np.inf))
    assert domain.ordered == ((0, 1), (3, 2))
    assert domain.others == ()
    strange = bounded(**{"lambd * a < 9": lambda lambd, a: lambd * a < 9})
    _domain.check_learnable(strange, ["p"])
    with pytest.raises(ValueError, match=r"lambd \* a < 9, which learning 'a' would not keep"):
        _domain.check_learnable(strange, ["p", "a"])


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_reflection(name):
    """The identity inside, inside from anywhere, and never a slope of 0."""
    import array_api_compat.torch as xp

    dtype = getattr(torch, name)
    operator = bounded(**{"lambd <= a": lambda lambd, a: lambd <= a})
    domain = _domain.domain_of(operator)
    p = torch.linspace(-9, 9, 999, dtype=torch.float64).to(dtype)
    params = [p.flip(0), p, p, p]
    values = _domain.reflected(xp, domain, params, range(4), dtype)
    for numbers in zip(*(v.tolist() for v in values), strict=True):
        operator.checked(0.0, numbers, {})
    again = _domain.reflected(xp, domain, values, range(4), dtype)
    assert all(map(torch.equal, values, again))
    inside = (p > 2) & (p <= 9) & (values[0] <= p)
    assert torch.equal(values[1][inside], p[inside])
    assert torch.equal(values[3], p)
    if name == "float64":
        leaves = [q.clone().requires_grad_() for q in params]
        values = _domain.reflected(xp, domain, leaves, range(4), dtype)
        for value, leaf in zip(values, leaves, strict=True):
            (slope,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
            assert (slope.abs() == 1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("num_parameters", [1, 3])
def test_nothing_is_reflected_where_all_is_inside(thresholding, help, monkeypatch, dtype, num_parameters):
    """Parameters are looked at first, which is cheap; outside they are reflected, and gradients are the same."""
    layer = made(thresholding, help, learnable=True, num_parameters=num_parameters, dtype=dtype)
    x = some(2, 3, 5, dtype=dtype)

    def gradients():
        return torch.autograd.grad(layer(x).sum(), list(layer.parameters()))

    with monkeypatch.context() as patch:
        patch.setattr(nn, "holds", lambda *_: False)
        expected, slopes = layer(x).detach(), gradients()
    seen = []
    monkeypatch.setattr(nn, "reflected", lambda *a: seen.append(a) or _domain.reflected(*a))
    assert all(map(torch.equal, gradients(), slopes))
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
    assert not seen
    with torch.no_grad():
        first, *_ = layer.parameters()
        first[-1] = -first[-1]
    assert layer(x).isfinite().all()
    assert len(seen) == (_domain.domain_of(thresholding).bounds[0][0] == 0)


def test_what_holds_is_what_reflection_keeps():
    """On both sides of all bounds, NaN among the numbers, whichever are learnt."""
    import array_api_compat.numpy as xp

    domain = _domain.domain_of(bounded(**{"lambd <= a": lambda lambd, a: lambd <= a}))
    for dtype in (np.float32, np.float64):
        tiny, two, one = np.finfo(dtype).smallest_normal, np.nextafter(dtype(2), dtype(3)), np.nextafter(dtype(1), 0)
        choices = [(-0.25, 0.0, 3.0, np.nan), (2.0, two, 3.0), (tiny / 2, tiny, one, 1.0), (-9.0,)]
        for params in itertools.product(*choices):
            arrays = [np.array([p], dtype) for p in params]
            for learnt in ((0,), (1,), (0, 1, 2, 3)):
                same = all(map(np.array_equal, _domain.reflected(xp, domain, arrays, learnt, dtype), arrays))
                ordered = params[0] <= params[1]
                assert _domain.holds(xp, domain, arrays, learnt, dtype) == (same and ordered), (params, learnt)
                assert _domain.holds(xp, domain, list(map(float, params)), learnt, dtype) == (same and ordered)


def test_threshold_learns_from_zero():
    """Where a clamp or a softplus would be stuck: down to 0, and up again."""
    layer = nn.Softshrink(0.0, learnable=True)
    x = some(200, dtype=torch.float32)
    for target in (0.7, 0.0, 0.3):
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            (layer(x) - shrinkops.softshrink(x, target)).square().mean().backward()
            optimizer.step()
        assert abs(layer.shrinkage_parameters()["lambd"].item() - target) < 0.03


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: nn.Softshrink(-0.5), ValueError, "softshrink requires lambd >= 0, got lambd=-0.5"),
        (lambda: nn.Softshrink("a"), TypeError, "lambd .*'a'"),
        (lambda: nn.Softshrink(None), TypeError, "lambd .*None"),
        (lambda: nn.Softshrink(0.5, 0.5), TypeError, "Softshrink: too many positional arguments"),
        (lambda: nn.Softshrink(lamda=0.5), TypeError, "Softshrink: .*'lamda'"),
        (lambda: nn.Firmshrink(0.5), TypeError, "Firmshrink: .*'high'"),
        (lambda: nn.Firmshrink(1.5, 0.5), ValueError, "low <= high, got low=1.5, high=0.5"),
        (lambda: nn.Firmshrink([0.5, 2.0], 1.0, num_parameters=2), ValueError, "low=2.0, high=1.0"),
        (lambda: nn.Softshrink([0.1, 0.2]), ValueError, r"lambd .*\(1,\), got \(2,\)"),
        (lambda: nn.Softshrink(0.1, learnable="lamda"), ValueError, "learnable .*lambd.*'lamda'"),
        (lambda: nn.Softshrink(0.1, learnable=1), TypeError, "learnable must be True, False, or names .*, got 1"),
        (lambda: nn.Softshrink(0.1, num_parameters=0), ValueError, "num_parameters >= 1, got 0"),
        (lambda: nn.Softshrink(0.1, dtype=torch.int32), TypeError, "dtype .*int32"),
        (lambda: nn.Softshrink([0.1, 0.2], num_parameters=2)(torch.ones(3)), ValueError, r"2 channels.*\(3,\)"),
        (lambda: nn.Softshrink()(np.ones(3)), TypeError, "input must be a torch.Tensor, got numpy.ndarray"),
        (lambda: nn.Softshrink()(torch.ones(3, dtype=torch.bool)), TypeError, "bool"),
        (lambda: nn.SparseEncoder(torch.ones(2, 3), layers=0, lambd=0.1), ValueError, "layers >= 1, got 0"),
        (lambda: nn.SparseEncoder(torch.ones(3), lambd=0.1), ValueError, r"dictionary .*\(3,\)"),
        (lambda: nn.SparseEncoder(np.ones((2, 3)), lambd=0.1), TypeError, "dictionary .*numpy.ndarray"),
        (lambda: nn.SparseEncoder(torch.ones(2, 3), abs), TypeError, "operator must be one of"),
        (lambda: nn.SparseEncoder(torch.ones(2, 3), lambd=0.1)(torch.ones(4, 2)), ValueError, r"\(\.\.\., 3\), got"),
        (lambda: layers.Softshrink(-0.5), ValueError, "lambd=-0.5"),
        (lambda: layers.Softshrink(0.5).backward(1.0), RuntimeError, "Softshrink: backward needs a forward"),
        (lambda: layers.Softshrink(0.5).update(1.0), RuntimeError, "Softshrink: update needs a backward"),
        (lambda: layers.Softshrink(0.5).update(1.0, "x"), ValueError, "update .*'x'"),
    ],
)
def test_errors(make, error, words):
    """Name the argument and its value."""
    with pytest.raises(error, match=words):
        make()


def test_without_torch():
    """Importing shrinkops and its layers imports no PyTorch, and shrinkops.nn says that it is missing."""
    code = """
import sys
import shrinkops, shrinkops.layers
assert "torch" not in sys.modules
sys.modules["torch"] = None
try:
    import shrinkops.nn
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "shrinkops.nn needs PyTorch" in ran.stdout


# ---------------------------------------------------------------------------------------------------------------------
# Without a framework


@pytest.mark.libraries(lazy=False)
def test_layers(operator, library, help):
    """Value and gradients are those of the operator, of the library of the input."""
    x, g = (library.array(a, "float32") for a in np.random.default_rng(0).normal(size=(2, 12)))
    params = help.example(operator)
    layer = layer_of(operator, layers)(*params)
    help.same(library, layer.forward(x), library.to_numpy(operator(x, *params)))
    dx, *rest = operator.vjp(g, x, *params)
    help.same(library, layer.backward(g), library.to_numpy(dx))
    assert list(layer.gradients) == list(operator.parameters)
    for ours, theirs in zip(layer.gradients.values(), rest, strict=True):
        np.testing.assert_array_equal(library.to_numpy(ours), library.to_numpy(theirs))


@pytest.mark.parametrize("shape", [(), (4,)], ids=str)
def test_layers_learn_inside_the_domain(thresholding, help, shape):
    """Numbers or arrays, whatever the rate."""
    layer = layer_of(thresholding, layers)(*(help.arrays(thresholding, shape) if shape else help.example(thresholding)))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 4)) * 2
    for _ in range(20):
        y = layer.forward(x)
        assert np.isfinite(y).all()
        layer.backward(rng.normal(size=y.shape) * 3)
        layer.update(0.7)
        values = [np.broadcast_to(getattr(layer, p), shape or (1,)).tolist() for p in thresholding.parameters]
        for numbers in zip(*values, strict=True):
            assert help.accepts(thresholding, numbers)
    other = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(other(x), layer(x))
    assert repr(layer).startswith(type(layer).__name__ + "(")


def test_layers_agree_with_torch(thresholding, help):
    """Forward, backward and a step, by autograd."""
    params = help.example(thresholding)
    ours, theirs = (
        layer_of(thresholding, layers)(*params),
        made(thresholding, help, learnable=True, dtype=torch.float64),
    )
    x = some(6, 5, grad=True)
    g = torch.cos(torch.arange(30.0, dtype=torch.float64)).reshape(6, 5)
    y = theirs(x)
    np.testing.assert_array_equal(ours.forward(x.detach().numpy()), y.detach())
    y.backward(g)
    np.testing.assert_array_equal(ours.backward(g.numpy()), x.grad)
    torch.optim.SGD(theirs.parameters(), lr=1.0).step()
    ours.update(1.0)
    for p, value in theirs.shrinkage_parameters(torch.float64).items():
        np.testing.assert_allclose(getattr(ours, p), value.detach().item(), rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# LISTA


@pytest.fixture(scope="module")
def digits():
    """Return images of digits of norm 1: a dictionary, and signals to train and to test with."""
    from sklearn.datasets import load_digits

    images = load_digits().data[np.random.default_rng(0).permutation(1797)]
    images = torch.tensor(images / np.linalg.norm(images, axis=1, keepdims=True))
    return images[:80], images[80:1300], images[1300:]


def test_untrained_encoder_is_ista(operator, digits, help):
    """With any operator, in any number of layers, for signals in any shape."""
    dictionary, _, test = digits
    named = dict(zip(operator.parameters, help.example(operator), strict=True))
    x = test[:12].reshape(3, 4, -1)
    steps = iterates(x, dictionary, operator, method="ista", **named)
    for layers_, current in enumerate(itertools.islice(steps, 6)):
        if layers_:
            codes = nn.SparseEncoder(dictionary, operator, layers=layers_, **named)(x)
            torch.testing.assert_close(codes, current.codes, rtol=1e-9, atol=1e-9)
    encoder = nn.SparseEncoder(dictionary, operator, layers=2, **named)
    assert torch.equal(encoder(x[0, 0]), encoder(x)[0, 0]) or torch.allclose(encoder(x[0, 0]), encoder(x)[0, 0])
    assert encoder(x[:0]).shape == (0, 4, 80)


@quiet_script
def test_encoder_scripts_and_exports(digits):
    dictionary, _, test = digits
    encoder = nn.SparseEncoder(dictionary, layers=3, lambd=0.1)
    expected = encoder(test[:5])
    torch.testing.assert_close(torch.jit.script(encoder)(test[:5]), expected)
    torch.testing.assert_close(torch.export.export(encoder, (test[:5],)).module()(test[:5]), expected)
    torch.testing.assert_close(pickle.loads(pickle.dumps(encoder))(test[:5]), expected)


def test_trained_encoder_beats_ista_and_fista(digits):
    """Four layers, on digits that it has not seen; and the thresholds have learnt too."""
    dictionary, training, test = (a.float() for a in digits)
    torch.manual_seed(0)
    encoder = nn.SparseEncoder(dictionary, layers=4, lambd=0.1)
    before = [p.detach().clone() for p in encoder.parameters()]
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)

    def objective(x):
        codes = encoder(x)
        return ((x - codes @ dictionary).square().sum(-1) / 2 + 0.1 * codes.abs().sum(-1)).mean()

    for _ in range(20):
        for batch in training[torch.randperm(len(training))].split(100):
            optimizer.zero_grad()
            objective(batch).backward()
            optimizer.step()
    reached = objective(test).item()
    for method, iterations in (("ista", 16), ("fista", 12)):
        steps = iterates(test, dictionary, method=method, lambd=0.1)
        assert reached < float(next(itertools.islice(steps, iterations, None)).objective.mean())
    assert all(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


def test_gallery(tmp_path):
    """The script trains, prints and draws."""
    picture = tmp_path / "lista.svg"
    command = [sys.executable, ROOT / "docs" / "gallery" / "lista.py", "--quick", "--output", picture]
    folder = str(Path(shrinkops.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "LISTA does in 4 layers" in ran.stdout
    assert "</svg>" in picture.read_text(encoding="utf-8")


def test_symbolic_trace():
    """As torch.nn's layers: one node of the graph, which can be saved."""
    layer = torch.nn.Sequential(nn.Softshrink(0.25), nn.Tanhshrink())
    traced, x = torch.fx.symbolic_trace(layer), torch.linspace(-2, 2, 9)
    assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [
        shrinkops.softshrink,
        shrinkops.tanhshrink,
    ]
    torch.testing.assert_close(traced(x), layer(x), rtol=0, atol=0)
    for layer in (nn.Firmshrink(np.float32(0.25), 1.0, learnable="high"), nn.Softshrink([0.25, 0.5], num_parameters=2)):
        whole = torch.nn.Sequential(layer)
        traced, x = torch.fx.symbolic_trace(whole), torch.randn(3, 2, 4)
        torch.testing.assert_close(traced(x), whole(x), rtol=0, atol=0)
        file = io.BytesIO()
        torch.save(traced, file)
        file.seek(0)
        torch.testing.assert_close(torch.load(file, weights_only=False)(x), whole(x), rtol=0, atol=0)


def test_symbolic_trace_of_functions(operator, help):
    """Thresholds may be inputs of the graph; what is no value is refused."""
    p, x = help.example(operator), torch.linspace(-2, 2, 9)
    traced = torch.fx.symbolic_trace(lambda x: operator(x, *p))
    torch.testing.assert_close(traced(x), operator(x, *p), rtol=0, atol=0)
    if p:
        traced = torch.fx.symbolic_trace(lambda x, first: operator(x, first, *p[1:]))
        torch.testing.assert_close(traced(x, torch.tensor(p[0])), operator(x, *p), rtol=0, atol=0)
    traced = torch.fx.symbolic_trace(lambda x: shrinkops.groupshrink(x, 0.25, axis=0))
    torch.testing.assert_close(traced(x), shrinkops.groupshrink(x, 0.25), rtol=0, atol=0)
    for function in (operator.derivative, lambda x, *p: operator.vjp(x, x, *p)):
        with pytest.raises(TypeError, match=r"x must be an array or a number, got torch.Proxy"):
            torch.fx.symbolic_trace(lambda x: function(x, *p))  # noqa: B023
