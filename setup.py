"""Builds freeseg. Detectron2 is needed beside it: the real one, or the subset in d2lite/."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "freeseg/__init__.py").read_text())[1]

setup(
    name="freeseg",
    version=VERSION,
    description="Universal image segmentation as an extension of Detectron2",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=find_packages(include=["freeseg", "freeseg.*"]),
    package_data={"freeseg": ["py.typed", "data/categories/*"]},
    install_requires=[
        "torch>=2.4",
        "torchvision",  # timm imports its Python parts
        "timm>=1.0.9",
        "open_clip_torch>=2.24",  # CLIP's tokenizer
        "numpy",
        "scipy",
        "fvcore>=0.1.5",
        "iopath>=0.1.9",
        "pycocotools>=2.0.2",
        "shapely",  # fvcore crops polygons with it
        "opencv-python-headless",
        "pillow",
        "safetensors",
        "tensorboard",
        "tqdm",
    ],
    extras_require={
        "dev": [
            "hypothesis",
            "mypy",
            "pre-commit",
            "pytest",
            "pytest-xdist",
            "ruff",
            "scikit-learn",
            "transformers",
        ],
    },
    entry_points={"console_scripts": ["freeseg = freeseg.cli:main"]},
)
