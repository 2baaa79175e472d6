"""Generates asr/v1 from proto/ whenever the package is built or installed; all else stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithProto(build_py):
    def run(self) -> None:
        generate()
        super().run()


def generate() -> None:
    import grpc_tools
    from grpc_tools import protoc

    root = Path(__file__).parent
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    include = [f"-I{root / 'proto'}", f"-I{well_known}"]
    out = [f"--{kind}_out={root}" for kind in ("python", "grpc_python", "pyi")]
    if protoc.main(["protoc", *include, *out, str(root / "proto/asr/v1/speech.proto")]):
        raise SystemExit("protoc could not compile proto/asr/v1/speech.proto")
    (root / "asr/v1/__init__.py").write_text('"""Generated from proto/asr/v1; do not edit."""\n')


setup(cmdclass={"build_py": BuildWithProto})
