"""What `import workbench` offers."""

import ast
import inspect
from pathlib import Path

import pytest

import workbench


def test_checkers_of_types_and_programs_see_the_same_names() -> None:
    tree = ast.parse(Path(workbench.__file__).read_text(encoding="utf-8"))
    [typed] = [n for n in tree.body if isinstance(n, ast.If) and isinstance(n.test, ast.Name)]
    imports = [node for node in typed.body if isinstance(node, ast.ImportFrom)]
    places = {alias.name: node.module for node in imports for alias in node.names}
    assert sorted(places) == workbench.__all__ == sorted(workbench.__all__)
    for name in workbench.__all__:
        found = getattr(workbench, name)
        assert callable(found)
        assert found.__module__ == places[name], name
    assert set(workbench.__all__) <= set(dir(workbench))


def test_a_name_that_is_not_offered_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = workbench.serach  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", workbench.__all__)
def test_every_public_member_says_what_it_is(name: str) -> None:
    found = getattr(workbench, name)
    assert inspect.getdoc(found)
    if inspect.isclass(found):
        own = {key: value for key, value in vars(found).items() if not key.startswith("_")}
        methods = {key: one for key, one in own.items() if inspect.isfunction(one)}
        for key, method in methods.items():
            assert inspect.getdoc(method), f"{name}.{key}"
