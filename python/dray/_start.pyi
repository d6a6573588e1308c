"""The module that compiles the entrypoint: `python/start/src/lib.rs`."""

from types import CodeType

def compile_file(source: bytes, path: bytes) -> CodeType:
    """Compiles a file's content, which has no NUL in it, as `python PATH` does."""
