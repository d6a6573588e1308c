# Runs pip for another Python than its own: `python -c SCRIPT MAJOR.MINOR PIP-ARGUMENT...`. Run by `resolve.rs`.
#
# pip's `--python-version` and `--platform` choose wheels, but the markers of requirements (`; python_version < "3.11"`)
# are judged by the Python that pip runs on (pip issue 11664), so that packages would be missing, or be too many. What
# judges them is replaced here by the target's values.
import sys


def target_environment(default, version):
    def environment():
        values = dict(default())
        values.update(
            os_name="posix",
            sys_platform="linux",
            platform_system="Linux",
            platform_machine="x86_64",
            implementation_name="cpython",
            platform_python_implementation="CPython",
            python_version=version,
            python_full_version=version + ".0",
            implementation_version=version + ".0",
        )
        return values

    return environment


version = sys.argv.pop(1)
try:
    from pip._vendor.packaging import markers

    markers.default_environment = target_environment(markers.default_environment, version)
    from pip._internal.cli.main import main
except (ImportError, AttributeError) as error:
    sys.stderr.write("@dray-no-pip@ %s\n" % error)
    sys.exit(97)
sys.exit(main(sys.argv[1:]))
