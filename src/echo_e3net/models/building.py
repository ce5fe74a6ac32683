"""Build objects from classes and arguments as a configuration or a model file has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from jsonargparse import ArgumentParser

from echo_e3net import __version__
from echo_e3net.errors import InputError
from echo_e3net.nn.network import E3Net

OWN = ("echo_e3net.", "torch.optim.", "torch.nn.")
"""Beginnings of the names of classes that a model file may name."""
FOREIGN = (
    "which is not part of echo-e3net and could run other code. If you trust the file, allow it with trust=True, or "
    "--trust true on the command line."
)
DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


def build_network(tree: Mapping[str, Any], where: str, trust: bool = False) -> E3Net:
    """Return the untrained network of a class and its arguments.

    Args:
        tree: ``class_path`` and ``init_args``, as under ``model.network`` of a configuration.
        where: the file, for messages.
        trust: whether classes of other packages are allowed.

    Raises:
        InputError: a class is unknown, or of another package and not allowed; or an argument is wrong.
    """
    if not trust:
        require_own_classes(tree, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(E3Net, "network")
    try:
        network: E3Net = parser.instantiate_classes(parser.parse_object({"network": dict(tree)})).network
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: the network cannot be built: {reason[:300].rstrip('.')}.") from error
    return network


def require_own_classes(tree: Mapping[str, Any], where: str) -> None:
    """Check that a model file names no class or function from outside this package, torch.optim and torch.nn.

    A file from elsewhere must not be able to run code, and importing a module runs its code. jsonargparse also reads
    texts as YAML, as the path of a file, and as an import path. So a text must be a class of these packages, or a plain
    word that is not the name of a file.

    Raises:
        InputError: a text is anything else.
    """
    for text in texts(tree):
        if DOTTED.fullmatch(text) and text.startswith(OWN):
            try:
                found = resolve_name(text)
            except (ImportError, AttributeError) as error:
                raise InputError(f"{where}: names {text}, which echo-e3net {__version__} does not have.") from error
            # the name may lead through a module to what that module imports
            if f"{getattr(found, '__module__', '')}.".startswith(OWN):
                continue
        elif re.fullmatch(r"\w+", text) and not Path(text).exists():
            continue
        raise InputError(f"{where}: names {' '.join(text.split())[:80]}, {FOREIGN}")


def texts(tree: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield every text in nested mappings and lists, keys excluded."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from texts(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from texts(value)
