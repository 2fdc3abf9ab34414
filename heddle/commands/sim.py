"""`heddle sim`: assemble, run, trace and compare programs and configurations of the accelerator, without hardware."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

import heddle
from heddle.commands.arguments import AsJson, ShapeTexts, shapes
from heddle.commands.display import ERR, OUT, print_json, print_table
from heddle.core.errors import DeviceError
from heddle.core.files import write_whole
from heddle.hw.vta.assembly import disassemble
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.inputs import random_inputs
from heddle.simulators.verilator.coverage import Coverage
from heddle.simulators.verilator.elaborate import lint as lint_rtl
from heddle.simulators.verilator.toolchain import find_verilator
from heddle.simulators.vta.area import area as area_of
from heddle.simulators.vta.cover import PROGRAMS, run_all
from heddle.simulators.vta.images import Image, Scene, encode_program, parse_address, read_program, run_scene, set_up
from heddle.simulators.vta.program import from_bytes
from heddle.simulators.vta.rtl import Memory, build_rtl, rtl_spec
from heddle.simulators.vta.sweep import sweep as sweep_layers
from heddle.simulators.vta.window import window

app = typer.Typer(
    no_args_is_help=True,
    help="Run programs of the accelerator on its models, look into its RTL, and compare its configurations.",
)

RESNET_LAYERS = "56x56x64x64k3,28x28x128x128k3,14x14x256x256k3,56x56x64x64k1"


class Model(StrEnum):
    """Which model runs a program."""

    functional = "functional"
    cycle = "cycle"
    rtl = "rtl"


ProgramFile = Annotated[
    Path,
    typer.Argument(
        exists=True, dir_okay=False, metavar="PROGRAM", show_default=False,
        help="Assembly text, raw 128-bit instructions, or the code of an accelerator artifact.",
    ),
]  # fmt: skip
ConfigName = Annotated[
    str, typer.Option("--config", "-c", help=f"One of {', '.join(config_names())}, or a .toml file.")
]
Images = Annotated[
    list[str] | None,
    typer.Option("--memory", "-m", metavar="FILE@ADDRESS", help="Bytes of a file to put in memory; may be repeated."),
]
Bases = Annotated[
    list[str] | None, typer.Option("--base", metavar="N=ADDRESS", help="A base register; may be repeated.")
]
Size = Annotated[str, typer.Option(metavar="BYTES", help="The least size of memory, as 16m.")]
SectionName = Annotated[str | None, typer.Option("--section", help="Run only this section of the program.")]
Latency = Annotated[int, typer.Option(min=1, help="Cycles until memory answers.")]
Outstanding = Annotated[int, typer.Option(min=1, help="Bursts that memory takes at a time, in each direction.")]
JitterSeed = Annotated[int | None, typer.Option(help="Add reproducible random latency.", show_default=False)]
BackPressure = Annotated[float, typer.Option(min=0, max=0.95, help="How often memory refuses a handshake.")]


@contextmanager
def _working(what: str) -> Iterator[None]:
    with ERR.status(what):
        yield


def _pair(text: str, mark: str, flag: str) -> tuple[str, str]:
    left, found, right = text.rpartition(mark)
    if not (found and left and right):
        raise typer.BadParameter(f"{text!r}: LEFT{mark}RIGHT is expected", param_hint=flag)
    return left, right


def _scene(
    program: Path, config: str, memory: list[str] | None, base: list[str] | None, size: str, section: str | None
) -> Scene:
    images = []
    for text in memory or ():
        name, address = _pair(text, "@", "--memory")
        images.append(Image(parse_address(address), Path(name).read_bytes()))
    bases = {int(number): parse_address(address) for number, address in (_pair(t, "=", "--base") for t in base or ())}
    return set_up(read_program(program, load_config(config)), images, bases, parse_address(size), section)


@app.command()
def run(
    program: ProgramFile,
    config: ConfigName = "reference",
    sim: Annotated[
        Model, typer.Option(help="functional (bit-exact), cycle (with cycles), rtl (Verilator).")
    ] = Model.cycle,
    memory: Images = None,
    base: Bases = None,
    out: Annotated[
        list[str] | None, typer.Option("--out", "-o", metavar="FILE@ADDRESS:BYTES", help="Memory to write to a file.")
    ] = None,
    size: Size = "1m",
    section: SectionName = None,
    latency: Latency = 100,
    outstanding: Outstanding = 64,
    jitter_seed: JitterSeed = None,
    backpressure: BackPressure = 0.0,
    json: AsJson = False,
) -> None:
    """Run a program over memory images, and show the hardware's counters.

    Example:

        heddle sim run layer.s --memory x.bin@0 --memory w.bin@64k --base 1=64k --out y.bin@128k:4096 --sim rtl
    """
    scene = _scene(program, config, memory, base, size, section)
    timing = Memory(latency, outstanding, jitter_seed, backpressure)
    with _working(f"running {program.name} ({sim})"):
        counters = run_scene(scene, sim.value, timing)
    for text in out or ():
        name, place = _pair(text, "@", "--out")
        address, count = map(parse_address, _pair(place, ":", "--out"))
        if address + count > len(scene.memory):
            raise DeviceError(f"--out {text}: memory has {len(scene.memory)} bytes; raise --size")
        write_whole(name, scene.memory[address : address + count].tobytes())
    if json:
        print_json({"config": scene.config.name, "sim": sim.value, "counters": dict(counters)})
        return
    if counters:
        cycles = counters["cycles"]
        rows = [(name, f"{value}", f"{100 * value / cycles:.1f}%") for name, value in counters.items() if value]
        print_table("", ("counter", "value", "of all cycles"), rows)
        OUT.print(
            f"{cycles} cycles, {1e6 * cycles / scene.config.clock_hz:.1f} us at {scene.config.clock_hz / 1e6:.0f} MHz"
        )
    else:
        OUT.print("done (the functional model counts no cycles)")


@app.command()
def asm(
    source: ProgramFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the raw instructions go.")],
    config: ConfigName = "reference",
) -> None:
    """Assemble text to raw 128-bit instructions.

    Example:

        heddle sim asm layer.s -o layer.bin
    """
    data = encode_program(read_program(source, load_config(config)))
    write_whole(output, data)
    OUT.print(f"{len(data) // 16} instructions, {len(data)} bytes in {output}", highlight=False, markup=False)


@app.command()
def disasm(program: ProgramFile, config: ConfigName = "reference", section: SectionName = None) -> None:
    """Print a program as assembly, which `asm` turns back into the same bytes.

    Example:

        heddle sim disasm layer.bin > layer.s
    """
    parts = [part for part in read_program(program, load_config(config)).sections if section in (None, part.name)]
    if not parts:
        raise DeviceError(f"{program}: no section {section}")
    for part in parts:
        if len(parts) > 1:
            print(f"# section {part.name}")
        print(disassemble(part.instructions), end="")


@app.command()
def trace(
    program: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            metavar="PROGRAM|MODEL",
            show_default=False,
            help="A program as `run` takes it; with --node an ONNX model.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The waveforms, in FST.")] = Path("waves.fst"),
    config: ConfigName = "reference",
    node: Annotated[
        str | None, typer.Option(help="Compile an ONNX model, run it on random inputs, and show this node.")
    ] = None,
    shape: ShapeTexts = None,
    memory: Images = None,
    base: Bases = None,
    size: Size = "1m",
    section: SectionName = None,
    latency: Latency = 100,
    json: AsJson = False,
) -> None:
    """Run a program, one section of it, or one node of a model at RTL and write its waveforms for GTKWave or Surfer.

    Examples:

        heddle sim trace model.hvta --section layer1.0 -o layer1.fst

        heddle sim trace model.onnx --node layer1.0.conv1 -o conv1.fst
    """
    if node is not None:
        with _working(f"tracing {node}"):
            report = {"waves": str(output), **_traced(program, node, config, shape, latency, output)}
    else:
        scene = _scene(program, config, memory, base, size, section)
        if len(scene.sections) > 1:
            names = ", ".join(part.name for part in scene.sections)
            raise DeviceError(f"{program}: has several sections; choose one with --section: {names}")
        with _working(f"tracing {scene.sections[0].name}"):
            counters = run_scene(scene, "rtl", Memory(latency), output)
        report = {"waves": str(output), "cycles": counters["cycles"]}
    if json:
        print_json({**report, "bytes": output.stat().st_size})
        return
    OUT.print(f"{report['cycles']} cycles in {output}", highlight=False, markup=False)


def _traced(model: Path, node: str, config: str, shape: list[str] | None, latency: int, output: Path) -> dict[str, int]:
    """Run a model of which one node's region runs at RTL; the cycles that the waveforms of the node show."""
    device = {"region": node, "waves": str(output), "latency": latency, "config": config}
    executable = heddle.compile(
        model, ["vta", "host"], shapes(shape), options={"vta": {"config": config}}, devices={"vta": device}
    )
    artifacts = [step.artifact for step in executable.schedules[0].steps if step.artifact.device == "vta"]
    known = sorted({name for artifact in artifacts for name in artifact.nodes})
    if node not in known:
        raise DeviceError(f"{model}: no node {node!r} runs on the accelerator; there are {', '.join(known) or 'none'}")
    executable(**random_inputs(executable.inputs))
    (found,) = [artifact for artifact in artifacts if node in artifact.nodes]
    code = from_bytes(found.code)
    first, end = window(found, code, code.sections[0], node, Memory(latency))
    return {"first_cycle": first, "cycles": end - first}


@app.command()
def cover(
    config: ConfigName = "tiny",
    programs: Annotated[int, typer.Option(min=1, help="Random programs to run.")] = PROGRAMS,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of each program.")] = 4,
    missed: Annotated[bool, typer.Option("--missed", help="List the lines that nothing reached.")] = False,
    json: AsJson = False,
) -> None:
    """Run random, directed and wild programs at RTL and show which lines and bits of the sources they reach.

    Example:

        heddle sim cover --config reference --programs 100 --missed
    """
    found = _covered(load_config(config), programs, seed, jobs)
    lines = [(Path(point.file).name, point.line) for point in found.missed("line")]
    shares = {Path(file).name: {k: found.share(k, file) for k in ("line", "toggle")} for file in found.files}
    whole = {kind: found.share(kind) for kind in ("line", "toggle")}
    if json:
        files = {name: {k: asdict(s) for k, s in kinds.items()} for name, kinds in shares.items()}
        print_json({"total": {k: asdict(s) for k, s in whole.items()}, "files": files, "missed_lines": lines})
        return
    rows = [
        (name, *(f"{kinds[k].hit}/{kinds[k].total} {kinds[k].percent:.1f}%" for k in ("line", "toggle")))
        for name, kinds in (*shares.items(), ("all", whole))
    ]
    print_table("", ("file", "lines", "toggles"), rows)
    for name, line in lines if missed else ():
        OUT.print(f"{name}:{line}", highlight=False, markup=False)


def _covered(config: Config, programs: int, first: int, jobs: int) -> Coverage:
    with _working(f"building {config.name} for coverage"):
        model = build_rtl(config, "cover")
    with ERR.status("") as status:
        return run_all(
            config, model, programs, first, jobs,
            lambda seed: status.update(f"random program {seed - first + 1} of {programs}, then those at the edges"),
        )  # fmt: skip


@app.command()
def lint(config: ConfigName = "reference", json: AsJson = False) -> None:
    """Check the RTL of a configuration with all of Verilator's warnings on.

    Example:

        heddle sim lint --config wide
    """
    findings = lint_rtl(rtl_spec(load_config(config)), find_verilator())
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            OUT.print(str(finding), highlight=False, markup=False)
        OUT.print(f"{len(findings)} findings")
    if findings:
        raise typer.Exit(1)


@app.command()
def area(
    config: ConfigName = "reference",
    top: Annotated[str, typer.Option(help="A module, to synthesise it alone.")] = "vta",
    json: AsJson = False,
) -> None:
    """Synthesise a configuration with yosys and count multipliers, memory and registers; takes seconds to a minute.

    Example:

        heddle sim area --config tiny
    """
    with _working(f"synthesising {config}"):
        found = area_of(load_config(config), top)
    if json:
        print_json(asdict(found))
        return
    rows = [(name.replace("_", " "), f"{value}") for name, value in asdict(found).items() if isinstance(value, int)]
    print_table("", ("resource", "count"), rows)


@app.command()
def config(
    name: Annotated[str | None, typer.Argument(help="A configuration; without it, all are listed.")] = None,
    json: AsJson = False,
) -> None:
    """Show the configurations, or one of them, or say why a .toml file cannot work.

    Example:

        heddle sim config my-array.toml
    """
    found = [load_config(one) for one in ([name] if name else config_names())]
    if json:
        print_json([asdict(one) | {"digest": one.digest()} for one in found])
        return
    if name:
        print_table("", ("field", "value"), [(key, str(value)) for key, value in asdict(found[0]).items()])
        return
    rows = [(one.name, f"{one.bi} x {one.bo}", f"{one.bus_bits}", one.description) for one in found]
    print_table("", ("name", "array", "bus bits", "description"), rows)


@app.command()
def sweep(
    configs: Annotated[str, typer.Option(help="Configurations, separated by commas.")] = ",".join(config_names()),
    layers: Annotated[str, typer.Option(help="Layers as SIZExSIZExINPUTSxOUTPUTSkKERNEL[sSTRIDE][r].")] = RESNET_LAYERS,
    sim: Annotated[Model, typer.Option(help="cycle or rtl.")] = Model.cycle,
    processes: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    latency: Latency = 100,
    json: AsJson = False,
) -> None:
    """Compare configurations over convolution layers.

    Example:

        heddle sim sweep --configs reference,wide --layers 56x56x64x64k3,28x28x128x128k3 --jobs 4
    """
    if sim is Model.functional:
        raise typer.BadParameter("the functional model has no cycles, expected cycle or rtl", param_hint="--sim")
    names, shapes = configs.split(","), layers.split(",")
    model: Literal["cycle", "rtl"] = "rtl" if sim is Model.rtl else "cycle"
    pooled = nullcontext() if processes == 1 else ProcessPoolExecutor(processes)
    with _working(f"{len(names)} configurations, {len(shapes)} layers"), pooled as pool:
        rows = sweep_layers(names, shapes, Memory(latency), model, pool)
    if json:
        print_json([asdict(row) for row in rows])
        return
    shown = [
        (
            row.config,
            row.layer,
            f"{row.cycles}",
            f"{row.microseconds:.1f}",
            f"{row.array_share:.1%}",
            f"{row.gmacs_per_second:.1f}",
        )
        for row in rows
        if not row.refused
    ]
    print_table("", ("configuration", "layer", "cycles", "us", "array busy", "GMAC/s"), shown)
    for row in rows:
        if row.refused:
            OUT.print(f"{row.layer}: {row.refused}", highlight=False, markup=False)
