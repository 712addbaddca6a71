"""Wavelet denoising with any operator, on PyWavelets."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ._checks import refused_dtype
from ._dispatch import Operator
from ._operators import softshrink
from .rules import AtThreshold, noise_level, universal_threshold

__all__ = ["Report", "denoise", "denoise_report", "snr"]


class Report(NamedTuple):
    """
    A denoised signal and what was estimated of it, each signal by itself.

    Parameters
    ----------
    signal : ndarray
        The denoised signal.
    noise_level : ndarray
        Estimated standard deviation of the noise in the input, in its unit; of the input's shape with length 1 along
        the axis.
    threshold : ndarray
        The threshold, in the same unit; of that shape.
    error : ndarray
        Estimated mean squared error of the denoised signal, in the square of that unit; of that shape. An estimate of a
        small number, it can come out negative.
    """

    signal: Any
    noise_level: Any
    threshold: Any
    error: Any


def denoise(
    x: Any,
    operator: Operator = softshrink,
    lambd: Any = None,
    wavelet: Any = "sym8",
    level: int | None = None,
    axis: int = -1,
    progress: bool = False,
) -> Any:
    """
    Remove noise from signals by shrinking their wavelet coefficients.

    Details are shrunk, on every scale with the same threshold; the approximation on the coarsest scale is kept.

    Parameters
    ----------
    x : array_like of real numbers
        Signals of any shape, with white noise.
    operator : Operator, default: softshrink
        Operator to shrink with, at the threshold by the rule of `shrinkops.rules.AtThreshold`.
    lambd : number or array, optional
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x` with length 1 along `axis`. By
        default the universal threshold of each signal, from the noise level of its finest details.
    wavelet : str or pywt.Wavelet, default: "sym8"
        Orthogonal wavelet.
    level : int, optional
        Number of scales, at least 1; by default three less than the length of the signal allows, but at least 1.
    axis : int, default: -1
        Axis along which one signal lies.
    progress : bool, default: False
        Whether to show progress on stderr.

    Returns
    -------
    ndarray
        The denoised signals, of the shape of `x` and its floating-point dtype; float64 for integers. float16 is
        computed in float32, longdouble in float64.

    Raises
    ------
    ImportError
        If PyWavelets, or for `progress` tqdm, is missing.
    TypeError
        If `x` does not hold real numbers, or `lambd` is no real number and no array.
    ValueError
        If `x` is not finite or too short, `lambd` a negative number or NaN, `level` or `axis` out of range, or
        `operator` not odd.

    See Also
    --------
    denoise_report : The same with estimates of noise and error.

    Notes
    -----
    Coarse scales hold more signal than noise, and the universal threshold costs more there than it gains: hence the
    default of `level`, that of scikit-image. With softshrink and the universal threshold this is VisuShrink.

    References
    ----------
    D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994),
    doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> import numpy as np
    >>> from shrinkops.denoise import denoise, snr
    >>> clean = np.sin(np.linspace(0, 20, 2000))
    >>> noisy = clean + np.random.default_rng(0).normal(scale=0.2, size=2000)
    >>> bool(snr(clean, denoise(noisy)) > snr(clean, noisy) + 8)
    True
    """
    return _denoise(x, operator, lambd, wavelet, level, axis, progress, estimate=False).signal


def denoise_report(
    x: Any,
    operator: Operator = softshrink,
    lambd: Any = None,
    wavelet: Any = "sym8",
    level: int | None = None,
    axis: int = -1,
    progress: bool = False,
) -> Report:
    r"""
    Denoise, and estimate noise and error without a clean reference.

    Parameters
    ----------
    x : array_like of real numbers
        As for `denoise`.
    operator : Operator, default: softshrink
        As for `denoise`.
    lambd : number or array, optional
        As for `denoise`.
    wavelet : str or pywt.Wavelet, default: "sym8"
        As for `denoise`.
    level : int, optional
        As for `denoise`.
    axis : int, default: -1
        As for `denoise`.
    progress : bool, default: False
        As for `denoise`.

    Returns
    -------
    Report
        The denoised signals, noise levels, thresholds and errors.

    Raises
    ------
    ImportError, TypeError, ValueError
        As `denoise` does.

    See Also
    --------
    denoise : The signals alone.

    Notes
    -----
    The error is Stein's unbiased risk estimate of the coefficients :math:`d`, of which details are shrunk to
    :math:`y(d)`:

    .. math:: \frac1n \sum (y(d) - d)^2 - \sigma^2 + 2 \sigma^2 y'(d)

    It holds for white Gaussian noise, and is as good as the estimate of :math:`\sigma`. The derivative is taken as the
    difference quotient from :math:`d - \sigma/4` to :math:`d + \sigma/4`, in which the jump of an operator counts.

    References
    ----------
    C. M. Stein, "Estimation of the mean of a multivariate normal distribution", Annals of Statistics 9 (1981),
    doi:10.1214/aos/1176345632.
    D. L. Donoho and I. M. Johnstone, "Adapting to unknown smoothness via wavelet shrinkage", Journal of the American
    Statistical Association 90 (1995), doi:10.1080/01621459.1995.10476626.

    Examples
    --------
    >>> import numpy as np
    >>> from shrinkops.denoise import denoise_report
    >>> clean = np.sin(np.linspace(0, 20, 2000))
    >>> noisy = clean + np.random.default_rng(0).normal(scale=0.2, size=2000)
    >>> report = denoise_report(noisy)
    >>> report.noise_level.round(1), report.signal.shape
    (array([0.2]), (2000,))
    """
    return _denoise(x, operator, lambd, wavelet, level, axis, progress, estimate=True)


def snr(reference: Any, signal: Any) -> Any:
    r"""
    Measure the signal-to-noise ratio of a signal whose clean reference is known.

    .. math:: 10 \log_{10} \frac{\sum (r - \bar r)^2}{\sum (x - r)^2}

    Parameters
    ----------
    reference : array_like
        The clean signal.
    signal : array_like
        The signal to judge, of its shape.

    Returns
    -------
    float
        The ratio in decibels; infinite where the signals agree, NaN where the reference is constant too.

    See Also
    --------
    denoise_report : Estimates the error where there is no reference.

    Examples
    --------
    >>> from shrinkops.denoise import snr
    >>> round(float(snr([1.0, -1.0], [1.1, -1.1])), 6)
    20.0
    """
    reference = np.asarray(reference, dtype=np.float64)
    return decibels(np.var(reference), np.mean((np.asarray(signal, dtype=np.float64) - reference) ** 2))


def decibels(power: Any, noise: Any) -> Any:
    """Return a ratio of powers in decibels, NaN where one is negative or both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * (np.log10(power) - np.log10(noise))


def optional(module: str) -> ModuleType:
    """Import a module that not every installation has, or say how to install it."""
    library = module.partition(".")[0]
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        msg = f'{library} is not installed, but needed here: pip install "shrinkops[demo]"'
        raise ImportError(msg, name=library) from None
    return importlib.import_module(module)


@contextlib.contextmanager
def progress_bar(task: str, total: int, unit: str, shown: bool) -> Iterator[Callable[[int], Any]]:
    """Show a bar on stderr that what is yielded moves on by a number of units, and that is gone at the end."""
    if not shown:
        yield lambda _: None
        return
    with optional("tqdm").tqdm(
        desc=task, total=total, unit=unit, unit_scale=True, leave=False, file=sys.stderr, mininterval=0.05
    ) as bar:
        yield bar.update


def _denoise(
    x: Any,
    operator: Operator,
    lambd: Any,
    wavelet: Any,
    level: int | None,
    axis: int,
    progress: bool,
    estimate: bool,
) -> Report:
    x = np.asarray(x)
    if x.dtype.kind not in "iuf":
        raise refused_dtype(denoise.__name__, "x", x.dtype, or_complex=False)
    AtThreshold(operator, 1.0 if lambd is None else lambd)  # refuses a negative number before anything is computed
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    pywt = optional("pywt")
    if not isinstance(wavelet, pywt.Wavelet):
        wavelet = pywt.Wavelet(wavelet)
    levels = _levels(pywt, x.shape[axis], axis, wavelet, level)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    approximation = x.astype(np.float32 if dtype.itemsize <= 4 else np.float64, copy=False)
    if not np.isfinite(approximation).all():
        msg = "denoise requires finite x, got NaN or infinity"
        raise ValueError(msg)

    with progress_bar("denoising", 5 * x.size, "sample", progress) as advance:
        details = []
        for _ in range(levels):
            advance(approximation.size)
            approximation, detail = pywt.dwt(approximation, wavelet, axis=axis)
            details.append(detail)

        noise = noise_level(details[0], axis=axis, keepdims=True)
        threshold = _threshold(x, lambd, noise, axis)
        shrink = AtThreshold(operator, threshold)
        error = _risk(shrink, details, approximation.shape[axis], noise, axis) if estimate else None
        for k, detail in enumerate(details):
            details[k] = shrink(detail)
            advance(detail.size)

        for detail in reversed(details):
            within = tuple(slice(size) for size in detail.shape)  # an odd length grew by one on the way
            approximation = pywt.idwt(approximation[within], detail, wavelet, axis=axis)
            advance(approximation.size)
    within = tuple(slice(size) for size in x.shape)
    return Report(approximation[within].astype(dtype, copy=False), noise, threshold, error)


@np.errstate(over="ignore", invalid="ignore")
def _risk(shrink: Callable[[Any], Any], details: list[Any], kept: int, noise: Any, axis: int) -> Any:
    """Return Stein's unbiased risk estimate, per coefficient, where `kept` coefficients are not shrunk."""
    step, variance = noise / 4, np.square(noise, dtype=np.float64)
    total, count = kept * variance, kept
    for detail in details:
        slope = 2 * noise * (shrink(detail + step) - shrink(detail - step))  # times the variance
        risk = np.square(shrink(detail) - detail) - variance + 2 * slope
        total = total + np.sum(risk, axis=axis, keepdims=True)
        count += detail.shape[axis]
    return total / count


def _levels(pywt: ModuleType, n: int, axis: int, wavelet: Any, level: int | None) -> int:
    """Return the number of scales."""
    most = pywt.dwt_max_level(n, wavelet.dec_len) if n else 0
    if most < 1:
        least = 2 * (wavelet.dec_len - 1)
        msg = f"denoise requires at least {least} samples along axis {axis} with {wavelet.name}, got {n}"
        raise ValueError(msg)
    if level is None:
        return max(most - 3, 1)
    if not 1 <= level <= most:
        msg = f"denoise requires a level from 1 to {most} for {n} samples with {wavelet.name}, got level={level}"
        raise ValueError(msg)
    return level


def _threshold(x: Any, lambd: Any, noise: Any, axis: int) -> Any:
    """Return the threshold of each signal, in the precision of the noise level and of its shape."""
    if lambd is None:
        return universal_threshold(noise, x.shape[axis])
    try:
        return np.broadcast_to(np.asarray(lambd, dtype=noise.dtype), noise.shape)
    except ValueError:
        msg = f"lambd must broadcast to shape {noise.shape}, one threshold per signal, got shape {np.shape(lambd)}"
        raise ValueError(msg) from None
