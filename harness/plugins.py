"""Finding plugins and loading each in isolation: a broken plugin does not affect the others.

Plugins come from three places, all through the same door: entry points of the group ``adaptbench`` (the built-ins
among them), what ``--plugin`` or a suite names, and Python objects handed to the API. What is named is a file, a
module, or an entry point; those of the group ``adaptbench.on_request`` are loaded only so.

Environment: ``ADAPTBENCH_PLUGINS`` is a comma-separated list of the entry points to load besides the built-ins; set but
empty, none is loaded. ``ADAPTBENCH_TRACE=1`` writes every hook call to standard error.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
import sys
import traceback
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from . import hooks
from .errors import UserError
from .faults import OUTSIDE, told
from .process_state import left_as_it_was
from .registry import Registrar, Registry
from .specs import did_you_mean, is_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

logger = logging.getLogger(__name__)
BUILTIN = "adaptbench"
ON_REQUEST = f"{hooks.NAMESPACE}.on_request"
"""Group of the entry points that are loaded only if they are named."""
_BESIDES: ContextVar[Sequence[str | object]] = ContextVar("_BESIDES", default=())
"""What `load_plugins` loads besides if it is not told."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin and what became of it.

    Attributes:
        origin: The entry point, file, module or object that it came from.
        error: Why it is broken, in a line; empty if it is not.
        traceback: The whole story of ``error``.
        names: What it registered, as ``kind name``.
        cause: The exception behind ``error``.
    """

    name: str
    origin: str
    version: str = ""
    error: str = ""
    traceback: str = ""
    names: tuple[str, ...] = ()
    cause: BaseException | None = None


@dataclass(frozen=True, slots=True)
class PluginNames:
    """How another process finds the same plugins: see `load_plugins`.

    Attributes:
        installed: Names of entry points, besides the built-in ones.
        others: Files, modules and Python objects, in the order in which they are loaded.
    """

    installed: tuple[str, ...] = ()
    others: tuple[str | object, ...] = ()


class Plugins:
    """The plugins of this process, the registry that they filled, and the hooks that they implement."""

    def __init__(self, names: PluginNames | None = None) -> None:
        self.names = names or PluginNames()
        self.registry = Registry()
        self.loaded: list[Plugin] = []
        self._manager = pluggy.PluginManager(hooks.NAMESPACE)
        self._manager.add_hookspecs(hooks)
        if os.environ.get("ADAPTBENCH_TRACE", "0") not in ("", "0"):
            self._manager.trace.root.setwriter(sys.stderr.write)
            self._manager.enable_tracing()

    def add(self, name: str, origin: str, load: Callable[[], object], version: str = "") -> Plugin:
        """Load one plugin. What goes wrong is kept in the returned `Plugin`; none of its names is then registered."""
        registrar = Registrar(name)
        plugin: object = None
        try:
            self._check_name(name, origin)
            with left_as_it_was(f"plugin {name}"):
                plugin = load()
                self._manager.register(plugin, name)
                self._check_hooks(plugin)
                self._call(plugin, "register", registry=registrar)
            self.registry.adopt(registrar.entries)
        except OUTSIDE as error:  # a stranger's code may fail in any way
            if self._manager.get_plugin(name) is plugin is not None:
                self._manager.unregister(name=name)
            reason = str(error) if isinstance(error, UserError) else told(error, whole=True)
            state = Plugin(name, origin, version, " ".join(reason.split()), traceback.format_exc(), cause=error)
            self.registry.broken[name] = state.error
        else:
            state = Plugin(name, origin, version, names=tuple(f"{e.kind} {e.name}" for e in registrar.entries))
        self.loaded.append(state)
        return state

    def require(self, items: Sequence[str | object], *, strict: bool = True) -> None:
        """Load files, modules, entry points or objects besides; what is loaded already stays as it is.

        Args:
            items: As for `load_plugins`.
            strict: Whether a broken plugin is an error.

        Raises:
            UserError: One is broken or not there.
        """
        for item in items:
            if item in self.names.others:
                continue
            self.names = replace(self.names, others=(*self.names.others, item))
            plugin = _add_named(self, item)
            if strict and plugin.error:
                raise UserError(
                    f"plugin is broken: {plugin.error}", where=plugin.origin, todo="--debug shows the traceback"
                ) from plugin.cause

    def fire(self, hook: str, event: object) -> None:
        """Tell every plugin of an event. One that fails is logged and harms neither the run nor the others."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                with left_as_it_was(f"plugin {implementation.plugin_name}"):
                    self._call(implementation.plugin, hook, event=event)
            except OUTSIDE:
                logger.exception("plugin %r failed in hook %r", implementation.plugin_name, hook)

    def listens(self, hook: str) -> bool:
        """Whether any plugin implements a hook."""
        return bool(getattr(self._manager.hook, hook).get_hookimpls())

    def _call(self, plugin: object, hook: str, **arguments: Any) -> None:
        others = [p for p in self._manager.get_plugins() if p is not plugin]
        self._manager.subset_hook_caller(hook, others)(**arguments)

    def _check_name(self, name: str, origin: str) -> None:
        first = next((plugin for plugin in self.loaded if plugin.name == name), None)
        if first is not None:
            raise UserError(f"plugin {name!r} of {first.origin} has that name already", where=origin, todo="rename it")

    def _check_hooks(self, plugin: object) -> None:
        callers = self._manager.get_hookcallers(plugin) or []
        for caller in callers:
            if not caller.has_spec():
                raise UserError(f"there is no hook {caller.name!r}{did_you_mean(caller.name, hooks.NAMES)}")
        if not callers:
            raise UserError(
                "it implements no hook", todo="mark a function `register(registry)` with @adaptbench.hookimpl"
            )


@contextmanager
def besides(extra: Sequence[str | object]) -> Iterator[None]:
    """Let `load_plugins` load these too where it is not told: a recipe may name a model of a plugin's."""
    token = _BESIDES.set(extra)
    try:
        yield
    finally:
        _BESIDES.reset(token)


def load_plugins(
    extra: Sequence[str | object] = (), *, strict: bool = True, installed: Sequence[str] | None = None
) -> Plugins:
    """Load the built-ins, the installed plugins, and ``extra``: files, modules, entry points, or plugin objects.

    Args:
        extra: What to load besides. A text that ends with ``.py`` or holds a ``/`` is a path; another one is the name
            of an entry point or, if there is none, of a module.
        strict: Whether a broken plugin of ``extra`` is an error: it was asked for by name.
        installed: Names of the installed plugins to load; by default those that ``ADAPTBENCH_PLUGINS`` lets in.

    Raises:
        UserError: A plugin that was asked for is broken or not there.
    """
    extra = extra or _BESIDES.get()
    found = [(not _builtin(point), point) for point in entry_points(group=hooks.NAMESPACE)]
    allowed = _allowed(sorted(point.name for strange, point in found if strange), installed)
    plugins = Plugins(PluginNames(tuple(allowed)))
    for strange, point in sorted(found, key=lambda one: (one[0], one[1].name)):
        if not strange or point.name in allowed:
            version = point.dist.version if point.dist else ""
            plugins.add(point.name, point.value, point.load, version)
    plugins.require(extra, strict=strict)
    return plugins


def plugin_name(item: str | object) -> str:
    """Return the name under which `load_plugins` lists one of its ``extra``: a file's is its stem."""
    if isinstance(item, Path) or (isinstance(item, str) and is_path(item)):
        return Path(item).stem
    return item if isinstance(item, str) else str(getattr(item, "__name__", type(item).__name__))


def _allowed(names: Sequence[str], asked: Sequence[str] | None) -> Sequence[str]:
    """Names of the installed plugins that are asked for, or that ``ADAPTBENCH_PLUGINS`` lets in."""
    wanted = os.environ.get("ADAPTBENCH_PLUGINS")
    if asked is None and wanted is None:
        return names
    listed = asked if asked is not None else [name.strip() for name in str(wanted).split(",") if name.strip()]
    for name in listed:
        if name not in names:
            raise UserError(
                f"there is no installed plugin {name!r}{did_you_mean(name, names)}",
                where="ADAPTBENCH_PLUGINS",
                todo=f"choose from {', '.join(names)}" if names else "install it first",
            )
    return listed


def _builtin(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == BUILTIN


def _add_named(plugins: Plugins, item: str | object) -> Plugin:
    name = plugin_name(item)
    if isinstance(item, Path) or (isinstance(item, str) and is_path(item)):
        path = Path(item)
        return plugins.add(name, str(path), lambda: _load_file(path))
    if not isinstance(item, str):
        return plugins.add(name, repr(item), lambda: item)
    for point in [*entry_points(group=hooks.NAMESPACE, name=item), *entry_points(group=ON_REQUEST, name=item)]:
        known = [plugin for plugin in plugins.loaded if (plugin.name, plugin.origin) == (item, point.value)]
        return (
            known[0] if known else plugins.add(item, point.value, point.load, point.dist.version if point.dist else "")
        )
    return plugins.add(name, item, lambda: importlib.import_module(item))


class _FromSource(SourceFileLoader):
    """Compiles a file as it is now.

    Python's bytecode cache tells versions of a file apart by size and second: of one that was changed at once, the old
    code would run under the new code's key.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError("no such plugin file", where=str(path))
    name = f"adaptbench_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise UserError("not a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and others look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
