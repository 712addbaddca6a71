"""Build the kernels, with OpenMP where a probe program compiles, links and runs with it."""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# No flag changes the meaning of NaN, infinities or signed zeros, and no product is fused with a sum unless the source
# says so; what goes is errno and the fear of floating-point traps, which keep compilers from vectorising selections.
UNIX_FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
# GCC turns selections into branches where that saves an expression, and branches back into selections only up to a
# number of them; both keep it from vectorising long formulas. What a vector leaves over is computed one by one: loops
# of half and a quarter of the width for it are half of all code.
GNU_FLAGS = ["-fno-tree-pre", "--param=max-tree-if-conversion-phi-args=64", "--param=vect-epilogues-nomask=0"]
# Clang takes "flatten" for the calls in a function itself, not for those in what it calls: a loop would stay a function
# of its own, for the instructions that all processors have. Cython leaves to us what its inline functions are.
CLANG_FLAGS = ["-DCYTHON_INLINE=__inline__ __attribute__((__unused__, __always_inline__))"]
MSVC_FLAGS = ["/O2", "/fp:precise"]
OPENMP_FLAGS = {"msvc": (["/openmp"], []), "unix": (["-fopenmp"], ["-fopenmp"])}
APPLE_OPENMP_FLAGS = (["-Xpreprocessor", "-fopenmp"], ["-lomp"])
CLANG_PROBE = "#ifndef __clang__\n#error another compiler\n#endif\nint main(void) { return 0; }\n"
PROBE = "int main(void) { return 0; }\n"
OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
    "embedsignature": True,
}


class build_kernels(build_ext):
    """Add the flags that the compiler at hand understands."""

    def build_extensions(self):
        msvc = self.compiler.compiler_type == "msvc"
        compile_flags, link_flags = self.openmp_flags(msvc)
        if not msvc and self.runs(PROBE, GNU_FLAGS, []):
            compile_flags = GNU_FLAGS + compile_flags
        if not msvc and self.runs(CLANG_PROBE, [], []):
            compile_flags = CLANG_FLAGS + compile_flags
        for extension in self.extensions:
            extension.extra_compile_args += (MSVC_FLAGS if msvc else UNIX_FLAGS) + compile_flags
            extension.extra_link_args += link_flags
        super().build_extensions()

    def openmp_flags(self, msvc):
        flags = OPENMP_FLAGS["msvc" if msvc else "unix"]
        if sys.platform == "darwin":
            flags = APPLE_OPENMP_FLAGS
        if os.environ.get("SHRINKOPS_NO_OPENMP"):
            print("shrinkops: SHRINKOPS_NO_OPENMP is set: building serial kernels")
        elif self.runs(OPENMP_PROBE, *flags):
            return flags
        else:
            print("shrinkops: no working OpenMP was found: building serial kernels (one thread)", file=sys.stderr)
        return [], []

    def runs(self, probe, compile_flags, link_flags):
        """Whether a probe compiles, links and runs with these flags."""
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder, "probe.c"), Path(folder, "probe")
            source.write_text(probe)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_flags)
                self.compiler.link_executable(objects, str(program), extra_postargs=link_flags)
                suffix = sysconfig.get_config_var("EXE") or ""
                return subprocess.run([str(program) + suffix], timeout=30, check=False).returncode == 0
            except Exception:  # whatever the compiler says: no OpenMP
                return False


setup(
    cmdclass={"build_ext": build_kernels},
    ext_modules=cythonize(
        [
            Extension(
                f"shrinkops._kernels.{name}",
                [f"shrinkops/_kernels/{name}.pyx"],
                include_dirs=[np.get_include()],
                define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
            )
            for name in ("exchange", "groups", "loops")
        ],
        compiler_directives=DIRECTIVES,
    ),
)
