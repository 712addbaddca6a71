"""The command line: ``python -m shrinkops``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
import wave
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np

from ._dispatch import OPERATORS
from .denoise import Report, decibels, denoise_report, optional, progress_bar, snr
from .plot import Row, picture
from .rules import AtThreshold

_WAVELET = "sym8"
# Of the noise that is added to the recording: an SNR needs a clean reference, which a recording with noise is not.
_SNR = 10.0
_SEED = 0
# Details are of either sign.
_CHOICES = {name: operator for name, operator in OPERATORS.items() if operator.odd}
# Above this many samples there is progress to show.
_LONG = 1_000_000
_WIDEST = 1e150
# Of many signals in one file, this many are listed and drawn.
_SHOWN = 8


class _Refused(Exception):
    """What cannot be used and why, said in one line on stderr, and the exit status."""

    def __init__(self, what: object, why: object, status: int = 1) -> None:
        super().__init__(" ".join(f"{what}: {why}".split()))
        self.status = status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        what, _, why = message.partition(": ")
        raise _Refused(what, why, 2)


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 for an input that cannot be used, 2 for a wrong argument, 130 after Ctrl-C.
    """
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
    except KeyboardInterrupt:
        message, status = "interrupted", 130
    except _Refused as error:
        message, status = str(error), error.status
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        message, status = f"{name}{error.strerror or error}", 1
    except ImportError as error:
        message, status = str(error), 1
    except MemoryError:
        message, status = "not enough memory", 1
    else:
        return 0
    print(f"shrinkops: {message}", file=sys.stderr)
    return status


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m shrinkops",
        description="Denoise a recording of the heart (ECG) with every operator, print a table and draw a picture.",
    )
    parser.add_argument("-o", "--output", type=Path, help="picture (shrinkops.png)")
    parser.set_defaults(run=_demonstrate)
    command = parser.add_subparsers(title="commands", metavar="").add_parser(
        "denoise",
        help="denoise a file of your own",
        description="Denoise a file by wavelet thresholding, print what was estimated and draw a picture.",
    )
    command.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help=".npy (signals along the last axis), .csv (one column per signal) or .wav (PCM)",
    )
    command.add_argument("--operator", choices=list(_CHOICES), default="softshrink", help="operator (%(default)s)")
    command.add_argument(
        "--lambd",
        type=float,
        help="threshold, in the unit of the samples (full scale of .wav is 1); by default the universal threshold",
    )
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        default=argparse.SUPPRESS,  # so that -o before the command counts as well
        help="denoised file (FILE with -denoised before its suffix)",
    )
    command.add_argument("--picture", type=Path, help="picture (beside the denoised file, .png)")
    command.set_defaults(run=_denoise_file)
    return parser


def _demonstrate(arguments: argparse.Namespace) -> None:
    """Denoise the recording that PyWavelets ships, with every operator."""
    drawn = arguments.output or Path("shrinkops.png")
    _check_targets(drawn)
    _check_picture(drawn)
    reference = optional("pywt.data").ecg().astype(np.float64)
    reference = (reference - reference.mean()) / reference.std()
    level = 10 ** (-_SNR / 20)
    noisy = reference + np.random.default_rng(_SEED).normal(scale=level, size=reference.size)

    table = [("operator", "threshold", "SNR before", "SNR after", "applied as")]
    rows = []
    for name, operator in _CHOICES.items():
        report = denoise_report(noisy, operator, wavelet=_WAVELET)
        threshold = float(report.threshold[0])
        before, after = snr(reference, noisy), snr(reference, report.signal)
        applied = str(AtThreshold(operator, threshold))
        table.append((name, f"{threshold:.4f}", f"{before:.2f} dB", f"{after:.2f} dB", applied))
        rows.append(Row(operator, f"{applied}      SNR {before:.1f} dB  →  {after:.1f} dB", noisy, report.signal))
    figure = picture(rows, "A noisy ECG, denoised by shrinking its wavelet coefficients")
    with _written(drawn) as (file,):
        _save_picture(figure, file, drawn)

    estimate = float(report.noise_level[0])
    print(f"Reference: ECG of PyWavelets (pywt.data.ecg), {reference.size} samples, scaled to mean 0 and variance 1.")
    print(f"Before: with white Gaussian noise of standard deviation {level:.4f} added (NumPy, seed {_SEED}).")
    print(f"Threshold: universal, for the noise level {estimate:.4f} estimated from the noisy signal (MAD).")
    print(f"Wavelet: {_WAVELET}. SNR: power of the reference over that of the error.\n")
    _print_table(table)
    print(f"\nPicture: {drawn}")


def _check_name(path: Path) -> None:
    """Refuse what cannot be the name of a file."""
    if not path.name or "\0" in str(path):
        raise _Refused(repr(str(path)), "is not the name of a file", 2)


def _denoise_file(arguments: argparse.Namespace) -> None:
    """Denoise a file."""
    path = arguments.file
    _check_name(path)
    path.stat()  # a missing file is the first thing to say
    output = arguments.output or path.with_name(f"{path.stem}-denoised{path.suffix}")
    _check_name(output)
    drawn = arguments.picture or output.with_suffix(".png")
    operator = _CHOICES[arguments.operator]
    if arguments.lambd is not None:
        try:
            AtThreshold(operator, arguments.lambd)
        except ValueError as error:
            what = "argument --lambd"
            raise _Refused(what, error, 2) from None
    for given, known in ((path, READERS), (output, WRITERS)):
        if given.suffix.lower() not in known:
            raise _Refused(given, f"must be one of {', '.join(known)}", 2)
    _check_targets(output, drawn, source=path)
    recording = _read(path)
    if recording.samples.size and float(recording.samples.max()) - float(recording.samples.min()) > _WIDEST:
        raise _Refused(path, f"holds samples more than {_WIDEST:g} apart, the squares of which overflow")
    _check_picture(drawn)
    long = recording.samples.size > _LONG
    try:
        report = denoise_report(
            recording.samples, operator, arguments.lambd, _WAVELET, axis=recording.axis, progress=long
        )
    except (TypeError, ValueError) as error:
        raise _Refused(path, error) from None
    before, after = (_signals(x, recording.axis) for x in (recording.samples, report.signal))
    table, titles = _estimates(operator.__name__, before, report)
    rows = [Row(operator, *row) for row in zip(titles, before, after, strict=False)]
    figure = picture(rows, path.name)
    with _written(output, drawn) as (file, picture_file):
        WRITERS[output.suffix.lower()](output, file, recording._replace(samples=report.signal))
        _save_picture(figure, picture_file, drawn)

    signals = f"{len(before)} signals of " if len(before) > 1 else ""
    chosen = "given" if arguments.lambd is not None else "universal"
    print(f"{path}: {signals}{before.shape[1]} samples. Threshold: {chosen}. Wavelet: {_WAVELET}.")
    print("There is no clean reference: noise level and SNR are estimates that assume white noise, the first from the")
    print("finest wavelet details (MAD), the error after by Stein's unbiased risk. SNR can be 1 or 2 dB off, or more")
    print("where the noise is not white.\n")
    _print_table(table)
    if len(before) > _SHOWN:
        print(f"... and {len(before) - _SHOWN} more")
    print(f"\nDenoised: {output}\nPicture: {drawn}")


def _signals(x: Any, axis: int) -> Any:
    """Return signals as the rows of a matrix."""
    x = np.moveaxis(x, axis, -1)
    return x.reshape(-1, x.shape[-1])


@np.errstate(over="ignore", invalid="ignore")  # the power of what can be denoised may be too large, and is unknown
def _estimates(name: str, before: Any, report: Report) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the table of what was estimated, and a title for each signal in it."""
    table: list[tuple[str, ...]] = [("signal", "operator", "noise level", "threshold", "SNR before", "SNR after")]
    titles = []
    estimates = zip(before[:_SHOWN], *(x.ravel() for x in report[1:]), strict=False)
    for k, (signal, noise, threshold, error) in enumerate(estimates, 1):
        noise = np.float64(noise)
        power = np.var(signal, dtype=np.float64) - noise**2
        ratios = [_ratio(decibels(power, x)) for x in (noise**2, float(error))]
        table.append((str(k), name, f"{noise:.4g}", f"{threshold:.4g}", *ratios))
        number = f"signal {k}: " if len(before) > 1 else ""
        titles.append(f"{number}threshold {threshold:.4g}      estimated SNR {ratios[0]}  →  {ratios[1]}")
    return table, titles


def _ratio(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.2f} dB"


def _print_table(table: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _check_targets(*targets: Path, source: Path | None = None) -> None:
    """Refuse to write where that cannot be, or over the input."""
    for k, target in enumerate(targets):
        _check_name(target)
        if not target.parent.is_dir():
            raise _Refused(target, f"there is no folder {target.parent}")
        if not os.access(target.parent, os.W_OK):
            raise _Refused(target, f"the folder {target.parent} is not writeable")
        if target.is_dir():
            raise _Refused(target, "is a folder")
        for other in (*targets[:k], *([source] if source else [])):
            same = target.exists() and other.exists() and target.samefile(other)
            if same or target.resolve() == other.resolve():
                what = "the input" if other is source else "the denoised file"
                raise _Refused(target, f"is {what}, which is not overwritten", 2)


def _check_picture(path: Path) -> None:
    """Refuse a suffix that matplotlib does not write."""
    known = optional("matplotlib.backend_bases").FigureCanvasBase.filetypes
    if path.suffix.lower().removeprefix(".") not in known:
        raise _Refused(path, f"a picture must be one of {', '.join(f'.{name}' for name in sorted(known))}", 2)


def _save_picture(figure: Any, file: IO[bytes], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # in the name of a file
        figure.savefig(file, format=path.suffix.lower().removeprefix("."), dpi=150)


@contextlib.contextmanager
def _written(*paths: Path) -> Iterator[list[IO[bytes]]]:
    """Open a temporary file for each path, and rename them all at the end, or none if it is not reached."""
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(part.open("xb")) for part in parts]
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


class Recording(NamedTuple):
    """
    Signals in a file.

    Parameters
    ----------
    samples : ndarray
        The samples.
    axis : int
        The axis of time.
    form : object
        What the file's format keeps beside the samples.
    """

    samples: Any
    axis: int
    form: Any = None


def _read(path: Path) -> Recording:
    """Read signals, and refuse what cannot be denoised."""
    if path.is_file() and path.stat().st_size == 0:
        raise _Refused(path, "is empty")
    recording = READERS[path.suffix.lower()](path)
    samples = recording.samples
    if samples.dtype.kind not in "iuf":
        raise _Refused(path, f"holds {samples.dtype.name}, not real numbers")
    if samples.ndim == 0:
        raise _Refused(path, "holds a single number, not a signal")
    if samples.size == 0:
        raise _Refused(path, "holds no samples")
    finite = np.isfinite(samples)
    if not finite.all():
        at = np.unravel_index(np.argmin(finite), samples.shape)
        where = ", ".join(str(int(k)) for k in at)
        raise _Refused(path, f"holds {samples[at]} at index {where}")
    return recording


def _read_npy(path: Path) -> Recording:
    with path.open("rb") as file:
        try:
            return Recording(np.lib.format.read_array(file, allow_pickle=False), -1)
        except (ValueError, EOFError) as error:
            raise _Refused(path, f"is not a .npy file of numbers: {error}") from None


def _write_npy(path: Path, file: IO[bytes], recording: Recording) -> None:
    np.lib.format.write_array(file, np.asarray(recording.samples), allow_pickle=False)


class _Table(NamedTuple):
    """How a .csv file is written: the lines above the numbers, and what is between numbers."""

    header: list[str]
    delimiter: str


def _read_csv(path: Path) -> Recording:
    values, columns, form = array("d"), 0, _Table([], ",")
    size = path.stat().st_size
    with path.open(encoding="utf-8-sig") as file, progress_bar("reading", size, "B", size > 8 * _LONG) as advance:
        try:
            for number, line in enumerate(file, 1):
                advance(len(line))
                if not line.strip():
                    continue
                if not values:
                    form = form._replace(delimiter=next((mark for mark in ";\t, " if mark in line.strip()), ","))
                fields = line.split(None if form.delimiter == " " else form.delimiter)
                try:
                    row = [float(field) for field in fields]
                except ValueError as error:
                    # Comments and one line that names the columns can stand above the numbers, and are kept.
                    comment = line.startswith("#")
                    named = any(not text.startswith("#") for text in form.header)
                    if values or not (comment or (not named and _names(fields))):
                        raise _Refused(path, f"line {number} is not numeric: {error}") from None
                    form.header.append(line.rstrip("\r\n"))
                    continue
                columns = columns or len(row)
                if len(row) != columns:
                    raise _Refused(path, f"line {number} holds {len(row)} numbers, others {columns}")
                values.extend(row)
        except UnicodeDecodeError:
            raise _Refused(path, "is not a text file") from None
    if not values:
        raise _Refused(path, "holds no numbers")
    samples = np.frombuffer(values).reshape(-1, columns)
    # A single line is one signal.
    return Recording(samples, 1 if len(samples) == 1 else 0, form)


def _names(fields: Sequence[str]) -> bool:
    """Whether no field is a number."""
    for field in fields:
        with contextlib.suppress(ValueError):
            float(field)
            return False
    return True


def _write_csv(path: Path, file: IO[bytes], recording: Recording) -> None:
    samples = recording.samples
    if samples.ndim > 2:
        raise _Refused(path, f".csv holds two axes at most, not {samples.ndim}", 2)
    header, delimiter = recording.form if isinstance(recording.form, _Table) else ([], ",")
    file.writelines(f"{line}\n".encode() for line in header)
    rows = samples.reshape(len(samples), -1)
    with progress_bar("writing", len(rows), "line", samples.size > _LONG) as advance:
        for start in range(0, len(rows), 65536):
            block = rows[start : start + 65536]
            file.writelines(f"{delimiter.join(map(str, row))}\n".encode() for row in block.tolist())
            advance(len(block))


def _read_wav(path: Path) -> Recording:
    with path.open("rb") as file:
        try:
            with wave.open(file) as reader:
                form = reader.getparams()
                data = np.frombuffer(reader.readframes(form.nframes), dtype=np.uint8)
        except (wave.Error, EOFError) as error:
            raise _Refused(path, f"is not a PCM .wav file: {str(error) or 'it ends too early'}") from None
    if form.sampwidth > 4:
        raise _Refused(path, f"holds samples of {8 * form.sampwidth} bits, more than 32")
    if data.size != form.nframes * form.nchannels * form.sampwidth:
        raise _Refused(path, f"ends before its {form.nframes} frames do")
    return Recording(_from_pcm(data, form.sampwidth).reshape(-1, form.nchannels), 0, form)


def _write_wav(path: Path, file: IO[bytes], recording: Recording) -> None:
    form = recording.form
    if not hasattr(form, "framerate"):
        raise _Refused(path, "only a .wav file can be written as .wav, for its sample rate and width", 2)
    with wave.open(file, "wb") as writer:
        writer.setparams(form)
        for start in range(0, len(recording.samples), _LONG):
            writer.writeframesraw(_to_pcm(recording.samples[start : start + _LONG], form.sampwidth))


def _from_pcm(data: Any, width: int) -> Any:
    """Return samples between -1 and 1, in the shortest floating-point type that holds them."""
    if width == 1:  # the only unsigned one
        return (data.astype(np.float32) - 128) / 128
    padded = np.zeros((data.size // width, 4), dtype=np.uint8)
    padded[:, 4 - width :] = data.reshape(-1, width)
    samples: Any = padded.view("<i4")[:, 0].astype(np.float32 if width == 2 else np.float64)
    return samples / 2**31


def _to_pcm(samples: Any, width: int) -> Any:
    """Return samples between -1 and 1 as the nearest integers, as bytes."""
    scale = 2 ** (8 * width - 1)
    integers = np.clip(np.rint(np.asarray(samples, dtype=np.float64) * scale), -scale, scale - 1).astype("<i4")
    if width == 1:
        return (integers + 128).astype(np.uint8).tobytes()
    return np.ascontiguousarray(integers).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()


READERS: dict[str, Callable[[Path], Recording]] = {".npy": _read_npy, ".csv": _read_csv, ".wav": _read_wav}
WRITERS: dict[str, Callable[[Path, IO[bytes], Recording], None]] = {
    ".npy": _write_npy,
    ".csv": _write_csv,
    ".wav": _write_wav,
}

if __name__ == "__main__":
    sys.exit(main())
