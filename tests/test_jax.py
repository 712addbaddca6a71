"""JAX beyond what all array libraries have: modes within modes, several devices, and what XLA is given to compile."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import shrinkops

# Away from all knots of the examples, on both sides of each, and of both signs.
POINTS = (-3.3, -1.7, -1.2, -0.7, -0.2, 0.1, 0.3, 0.6, 0.9, 1.1, 1.3, 1.8, 2.5)


def run(program: str, **environment: str) -> None:
    """Run a program in a process of its own, where warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["jacfwd", "jacrev"])
def test_second_derivatives_in_one_mode(operator, jax, help, mode):
    """Forward over forward and reverse over reverse; jax.hessian is forward over reverse."""
    x, p = jax.numpy.asarray(np.array(POINTS)), help.example(operator)
    twice = getattr(jax, mode)
    found = jax.jit(twice(twice(lambda a: operator(a, *p).sum())))(x)
    h = 1e-6
    change = (operator.derivative(x + h, *p) - operator.derivative(x - h, *p)) / (2 * h)
    np.testing.assert_allclose(found, np.diag(change), rtol=1e-6, atol=1e-7)


def primitives(jaxpr):
    """Yield the names of all operations of a program."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from primitives(inner)


def test_nothing_calls_back_to_the_host(operator, jax, help):
    """XLA gets the whole formula: no Python, no callbacks, no transfers, in value and gradient."""
    p = help.example(operator)
    x = jax.numpy.asarray(np.array(POINTS))
    for function in (*help.functions(operator), jax.grad(lambda a, *q: operator(a, *q).sum())):
        program = jax.make_jaxpr(lambda a: function(a, *p))(x)  # noqa: B023
        names = set(primitives(program.jaxpr))
        assert names & {"select_n", "mul"}
        assert not {name for name in names if "callback" in name or "infeed" in name or "device_put" in name}


def test_numbers_are_constants_under_jit_and_arguments_elsewhere(thresholding, jax, help, caplog):
    """A program of ours takes x alone; outside, another number is not another compilation."""
    p, x = help.example(thresholding), jax.numpy.asarray(np.array(POINTS))
    program = jax.make_jaxpr(lambda a: thresholding(a, *p))(x)
    assert len(program.jaxpr.invars) == 1
    thresholding(x, *p)
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        for factor in (0.9, 1.1, 1.3):
            thresholding(x, *(factor * a for a in p))
    assert not [record for record in caplog.records if "Compiling" in record.getMessage()]


def test_donated_arrays(operator, jax, help):
    """What a caller gives away may be reused, and what a caller keeps is not."""
    p, plain = help.example(operator), np.array(POINTS)
    expected = np.asarray(operator(jax.numpy.asarray(plain), *p))
    x = jax.numpy.asarray(plain)
    for function in help.functions(operator):
        function(x, *p)
        assert not x.is_deleted()
    donated = jax.jit(lambda a: operator(a, *p), donate_argnums=0)(x)
    assert x.is_deleted()
    np.testing.assert_allclose(donated, expected, rtol=1e-15)


def test_results_stay_where_the_arguments_are(help):
    """On two devices: sharded arrays stay sharded, one on the second device stays there, pmap and shard_map run."""
    examples = {name: help.example(op) for name, op in shrinkops.OPERATORS.items()}
    program = """
        import jax, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        import shrinkops

        first, second = jax.devices()
        mesh = Mesh(np.array([first, second]), ("rows",))
        sharded, whole = (NamedSharding(mesh, PartitionSpec(*of)) for of in (("rows",), ()))
        plain = np.linspace(-3, 3, 16, dtype=np.float32)
        x = jax.device_put(plain, sharded)
        for op, p in ((shrinkops.OPERATORS[name], p) for name, p in EXAMPLES.items()):
            expected = op(plain, *p)
            for params in (p, [jax.device_put(np.full(16, a, np.float32), sharded) for a in p],
                           [jax.device_put(np.float32(a), whole) for a in p]):
                y = op(x, *params)
                assert y.sharding == sharded, (op, y.sharding)
                np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-7)
            cotangents = op.vjp(x, x, *p)
            assert cotangents[0].sharding == sharded
            gradient = jax.jit(jax.grad(lambda a: op(a, *p).sum()))(x)
            assert gradient.sharding.is_equivalent_to(sharded, 1)
            assert op(jax.device_put(plain, second), *p).devices() == {second}
        op = shrinkops.softshrink
        np.testing.assert_allclose(jax.pmap(lambda a: op(a, 0.5))(plain.reshape(2, 8)), op(plain, 0.5).reshape(2, 8))
        mapped = jax.shard_map(lambda a: op(a, 0.5), mesh=mesh, in_specs=PartitionSpec("rows"),
                               out_specs=PartitionSpec("rows"))(x)
        assert mapped.sharding == sharded
        """
    run(program.replace("EXAMPLES", repr(examples)), XLA_FLAGS="--xla_force_host_platform_device_count=2")


def test_half_precision_where_double_is_disabled():
    """Thresholds are rounded to the precision of x, numbers, arrays and tracers alike, whatever the default is."""
    run(
        """
        import jax, jax.numpy as jnp, numpy as np
        import shrinkops

        assert not jax.config.jax_enable_x64
        op, first = shrinkops.softshrink, 0.1
        for dtype in (jnp.float16, jnp.bfloat16):
            x = jnp.asarray(np.linspace(-3, 3, 301), dtype)
            expected = op(np.asarray(x), first)
            rounded = jnp.asarray(first, dtype)
            for y in (
                op(x, first), op(x, rounded), op(x, jnp.asarray(first)), op(x, np.full(301, first)),
                jax.jit(op)(x, rounded), jax.jit(lambda a: op(a, first))(x), jax.jit(op)(x, np.float64(first)),
            ):
                assert y.dtype == dtype
                np.testing.assert_array_equal(y, expected)
            slope = jax.grad(lambda p: op(x, p).sum().astype(jnp.float32))(jnp.float32(first))
            assert slope.dtype == jnp.float32
        """
    )


def test_two_roots_are_told_apart_however_xla_computes(jax):
    """Of many numbers it may compute a discriminant of about 0 twice, in two ways."""
    x = np.concatenate([np.linspace(3000, 40_000, 4096), np.geomspace(1e-3, 1e6, 5000)]).astype(np.float32)
    for params in ((0.8730270862579346, 0.283096581697464), (2.0, 0.7)):
        found = np.asarray(shrinkops.cauchyshrink(jax.numpy.asarray(x), *params))
        expected = shrinkops.cauchyshrink(x, *params)
        assert (abs(found - expected) <= 4 * np.spacing(expected)).all()
