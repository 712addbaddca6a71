"""PyTorch beyond what all array libraries have: modes within modes, compilers and tracers, kinds of tensors."""

from __future__ import annotations

import functools
import io
import itertools
import shutil
import threading
import warnings

import numpy as np
import pytest

import shrinkops

pytestmark = [  # what PyTorch says of itself
    pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

# Away from all knots of the examples, on both sides of each, and of both signs.
POINTS = (-3.3, -1.7, -1.2, -0.7, -0.2, 0.1, 0.3, 0.6, 0.9, 1.1, 1.3, 1.8, 2.5)
SPECIAL = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 0.5, -0.5, 1.0, 1.5, *POINTS)

PAIRS, TRIPLES = (list(itertools.product(("jacfwd", "jacrev"), repeat=n)) for n in (2, 3))


def points(torch, dtype="float64"):
    """Return the points as a tensor."""
    return torch.tensor(POINTS, dtype=getattr(torch, dtype))


def named(torch, names):
    """Return transformations of torch.func by their names."""
    return [getattr(torch.func, name) for name in names]


# ---------------------------------------------------------------------------------------------------------------------
# Modes of differentiation within one another


@pytest.mark.parametrize("modes", PAIRS, ids="-over-".join)
def test_second_derivatives_in_every_pair_of_modes(operator, torch, help, modes):
    """Forward mode over forward mode too, which is 0 through functions that do not see to it."""
    x, p = points(torch), help.example(operator)
    outer, inner = named(torch, modes)
    found = outer(inner(lambda a: operator(a, *p).sum()))(x)
    h = 1e-6
    change = (operator.derivative(x + h, *p) - operator.derivative(x - h, *p)) / (2 * h)
    torch.testing.assert_close(found, torch.diag(change), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("modes", PAIRS, ids="-over-".join)
def test_second_derivatives_by_parameters(thresholding, torch, help, modes):
    """Those by x and a parameter among them, against finite differences."""
    x = points(torch)
    p = torch.tensor(help.example(thresholding), dtype=torch.float64)
    outer, inner = named(torch, modes)

    def loss(a, q):
        return (thresholding(a, *q.unbind()) ** 2).sum()

    slope = torch.func.grad(loss, argnums=1)
    h = 1e-6
    steps = torch.eye(len(p), dtype=torch.float64) * h
    expected = torch.stack([(slope(x, p + s) - slope(x, p - s)) / (2 * h) for s in steps])
    torch.testing.assert_close(outer(inner(loss, argnums=1), argnums=1)(x, p), expected, rtol=1e-6, atol=1e-6)
    mixed = torch.stack([(torch.func.grad(loss)(x, p + s) - torch.func.grad(loss)(x, p - s)) / (2 * h) for s in steps])
    torch.testing.assert_close(outer(inner(loss), argnums=1)(x, p).T, mixed, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("modes", TRIPLES, ids="-over-".join)
def test_third_derivatives(torch, help, modes):
    """Of an operator that has them everywhere, under vmap, against finite differences of the second."""
    operator = next(op for op in shrinkops.OPERATORS.values() if op.analytic)
    p, h = help.example(operator), 1e-6

    def differentiated(transforms):
        return torch.func.vmap(functools.reduce(lambda f, t: t(f), transforms, lambda a: operator(a, *p)))

    x = points(torch)
    second = differentiated([torch.func.jacrev] * 2)
    change = (second(x + h) - second(x - h)) / (2 * h)
    torch.testing.assert_close(differentiated(named(torch, modes))(x), change, rtol=1e-6, atol=1e-7)


def test_forward_mode_through_a_graph_of_before(operator, torch, help):
    """The tangent of a cotangent, for a value that was computed when there was no forward mode."""
    from torch.autograd import forward_ad

    x, p = points(torch).requires_grad_(), help.example(operator)
    y = operator(x, *p)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones_like(x), torch.cos(x.detach()))
        (g,) = torch.autograd.grad(y, x, dual)
        tangent = forward_ad.unpack_dual(g).tangent
    expected = torch.cos(x.detach()) * operator.derivative(x.detach(), *p)
    torch.testing.assert_close(tangent, expected, rtol=1e-14, atol=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# torch.compile, torch.export, and others who trace


@pytest.mark.compiles
def test_compiled_transformations(operator, torch, help):
    """What torch.func makes of an operator, compiled: at the knots of a threshold of 0 as well."""
    p = help.example(operator)
    x, tangent = torch.tensor(SPECIAL[3:]), torch.linspace(-1, 1, len(SPECIAL) - 3)

    def both(a, *q):
        pushed = torch.func.jvp(operator, (a, *q), (tangent, *(torch.ones_like(b) for b in q)))[1]
        return pushed, torch.func.vmap(torch.func.grad(lambda b: operator(b, *(q or p))))(a)

    torch._dynamo.reset()
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager", dynamic=False)
    for params in (p, (0.0, *p[1:])) if p else ((),):
        tensors = [torch.tensor(a) for a in params]
        for found, expected in zip(compiled(x, *tensors), both(x, *tensors), strict=True):
            torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-6, equal_nan=True)


class Layer:
    """Make a module of an operator, its parameters numbers or learned."""

    def __new__(cls, torch, operator, params, learned=False):
        """Define the class when there is a torch."""

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.params = params
                if learned:
                    self.params = torch.nn.ParameterList(torch.nn.Parameter(torch.tensor(a)) for a in params)

            def forward(self, x):
                return operator(x, *self.params)

        return Module()


@pytest.mark.parametrize("learned", [False, True])
def test_export(operator, torch, help, learned):
    """A program of functions of torch alone, that can be saved, for any length."""
    layer = Layer(torch, operator, help.example(operator), learned)
    x = torch.tensor(SPECIAL)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},))
    assert all("aten" in str(node.target) for node in program.graph.nodes if node.op == "call_function")
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    longer = torch.cat([x, 2 * x])
    torch.testing.assert_close(
        torch.export.load(file).module()(longer), layer(longer), rtol=2e-6, atol=1e-7, equal_nan=True
    )


def test_export_by_the_compiler(torch, help):
    """With strict=True, through the eyes of torch.compile, where a learned parameter is a class of its own."""
    operator = max(shrinkops.OPERATORS.values(), key=lambda op: len(op.parameters))
    layer, x = Layer(torch, operator, help.example(operator), learned=True), points(torch, "float32")
    expected = layer(2 * x)  # a first call while it looks would be a side effect, of which it warns
    program = torch.export.export(layer, (x,), strict=True)
    torch.testing.assert_close(program.module()(2 * x), expected, rtol=2e-6, atol=1e-7)


def test_compile_as_the_first_call_of_learned_parameters(torch, help):
    """Of x and of thresholds: nothing has been bound to their class before."""
    operator = [op for op in shrinkops.OPERATORS.values() if op.parameters][-1]
    kept, operator.implementations = operator.implementations, {}
    try:
        x, p = torch.nn.Parameter(points(torch, "float32")), help.example(operator)
        params = [torch.nn.Parameter(torch.tensor(a)) for a in p]
        torch._dynamo.reset()
        compiled = torch.compile(lambda: operator(x, *params), fullgraph=True, backend="aot_eager")
        gradients = torch.autograd.grad(compiled().sum(), (x, *params))
    finally:
        operator.implementations = kept
    for a, b in zip(gradients, operator.vjp(1.0, x.detach(), *(q.detach() for q in params)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.compiles
@pytest.mark.parametrize("grad", [False, True])
def test_whoever_traces_sees_the_operator(operator, torch, help, grad):
    """torch.jit.trace and make_fx record functions of torch; of a kernel they would record one result for ever."""
    from torch.fx.experimental.proxy_tensor import make_fx

    p, x = help.example(operator), torch.tensor(SPECIAL)

    def check(traced):
        torch.testing.assert_close(traced(2 * x), operator(2 * x, *p), rtol=2e-6, atol=1e-7, equal_nan=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(lambda a: operator(a, *p), (x.clone().requires_grad_(grad),), check_trace=False)
    check(traced)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    check(torch.jit.load(file))
    for mode in ("real", "fake"):
        check(make_fx(lambda a: operator(a, *p), tracing_mode=mode)(x.clone().requires_grad_(grad)))
    mapped = make_fx(torch.func.vmap(lambda a: operator.vjp(1.0, a, *p)[0]))(x)
    torch.testing.assert_close(mapped(2 * x), operator.derivative(2 * x, *p), rtol=2e-6, atol=1e-7, equal_nan=True)


def test_out_under_compile(operator, torch, help):
    torch._dynamo.reset()
    x, p = points(torch, "float32"), help.example(operator)

    def function(a, out):
        return operator(a, *p, out=out)

    out = torch.empty_like(x)
    torch.compile(function, fullgraph=True, backend="aot_eager")(x, out)
    torch.testing.assert_close(out, operator(x, *p), rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of tensors


def test_tensors_without_memory(operator, torch, help):
    """Of FakeTensorMode and of the device meta: shape and dtype come out, of every function."""
    from torch._subclasses import FakeTensorMode

    p = help.example(operator)
    with FakeTensorMode() as fake:
        for x in (fake.from_tensor(torch.ones(2, 3, dtype=torch.float16)), torch.ones(2, 3, dtype=torch.float16)):
            for params in (p, [torch.full((3,), a) for a in p]):
                for function in help.functions(operator):
                    found = function(x, *params)
                    first = found[0] if isinstance(found, tuple) else found
                    assert type(first).__name__ == "FakeTensor"
                    assert (first.shape, first.dtype) == (x.shape, x.dtype)
    x = torch.ones(2, 3, dtype=torch.complex64 if operator.odd else torch.float32, device="meta")
    for params in (p, [torch.ones(3, device="meta") * a for a in p]):
        y = operator(x, *params)
        assert (y.shape, y.dtype, y.device) == (x.shape, x.dtype, x.device)


def test_fake_tensors_outside_their_mode(operator, torch, help):
    from torch._subclasses import FakeTensorMode

    mode = FakeTensorMode()
    assert shrinkops.softshrink(2.0, mode.from_tensor(torch.ones(3, 1))).fake_mode is mode
    for p in (1j, True):
        with pytest.raises(TypeError, match="lambd must hold real numbers, got dtype"):
            shrinkops.softshrink(torch.ones(3, device="meta"), torch.tensor(p))
    x = FakeTensorMode().from_tensor(points(torch))
    for function in help.functions(operator):
        found = function(x, *help.example(operator))
        assert type(found[0] if isinstance(found, tuple) else found) is type(x)


def test_subclasses_keep_what_they_mean(operator, torch, help):
    """They see functions of torch, and decide what comes out."""

    class Noted(torch.Tensor):
        seen: list = []  # noqa: RUF012

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            cls.seen.append(function)
            return super().__torch_function__(function, types, args, kwargs or {})

    p, plain = help.example(operator), points(torch)
    x = plain.as_subclass(Noted)
    for function in help.functions(operator):
        Noted.seen.clear()
        found, expected = function(x, *p), function(plain, *p)
        for a, b in zip(*((found, expected) if isinstance(found, tuple) else ((found,), (expected,))), strict=True):
            assert type(a) is Noted
            torch.testing.assert_close(a.as_subclass(torch.Tensor), b, rtol=1e-14, atol=1e-15)
        assert any(getattr(a, "__name__", "") == "where" for a in Noted.seen)
    if p:
        assert type(operator(plain, torch.tensor(p[0]).as_subclass(Noted), *p[1:])) is Noted


def test_views_of_conjugates_and_negatives(operator, torch, help):
    """Their memory does not hold their values."""
    p = help.example(operator)
    z = torch.complex(points(torch), points(torch).flip(0))
    if operator.odd:
        torch.testing.assert_close(operator(z.conj(), *p), operator(z.conj().resolve_conj(), *p), rtol=0, atol=0)
    negative = z.conj().imag
    assert negative.is_neg()
    torch.testing.assert_close(operator(negative, *p), operator(negative.resolve_neg(), *p), rtol=0, atol=0)
    if p:
        params = [a * torch.view_as_complex(torch.tensor([0.0, -1.0])).conj().imag for a in p]
        torch.testing.assert_close(operator(points(torch), *params), operator(points(torch), *p), rtol=0, atol=0)


def test_out_of_conjugates_and_negatives(operator, torch, help):
    """What is written is what the view shows, in place too."""
    p, x = help.example(operator), points(torch)
    target = torch.zeros(len(x), 2, dtype=x.dtype)
    negative = torch.view_as_complex(target).conj().imag
    assert operator(x, *p, out=negative) is negative
    torch.testing.assert_close(negative.resolve_neg(), operator(x, *p), rtol=0, atol=0)
    if operator.odd:
        z = torch.complex(x, x.flip(0)).conj()
        expected = operator(z, *p)
        operator(z, *p, out=z)
        torch.testing.assert_close(z.resolve_conj(), expected.resolve_conj(), rtol=0, atol=0)


def test_out_that_cannot_be_filled(torch):
    with pytest.raises(ValueError, match="softshrink: out must not have elements that share their memory"):
        shrinkops.softshrink(torch.ones(3), 0.5, out=torch.zeros(1).expand(3))
    with pytest.raises(TypeError, match=r"out is torch\.Tensor, which is sparse"):
        shrinkops.softshrink(torch.ones(2, 2), 0.5, out=torch.eye(2).to_sparse())


def test_numbers_take_dtype_and_device_of_the_threshold(torch):
    """As in arithmetic of PyTorch."""
    for dtype in (torch.float64, torch.bfloat16):
        assert shrinkops.softshrink(2.0, torch.ones(3, dtype=dtype)).dtype is dtype
    assert shrinkops.softshrink(2.0, torch.ones(3, device="meta")).is_meta
    assert shrinkops.softshrink(2.0, torch.ones(3, dtype=torch.int64)).dtype is torch.float32
    assert shrinkops.softshrink(2j, torch.ones(3, dtype=torch.float64)).dtype is torch.complex128
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is such a dtype
        half = torch.ones(2).to(torch.complex32)
    with pytest.raises(TypeError, match="got dtype complex32"):
        shrinkops.softshrink(half, 0.5)


@pytest.mark.dtypes("real")
def test_parameters_of_no_dimension_are_numbers(thresholding, dtype, libraries, torch, help):
    """The same bits, also where they are more precise than x, and NaN where a number would be refused."""
    library, p = libraries["torch"], help.example(thresholding)
    x = library.make(help.reals(dtype))
    for of in ("float64", dtype):
        params = [torch.tensor(a + 1 / 300, dtype=torch.float64).to(getattr(torch, of)) for a in p]
        expected = thresholding(x, *(a.item() for a in params))
        help.equal(help.bits(library.to_numpy(thresholding(x, *params))), help.bits(library.to_numpy(expected)))
        with torch.no_grad():
            learned = [torch.nn.Parameter(a) for a in params]
            help.equal(help.bits(library.to_numpy(thresholding(x, *learned))), help.bits(library.to_numpy(expected)))
    for bad in (-1.0, float("nan")):
        if not help.accepts(thresholding, (bad, *p[1:])):
            assert thresholding(x, torch.tensor(bad), *p[1:]).isnan().all()


def test_gradients_have_the_dtypes_of_the_arguments(thresholding, torch, help):
    """A threshold in float32 learns from activations in bfloat16."""
    x = points(torch, "bfloat16").requires_grad_()
    for shape in ((), (len(POINTS),)):
        params = [torch.full(shape, a, requires_grad=True) for a in help.example(thresholding)]
        y = thresholding(x, *params)
        assert y.dtype is torch.bfloat16
        for a, b in zip(torch.autograd.grad(y.sum(), (x, *params)), (x, *params), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)


def test_autocast_changes_nothing(operator, torch, help):
    """The dtype of x is that of the result, whatever autocast has made x before."""
    p, layer = help.example(operator), torch.nn.Linear(3, 3)
    x = torch.linspace(-3, 3, 12).reshape(4, 3)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            z = layer(x)
            found, untouched = operator(z, *p), operator(x, *p)
            wide = [torch.tensor(a, requires_grad=True) for a in p]
            assert operator(z, *wide).dtype is dtype
        assert z.dtype is dtype
        assert torch.equal(found.detach(), operator(z.detach(), *p))
        assert torch.equal(untouched, operator(x, *p))
        (gradient,) = torch.autograd.grad(found.sum(), z)
        assert torch.equal(gradient, operator.derivative(z.detach(), *p))


# ---------------------------------------------------------------------------------------------------------------------
# Memory that is NumPy's too

LAYOUTS = {
    "a line": lambda a: a,
    "steps": lambda a: a[::2],
    "turned": lambda a: a[:12].reshape(3, 4).T,
    "of no dimension": lambda a: a[3],
    "empty": lambda a: a[:0].reshape(0, 3),
    "the same again": lambda a: a[:4].expand(3, 4),
    "many axes": lambda a: a[:2].reshape(*[1] * 20, 2),
}


@pytest.fixture(params=["by exchange", "by NumPy"])
def ways(request, torch, monkeypatch):
    """The backend, and both of its ways to and from NumPy, one of them in use."""
    from shrinkops._backends import torch as backend

    ways = {"by exchange": backend.exchange, "by NumPy": backend.ByNumpy()}
    if type(backend.exchange) is backend.ByNumpy:
        pytest.skip("this release of PyTorch has nothing to exchange by")
    way = ways[request.param]
    for name, function in {
        "evaluated_by": way.evaluated,
        "to_numpy": way.to_numpy,
        "from_numpy": way.from_numpy,
    }.items():
        monkeypatch.setattr(backend, name, function)
    return way


@pytest.mark.dtypes("number")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_ways_to_numpy(ways, layout, dtype, torch, help):
    """The values, the dtype and the shape are those of NumPy on the same numbers, as is the memory."""
    operator = shrinkops.softshrink
    x = LAYOUTS[layout](torch.tensor(POINTS).to(getattr(torch, dtype)))
    wide = x.to(torch.complex128 if x.is_complex() else torch.float64).clone()
    assert x.data_ptr() == (ways.to_numpy(x).ctypes.data if x.numel() else 0)
    for given in (x, x.clone().requires_grad_()):
        y = operator(given, 0.5)
        assert (y.dtype, y.shape) == (x.dtype, x.shape)
        assert not y.numel() or y.data_ptr() != x.data_ptr()
        torch.testing.assert_close(y, operator(wide, 0.5).to(x.dtype), rtol=2e-2 if "16" in dtype else 1e-6, atol=0)
    out = torch.empty(x.shape, dtype=x.dtype)
    assert torch.equal(operator(x, 0.5, out=out), operator(x, 0.5))


def test_tensors_own_what_they_are_made_on(ways, torch):
    """It lives as long as they do, and those that share memory lazily share it no longer once it is written to."""
    x = torch.linspace(-3, 3, 10000)
    expected = shrinkops.softshrink(x.numpy(), 0.5)
    results = [shrinkops.softshrink(x.clone(), 0.5) for _ in range(50)]
    assert all(np.array_equal(y.numpy(), expected) for y in results)
    assert results[0].mul_(2).untyped_storage().nbytes() == x.nbytes
    copy = torch._lazy_clone(x)
    shrinkops.softshrink(x, 0.5, out=copy)
    assert x[0] == -3
    assert copy[0] == -2.5
    with torch.inference_mode():
        assert shrinkops.softshrink(x, 0.5).is_inference()
    shrinkops.softshrink(x, 0.5).requires_grad_()
    freed = threading.Thread(target=results.clear)  # a thread that has not made them
    freed.start()
    freed.join()


def test_what_has_no_memory(operator, ways, torch, help):
    """Tensors that look like plain ones: the formula sees to them."""
    p, x = help.example(operator), points(torch)
    expected = operator(x, *p)
    assert operator(x.to("meta"), *p).shape == x.shape
    torch.testing.assert_close(torch.func.functionalize(lambda a: operator(a, *p))(x), expected, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(operator(torch._efficientzerotensor(3), *p), operator(torch.zeros(3), *p))
    torch.testing.assert_close(torch.func.vmap(lambda a: operator(a, *p))(x), expected, rtol=0, atol=0)
    torch.testing.assert_close(operator(torch._neg_view(-x), *p), expected, rtol=0, atol=0)
    torch.testing.assert_close(operator(x.to(torch.int32), *p), operator(x.to(torch.int32).float(), *p))


def test_exchange_refuses_what_it_cannot_do(torch):
    """A TypeError or what PyTorch raises, before anything is read."""
    from shrinkops._kernels.exchange import Exchange

    if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        pytest.skip("this release of PyTorch has nothing to exchange by")
    exchange = Exchange(torch.Tensor.__dlpack_c_exchange_api__, torch.is_conj)
    for bad in (torch.ones(3, dtype=torch.int32), torch.ones(3, device="meta"), torch.eye(2).to_sparse(), None):
        with pytest.raises((TypeError, RuntimeError)):
            exchange.to_numpy(bad)
    for bad in (
        np.ones(3)[::-1],
        np.ones(3, ">f8"),
        np.broadcast_to(1.0, 3),
        np.ones(3, np.longdouble),
        np.ones(3, "V0"),
        [1.0],
    ):
        with pytest.raises(TypeError):
            exchange.from_numpy(bad)
    with pytest.raises(ValueError, match="PyCapsule"):
        Exchange(object(), torch.is_conj)


# ---------------------------------------------------------------------------------------------------------------------
# One kernel on the GPU, made by torch.compile


@pytest.fixture
def backend(torch):
    """What makes GPU kernels, as it was before they were tried."""
    from shrinkops._backends import torch_fused as backend

    backend.fused.cache_clear()
    yield backend
    backend.fused.cache_clear()
    backend.unfusable.clear()


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_one_kernel_for_all_thresholds_and_shapes(torch, help, backend):
    """What runs on a GPU, on the CPU: compiled once for a dtype, not for each number or shape."""
    from torch._dynamo.utils import counters

    operator = next(op for op in shrinkops.OPERATORS.values() if op.parameters)
    p = help.example(operator)
    counters.clear()
    for shape, factor in (((13,), 1.0), ((13,), 0.7), ((2, 13), 0.3), ((2, 3, 13), 2.0)):
        x = points(torch, "float32").expand(shape).contiguous()
        params = tuple(factor * a for a in p)
        found = backend.in_one_kernel(operator, x, params, None)
        torch.testing.assert_close(found, operator(x, *params), rtol=1e-6, atol=1e-7)
    assert counters["stats"]["unique_graphs"] == 1
    rows = torch.tensor([[0.25], [0.75]])
    found = backend.in_one_kernel(operator.pulls[1], x[:, 0], (rows, *p[1:]), torch.ones(2, 13))
    torch.testing.assert_close(found, operator.vjp(1.0, x[:, 0], rows.expand(2, 13), *p[1:])[1], rtol=1e-6, atol=1e-7)
    assert not backend.unfusable


@pytest.fixture
def as_on_a_gpu(torch, backend, monkeypatch):
    """The road of tensors on a GPU for those on the CPU: no kernels of ours; what is compiled is run step by step."""
    from shrinkops._backends import torch as whole

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, dynamic, options: compiled(f, dynamic=dynamic, backend="eager"))
    monkeypatch.setattr(whole, "FUSED", ("cpu",))
    monkeypatch.setattr(whole, "on_kernel", lambda *arguments: None)
    monkeypatch.setattr(whole, "evaluated_by", lambda *arguments: NotImplemented)
    return backend


@pytest.mark.parametrize("name", ["tanhshrink", "firmshrink"])
def test_differentiated_as_on_a_gpu(torch, help, as_on_a_gpu, name):
    """Batched, nested and vectorised, in every case what the formula gives."""
    operator, func = shrinkops.OPERATORS[name], torch.func
    p, x = help.example(operator), torch.linspace(-3, 3, 7, dtype=torch.float64)
    slope, bend = operator.derivative(x, *p), None

    def total(a):
        return operator(a, *p).sum()

    def grad(a):
        return operator(a, *p)

    for outer, inner in itertools.product((func.jacfwd, func.jacrev), repeat=2):
        found = outer(inner(total))(x).diag()
        bend = found if bend is None else bend
        torch.testing.assert_close(found, bend)
    torch.testing.assert_close(func.hessian(total)(x).diag(), bend)
    torch.testing.assert_close(torch.autograd.functional.hessian(total, x, vectorize=True).diag(), bend)
    torch.testing.assert_close(func.vmap(func.grad(func.grad(grad)))(x), bend)
    torch.testing.assert_close(func.jacrev(grad)(x).diag(), slope)
    torch.testing.assert_close(torch.autograd.functional.jacobian(grad, x, vectorize=True).diag(), slope)
    torch.testing.assert_close(func.vmap(lambda a: operator.vjp(1.0, a, *p)[0])(x), slope)
    y = grad(x.requires_grad_())
    batch = torch.autograd.grad(y, x, torch.eye(7, dtype=torch.float64), is_grads_batched=True)[0]
    torch.testing.assert_close(batch.diag(), slope)
    assert not as_on_a_gpu.unfusable


@pytest.mark.parametrize("shape", [(), (1,), (7,), (32,), (3, 7), (3, 0)])
def test_shapes_as_on_a_gpu(torch, help, as_on_a_gpu, shape):
    """With numbers, tensors that are numbers, and arrays; complex numbers are never fused."""
    operator = shrinkops.firmshrink
    plain = np.linspace(-3, 3, max(1, np.prod(shape, dtype=int)))[: np.prod(shape, dtype=int)].reshape(shape)
    for dtype in ("float16", "float32", "float64", "complex64"):
        x = torch.from_numpy(plain.astype(dtype))
        for kind in (float, torch.tensor, lambda a: torch.full(shape[-1:], a)):
            y = operator(x, *map(kind, help.example(operator)))
            expected = operator(plain.astype(dtype), *help.example(operator))
            np.testing.assert_allclose(y.numpy(), expected, rtol=4 * np.finfo(dtype).eps)
    assert not as_on_a_gpu.unfusable


def test_what_a_gpu_is_given(torch, as_on_a_gpu, monkeypatch):
    """Thresholds rounded to the precision of x, by value; even lengths are compiled as such; nothing that wraps."""
    given = []

    def noted(function, even, dtype, *variant):
        given.append((even, dtype))
        return lambda x, params, *g: given.append(params) or x

    monkeypatch.setattr(as_on_a_gpu, "fused", noted)
    with torch.device("meta"):  # where nothing of ours may go
        shrinkops.softshrink(torch.ones(32, dtype=torch.float16, device="cpu"), 1 / 3)
    shrinkops.softshrink(torch.ones(31), torch.tensor(1 / 3, dtype=torch.float64))
    (first, (half,), second, (single,)) = given
    assert (first, second) == ((True, torch.float16), (False, torch.float32))
    assert (half.device.type, half.item()) == ("cpu", float(np.float16(1 / 3)))
    assert single.item() == float(np.float32(1 / 3))
    monkeypatch.undo()
    sixteens = as_on_a_gpu.fused(shrinkops.softshrink, True, "of a length that is not")
    with pytest.raises(RuntimeError, match="16"):
        sixteens(torch.ones(7), (torch.tensor(0.5),))
    assert not as_on_a_gpu.have_memory(torch.ones(0))
    assert not as_on_a_gpu.have_memory(torch.ones(3, device="meta"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("name", ["tanhshrink", "cauchyshrink"])
def test_one_kernel_however_long_the_formula_is(torch, help, backend, name):
    """The first, and the longest."""
    from torch._inductor import metrics

    operator = shrinkops.OPERATORS[name]
    metrics.reset()
    x, p = points(torch, "float32"), help.example(operator)
    torch.testing.assert_close(backend.in_one_kernel(operator, x, p, None), operator(x, *p))
    assert metrics.generated_kernel_count == 1


def test_without_a_compiler_for_the_gpu(torch, help, backend, monkeypatch):
    """The formula runs as it stands, and says so once."""
    operator = next(iter(shrinkops.OPERATORS.values()))

    def missing(*args, **kwargs):
        msg = "Cannot find a working triton installation"
        raise RuntimeError(msg)

    monkeypatch.setattr(backend, "fused", lambda *variant: missing)
    x, p = points(torch, "float32"), help.example(operator)
    with pytest.warns(RuntimeWarning, match=f"{operator.__name__}.*Cannot find a working triton"):
        assert backend.in_one_kernel(operator, x, p, None) is None
    assert backend.in_one_kernel(operator, x, p, None) is None
    assert (operator, x.dtype) in backend.unfusable


@pytest.mark.gpu
@pytest.mark.dtypes("number")
def test_gpu(operator, dtype, libraries, torch, help):
    """The values of NumPy within 4 ulp, gradients, in one kernel without a transfer to the host."""
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    library, p = libraries["torch"], help.example(operator)
    plain = help.complexes(dtype) if dtype.startswith("complex") else help.reals(dtype)
    x = library.make(plain).cuda()
    for function in help.functions(operator):
        found, expected = function(x, *p), function(plain, *p)
        for a, b in zip(*((found, expected) if isinstance(found, tuple) else ((found,), (expected,))), strict=True):
            assert a.is_cuda
            if b.dtype.kind == "c":
                np.testing.assert_allclose(library.to_numpy(a.cpu()), b, rtol=8 * np.finfo(b.dtype).eps)
            elif np.ndim(b):
                assert help.ulps(library.to_numpy(a.cpu()), b) <= 4
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        operator(x, *p)
    names = [event.name for event in profile.events()]
    assert not any(name.startswith("Memcpy") for name in names)
    assert sum(name.startswith("triton") for name in names) == (not x.is_complex())  # which have no kernel
