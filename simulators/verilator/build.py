"""build(spec): from Verilog to a shared library in the cache, made once for all that determines it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from heddle.simulators.verilator.bundles import Bus, find_buses
from heddle.simulators.verilator.cache import digest_of, obtain
from heddle.simulators.verilator.elaborate import Elaboration, Port, cpp_sources, elaborate, refused, verilog_arguments
from heddle.simulators.verilator.errors import RtlBuildError
from heddle.simulators.verilator.harness import PREFIX, RUNTIME, harness
from heddle.simulators.verilator.messages import parse_messages
from heddle.simulators.verilator.model import Model
from heddle.simulators.verilator.spec import RtlSpec
from heddle.simulators.verilator.toolchain import (
    COMPILE_FLAGS,
    CPU_FLAGS,
    Compiler,
    Verilator,
    find_compiler,
    find_verilator,
)

Profile = Literal["fast", "trace", "cover"]

_VERILATE = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "--prefix", PREFIX)
_PROFILES: dict[str, tuple[str, ...]] = {
    # whole blocks and, beyond 8 words, loops over wide values: a sixth more speed, half the time to compile
    "fast": ("--noassert", "--savable", "-fno-split", "--expand-limit", "8"),
    "trace": ("--assert", "--savable", "--trace-max-array", "0"),
    "cover": ("--assert", "--coverage-line", "--coverage-toggle", "--coverage-user"),
}
_WAVES = {"fst": "--trace-fst", "vcd": "--trace-vcd"}
_HOOKS = (
    "-DVL_USER_FINISH",
    "-DVL_USER_STOP",
    "-DVL_USER_FATAL",
    "-DVERILATOR=1",
    "-include",
    str(RUNTIME / "print.h"),
)
_SWITCHES = ("VM_COVERAGE", "VM_SC", "VM_TIMING", "VM_TRACE", "VM_TRACE_FST", "VM_TRACE_VCD", "VM_TRACE_SAIF")
_LIBRARY = "model.so"


def build(spec: RtlSpec, profile: Profile = "fast", *, waves: Literal["fst", "vcd"] = "fst") -> Model:
    """Make a simulator of a design, or take it from the cache.

    `fast` is for speed, `trace` can write waveforms (`waves` says in which format) and `cover` counts what was
    exercised; the last two check the assertions of the design. RtlBuildError says what a tool objects to.
    """
    if profile not in _PROFILES:
        raise RtlBuildError(f"profile {profile!r}: unknown, expected fast, trace or cover")
    verilator, compiler = find_verilator(), find_compiler()
    design = elaborate(spec, verilator)
    buses = find_buses(spec, design.ports)
    flags = [*_VERILATE, *_PROFILES[profile], *([_WAVES[waves]] if profile == "trace" else [])]
    harness(spec, design, buses, lambda port: port.member)  # refuses wrong clocks and buses before anything is made
    digest = _digest(spec, design, buses, flags, verilator, compiler)
    entry = obtain("rtl", digest, lambda folder: _make(folder, spec, design, buses, flags, verilator, compiler))
    return Model(spec, design, buses, profile, entry / _LIBRARY)


def _digest(
    spec: RtlSpec,
    design: Elaboration,
    buses: Sequence[Bus],
    flags: Sequence[str],
    verilator: Verilator,
    compiler: Compiler,
) -> str:
    """A digest of all that the library depends on; paths count, because assertions and coverage name them."""
    own = [*sorted(RUNTIME.glob("*.h")), Path(__file__), Path(__file__).with_name("harness.py")]
    files = [*design.files, *cpp_sources(spec), *own]
    wanted = [asdict(clock) for clock in spec.clocks] + [asdict(reset) for reset in spec.resets]
    described = [
        [bus.name, bus.kind, bus.leads, {role: port.name for role, port in bus.ports.items()}] for bus in buses
    ]
    internals = spec.internals if isinstance(spec.internals, str) else list(spec.internals)
    return digest_of(
        json.dumps([verilog_arguments(spec), list(flags), wanted, described, internals]),
        *COMPILE_FLAGS,
        verilator.digest,
        compiler.digest,
        *(part for path in files for part in (str(path), path.read_bytes())),
    )


def _make(
    folder: Path,
    spec: RtlSpec,
    design: Elaboration,
    buses: Sequence[Bus],
    flags: Sequence[str],
    verilator: Verilator,
    compiler: Compiler,
) -> None:
    work = folder / "work"
    work.mkdir()
    settings = _public(work, spec, design)
    done = verilator.run([*flags, "--Mdir", str(work), *settings, *verilog_arguments(spec)], work)
    if done.returncode:
        raise refused(spec, parse_messages(done.stderr), done.stderr)
    lists = (work / f"{PREFIX}_classes.mk").read_text()
    defines = [f"-D{name}={(_made(lists, name) or ['0'])[0]}" for name in _SWITCHES]
    common = [*COMPILE_FLAGS, *CPU_FLAGS, *_HOOKS, *defines, f"-I{work}", f"-I{RUNTIME}", f"-I{RUNTIME / 'fst'}"]
    common += [f"-I{verilator.include}", f"-I{verilator.include / 'vltstd'}"]
    if "--savable" in flags:
        common.append("-DHEDDLE_SAVABLE=1")
    if "--noassert" in flags and not any("VlClass" in path.read_text() for path in work.glob("*.h")):
        common.append("-DHEDDLE_DIRECT=1")
    header = (work / f"{PREFIX}.h").read_text()
    (work / "dut.cpp").write_text(
        _together(_made(lists, "VM_CLASSES_FAST") + _made(lists, "VM_SUPPORT_FAST"))
        + harness(spec, design, buses, lambda port: _member(header, port))
    )
    (work / "slow.cpp").write_text(_together(_made(lists, "VM_CLASSES_SLOW") + _made(lists, "VM_SUPPORT_SLOW")))
    objects = []
    fast = "--noassert" in flags
    for source, level in (
        (work / "dut.cpp", "-O3" if fast else "-O1"),
        (work / "slow.cpp", "-O1" if fast else "-O0"),  # runs once, and with points and waves there is much of it
        *((p, "-O2") for p in cpp_sources(spec)),
    ):
        objects.append(_compile(compiler, source, work / f"{source.name}.o", [level, *common]))
    shared = _made(lists, "VM_GLOBAL_FAST") + _made(lists, "VM_GLOBAL_SLOW")
    objects += [_runtime_object(name, verilator, compiler, defines) for name in shared]
    _call(
        compiler,
        ["-shared", "-o", str(folder / _LIBRARY), "-Wl,-Bsymbolic", *map(str, objects), "-pthread"],
    )
    for path in sorted(work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    work.rmdir()


def _made(lists: str, name: str) -> list[str]:
    """The value of a variable in the makefile that Verilator writes."""
    found = re.search(rf"^{name} \+?= *((?:.*\\\n)*.*)$", lists, re.MULTILINE)
    return found[1].replace("\\\n", " ").split() if found else []


def _together(names: Sequence[str]) -> str:
    return "".join(f'#include "{name}.cpp"\n' for name in names)


def _member(header: str, port: Port) -> str:
    escaped = f"__SYM__{port.member}"  # a port whose name is a word of C++
    return f"t.{escaped if re.search(rf'[&(]{escaped},', header) else port.member}"


def _public(work: Path, spec: RtlSpec, design: Elaboration) -> list[str]:
    """The arguments that keep the internal signals which the design's user wants to see."""
    if spec.internals == "all":
        return ["--public-flat-rw"]
    if not spec.internals:
        return []
    rules = ["`verilator_config"]
    for path in spec.internals:
        instance, _, name = path.rpartition(".")
        if instance not in design.modules:
            known = ", ".join(sorted(filter(None, design.modules))) or "none"
            raise RtlBuildError(
                f"{spec.top}: internals names {path}, but there is no instance {instance}; there are: {known}"
            )
        rules.append(f'public_flat_rw -module "{design.modules[instance]}" -var "{name}"')
    (work / "public.vlt").write_text("\n".join(dict.fromkeys(rules)) + "\n")
    return [str(work / "public.vlt")]


def _runtime_object(name: str, verilator: Verilator, compiler: Compiler, defines: Sequence[str]) -> Path:
    """A part of Verilator's own runtime, compiled once for all designs."""
    source = verilator.include / f"{name}.cpp"
    flags = ["-O2", *COMPILE_FLAGS, *CPU_FLAGS, *_HOOKS, *defines]
    flags += [f"-I{verilator.include}", f"-I{verilator.include / 'vltstd'}", f"-I{RUNTIME / 'fst'}"]
    own = [path.read_bytes() for path in (RUNTIME / "print.h", *sorted((RUNTIME / "fst").glob("*.h")))]
    digest = digest_of(name, verilator.digest, compiler.digest, *flags, source.read_bytes(), *own)

    def make(folder: Path) -> None:
        _compile(compiler, source, folder / f"{name}.o", flags)

    return obtain("verilator-runtime", digest, make) / f"{name}.o"


def _compile(compiler: Compiler, source: Path, target: Path, flags: Sequence[str]) -> Path:
    _call(compiler, [*flags, "-c", str(source), "-o", str(target)])
    return target


def _call(compiler: Compiler, arguments: Sequence[str]) -> None:
    done = subprocess.run([*compiler.command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        output = (done.stderr or done.stdout).strip()
        raise RtlBuildError(f"compiler: {compiler.command[0]} failed on {arguments[-3]}\n{output[-4000:]}")
