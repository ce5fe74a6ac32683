"""The layout of the package: sizes, names, and the direction of imports."""

import ast
import functools
import sys
from collections import Counter
from pathlib import Path

import pytest

import echo_e3net

PACKAGE = Path(echo_e3net.__file__).parent
ROOT = "(root)"
MATHEMATICS = (
    "types.py",
    "errors.py",
    "geometry.py",
    "losses.py",
    "metrics.py",
    *(f"nn/{p.name}" for p in (PACKAGE / "nn").glob("*.py")),
)
"""Modules that know no framework and no files."""
LIBRARIES = {"torch", "torchmetrics", "einops", "jaxtyping"}
"""The only libraries of MATHEMATICS, besides the standard library."""
ALLOWED = {
    ROOT: set(),
    "nn": {ROOT},
    "data": {ROOT},
    "benchmark": {ROOT, "nn"},
    "checks": {ROOT, "data"},
    "clinic": {ROOT, "data", "checks"},
    "phantom": {ROOT, "data"},
    "models": {ROOT, "nn", "training"},
    "reading": {ROOT, "data", "clinic", "models"},
    "training": {ROOT, "data", "checks", "nn", "models"},
    "reporting": {ROOT, "data"},
    "search": {ROOT, "data", "reporting", "training"},
    "cli": {
        *(ROOT, "nn", "data", "checks", "clinic", "phantom", "training"),
        *("reporting", "search", "benchmark", "models", "reading"),
    },
}
"""Packages that each package may import, besides itself."""
LIGHT = {"echo_e3net.training.run_folder", "echo_e3net.training.history"}
"""The only modules of training that search may import: they load neither torch nor Lightning."""
DOORS = {
    "decord": "data/",
    "av": "data/",
    "nibabel": "data/",
    "pydicom": "clinic/",
    "cv2": ("data/raster.py", "data/camera.py"),
    "pandas": "tables.py",
    "optuna": "search/",
    "safetensors": "models/",
    "onnx": "models/",
    "argcomplete": "cli/",
    "fvcore": ("training/norms.py", "cli/"),
    "matplotlib": "reporting/",
    "lightning": ("training/", "cli/"),
}
"""Third-party libraries and where the modules that import them lie: one module, or those of whole packages."""
PACKAGES = ("matplotlib", "lightning", "fvcore", "av", "cv2")
"""Libraries that several modules of a package may import."""


@functools.cache
def modules():
    return {".".join(("echo_e3net", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in PACKAGE.rglob("*.py")}


def package_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ROOT


@functools.cache
def imported(path):
    """Return the absolute names of everything that a file imports, late imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path):
    """Return the modules of the package that a file imports; the package itself only offers ``load`` of reading."""
    if path == PACKAGE / "__init__.py":
        return set()
    names = modules()
    found = set()
    for name in imported(path):
        candidates = (name, f"{name}.__init__", name.rpartition(".")[0], f"{name.rpartition('.')[0]}.__init__")
        found |= {next(c for c in candidates if c in names)} if name.startswith("echo_e3net.") else set()
    return found


def test_the_root_is_small():
    assert len([p for p in PACKAGE.glob("*.py") if not p.name.startswith("__")]) <= 10


def test_no_file_name_occurs_twice():
    count = Counter(p.name for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))
    assert not [name for name, number in count.items() if number > 1]


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package):
    for name, path in modules().items():
        if package_of(name) == package and not name.endswith("__main__"):
            targets = own_imports(path)
            wrong = {t for t in targets if package_of(t) not in ALLOWED[package] | {package}}
            assert not wrong, f"{path} imports {wrong}"
            if package in ("search", "models"):
                assert {t for t in targets if package_of(t) == "training"} <= LIGHT, path


def test_every_package_has_a_rule():
    assert {package_of(name) for name in modules()} == set(ALLOWED)


def test_there_is_no_cycle():
    graph = {name: own_imports(path) - {name} for name, path in modules().items()}
    done, left = set(), set(graph)
    while left:
        free = {name for name in left if graph[name] <= done}
        assert free, f"modules in a cycle: {sorted(left)}"
        done, left = done | free, left - free


def test_mathematics_knows_no_framework():
    for name in MATHEMATICS:
        names = imported(PACKAGE / name)
        assert {n.split(".")[0] for n in names} - {"echo_e3net"} - sys.stdlib_module_names <= LIBRARIES, name
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert "distributed" not in attributes | {part for n in names for part in n.split(".")}, name


def test_only_the_phantom_command_imports_the_phantom():
    """cli/functions.py names the function of each command as text."""
    outside = [path for path in PACKAGE.rglob("*.py") if "phantom" not in path.relative_to(PACKAGE).parts]
    users = [path.name for path in outside if "echo_e3net.phantom" in path.read_text(encoding="utf-8")]
    assert users == ["functions.py"]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_init_files_hold_only_public_names(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        constant = isinstance(node, ast.Assign) and node.targets[0].id in ("__all__", "__version__")
        late = isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
        assert isinstance(node, ast.Expr | ast.Import | ast.ImportFrom) or constant or late, f"{path}:{node.lineno}"


@pytest.mark.parametrize("library", DOORS)
def test_a_library_is_imported_in_one_place(library):
    users = [
        p.relative_to(PACKAGE).as_posix()
        for p in modules().values()
        if any(n.split(".")[0] == library for n in imported(p))
    ]
    assert all(user.startswith(DOORS[library]) for user in users), users
    assert len(users) == 1 or library in PACKAGES, users
