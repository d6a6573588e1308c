"""The worker's side of `dray run`: runs the entrypoint in the real `__main__`, and tells the supervisor how it ended.

Started by `python -c` (`src/commands/worker.rs` has the code), by the executable through libpython or by an interpreter
that has none, before the package `dray` is there: that is left to the script. What `python main.py` or
`python -m module` would have set up is set up here: `__file__`, `__spec__`, `sys.argv`, `sys.path[0]`.
(`runpy.run_path` would run the script in a module that is gone afterwards, and break classes that are pickled late;
hence this.)
"""

import _imp

# What is behind the module `signal`, whose enums take longer to load than the rest of a start.
import _signal as signal  # type: ignore[import-not-found]
import _thread
import marshal
import os
import sys

# What `importlib.util` and `importlib.machinery` have under these names; importing those loads the whole of importlib.
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import MAGIC_NUMBER, PathFinder, SourceFileLoader, spec_from_file_location

TYPE_CHECKING = False  # as in `__init__`: `typing` is slow to load


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, ModuleType
    from typing import Any, NoReturn, Optional

    from . import _run
elif "dray._run" in sys.modules:
    _run = sys.modules["dray._run"]
else:
    # Past the package and the search for it, which take longer than the module. Whoever imports it later gets this one.
    _spec = spec_from_file_location("dray._run", os.path.join(os.path.dirname(__file__), "_run.py"))
    _run = sys.modules["dray._run"] = module_from_spec(_spec)
    _spec.loader.exec_module(_run)

_MAIN_PROCESS = os.getpid()

_TERMINATED_EXIT_CODE = 128 + signal.SIGTERM

_SOON_SECONDS = 0.01
"""After which the function that would lose an exception is over, most likely; if not, it is tried once more."""

# Any does: the source is compared as a whole.
_HASH_KEY = 0

_KEPT_SCRIPTS = 16
"""How many compiled scripts are kept; with one more, all others go."""

_LONGEST_KEPT_BYTES = 1024 * 1024

_has_warned = False
"""Whether a warning was shown."""

_hook_before: "Optional[Callable[[sys.UnraisableHookArgs], Any]]" = None
"""What `sys.unraisablehook` was before this module's own took its place."""

_script_has_ended = False
"""Whether all that is left is what Python does by itself: it waits for threads, and runs exit handlers."""


def run() -> None:
    """Runs this run's entrypoint. Raises SystemExit where plain `python` would end with a code other than 0."""
    main = sys.modules["__main__"]
    vars(main).pop("run", None)
    folder = _run.FOLDER
    if folder is None:
        raise SystemExit("dray._worker is started by `dray run` alone")
    # What `src/commands/worker.rs` puts behind the `-c` line; the script never sees it.
    kind, target, function, log_level, activity, inherited, *arguments = sys.argv[1:]
    if inherited:
        _catch_up(folder, inherited)
    if sys.dont_write_bytecode:
        _keep_own_code()
    _run.working_folder = os.getcwd()
    _run.phase = ""
    _prepare_process(folder, int(log_level))
    worker = _Worker(main, target, arguments)
    entrypoints: dict[str, Callable[[], None]] = {"file": worker.run_file, "module": worker.run_module}
    worker.execute(entrypoints.get(kind, lambda: worker.run_function(function)), activity == "activity")


def _catch_up(folder: str, inherited: str) -> None:
    """What a Python has still to do that was started before its project was there. `inherited` are the descriptors that
    it had for that, and that the script is not to find open.
    """
    for descriptor in inherited.split():
        os.close(int(descriptor))
    os.chdir(os.path.join(folder, "project"))
    # It may have looked for the payload before that was there, and would never look again.
    sys.path_importer_cache.pop(os.path.join(folder, "payload"), None)


def _keep_own_code() -> None:
    """Writes down what was compiled of this module, if an earlier run has not, in a folder that only dray looks into.

    Images of containers often have PYTHONDONTWRITEBYTECODE, lest something lies beside sources that nobody reads again.
    Each run would compile this module then, which takes 3.5 ms, a quarter of a start.
    """
    if sys.pycache_prefix is not None:
        return  # a folder that others look into
    sys.dont_write_bytecode = False
    try:
        for module in (sys.modules[__name__], _run):
            spec: Any = module.__spec__
            if not os.path.exists(spec.cached):
                spec.loader.get_code(spec.name)
    finally:
        sys.dont_write_bytecode = True


def _compile(source: bytes, path: str) -> "CodeType":
    """As `python PATH` compiles it, or as an earlier run on this node did.

    Python keeps what it has compiled of modules, and never of the script itself, for which `compile` would take 1.2 ms,
    a tenth of a start, however short that is.
    """
    code: CodeType
    # Which warnings are errors is not known of a script that was compiled before.
    if sys.warnoptions or len(source) > _LONGEST_KEPT_BYTES:
        code = compile(source, path, "exec", dont_inherit=True)
        return code
    name = f"script-{_imp.source_hash(_HASH_KEY, source).hex()}.{sys.implementation.cache_tag}-{sys.flags.optimize}"
    # Beside this module's own compiled form; the next run on the node gets both.
    kept = os.path.join(os.path.dirname(__file__), "__pycache__", name)
    try:
        with open(kept, "rb") as file:
            data = file.read()
        if data[:4] == MAGIC_NUMBER:
            of, code = marshal.loads(memoryview(data)[4:])
            if of == source:
                _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
                return code
    except (OSError, EOFError, ValueError, TypeError):
        pass  # there is none, or a part of one
    code = compile(source, path, "exec", dont_inherit=True)
    # What Python warns of while it compiles, it is to warn of in each run.
    if not _has_warned:
        _keep(kept, MAGIC_NUMBER + marshal.dumps((source, code)))
    return code


def _keep(path: str, data: bytes) -> None:
    folder = os.path.dirname(path)
    try:
        scripts = [name for name in os.listdir(folder) if name.startswith("script-")]
        for name in scripts if len(scripts) >= _KEPT_SCRIPTS else ():
            os.unlink(os.path.join(folder, name))
        with open(path, "wb") as file:
            file.write(data)
    except OSError:
        pass  # nothing is compiled into files here, or the disk is full


def _prepare_process(folder: str, log_level: int) -> None:
    import faulthandler

    # ADF shows stdout from a file, which Python would fill block by block.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
    # As an option it would be on a little sooner, for 0.05 ms; `multiprocessing` starts its children so by this too.
    sys._xoptions["faulthandler"] = True
    # Into a file, from which the supervisor takes it into the log and outputs.json.
    faulthandler.enable(open(os.path.join(folder, "fault.txt"), "wb", buffering=0))  # noqa: SIM115
    _install_signal_handlers()
    _wait_for_records(log_level)
    # Registered first, so that it runs last: outputs that an exit handler of the script sets still count.
    import atexit

    atexit.register(_settle_outputs)


def _install_signal_handlers() -> None:
    """SIGTERM and SIGINT each reach the script once, as an exception that lets `finally` run.

    Set where Python's own defaults stand. A handler that the script sets itself replaces these, as it should. A forked
    child gets the default action back: it is not the process that was told to stop in an orderly way.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    # Python leaves SIGINT alone if it was ignored when it started (a background job of a shell).
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    # A worker that has begun early has it blocked until here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    os.register_at_fork(after_in_child=_restore_defaults)


def _terminate(signum: int, frame: "Optional[FrameType]") -> None:
    if _begins_stop(signum, frame):
        raise SystemExit(_TERMINATED_EXIT_CODE)


def _interrupt(signum: int, frame: "Optional[FrameType]") -> None:
    if _begins_stop(signum, frame):
        raise KeyboardInterrupt


def _repeated(signum: int, frame: "Optional[FrameType]") -> None:
    """Does nothing: the script is already on its way out."""


def _begins_stop(signum: int, frame: "Optional[FrameType]") -> bool:
    """Whether the script is to be told here and now."""
    global _hook_before
    if _keeps_exceptions_in(frame):
        _thread.start_new_thread(_send_soon, (signum,))
        return False
    _ignore_repeats()
    if _script_has_ended:
        # Nothing catches the exception any more: Python cuts off what it waited for, and ends with 0 all the same.
        try:  # noqa: SIM105  this is no place to import contextlib
            _run.append(f'{{"event":"stopped_late","signal":{int(signum)}}}\n'.encode())
        except OSError:
            pass  # a full disk must not keep the script from being stopped
    elif _hook_before is None:
        _hook_before, sys.unraisablehook = sys.unraisablehook, _tell_again_if_lost
    return True


def _keeps_exceptions_in(frame: "Optional[FrameType]") -> bool:
    """Whether Python is in a function that is soon over, and out of which no exception comes as what it is.

    Up to Python 3.11 it is a RuntimeError that comes out of a `__set_name__`, and each field of a dataclass has one.
    Nothing comes out of the look at a module's `__spec__` with which `import` has `warnings` loaded here.
    """
    own = (_tell_again_if_lost.__code__, _UnloadedWarnings.__getattribute__.__code__)
    while frame is not None:
        code = frame.f_code
        if code in own or (code.co_name == "__set_name__" and sys.version_info < (3, 12)):
            return True
        frame = frame.f_back
    return False


def _tell_again_if_lost(unraisable: "sys.UnraisableHookArgs") -> None:
    """The hook for exceptions that Python drops, from the first signal on: what told the script to stop is raised anew.

    Python runs a signal's handler wherever it happens to be; in a destructor or the callback of a weak reference, what
    the handler raises goes no further. importlib has such a callback for each module: of signals during imports, two in
    a thousand were lost (Python 3.11), and the script ran on.
    """
    place = unraisable.exc_traceback
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    for signum, own in _OWN_HANDLERS:
        if place is not None and place.tb_frame.f_code is own.__code__:
            _expect_signals()
            _thread.start_new_thread(_send_soon, (signum,))
            return
    if _hook_before is not None:
        _hook_before(unraisable)


def _send_soon(signum: int) -> None:
    import time

    time.sleep(_SOON_SECONDS)
    os.kill(os.getpid(), signum)


def _ignore_repeats() -> None:
    # A function and not SIG_IGN, which programs started from a `finally` would inherit.
    for signum, own in _OWN_HANDLERS:
        if signal.getsignal(signum) is own:
            signal.signal(signum, _repeated)


def _expect_signals() -> None:
    """Takes `_ignore_repeats` back."""
    for signum, own in _OWN_HANDLERS:
        if signal.getsignal(signum) is _repeated:
            signal.signal(signum, own)


_OWN_HANDLERS = ((signal.SIGTERM, _terminate), (signal.SIGINT, _interrupt))


def _restore_defaults() -> None:
    if signal.getsignal(signal.SIGTERM) in (_terminate, _repeated):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) in (_interrupt, _repeated):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_for_records(level: int) -> None:
    """Routes `warnings` and `logging`, each now or as soon as somebody needs it: they take longer than all of dray."""
    if "warnings" in sys.modules:
        _route_warnings(sys.modules["warnings"])
    else:
        sys.modules["warnings"] = _UnloadedWarnings("warnings")
    if "logging" in sys.modules:
        from . import _logging

        _logging.configure(sys.modules["logging"], level)
    else:
        sys.meta_path.insert(0, _LoggingFinder(level))


def _route_warnings(module: "Any") -> None:
    module.showwarning = _show_warning


_read = type(sys).__getattribute__


class _UnloadedWarnings(type(sys)):  # type: ignore[misc]
    """The module `warnings` until the first look at it, which loads and routes it: in place, for who looks may keep it.

    It has to be there from the start: a warning from C is written to stderr past a module that nobody has imported.
    (As `importlib.util.LazyLoader`, which takes longer to load itself.)
    """

    _is_loading = False

    # Defaults, since Python clears the globals when it ends, and still asks here then: nothing is loaded any more.
    def __getattribute__(self, name: str, read: "Any" = _read, is_ending: "Any" = sys.is_finalizing) -> "Any":
        if not is_ending():
            with _lock:
                if type(self) is _UnloadedWarnings and not _UnloadedWarnings._is_loading:
                    _UnloadedWarnings._is_loading = True
                    try:
                        _load_warnings(self)
                    finally:
                        _UnloadedWarnings._is_loading = False
        return read(self, name)


_lock = _thread.RLock()
"""Held by the thread that loads `warnings`; what it looks up meanwhile it finds as far as it is there."""


def _load_warnings(module: "Any") -> None:
    spec: Any = PathFinder.find_spec("warnings")
    if spec is None:
        raise ModuleNotFoundError("No module named 'warnings'", name="warnings")
    namespace = _read(module, "__dict__")
    namespace.update(vars(module_from_spec(spec)))
    spec.loader.exec_module(module)
    _route_warnings(module)
    module.__class__ = type(sys)


def _show_warning(*arguments: "Any", **options: "Any") -> None:
    global _has_warned
    _has_warned = True
    from . import _logging

    _logging.show_warning(*arguments, **options)


# They bring an ODBC driver manager of their own. Microsoft's driver takes the first one in the process for its own, and
# dray bulk-copies only if that is dray's.
_DRIVER_MANAGERS = ("arrow_odbc", "mssql_python", "pyodbc", "turbodbc")


class _LoggingFinder:
    """Waits on `sys.meta_path` for the import of `logging`, configures it, and is gone: the native module is loaded
    then. Until then it loads that ahead of a package with another driver manager.
    """

    def __init__(self, level: int) -> None:
        self._level = level

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        if name in _DRIVER_MANAGERS:
            from . import _native  # noqa: F401  loaded, and not used
        if name != "logging":
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec is not None else None
        if loader is None:
            return spec
        execute = loader.exec_module

        def execute_and_configure(module: "ModuleType") -> None:
            execute(module)
            # Here and not above: `importlib.util.find_spec("logging")` imports nothing.
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            # The project may have a `logging.py` of its own.
            if hasattr(module, "RootLogger") and hasattr(module, "Handler"):
                from . import _logging

                _logging.configure(module, self._level)

        loader.exec_module = execute_and_configure
        return spec


def _settle_outputs() -> None:
    """Tells outputs that were changed in place; a value that is no longer JSON is an error even here."""
    # Of the script nothing is left that could be stopped.
    _ignore_repeats()
    if "dray._outputs" not in sys.modules or os.getpid() != _MAIN_PROCESS:
        return
    from ._outputs import outputs

    try:
        outputs._settle()
    except Exception as error:
        from . import _failure

        _run.record(_failure.describe(error, "finishing"))


class _Worker:
    def __init__(self, main: "ModuleType", target: str, arguments: list[str]) -> None:
        self._main = main
        self._target = target
        self._arguments = arguments
        self._phase = "importing"

    def execute(self, entrypoint: "Callable[[], None]", fetches_arguments: bool) -> None:
        """Runs `entrypoint` and turns what it lets pass into events and an exit code."""
        global _script_has_ended
        try:
            if fetches_arguments:
                self._fetch_arguments()
            entrypoint()
            if "dray._outputs" in sys.modules:
                from ._outputs import outputs

                outputs._settle()
        except SystemExit as error:
            if os.getpid() == _MAIN_PROCESS and not isinstance(error, _EntrypointNotFound):
                self._record_exit(error)
            # Python itself deals with every kind of it: None, numbers, text.
            raise
        except BaseException as error:
            failure = error
        else:
            self._enter("finishing")
            return
        finally:
            _script_has_ended = True
        # Out here the exception is no longer being handled, and so no context of one that the script's hook raises.
        if os.getpid() == _MAIN_PROCESS:
            self._fail(failure)
        self._fail_in_child(failure)

    def _fetch_arguments(self) -> None:
        """Puts the extended properties before the script's own arguments: some of them lie in a Key Vault."""
        from . import _native

        self._arguments[:0] = _native.activity_arguments(_run.task_folder())

    def run_file(self) -> None:
        """As `python TARGET`."""
        # Made absolute as `python` does it, which leaves a `./` in it.
        path = os.path.join(os.getcwd(), self._target)
        self._set_up_sys(os.path.dirname(os.path.realpath(path)), [self._target])
        # What CPython's pymain_run_file sets.
        namespace = vars(self._main)
        namespace.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
        namespace.update(__spec__=None, __package__=None, __doc__=None)
        if sys.version_info < (3, 14):
            namespace.setdefault("__annotations__", {})
        with open(path, "rb") as file:
            source = file.read()
        try:
            code = _compile(source, path)
        except SyntaxError as error:
            # Of some faults (a NUL byte) Python does not say where they are.
            error.filename = error.filename or path
            raise
        except ValueError as error:
            # Before 3.12, a NUL byte.
            raise SyntaxError(str(error), (path, None, None, None)) from None
        del source
        self._enter("running")
        exec(code, namespace)

    def run_module(self) -> None:
        """As `python -m TARGET`."""
        import runpy

        self._set_up_sys(os.getcwd(), ["-m", self._target])
        try:
            # runpy offers no public way to run a module in the real `__main__`; this is what `python -m` itself calls.
            _, spec, code = runpy._get_module_details(self._target, runpy._Error)  # type: ignore[attr-defined]
        except runpy._Error as error:  # type: ignore[attr-defined]
            self._entrypoint_not_found(str(error))
        sys.argv[0] = spec.origin
        self._enter("running")
        runpy._run_code(code, vars(self._main), None, "__main__", spec)  # type: ignore[attr-defined]

    def run_function(self, function_name: str) -> None:
        """Imports TARGET and calls its function with the activity's parameters."""
        from . import _handover, _parameters

        self._set_up_sys(os.getcwd(), [f"{self._target}:{function_name}"])
        function = self._import_function(function_name)
        keywords = _parameters.keyword_arguments(function, _handover.exact_parameters(), self._arguments)
        self._enter("running")
        result = function(**keywords)
        if hasattr(result, "__await__"):
            import asyncio

            result = asyncio.run(_wait_for(result))
        self._take_result(result)

    def _import_function(self, function_name: str) -> "Any":
        import importlib

        try:
            found: Any = importlib.import_module(self._target)
        except ModuleNotFoundError as error:
            # The module that was asked for, or a package above it; anything else is a package that it imports.
            if error.name and f"{self._target}.".startswith(f"{error.name}."):
                self._entrypoint_not_found(f"no module named `{error.name}`")
            raise
        where = f"module `{self._target}`"
        for part in function_name.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                self._entrypoint_not_found(f"{where} has no attribute `{part}`")
            where = f"`{part}` of {where}"
        if not callable(found):
            self._entrypoint_not_found(f"{where} is a {type(found).__name__}, not a function")
        return found

    def _take_result(self, result: "Any") -> None:
        from collections.abc import Mapping

        if isinstance(result, Mapping):
            from ._outputs import outputs

            outputs.update(result)
        elif result is not None:
            from . import _native

            _native.log(
                30, "dray", f"the entrypoint returned a {type(result).__name__}, which is no mapping: ignored",
                "entrypoint.result_ignored", None, None,
            )  # fmt: skip

    def _set_up_sys(self, first_path: str, entry: list[str]) -> None:
        sys.argv[:] = [entry[0], *self._arguments]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv[1:] = [*entry, *self._arguments]
        # `-c` put an empty entry there, unless PYTHONSAFEPATH or -P asked for none.
        if not getattr(sys.flags, "safe_path", False) and sys.path[:1] == [""]:
            sys.path[0] = first_path

    def _enter(self, phase: str) -> None:
        self._phase = phase
        if os.getpid() == _MAIN_PROCESS:
            _run.set_phase(phase)
            _run.append(f'{{"event":"phase","phase":"{phase}"}}\n'.encode())

    def _record_exit(self, error: SystemExit) -> None:
        if error.code is None:
            code = 0
        else:
            code = 1
            if isinstance(error.code, int):
                # Python takes a number that does not fit a C long for -1.
                code = error.code & 0xFF if -(2**63) <= error.code < 2**63 else 255
        if code == 0:
            # As most command lines end (`sys.exit(main())`): not worth the milliseconds that it takes to say where.
            _run.append(b'{"event":"exit","code":0,"message":null,"location":null}\n')
            return
        from . import _failure

        message = _failure.message(error) if isinstance(error.code, str) else None
        _run.record({"event": "exit", "code": code, "message": message, "location": _failure.location(error)})

    def _fail(self, error: BaseException) -> "NoReturn":
        from . import _failure, _native

        failed = _failure.describe(error, self._phase)
        _run.record(failed)
        summary = f"{failed['type']}: {failed['message']}" if failed["message"] else failed["type"]
        _native.log(40, "dray", _run.as_unicode(summary), failed["code"], None, failed["traceback"])
        if sys.excepthook is not sys.__excepthook__:
            # A SystemExit of the hook's ends the process, as under plain `python`.
            _failure.call_excepthook(error)
        raise SystemExit(failed["exit_code"])

    def _fail_in_child(self, error: BaseException) -> "NoReturn":
        """As plain `python` would, for a process that the script forked and that came back up here."""
        from . import _failure

        if isinstance(error, KeyboardInterrupt):
            # Python ends such a process by SIGINT, which is better left to it.
            raise error
        _failure.prepare(error)
        _failure.call_excepthook(error)
        raise SystemExit(1)

    def _entrypoint_not_found(self, why: str) -> "NoReturn":
        _run.record({
            "event": "error", "kind": "entrypoint_not_found", "code": "entrypoint.not_found", "type": None,
            "message": f"entrypoint `{self._target}` not found: {why}", "traceback": None, "location": None,
            "exit_code": 111,
        })  # fmt: skip
        raise _EntrypointNotFound(111)


class _EntrypointNotFound(SystemExit):
    """Ends the worker after the error was recorded."""


async def _wait_for(awaitable: "Any") -> "Any":
    return await awaitable
