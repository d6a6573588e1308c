# Says what this Python is, as one tagged line of JSON on standard output. Run by `probe.rs` with `-I -B -c`.
#
# It must parse and answer on every Python, 2.7 and other implementations included, far enough to say "too old". So it
# builds its JSON by hand (the `json` module costs 6 ms, most of it for `re`), and imports nothing on an old Python:
# without `-I` the current folder is on sys.path, and a project's own `json.py` would be run.
import sys


def text(value):
    # A path that is not UTF-8 is written in hexadecimal.
    if not isinstance(value, str):
        value = str(value)
    if sys.version_info[0] >= 3:
        try:
            value.encode("utf-8")
        except UnicodeError:
            return '{"hex":"%s"}' % os.fsencode(value).hex()
    quoted = []
    for character in value:
        code = ord(character)
        if character in '"\\':
            quoted.append("\\" + character)
        elif 32 <= code < 127:
            quoted.append(character)
        elif code < 0x10000:
            quoted.append("\\u%04x" % code)
        else:
            quoted.append("\\u%04x\\u%04x" % (0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF)))
    return '"%s"' % "".join(quoted)


def json(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return "%d" % value
    if isinstance(value, (list, tuple)):
        return "[%s]" % ",".join(json(item) for item in value)
    if isinstance(value, dict):
        return "{%s}" % ",".join("%s:%s" % (text(key), json(value[key])) for key in value)
    return text(value)


def mapped_library():
    # The libpython that this process runs on; the dynamic loader has found it already. `libpython3.so`, the stable
    # ABI's stub, does not match.
    name = b"/libpython%d.%d" % sys.version_info[:2]
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            path = line.rstrip(b"\n").split(None, 5)[5:]
            if path and name in path[0] and not path[0].endswith(b" (deleted)"):
                return os.fsdecode(path[0])
    return None


def beside_library(config, base_executable):
    # A statically linked Python may have a libpython of the same build beside it (Debian, conda,
    # python-build-standalone). Returns it and all that was looked at.
    names = []
    for name in (
        config.get("INSTSONAME"),
        "libpython%d.%d%s.so.1.0" % (sys.version_info[0], sys.version_info[1], getattr(sys, "abiflags", "")),
    ):
        if name and ".so" in name and name not in names:
            names.append(name)
    folders = []
    for folder in (
        config.get("LIBDIR"),
        os.path.join(sys.base_prefix, "lib"),
        os.path.join(sys.base_prefix, "lib64"),
        os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(base_executable))), "lib"),
        config.get("LIBPL"),
    ):
        if folder and folder not in folders:
            folders.append(folder)
    looked_at = []
    for folder in folders:
        for name in names:
            path = os.path.join(folder, name)
            looked_at.append(path)
            if os.path.isfile(path) and same_build(path):
                return path, looked_at
    # What the dynamic loader finds by itself depends on its cache file.
    looked_at.append("/etc/ld.so.cache")
    for name in names:
        if same_build(name):
            return mapped_library(), looked_at
    return None, looked_at


def same_build(library):
    try:
        import ctypes
    except ImportError:
        # Without ctypes the worker alone compares the versions, when it has loaded the library.
        return os.path.isabs(library)
    try:
        # RTLD_DEEPBIND: this executable exports the same symbols, and Py_GetVersion would otherwise put together the
        # library's number and the executable's build date.
        opened = ctypes.CDLL(library, mode=os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
        opened.Py_GetVersion.restype = ctypes.c_char_p
        return opened.Py_GetVersion().decode() == sys.version
    except (OSError, AttributeError):
        return False


def name_of_implementation():
    if hasattr(sys, "implementation"):
        return sys.implementation.name
    return getattr(sys, "subversion", ["unknown"])[0].lower()


facts = {
    "implementation": name_of_implementation(),
    "version": list(sys.version_info[:5]),
    "version_text": sys.version,
    "executable": sys.executable,
}
if sys.version_info >= (3, 6) and facts["implementation"] == "cpython":
    import os
    import sysconfig

    config = sysconfig.get_config_vars()
    base_executable = getattr(sys, "_base_executable", None) or sys.executable
    library, looked_at = mapped_library(), []
    linked = library is not None
    if library is None:
        library, looked_at = beside_library(config, base_executable)
    else:
        looked_at.append(library)
    facts["build"] = {
        "pointer_bits": sys.maxsize.bit_length() + 1,
        "free_threaded": config.get("Py_GIL_DISABLED") == 1,
        "platform": sysconfig.get_platform(),
        "c_library": "musl" if "musl" in "%s %s" % (config.get("MULTIARCH"), config.get("SOABI")) else "gnu",
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "base_executable": base_executable,
        "library": library,
        "linked": linked,
        "looked_at": looked_at,
    }
sys.stdout.write("\n@dray-python@%s\n" % json(facts))
sys.stdout.flush()
if "os" in globals():
    # Exit handlers that sitecustomize has set (coverage, for one) are not wanted here.
    os._exit(0)
