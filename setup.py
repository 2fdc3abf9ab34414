"""Maps the top-level folders onto the package `heddle`; everything else about the build is in pyproject.toml."""

from setuptools import find_packages, setup

ROOMS = ("core", "partition", "backends", "simulators", "hw")

setup(
    packages=find_packages(include=["heddle", "heddle.*"])
    + [f"heddle.{name}" for room in ROOMS for name in find_packages(include=[room, f"{room}.*"])],
    package_dir={"heddle": "heddle"} | {f"heddle.{room}": room for room in ROOMS},
)
