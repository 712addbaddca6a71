"""Automatic differentiation: PyTorch and JAX give our derivatives, in every mode, with respect to thresholds too."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import shrinkops
from shrinkops import OPERATORS

pytestmark = [  # what PyTorch says of itself
    pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

# Away from all knots of the examples, on both sides of each, and of both signs.
POINTS = (-3.3, -1.7, -1.2, -0.7, -0.2, 0.1, 0.3, 0.6, 0.9, 1.1, 1.3, 1.8, 2.5)


def run(program: str, *needs: str) -> None:
    """Run a program in a process of its own, where a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:shrinkops", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch


def arguments(torch, operator, help, dtype="float64", grad=True):
    """Return x and every parameter as a tensor of its shape, as a function of them likes it."""
    dtype = getattr(torch, dtype)
    x = torch.tensor(POINTS, dtype=dtype, requires_grad=grad)
    return x, [torch.full_like(x, a, requires_grad=grad) for a in help.example(operator)]


@pytest.mark.parametrize("of", ["value", "derivative", "vjp", "penalty"])
def test_torch_gradcheck(operator, torch, help, of):
    """First and second derivatives, backward, forward and batched, by finite differences."""
    x, params = arguments(torch, operator, help)
    if of == "penalty" and not hasattr(operator, "penalty"):
        return
    if of == "penalty" and not operator.odd:  # infinite where x is negative
        x = x.detach().abs().requires_grad_()
    g = torch.linspace(-1, 1, len(POINTS), dtype=torch.float64)
    function = {
        "value": operator,
        "derivative": operator.derivative,
        "vjp": lambda *a: operator.vjp(g, *a),
        "penalty": operator.penalty if of == "penalty" else None,
    }[of]
    fast = {"fast_mode": of != "value", "check_forward_ad": True, "check_batched_grad": True}
    assert torch.autograd.gradcheck(function, (x, *params), **fast)
    if of == "value":
        assert torch.autograd.gradcheck(operator, (x, *params), check_batched_forward_grad=True, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(operator, (x, *params), check_fwd_over_rev=True)


def test_torch_gradcheck_of_scalar_parameters(operator, torch, help):
    """0-d thresholds that learn, beside thresholds that are numbers."""
    x, _ = arguments(torch, operator, help)
    p = help.example(operator)
    learning = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in p]
    assert torch.autograd.gradcheck(operator, (x, *learning), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(operator, (x, *learning))
    for k in range(len(p)):
        mixed = [learning[j] if j == k else a for j, a in enumerate(p)]
        assert torch.autograd.gradcheck(operator, (x.detach(), *mixed), check_forward_ad=True)


@pytest.mark.parametrize("shapes", [((3, 4), (4,)), ((3, 4), (3, 1)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (2, 2))])
def test_torch_gradcheck_where_parameters_broadcast(thresholding, torch, help, shapes):
    rng = np.random.default_rng(2)
    x = torch.tensor(2.2 + rng.uniform(-0.2, 0.2, shapes[0]), requires_grad=True)
    params = [torch.tensor(a, requires_grad=True) for a in help.arrays(thresholding, shapes[1])]
    assert torch.autograd.gradcheck(thresholding, (x, *params), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(thresholding, (x, *params), check_fwd_over_rev=True)


def test_torch_gradcheck_at_threshold_zero(thresholding, torch, help):
    """The identity, at 0 as well, where it is by the definition: PyTorch's own operators fail this."""
    x = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    p = (0.0, *help.example(thresholding)[1:])
    if help.accepts(thresholding, p) and (help.exact(thresholding, [-1.0, 2.0], p) == [-1.0, 2.0]).all():
        assert torch.autograd.gradcheck(lambda a: thresholding(a, *p), (x,))


@pytest.mark.dtypes("real")
def test_torch_gradient_is_the_derivative_of_numpy(operator, dtype, libraries, torch, help):
    """The same bits, for x and for every parameter, at every special value."""
    library, p = libraries["torch"], help.example(operator)
    plain = help.reals(dtype)
    weights = np.random.default_rng(1).normal(size=plain.shape).astype(plain.dtype)
    columns = [np.full(plain.shape, a).astype(plain.dtype) for a in p]
    x = library.make(plain).requires_grad_()
    params = [library.make(a).requires_grad_() for a in columns]
    y = operator(x, *params)
    help.same(library, y, operator(plain, *p))
    gradients = torch.autograd.grad(y, (x, *params), library.make(weights), retain_graph=True)
    for a, b in zip(gradients, operator.vjp(weights, plain, *columns), strict=True):
        help.same(library, a, b)
    (ones,) = torch.autograd.grad(y, x, torch.ones_like(y))
    help.same(library, ones, operator.derivative(plain, *p))
    for a, b in zip(operator.vjp(library.make(weights), x, *params), gradients, strict=True):
        help.equal(library.to_numpy(a), library.to_numpy(b))


@pytest.mark.dtypes("real")
def test_torch_gradient_of_a_scalar_parameter(thresholding, dtype, libraries, torch, help):
    library = libraries["torch"]
    x = library.array(POINTS, dtype)
    params = [torch.tensor(a, dtype=x.dtype, requires_grad=True) for a in help.example(thresholding)]
    thresholding(x, *params).sum().backward()
    expected = thresholding.vjp(np.ones(len(POINTS)), library.to_numpy(x).astype(float), *help.example(thresholding))
    for a, b in zip(params, expected[1:], strict=True):
        assert a.grad.dtype is x.dtype
        assert a.grad.shape == ()
        tolerance = 0.02 if dtype == "bfloat16" else 5e-3
        np.testing.assert_allclose(library.to_numpy(a.grad).astype(float), b, rtol=tolerance, atol=tolerance)


def test_torch_forward_mode(operator, torch, help):
    x, params = arguments(torch, operator, help, grad=False)
    p = help.example(operator)
    primals = (x, *params)
    tangents = tuple(torch.cos((k + 1) * x) for k in range(len(primals)))
    expected = sum(a * t for a, t in zip(operator.vjp(torch.ones_like(x), *primals), tangents, strict=True))
    value, pushed = torch.func.jvp(operator, primals, tangents)
    torch.testing.assert_close(value, operator(x, *p), rtol=0, atol=0)
    torch.testing.assert_close(pushed, expected, rtol=1e-15, atol=1e-15)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangents[0])
        y, pushed = torch.autograd.forward_ad.unpack_dual(operator(dual, *p))
    torch.testing.assert_close(y, operator(x, *p), rtol=0, atol=0)
    torch.testing.assert_close(pushed, operator.derivative(x, *p) * tangents[0], rtol=1e-15, atol=0)
    with torch.autograd.forward_ad.dual_level():  # a tangent for a parameter alone
        for k in range(len(p)):
            dual = torch.autograd.forward_ad.make_dual(params[k], tangents[k + 1])
            mixed = [dual if j == k else a for j, a in enumerate(p)]
            pushed = torch.autograd.forward_ad.unpack_dual(operator(x, *mixed)).tangent
            torch.testing.assert_close(pushed, operator.vjp(tangents[k + 1], x, *params)[k + 1], rtol=1e-15, atol=0)


def test_torch_jacobians_and_hessian(operator, torch, help):
    x, _ = arguments(torch, operator, help, grad=False)
    p, func = help.example(operator), torch.func
    slope = operator.derivative(x, *p)
    for jacobian in (func.jacrev, func.jacfwd):
        torch.testing.assert_close(jacobian(lambda a: operator(a, *p))(x), torch.diag(slope), rtol=1e-15, atol=0)
    h = 1e-6
    second = (operator.derivative(x + h, *p) - operator.derivative(x - h, *p)) / (2 * h)
    for hessian in (func.hessian, lambda f: func.jacrev(func.jacrev(f)), lambda f: func.jacrev(func.jacfwd(f))):
        found = hessian(lambda a: operator(a, *p).sum())(x)
        torch.testing.assert_close(found, torch.diag(second), rtol=1e-6, atol=1e-7)
    found = torch.autograd.functional.hessian(lambda a: operator(a, *p).sum(), x)
    torch.testing.assert_close(found, torch.diag(second), rtol=1e-6, atol=1e-7)


def test_torch_hessian_of_parameters(thresholding, torch, help):
    """Mixed second derivatives too, against finite differences of the gradient."""
    p = torch.tensor(help.example(thresholding), dtype=torch.float64)
    x = torch.tensor(POINTS, dtype=torch.float64)

    def loss(q):
        return (thresholding(x, *q.unbind()) ** 2).sum()

    h = 1e-6
    gradient = torch.func.grad(loss)
    steps = torch.eye(len(p), dtype=torch.float64) * h
    expected = torch.stack([(gradient(p + s) - gradient(p - s)) / (2 * h) for s in steps])
    torch.testing.assert_close(torch.func.hessian(loss)(p), expected, rtol=1e-6, atol=1e-6)


def test_torch_vmap(operator, torch, help):
    func, p = torch.func, help.example(operator)
    x = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(4, 6)
    params = [torch.full((4,), a, dtype=torch.float64) + torch.linspace(0, 0.1, 4) for a in p]
    rows = torch.stack([operator(x[i], *(float(a[i]) for a in params)) for i in range(4)])

    def check(found, expected=rows):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)

    none = (None,) * len(p)
    check(func.vmap(lambda a: operator(a, *p))(x), operator(x, *p))
    check(func.vmap(lambda a: operator.derivative(a, *p))(x), operator.derivative(x, *p))
    check(func.vmap(operator, in_dims=(1, *none), out_dims=1)(x, *p), operator(x, *p))
    check(func.vmap(func.vmap(lambda a: operator(a, *p)))(x), operator(x, *p))
    if p:
        zero = (0,) * len(p)
        check(func.vmap(operator)(x, *params))
        check(func.vmap(operator, in_dims=(1, *zero), out_dims=0)(x.T.contiguous(), *params))
        once = func.vmap(operator, in_dims=(None, *zero))(x[0], *params)
        check(once, torch.stack([operator(x[0], *(float(a[i]) for a in params)) for i in range(4)]))
        fixed = [torch.tensor(a, dtype=torch.float64) for a in p]
        check(func.vmap(operator, in_dims=(0, *none))(x, *fixed), operator(x, *p))
        # a batch of thresholds, each an array that broadcasts against the matrix
        whole = func.vmap(operator, in_dims=(None, *zero))(x, *(a[:, None].expand(4, 6) for a in params))
        check(whole, torch.stack([operator(x, *(float(a[i]) for a in params)) for i in range(4)]))
        pulled = func.vmap(func.grad(lambda a, *q: operator(a, *q).sum(), argnums=tuple(range(1 + len(p)))))(x, *params)
        expected = [operator.vjp(1.0, x[i], *(a[i] for a in params)) for i in range(4)]
        for k, a in enumerate(pulled):
            torch.testing.assert_close(a, torch.stack([row[k] for row in expected]), rtol=1e-14, atol=1e-14)
    per_sample = func.vmap(func.grad(lambda a: operator(a, *p).sum()))(x)
    check(per_sample, operator.derivative(x, *p))
    mapped = func.vmap(lambda a, g: operator.vjp(g, a, *p)[0])(x, 2 * x)
    check(mapped, operator.vjp(2 * x, x, *p)[0])


def test_torch_double_backward(operator, torch, help):
    x, params = arguments(torch, operator, help)
    (first,) = torch.autograd.grad(operator(x, *params).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first * first).sum(), x, allow_unused=True)
    h, p = 1e-6, help.example(operator)
    plain = x.detach()
    slope = operator.derivative(plain, *p)
    change = (operator.derivative(plain + h, *p) - operator.derivative(plain - h, *p)) / (2 * h)
    torch.testing.assert_close(second, 2 * slope * change, rtol=1e-6, atol=1e-7)


def test_torch_layouts(operator, torch, help):
    """Tensors that are not contiguous, and gradients that come expanded or turned."""
    p = help.example(operator)
    base = torch.linspace(-3, 3, 96, dtype=torch.float32).reshape(8, 12)
    for view in (
        base.T,
        base[::2, 1::3],
        base[0],
        base[:, :1].expand(8, 12),
        base.reshape(2, 4, 3, 4).permute(3, 1, 0, 2),
    ):
        x = view.detach().requires_grad_()
        y = operator(x, *p)
        help.equal(y.detach().numpy(), operator(view.numpy(), *p))
        for g in (torch.ones(()).expand_as(y), torch.ones_like(y).flip(0)):
            (found,) = torch.autograd.grad(y, x, g, retain_graph=True)
            help.equal(found.numpy(), operator.derivative(view.numpy(), *p))


def test_torch_subclasses_and_modes(operator, torch, help):
    p = help.example(operator)
    plain = torch.tensor(POINTS)
    parameter = torch.nn.Parameter(plain)
    y = operator(parameter, *p)
    assert type(y) is torch.Tensor
    assert y.requires_grad
    learning = [torch.nn.Parameter(torch.tensor(a)) for a in p]
    operator(parameter, *learning).sum().backward()
    torch.testing.assert_close(parameter.grad, operator.derivative(plain, *p), rtol=0, atol=0)
    assert all(a.grad is not None for a in learning)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            for function in help.functions(operator):
                result = function(parameter, *learning)
                assert not any(a.requires_grad for a in (result if isinstance(result, tuple) else (result,)))
    with torch.inference_mode():
        inferred = plain * 1
    assert not operator(inferred, *p).requires_grad
    assert operator(plain.to("meta"), *p).shape == plain.shape
    with pytest.raises(TypeError, match=r"out= is not supported for torch.* that requires grad"):
        operator(parameter, *p, out=torch.empty_like(plain))
    with pytest.raises(TypeError, match=r"out= is not supported for torch.* that requires grad"):
        operator(plain, *p, out=torch.empty_like(plain).requires_grad_())


def test_torch_inputs_in_place_afterwards(operator, torch, help):
    """A saved input that was overwritten before backward is an error, not a wrong gradient."""
    x = torch.tensor(POINTS, requires_grad=True)
    z = x * 1
    y = operator(z, *help.example(operator))
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_torch_only_what_is_wanted(thresholding, torch, help):
    """Gradients of what does not require one are not computed."""
    x, params = arguments(torch, thresholding, help)
    y = thresholding(x, *(a.detach() for a in params))
    calls = []
    for pull in thresholding.pulls[1:]:
        pull.implementations, kept = {}, pull.implementations
        calls.append((pull, kept))
    try:
        y.sum().backward()
        assert not any(pull.implementations for pull, _ in calls)
    finally:
        for pull, kept in calls:
            pull.implementations = kept
    assert x.grad is not None


@pytest.mark.complex
def test_torch_complex(operator, torch, help):
    """Gradcheck in the complex plane, away from 0, in PyTorch's convention."""
    p = help.example(operator)
    points = np.array([0.2, 0.7, 1.2, 1.7, 2.5])[:, None] * np.exp(1j * np.array([0.3, 1.9, -2.5]))
    x = torch.tensor(points, requires_grad=True)
    params = [torch.full(points.shape, a, dtype=torch.float64, requires_grad=True) for a in p]
    assert torch.autograd.gradcheck(operator, (x, *params), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(operator, (x, *params))
    y = operator(x, *params)
    g = torch.complex(torch.cos(x.real), torch.sin(x.imag)).detach()
    for a, b in zip(torch.autograd.grad(y, (x, *params), g), operator.vjp(g, x.detach(), *params), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_torch_compile(operator, torch, help):
    """Without a break, value and gradient, for numbers and for thresholds that learn."""
    p = help.example(operator)

    def function(a, *q):
        return operator(a, *(q or p)) * 2

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=False)
    x, params = arguments(torch, operator, help, dtype="float32")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), function(x), rtol=1e-6, atol=0)
    for inputs in ((x,), (x, *params)):
        y, expected = compiled(*inputs), function(*inputs)
        torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-7)
        for a, b in zip(torch.autograd.grad(y.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    special = torch.tensor([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5], requires_grad=True)
    y, expected = compiled(special), function(special)
    torch.testing.assert_close(y, expected, equal_nan=True, rtol=0, atol=1e-7)
    assert (torch.signbit(y) == torch.signbit(expected))[1:].all()
    pairs = [torch.autograd.grad(a.sum(), special)[0] for a in (y, expected)]
    torch.testing.assert_close(*pairs, equal_nan=True, rtol=1e-6, atol=1e-7)
    if p:
        bad = float("nan") if help.accepts(operator, (-1.0, *p[1:])) else -1.0
        with pytest.raises(Exception, match="requires"):
            torch.compile(lambda a: operator(a, bad, *p[1:]), fullgraph=True, backend="aot_eager")(x)


def test_torch_compile_companions(operator, torch, help):
    p = help.example(operator)
    torch._dynamo.reset()
    x = torch.tensor(POINTS)
    functions = [operator.derivative, lambda a, *q: operator.vjp(2 * a, a, *q)]
    for function in functions + ([operator.penalty] if hasattr(operator, "penalty") else []):
        found = torch.compile(lambda a: function(a, *p), fullgraph=True, backend="aot_eager")(x)  # noqa: B023
        torch.testing.assert_close(found, function(x, *p), rtol=2e-6, atol=1e-6)


def quickly_compiled(help):
    """Operators by name, with parameters, but for those that take a compiler seconds."""
    return {name: help.example(op) for name, op in OPERATORS.items() if name not in help.slow_to_compile}


FIRST = """
    import torch
    import shrinkops
    x = torch.linspace(-3, 3, 101, requires_grad=True)
    for name, p in {examples}.items():
        op = shrinkops.OPERATORS[name]
        compiled = torch.compile(lambda a: op(a, *p), fullgraph=True, backend="{backend}")
        y = compiled(x)
        (g,) = torch.autograd.grad(y.sum(), x)
        expected = op(x, *p)
        torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(g, op.derivative(x.detach(), *p), rtol=1e-6, atol=1e-7)
        torch._dynamo.reset()
"""


def test_torch_compile_as_the_first_call(torch, help):
    """No call before has bound a backend, and tracing binds it."""
    run(FIRST.format(backend="aot_eager", examples=quickly_compiled(help)))


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_torch_compile_with_inductor(torch, help):
    run(FIRST.format(backend="inductor", examples=dict(list(quickly_compiled(help).items())[:2])))


def test_torch_of_another_default_dtype(operator, torch, help):
    p = help.example(operator)
    torch.set_default_dtype(torch.float64)
    try:
        assert operator(torch.tensor([1, 2]), *p).dtype is torch.float64
        assert operator(torch.tensor([1.0], dtype=torch.float32), *p).dtype is torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


# ---------------------------------------------------------------------------------------------------------------------
# JAX


@pytest.mark.compiles
def test_jax_transformations(operator, jax, help):
    jnp = jax.numpy
    p = help.example(operator)
    x = jnp.asarray(np.array(POINTS))
    params = [jnp.asarray(a) for a in p]

    def loss(a, *q):
        return jnp.sum(operator(a, *q) ** 2)

    value = np.asarray(operator(x, *p))
    np.testing.assert_allclose(jax.jit(operator)(x, *p), value, rtol=1e-15)  # thresholds are traced
    np.testing.assert_allclose(jax.jit(lambda a: operator(a, *p))(x), value, rtol=1e-15)  # and numbers
    numbers = tuple(range(1 + len(p)))
    gradients = jax.jit(jax.grad(loss, argnums=numbers))(x, *params)
    expected = operator.vjp(2 * value, np.asarray(x), *p)
    for a, b in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)
    mapped = jax.vmap(lambda a: jax.grad(lambda b: operator(b, *p))(a))(x)
    np.testing.assert_allclose(mapped, operator.derivative(np.asarray(x), *p), rtol=1e-15, atol=0)
    tangents = [jnp.cos(x), *(jnp.asarray(k + 1.0) for k in range(len(p)))]
    pushed = jax.jvp(operator, (x, *params), tuple(tangents))[1]
    each = [np.full(len(POINTS), a) for a in p]
    parts = operator.vjp(np.ones(len(POINTS)), np.asarray(x), *each)
    np.testing.assert_allclose(
        pushed, sum(a * np.asarray(t) for a, t in zip(parts, tangents, strict=True)), rtol=1e-13, atol=1e-14
    )
    h = 1e-6
    second = (operator.derivative(np.asarray(x) + h, *p) - operator.derivative(np.asarray(x) - h, *p)) / (2 * h)
    hessian = jax.hessian(lambda a: operator(a, *p).sum())(x)
    np.testing.assert_allclose(hessian, np.diag(second), rtol=1e-6, atol=1e-7)
    with jax.disable_jit():
        np.testing.assert_allclose(operator(x, *p), value, rtol=1e-15)


@pytest.mark.compiles
def test_jax_check_grads(operator, jax, help):
    from jax.test_util import check_grads

    x = jax.numpy.asarray(np.array(POINTS))
    params = [jax.numpy.asarray(np.full(len(POINTS), a)) for a in help.example(operator)]
    check_grads(operator, (x, *params), order=2, modes=["fwd", "rev"], atol=1e-5, rtol=1e-5)


def test_jax_vmap(thresholding, jax, help):
    jnp, p = jax.numpy, help.example(thresholding)
    x = np.linspace(-3, 3, 24).reshape(4, 6)
    params = [a + np.linspace(0, 0.1, 4) for a in p]
    rows = np.stack([thresholding(x[i], *(float(a[i]) for a in params)) for i in range(4)])
    arrays = [jnp.asarray(a) for a in params]
    np.testing.assert_allclose(jax.vmap(thresholding)(jnp.asarray(x), *arrays), rows, rtol=1e-15)
    zero = (0,) * len(p)
    once = jax.vmap(thresholding, in_axes=(None, *zero))(jnp.asarray(x[0]), *arrays)
    np.testing.assert_allclose(once, [thresholding(x[0], *(float(a[i]) for a in params)) for i in range(4)], rtol=1e-15)
    none = (None,) * len(p)
    np.testing.assert_allclose(
        jax.vmap(thresholding, in_axes=(1, *none), out_axes=1)(jnp.asarray(x), *p), thresholding(x, *p), rtol=1e-15
    )


def test_jax_traced_threshold_out_of_domain(thresholding, jax, help):
    """Cannot be refused, and is NaN; a number can."""
    x, rest = jax.numpy.asarray(np.array(POINTS)), help.example(thresholding)[1:]
    compiled = jax.jit(lambda a, first: thresholding(a, first, *rest))
    for bad in (-1.0, float("nan")):
        if help.accepts(thresholding, (bad, *rest)):
            continue
        assert np.isnan(compiled(x, bad)).all()
        with pytest.raises(ValueError, match="requires"):
            jax.jit(lambda a: thresholding(a, bad, *rest))(x)  # noqa: B023
    with pytest.raises(TypeError, match="got dtype bool"):
        jax.jit(thresholding)(x > 0, *help.example(thresholding))


@pytest.mark.dtypes("real")
def test_jax_gradient_is_the_derivative_of_numpy(operator, dtype, libraries, jax, help):
    """Within 4 ulp at every special value, with respect to x and every parameter."""
    library, p = libraries["jax"], help.example(operator)
    plain = help.reals(dtype)
    columns = [np.full(plain.shape, a).astype(plain.dtype) for a in p]
    numbers = tuple(range(1 + len(p)))
    gradient = jax.grad(lambda *a: operator(*a).sum(), argnums=numbers)
    found = gradient(library.make(plain), *map(library.make, columns))
    for a, b in zip(found, operator.vjp(1.0, plain, *columns), strict=True):
        help.same(library, a, b)


def test_jax_gradient_is_finite_next_to_all_knots(operator, jax, help):
    """Second derivatives too: where() with a branch that is not finite gives NaN."""
    p = help.example(operator)
    x = jax.numpy.asarray(np.array([0.0, -0.0, 0.5, -1.0, 1.0, 1e-30, 1e30, 1e200]))
    first = jax.vmap(jax.grad(lambda a: operator(a, *p)))
    second = jax.vmap(jax.grad(jax.grad(lambda a: operator(a, *p))))
    assert np.isfinite(first(x)).all()
    assert np.isfinite(second(x)).all()


def test_torch_second_derivative_is_finite_next_to_all_knots(operator, torch, help):
    x, p = torch.tensor([0.0, -0.0, 0.5, -1.0, 1.0, 1e-30, 1e30, 1e200], dtype=torch.float64), help.example(operator)
    params = [torch.full_like(x, a) for a in p]
    for k in range(1 + len(p)):
        second = torch.func.grad(
            lambda *a: torch.func.grad(lambda *b: operator(*b).sum(), argnums=0)(*a).sum(), argnums=k
        )
        assert torch.isfinite(second(x, *params)).all()


@pytest.mark.complex
def test_jax_complex(operator, jax, help):
    """jax.vjp in JAX's own convention, which is the conjugate of PyTorch's and ours."""
    p = help.example(operator)
    points = (np.array([0.2, 0.7, 1.2, 1.7, 2.5])[:, None] * np.exp(1j * np.array([0.3, 1.9, -2.5]))).ravel()
    g = np.exp(1j * np.arange(points.size))
    pulled = jax.vjp(lambda a: operator(a, *p), jax.numpy.asarray(points))[1](jax.numpy.asarray(g))[0]
    np.testing.assert_allclose(np.conj(pulled), operator.vjp(np.conj(g), points, *p)[0], rtol=1e-12)


def test_jax_in_loops(operator, jax, help):
    p, jnp = help.example(operator), jax.numpy
    x = jnp.asarray(np.array(POINTS))
    found = jax.lax.scan(lambda a, _: (operator(a, *p), None), x, length=3)[0]
    expected = np.array(POINTS)
    for _ in range(3):
        expected = operator(expected, *p)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_jax_without_double_precision(jax, help):
    """As JAX comes: float32 is the default, and what is asked for in float64 is made float32 without a word."""
    run(
        f"        EXAMPLES = {quickly_compiled(help)}"
        """
        import warnings
        warnings.simplefilter("error")
        import jax, numpy as np, jax.numpy as jnp
        import shrinkops
        assert not jax.config.jax_enable_x64
        for name, p in EXAMPLES.items():
            op = shrinkops.OPERATORS[name]
            for x in (jnp.arange(-3, 4), jnp.arange(-3.0, 4.0)):
                y = op(x, *p)
                assert y.dtype == np.float32
                np.testing.assert_allclose(y, op(np.linspace(-3, 3, 7), *p), rtol=1e-6)
                assert op(x, *(np.full(7, a) for a in p)).dtype == np.float32
            g = jax.grad(lambda a: op(a, *p).sum())(jnp.linspace(-3.1, 3.1, 7))
            np.testing.assert_allclose(g, op.derivative(np.linspace(-3.1, 3.1, 7), *p), rtol=1e-6, atol=1e-6)
        """
    )


def test_jax_names_of_operators_in_programs(jax):
    """What is traced can be differentiated and compiled under jit again and again without a new compilation."""
    operator = next(op for op in shrinkops.OPERATORS.values() if op.parameters)
    x = jax.numpy.ones(5)
    traced = []

    @jax.jit
    def function(a, first):
        traced.append(1)
        return operator(a, first, *[first + k for k in range(1, len(operator.parameters))])

    for first in (0.1, 0.2, 0.3):
        function(x, first)
    assert len(traced) == 1
