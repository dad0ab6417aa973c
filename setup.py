"""Packaging of SCC. What it needs at run time is locked in requirements.txt, which is installed first."""

from setuptools import find_packages, setup

setup(
    name="scc",
    version="0.1.0",
    description="Batch processes that keep Oracle Eloqua and Salesforce in step",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["scc", "scc.*", "jobs", "jobs.*"]),
    package_data={"jobs": ["*.toml"]},
)
