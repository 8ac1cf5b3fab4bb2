from pathlib import Path

from workbench.submission.import_closure import closure


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def found(root: Path, module: str) -> list[str]:
    return [path.as_posix() for path in closure(module, root).files]


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pack/__init__.py": "",
            "pack/a.py": "def late():\n    from pack.deep import b\n",
            "pack/deep/__init__.py": "import pack.d\n",
            "pack/deep/b.py": "from .c import thing\nfrom .. import a\n",
            "pack/deep/c.py": "thing = 1\n",
            "pack/d.py": "",
            "pack/unused.py": "import torch\n",
        },
    )
    assert found(tmp_path, "pack.a") == [
        "pack/__init__.py",
        "pack/a.py",
        "pack/d.py",
        "pack/deep/__init__.py",
        "pack/deep/b.py",
        "pack/deep/c.py",
    ]


def test_libraries_are_named_and_the_standard_library_is_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pack/__init__.py": "",
            "pack/a.py": "import json, os.path\nimport numpy.typing as npt\nfrom av.x import y\n",
        },
    )
    assert closure("pack.a", tmp_path).libraries == {"numpy", "av"}


def test_files_that_import_each_other_end(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"pack/__init__.py": "", "pack/a.py": "import pack.b", "pack/b.py": "import pack.a"},
    )
    assert found(tmp_path, "pack.b") == ["pack/__init__.py", "pack/a.py", "pack/b.py"]
