"""Builds the lite distribution of `detectron2`: pure Python, nothing to compile.

opencv is needed but not listed: its four PyPI distributions (with and without GUI, contrib) provide
the same `cv2` module and break each other when installed together, so the installer chooses one.
"""

from setuptools import find_packages, setup

setup(
    name="detectron2",
    version="0.6+lite",
    description="A pure-Python subset of the Detectron2 API for projects that extend it",
    long_description="See README.md. Installing the real Detectron2 replaces this package.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["detectron2", "detectron2.*"]),
    package_data={"detectron2": ["*.json"]},
    # The lower bounds are what `make oldest` installs and tries, with freeseg.
    install_requires=[
        "torch>=2.5.0",
        "numpy>=1.26.0",
        "pillow>=10.4.0",  # before, TIFF files were not turned as they say
        "matplotlib>=3.8.0",
        "tqdm>=4.65.0",
        "tabulate>=0.9.0",
        "termcolor>=2.3.0",
        "cloudpickle>=2.2.0",
        "pyyaml>=6.0.1",
        "packaging>=23.0",
        "yacs>=0.1.8",
        "fvcore>=0.1.5.post20221221",
        "iopath>=0.1.9",
        "omegaconf>=2.2.3",
        "hydra-core>=1.3.0",
        "pycocotools>=2.0.7",
        "kornia-rs>=0.2.0",  # reads panoptic PNGs
        "shapely>=2.0.1",  # fvcore crops polygons with it
        "tensorboard>=2.14.0",
    ],
    extras_require={
        "opencv": ["opencv-python-headless"],
    },
)
