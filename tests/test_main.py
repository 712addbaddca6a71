"""The command line, on the recording that it ships with and on files of every format."""

import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import shrinkops
import shrinkops.__main__ as command
from shrinkops.denoise import denoise, denoise_report, snr
from shrinkops.plot import curves
from shrinkops.rules import AtThreshold, noise_level, universal_threshold

OPERATORS = {name: operator for name, operator in shrinkops.OPERATORS.items() if operator.odd}
PNG = b"\x89PNG\r\n\x1a\n"
ROOT = Path(__file__).parents[1]
N = 4096


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clean():
    t = np.linspace(0, 1, N)
    return 0.5 * np.sin(2 * np.pi * 5 * t) + 0.2 * np.sign(t - 0.4)


@pytest.fixture
def noisy(clean):
    return clean + np.random.default_rng(1).normal(scale=0.05, size=N)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the picture, which takes longest."""
    monkeypatch.setattr(command, "_save_picture", lambda figure, file, path: file.write(PNG))


def contents():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def refused(capsys, *arguments, status=1):
    """Return the one line that is said, after nothing was written."""
    before = contents()
    assert command.main([str(argument) for argument in arguments]) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("shrinkops: ")
    assert contents() == before
    return said.err


def write_wav(path, samples, width, rate=8000):
    """Write integers of any width, one column per channel."""
    samples = np.asarray(samples)
    samples = samples[:, None] if samples.ndim == 1 else samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        shift = 128 if width == 1 else 0
        file.writeframes(
            b"".join((int(x) + shift).to_bytes(width, "little", signed=width > 1) for x in samples.ravel())
        )


def read_wav(path):
    """Return the parameters of a file and its samples as integers."""
    with wave.open(str(path)) as file:
        form, data = file.getparams(), file.readframes(file.getnframes())
    width = form.sampwidth
    shift = 128 if width == 1 else 0
    samples = [
        int.from_bytes(data[k : k + width], "little", signed=width > 1) - shift for k in range(0, len(data), width)
    ]
    return form, np.array(samples).reshape(-1, form.nchannels)


# The recording of PyWavelets


def check_table(text):
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line and line.split()[0] in OPERATORS}
    assert rows.keys() == OPERATORS.keys()
    for name, (_, threshold, before, _, after, _, *applied) in rows.items():
        assert float(threshold) > 0
        assert float(after) > float(before) + 3, name
        assert name in " ".join(applied)


def test_a_real_recording_with_every_operator(capsys):
    assert command.main([]) == 0
    said = capsys.readouterr()
    check_table(said.out)
    assert said.err == ""
    assert [str(path) for path in contents()] == ["shrinkops.png"]
    assert Path("shrinkops.png").read_bytes().startswith(PNG)
    assert command.main([]) == 0
    assert capsys.readouterr().out == said.out


def test_as_a_process(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "shrinkops", "-o", "picture.png"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    check_table(done.stdout)
    assert Path("picture.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_other_pictures(suffix, capsys):
    assert command.main(["-o", f"picture.{suffix}"]) == 0
    assert f"picture.{suffix}" in capsys.readouterr().out
    assert Path(f"picture.{suffix}").stat().st_size > 10_000


# Files


@pytest.mark.parametrize("name", OPERATORS)
def test_the_picture_of_a_file(name, noisy):
    np.save("in.npy", noisy)
    assert command.main(["denoise", "in.npy", "--operator", name]) == 0
    assert sorted(map(str, contents())) == ["in-denoised.npy", "in-denoised.png", "in.npy"]
    assert Path("in-denoised.png").read_bytes().startswith(PNG)
    assert Path("in-denoised.png").stat().st_size > 10_000


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "float16"])
@pytest.mark.parametrize("name", OPERATORS)
def test_npy(name, dtype, clean, noisy, capsys):
    np.save("in.npy", np.stack([noisy, 2 * noisy]).astype(dtype))
    assert command.main(["denoise", "in.npy", "--operator", name]) == 0
    result = np.load("in-denoised.npy")
    assert result.shape == (2, N)
    assert result.dtype == dtype
    assert snr(clean, result[0]) > snr(clean, noisy) + 3
    assert snr(2 * clean, result[1]) > snr(clean, noisy) + 3
    said = capsys.readouterr()
    assert said.err == ""
    assert sum(name in line.split() for line in said.out.splitlines()) == 2


@pytest.mark.usefixtures("undrawn")
def test_integers_become_floats(clean, noisy):
    np.save("in.npy", np.rint(1000 * noisy).astype(np.int16))
    assert command.main(["denoise", "in.npy", "-o", "out.npy", "--picture", "p.png"]) == 0
    result = np.load("out.npy")
    assert result.dtype == np.float64
    assert snr(1000 * clean, result) > snr(clean, noisy) + 3
    assert sorted(map(str, contents())) == ["in.npy", "out.npy", "p.png"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
@pytest.mark.parametrize("header", [[], ["time value"], ["# a comment", "time;value"]])
def test_csv(delimiter, header, clean, noisy):
    lines = [*header, *(f"{k}{delimiter}{x!r}" for k, x in enumerate(noisy.tolist()))]
    Path("in.csv").write_text("\n".join(lines) + "\n")
    assert command.main(["denoise", "in.csv"]) == 0
    written = Path("in-denoised.csv").read_text().splitlines()
    assert written[: len(header)] == header
    result = np.array([line.split(delimiter) for line in written[len(header) :]], dtype=float)
    assert result.shape == (N, 2)
    np.testing.assert_allclose(result[:, 0], np.arange(N), atol=1e-6)
    assert snr(clean, result[:, 1]) > snr(clean, noisy) + 3


@pytest.mark.usefixtures("undrawn")
def test_csv_of_one_line(clean, noisy):
    Path("in.csv").write_text(",".join(map(repr, noisy.tolist())))
    assert command.main(["denoise", "in.csv", "-o", "out.npy"]) == 0
    result = np.load("out.npy")
    assert result.shape == (1, N)
    assert snr(clean, result[0]) > snr(clean, noisy) + 3


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav(width, channels, clean, noisy):
    scale = 2 ** (8 * width - 1)
    samples = np.rint(np.stack([noisy, -noisy][:channels], axis=-1) * scale).astype(np.int64)
    write_wav("in.wav", samples, width, rate=44100)
    assert command.main(["denoise", "in.wav", "--operator", "hardshrink"]) == 0
    form, result = read_wav("in-denoised.wav")
    assert form == read_wav("in.wav")[0]
    assert (form.sampwidth, form.nchannels, form.framerate, form.nframes) == (width, channels, 44100, N)
    assert snr(scale * clean, result[:, 0]) > snr(clean, noisy) + 3
    if width > 1:
        np.testing.assert_allclose(result[:, -1], (-1) ** (channels - 1) * result[:, 0], atol=1)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_is_untouched_by_threshold_zero(width):
    limit = 2 ** (8 * width - 1)
    samples = np.random.default_rng(0).integers(-limit, limit, N)
    samples[:2] = -limit, limit - 1
    write_wav("in.wav", samples, width)
    assert command.main(["denoise", "in.wav", "--lambd", "0"]) == 0
    assert Path("in-denoised.wav").read_bytes() == Path("in.wav").read_bytes()


@pytest.mark.usefixtures("undrawn")
def test_a_given_threshold(noisy, capsys):
    np.save("in.npy", noisy)
    assert command.main(["denoise", "in.npy", "--lambd", "0.25", "--operator", "firmshrink"]) == 0
    assert "0.25" in capsys.readouterr().out
    expected = denoise(noisy, OPERATORS["firmshrink"], 0.25)
    np.testing.assert_array_equal(np.load("in-denoised.npy"), expected)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("arguments", [["-o", "x.npy", "denoise", "in.npy"], ["denoise", "-o", "x.npy", "in.npy"]])
def test_output_anywhere(arguments, noisy):
    np.save("in.npy", noisy)
    assert command.main(arguments) == 0
    assert sorted(map(str, contents())) == ["in.npy", "x.npy", "x.png"]


def test_any_name(noisy, capsys):
    np.save(r"a $\frac$ 心.npy", noisy)
    assert command.main(["denoise", r"a $\frac$ 心.npy"]) == 0
    assert capsys.readouterr().err == ""
    assert Path(r"a $\frac$ 心-denoised.png").read_bytes().startswith(PNG)


@pytest.mark.usefixtures("undrawn")
def test_many_signals(noisy, capsys):
    np.save("in.npy", np.tile(noisy[:256], (3, 4, 1)))
    assert command.main(["denoise", "in.npy"]) == 0
    assert "... and 4 more" in capsys.readouterr().out
    assert np.load("in-denoised.npy").shape == (3, 4, 256)


@pytest.mark.parametrize("samples", [np.zeros(100), np.arange(100.0), np.full(100, 1e300)])
def test_nothing_to_remove(samples):
    np.save("in.npy", samples)
    assert command.main(["denoise", "in.npy"]) == 0
    np.testing.assert_allclose(np.load("in-denoised.npy"), samples, rtol=1e-9, atol=1e-9)


# What is refused


def save_text(path, text):
    Path(path).write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("empty.csv", "", "is empty"),
        ("empty.npy", "", "is empty"),
        ("empty.wav", "", "is empty"),
        ("blank.csv", "\n\n", "holds no numbers"),
        ("words.csv", "some\nwords\n", "line 2 is not numeric"),
        ("word.csv", "word\n", "holds no numbers"),
        ("mixed.csv", "1,2\n3,four\n", "line 2 is not numeric"),
        ("first.csv", "1,two\n3,4\n", "line 1 is not numeric"),
        ("gap.csv", "1,2\n3,\n", "line 2 is not numeric"),
        ("ragged.csv", "1,2\n3\n", "line 2 holds 1 numbers"),
        ("nan.csv", "1\n" * 50 + "nan\n" + "1\n" * 50, "holds nan at index 50, 0"),
        ("inf.csv", "1\n" * 50 + "-inf\n", "holds -inf at index 50, 0"),
        ("short.csv", "1\n2\n3\n", "at least 30 samples"),
        ("binary.csv", b"\x80\x81\xff", "is not a text file"),
        ("words.npy", "words", "is not a .npy file"),
        ("words.wav", "words", "is not a PCM .wav file"),
        ("words.txt", "1\n2\n", "must be one of .npy, .csv, .wav"),
    ],
)
def test_bad_files(name, text, said, capsys):
    save_text(name, text)
    line = refused(capsys, "denoise", name, status=2 if name.endswith(".txt") else 1)
    assert line.startswith(f"shrinkops: {name}: ")
    assert said in line


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([]), "holds no samples"),
        (np.zeros((3, 0)), "holds no samples"),
        (np.array(1.0), "single number"),
        (np.ones(3), "at least 30 samples"),
        (np.array([1.0] * 40 + [np.nan]), "holds nan at index 40"),
        (np.array([[1.0] * 40, [np.inf] * 40]), "holds inf at index 1, 0"),
        (np.array(["a"] * 40), "not real numbers"),
        (np.ones(40, dtype=bool), "holds bool, not real numbers"),
        (np.ones(40, dtype=complex), "holds complex128, not real numbers"),
        (np.array([None] * 40), "is not a .npy file of numbers"),
    ],
)
def test_bad_arrays(array, said, capsys):
    np.save("in.npy", array)
    line = refused(capsys, "denoise", "in.npy")
    assert line.startswith("shrinkops: in.npy: ")
    assert said in line


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".wav", ".txt", ""])
def test_missing_files(suffix, capsys):
    assert "No such file" in refused(capsys, "denoise", f"missing{suffix}")
    assert f"elsewhere/missing{suffix}: No such file" in refused(capsys, "denoise", f"elsewhere/missing{suffix}")


def test_truncated_files(noisy, capsys):
    write_wav("in.wav", np.rint(noisy * 32000), 2)
    save_text("short.wav", Path("in.wav").read_bytes()[:1001])
    assert "short.wav: ends before its 4096 frames do" in refused(capsys, "denoise", "short.wav")
    save_text("header.wav", Path("in.wav").read_bytes()[:20])
    assert "header.wav: is not a PCM .wav file" in refused(capsys, "denoise", "header.wav")
    np.save("in.npy", noisy)
    save_text("short.npy", Path("in.npy").read_bytes()[:1001])
    assert "short.npy: is not a .npy file" in refused(capsys, "denoise", "short.npy")
    write_wav("none.wav", np.zeros(0), 2)
    assert "none.wav: holds no samples" in refused(capsys, "denoise", "none.wav")
    Path("folder.npy").mkdir()
    assert "folder.npy: Is a directory" in refused(capsys, "denoise", "folder.npy")


@pytest.mark.parametrize("value", ["-1", "nan", "-inf"])
def test_bad_thresholds(value, noisy, capsys):
    np.save("in.npy", noisy)
    with pytest.raises(ValueError, match="requires lambd >= 0") as raised:
        OPERATORS["softshrink"](1.0, float(value))
    line = refused(capsys, "denoise", "in.npy", f"--lambd={value}", status=2)
    assert line == f"shrinkops: argument --lambd: {raised.value}\n"
    for name in OPERATORS:
        assert "argument --lambd: " in refused(
            capsys, "denoise", "in.npy", f"--lambd={value}", "--operator", name, status=2
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in.npy", "--operator", "notshrink"], "argument --operator: invalid choice: 'notshrink'"),
        (["in.npy", "--lambd", "-1"], "argument --lambd: softshrink requires lambd >= 0, got lambd=-1.0"),
        (["in.npy", "--lambd", "much"], "argument --lambd: invalid float value: 'much'"),
        (["in.npy", "--unknown"], "--unknown"),
        ([], "FILE"),
        (["in.npy", "-o", "in.npy"], "in.npy: is the input"),
        (["in.npy", "-o", "./folder/../in.npy"], "in.npy: is the input"),
        (["in.npy", "-o", "link.npy"], "link.npy: is the input"),
        (["in.npy", "-o", "out.txt"], "out.txt: must be one of .npy, .csv, .wav"),
        (["in.npy", "-o", "out.wav"], "out.wav: only a .wav file"),
        (["in.npy", "--picture", "in.npy"], "in.npy: is the input"),
        (["in.npy", "-o", "out.npy", "--picture", "out.npy"], "out.npy: is the denoised file"),
        (["in.npy", "--picture", "picture.docx"], "picture.docx: a picture must be one of"),
        (["cube.npy", "-o", "out.csv"], "out.csv: .csv holds two axes at most"),
    ],
)
def test_bad_arguments(arguments, said, noisy, capsys):
    np.save("in.npy", noisy)
    np.save("cube.npy", noisy.reshape(2, 2, -1))
    Path("folder").mkdir()
    Path("link.npy").symlink_to("in.npy")
    line = refused(capsys, "denoise", *arguments, status=2)
    assert said in line
    if "notshrink" in line:
        assert all(name in line for name in OPERATORS)


def test_bad_targets(noisy, capsys):
    np.save("in.npy", noisy)
    Path("folder.npy").mkdir()
    assert "nowhere/out.npy: there is no folder" in refused(capsys, "denoise", "in.npy", "-o", "nowhere/out.npy")
    assert "folder.npy: is a folder" in refused(capsys, "denoise", "in.npy", "-o", "folder.npy")
    assert "nowhere/p.png: there is no folder" in refused(capsys, "-o", "nowhere/p.png")
    assert "is not the name of a file" in refused(capsys, "-o", "a\0b.png", status=2)
    assert "is not the name of a file" in refused(capsys, "denoise", "in.npy", "--picture", "a\0b.png", status=2)


@pytest.mark.parametrize("module", ["pywt", "matplotlib"])
def test_missing_libraries(module, noisy, capsys, monkeypatch):
    np.save("in.npy", noisy)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for arguments in ([], ["denoise", "in.npy"]):
        line = refused(capsys, *arguments)
        assert module in line
        assert 'pip install "shrinkops[demo]"' in line


# Long input


def test_progress(capsys):
    np.save("in.npy", np.random.default_rng(0).normal(size=command._LONG + 1).astype(np.float32))
    assert command.main(["denoise", "in.npy"]) == 0
    said = capsys.readouterr()
    assert "denoising" in said.err
    assert "denoising" not in said.out


@pytest.mark.parametrize("moment", ["denoise_report", "picture", "_save_picture"])
def test_an_interruption(moment, noisy, capsys, monkeypatch):
    np.save("in.npy", noisy)
    Path("in-denoised.npy").write_text("of an earlier run")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, moment, interrupt)
    assert refused(capsys, "denoise", "in.npy", status=130) == "shrinkops: interrupted\n"
    assert refused(capsys, status=130) == "shrinkops: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_ctrl_c():
    np.save("in.npy", np.random.default_rng(0).normal(size=20_000_000).astype(np.float32))
    process = subprocess.Popen(
        [sys.executable, "-m", "shrinkops", "denoise", "in.npy"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr.read(1)  # the bar appears
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert err.replace(b"\r", b"\n").splitlines()[-1] == b"shrinkops: interrupted"
    assert b"Traceback" not in err
    assert [path.name for path in Path().iterdir()] == ["in.npy"]


# The library beneath


@pytest.mark.parametrize("name", OPERATORS)
def test_one_threshold_for_any_operator(name):
    x = np.linspace(-3, 3, 601)
    at = AtThreshold(OPERATORS[name], 0.5)
    assert name in str(at)
    np.testing.assert_allclose(at(x), 0.5 * AtThreshold(OPERATORS[name], 1.0)(x / 0.5), atol=1e-12)
    np.testing.assert_array_equal(AtThreshold(OPERATORS[name], 0.0)(x), x)
    np.testing.assert_array_equal(AtThreshold(OPERATORS[name], np.inf)(x), 0 * x)
    columns = AtThreshold(OPERATORS[name], np.array([[0.5], [-1.0], [np.nan], [0.0]]))(x)
    np.testing.assert_array_equal(columns[0], at(x))
    assert np.isnan(columns[1:3]).all()
    np.testing.assert_array_equal(columns[3], x)
    assert AtThreshold(OPERATORS[name], 0.5)(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_every_signal_by_itself(name, axis, noisy):
    x = np.stack([noisy[:511], 3 * noisy[-511:], noisy[1000:1511] ** 2])
    expected = np.stack([denoise(row, OPERATORS[name]) for row in x])
    across = x if axis else x.T
    result = denoise(across, OPERATORS[name], axis=axis)
    np.testing.assert_allclose(result if axis else result.T, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_estimated_error(name, clean):
    rng = np.random.default_rng(2)
    true, estimated = [], []
    for _ in range(20):
        report = denoise_report(clean + rng.normal(scale=0.1, size=N), OPERATORS[name])
        true.append(np.mean((report.signal - clean) ** 2))
        estimated.append(report.error[0])
    assert np.mean(estimated) == pytest.approx(np.mean(true), rel=0.25)


def test_threshold_of_each_signal(noisy):
    x = np.stack([noisy, noisy])
    result = denoise(x, lambd=np.array([[0.0], [np.inf]]))
    np.testing.assert_allclose(result[0], noisy)
    assert np.var(result[1]) < np.var(noisy)
    with pytest.raises(ValueError, match="one threshold per signal"):
        denoise(x, lambd=np.ones(3))


def test_refusals_of_the_library(noisy):
    with pytest.raises(ValueError, match="softshrink requires lambd >= 0"):
        denoise(noisy, lambd=-1.0)
    with pytest.raises(ValueError, match="finite"):
        denoise(np.where(noisy > 0, np.nan, noisy))
    with pytest.raises(ValueError, match="at least 30 samples along axis 0 with sym8, got 29"):
        denoise(noisy[:29])
    with pytest.raises(ValueError, match="level from 1 to 8"):
        denoise(noisy, level=9)
    with pytest.raises(ValueError, match="axis"):
        denoise(1.0)
    with pytest.raises(TypeError, match="complex128"):
        denoise(noisy + 1j)
    with pytest.raises(TypeError, match="operator must be one of"):
        AtThreshold(abs, 1.0)
    for name in shrinkops.OPERATORS.keys() - OPERATORS.keys():
        with pytest.raises(ValueError, match=f"requires an odd operator, .* got {name}"):
            denoise(noisy, shrinkops.OPERATORS[name])


def test_rules_stay_on_a_device():
    import array_api_strict as xp

    device = xp.Device("device1")
    x = xp.asarray(np.linspace(-3.0, 4.0, 8), device=device)
    level = noise_level(x)
    assert level.device == device
    np.testing.assert_allclose(float(level), noise_level(np.linspace(-3.0, 4.0, 8)))
    assert AtThreshold(OPERATORS["tanhshrink"], 0.5)(x).device == device


def test_noise_level():
    x = np.random.default_rng(0).normal(size=(3, 1000)) * [[1.0], [2.0], [4.0]]
    np.testing.assert_allclose(noise_level(x, axis=1), np.median(abs(x), axis=1) / 0.6745, rtol=1e-4)
    assert noise_level(x, axis=1, keepdims=True).shape == (3, 1)
    assert noise_level(x, keepdims=True).shape == (1, 1)
    assert noise_level(x.astype(np.float32)).dtype == np.float32
    assert noise_level([1, 2, 3]) == pytest.approx(2 / 0.6745, rel=1e-4)
    x[1, 5] = np.nan
    np.testing.assert_array_equal(np.isnan(noise_level(x, axis=1)), [False, True, False])
    with pytest.raises(ValueError, match="at least one coefficient"):
        noise_level(np.zeros((2, 0)), axis=1)
    with pytest.raises(TypeError, match="complex128"):
        noise_level(np.ones(3, dtype=complex))


def test_universal_threshold():
    assert universal_threshold(2.0, 1) == 0
    assert universal_threshold(2.0, 1024) == pytest.approx(2 * np.sqrt(2 * np.log(1024)))
    with pytest.raises(ValueError, match="n >= 1"):
        universal_threshold(1.0, 0)
    with pytest.raises(ValueError, match="sigma >= 0"):
        universal_threshold(-1.0, 10)


def test_rules_on_other_libraries(strict):
    xp = strict
    x = np.random.default_rng(0).normal(size=101)
    assert float(noise_level(xp.asarray(x))) == pytest.approx(float(noise_level(x)))
    for operator in OPERATORS.values():
        y = AtThreshold(operator, 0.5)(xp.asarray(x))
        assert type(y) is type(xp.asarray(x))
        np.testing.assert_allclose(np.asarray(y), AtThreshold(operator, 0.5)(x), rtol=1e-12, atol=1e-15)


def test_curves_of_every_operator():
    figure = curves()
    assert [ax.get_title("left") for ax in figure.axes] == list(OPERATORS)
    assert curves([OPERATORS["softshrink"]], figure.axes[1:2]) is figure
    with pytest.raises(ValueError, match="axes for each"):
        curves(axes=figure.axes[:1])


@pytest.mark.parametrize("name", [".", "", "a\0b.npy"])
def test_what_is_no_name_of_a_file(name, capsys):
    assert command.main(["denoise", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_samples_whose_squares_overflow(tmp_path, capsys):
    path = tmp_path / "large.npy"
    np.save(path, np.sin(np.arange(3000.0)) * 1.7e308)
    assert command.main(["denoise", str(path)]) == 1
    assert "holds samples more than 1e+150 apart" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
