"""Search a study: called, it is `workbench.api.searching.search`; its modules are the loop of it.

Python binds a package in the one around it, so `workbench.search` is this package once any of its
modules is loaded. That it can be called makes it the function of that name as well.
"""

import inspect
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from workbench.api.searching import search

        return search(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        from workbench.api.searching import search

        return inspect.signature(search)


sys.modules[__name__].__class__ = _CallablePackage
