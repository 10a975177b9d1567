"""Modules as their users get them, for timing.

Under pytest every function of the package is wrapped to check shapes. Even
switched off, a wrapper costs half a microsecond per call, which is much for
an engine that makes calls of a few microseconds, and its rivals have none.
"""

import importlib
import sys


def as_installed(*names):
    """Import modules anew without the wrappers; nobody else sees them."""
    kept = {name: sys.modules.pop(name, None) for name in names}
    finders = list(sys.meta_path)
    sys.meta_path[:] = [
        f for f in finders if not type(f).__module__.startswith("jaxtyping")
    ]
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.meta_path[:] = finders
        for name, module in kept.items():
            if module is not None:
                sys.modules[name] = module
