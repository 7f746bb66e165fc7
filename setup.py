"""Packaging of chinese-t5s; `--setup_file=./setup.py` ships the same package to Beam workers."""

from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

LIGHT_CORE = [
    "apache-beam>=2.70,<3",
    "google-crc32c>=1.5,<2",
    "jieba>=0.42.1,<0.43",
    "numpy>=1.26,<3",
    "orjson>=3.9,<4",
    "tqdm>=4.66,<5",
    "zstandard>=0.22,<1",
]
# bert4keras 0.9.9 declares keras<=2.3.1, which no resolver can satisfy beside these:
# it is installed in a second step, `pip install --no-deps bert4keras==0.9.9`.
VOCAB = ["tensorflow-text>=2.18,<3"]
TRAIN = [
    "matplotlib>=3.9,<4",
    "safetensors>=0.4,<1",
    "tensorboard>=2.18,<3",
    "tensorflow>=2.18,<3",
    "tf-keras>=2.18,<3",
    *VOCAB,
]
SCRIPT = ["opencc>=1.1.9,<2"]
GCP = ["apache-beam[gcp]>=2.70,<3"]
DEV = [
    "coverage>=7.6,<8",
    "gcp-storage-emulator>=2026.7,<2027",
    "hypothesis>=6.100,<7",
    "ipykernel>=6.29,<8",
    "nbclient>=0.10,<1",
    "nbformat>=5.10,<6",
    "pre-commit>=4,<5",
    "pyright[nodejs]>=1.1.400,<2",
    "pytest>=8,<10",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.6,<4",
    "rjieba>=0.2.2,<0.3",
    "ruff>=0.14,<1",
    "transformers>=5,<6",
    *SCRIPT,
    *GCP,
]

# What is done for every character or token. No Python in them: they are called through ctypes.
COMPILED = [
    Extension(
        path.with_suffix("").as_posix().replace("/", "."),
        [path.as_posix()],
        # No fused multiply-add: it rounds once less, so results would differ between machines.
        extra_compile_args=["-O3", "-ffp-contract=off"],
    )
    for package in ("pipeline", "vocab", "tfrecords_schema")
    for path in sorted(Path(package).rglob("_*.c"))
]


class BuildCompiled(build_ext):
    """Says what is missing where there is no compiler."""

    def build_extension(self, ext: Extension) -> None:
        """Compiles one file."""
        try:
            super().build_extension(ext)
        except CompileError as error:
            raise CompileError(
                f"{ext.sources[0]} was not compiled: {error}\nA C compiler is needed: "
                "`apt-get install gcc`, on macOS `xcode-select --install`."
            ) from error


setup(
    name="chinese-t5s",
    version="0.1.0",
    description="From nlp_chinese_corpus to masked-LM TFRecords and t5s, a Chinese language model",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    ext_modules=COMPILED,
    cmdclass={"build_ext": BuildCompiled},
    packages=find_packages(include=["pipeline*", "vocab", "tfrecords_schema", "trainer"]),
    install_requires=LIGHT_CORE,
    extras_require={"vocab": VOCAB, "train": TRAIN, "script": SCRIPT, "gcp": GCP, "dev": DEV},
    entry_points={
        "console_scripts": [
            "build-vocab = vocab.cli:main",
            "t5s-pipeline = pipeline.cli:main",
            "t5s-train = trainer.cli:main",
        ]
    },
)
