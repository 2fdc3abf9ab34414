"""Writes the C++ file that ties one design to the agents of `runtime/`: direct member access, no names at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from heddle.simulators.verilator.bundles import Bus
from heddle.simulators.verilator.elaborate import Elaboration, Port
from heddle.simulators.verilator.errors import RtlBuildError
from heddle.simulators.verilator.spec import RtlSpec

RUNTIME = Path(__file__).parent / "runtime"
STREAM_CONTROL = ("valid", "ready")
PREFIX = "Vdut"

_BYTES = {"wdata", "rdata", "wstrb"}
_AXI_OUT = {"arid": "0", "arlen": "0", "arsize": "log2_bytes", "arburst": "1", "wlast": "1"}
_AXI_OUT |= {"awid": "0", "awlen": "0", "awsize": "log2_bytes", "awburst": "1", "rresp": "0", "bresp": "0"}
_AXI_IN = ("rid", "rresp", "rlast", "bid", "bresp", "arlen", "arsize", "arburst", "awlen", "awsize", "awburst", "wlast")


def harness(spec: RtlSpec, design: Elaboration, buses: Iterable[Bus], member: Callable[[Port], str]) -> str:
    """The C++ text; `member(port)` is the expression of a port of the model `t`."""
    buses = tuple(buses)
    control = {port.name: port for port in design.ports}
    clocks = [_control(spec, control, clock.port) for clock in spec.clocks]
    resets = [_control(spec, control, reset.port) for reset in spec.resets]
    shapes = ", ".join(f"{{{clock.period}, {clock.phase}}}" for clock in spec.clocks)
    parts = [
        f'#include "{PREFIX}.h"\n#include "axi.h"\n#include "sram.h"\n#include "stream.h"\n',
        f"using Top = {PREFIX};\nusing heddle::number;\nusing heddle::assign;\n",
        f"static constexpr int CLOCKS = {len(clocks)}, RESETS = {len(resets)};",
        f"static constexpr uint64_t RESET_CYCLES = {max((reset.cycles for reset in spec.resets), default=0)};",
        "struct ClockShape { uint64_t period, phase; };",
        f"static constexpr ClockShape CLOCK_SHAPES[] = {{{shapes}}};",
        _switch("void set_clock(Top& t, int i, bool v)", [f"{member(port)} = v;" for port in clocks]),
        _switch(
            "void set_reset(Top& t, int i, bool active)",
            [
                f"{member(port)} = {'active' if reset.active == 'high' else '!active'};"
                for reset, port in zip(spec.resets, resets, strict=True)
            ],
        ),
        _switch(
            "void* port_address(Top& t, int i)",
            [f"return &{member(port)};" for port in design.ports],
            "return nullptr;",
        ),
        *(_accessors(index, bus, member) for index, bus in enumerate(buses)),
        _agents(buses),
        '#include "simulation.h"\n#include "bare.h"\n',
    ]
    return "\n".join(parts)


def item_bytes(bus: Bus) -> int:
    """The size of one item of a stream: its fields, each in the container that Verilator uses, packed."""
    return sum(port.nbytes for role, port in bus.ports.items() if role not in STREAM_CONTROL)


def data_port(bus: Bus) -> Port:
    """The port that sets the width of an AXI bus or a memory."""
    return bus.ports["rdata"] if "rdata" in bus.ports else bus.ports["wdata"]


def _control(spec: RtlSpec, ports: dict[str, Port], name: str) -> Port:
    port = ports.get(name)
    if port is None or port.direction != "input" or port.width != 1 or port.shape:
        inputs = ", ".join(p.name for p in ports.values() if p.direction == "input" and p.width == 1 and not p.shape)
        raise RtlBuildError(
            f"{spec.top}: {name} is named as a clock or reset, expected one of its 1-bit inputs: {inputs}"
        )
    return port


def _switch(head: str, cases: list[str], otherwise: str = "") -> str:
    body = "".join(
        f"        case {index}: {case}{'' if 'return' in case else ' break;'}\n" for index, case in enumerate(cases)
    )
    unused = "    (void)t; (void)i;" + (" (void)active;" if "active" in head else " (void)v;" if " v)" in head else "")
    return f"static {head} {{\n{unused}\n    switch (i) {{\n{body}    }}\n    {otherwise}\n}}"


def _getter(role: str, expression: str, kind: str = "uint64_t") -> str:
    return f"    static {kind} {role}(Top& t) {{ (void)t; return {expression}; }}"


def _setter(role: str, port: Port | None, member: Callable[[Port], str]) -> str:
    if port is None:
        return f"    static void {role}(Top&, uint64_t) {{}}"
    mask = "" if port.width >= 64 else f" & {(1 << port.width) - 1}ull"
    return f"    static void {role}(Top& t, uint64_t v) {{ assign({member(port)}, v{mask}); }}"


def _put_bytes(role: str, port: Port | None, member: Callable[[Port], str]) -> str:
    if port is None:
        return f"    static void {role}(Top&, const uint8_t*) {{}}"
    count, rest = -(-port.width // 8), port.width % 8
    mask = f" p[{count - 1}] &= {(1 << rest) - 1};" if rest else ""
    return (
        f"    static void {role}(Top& t, const uint8_t* v) "
        f"{{ auto p = reinterpret_cast<uint8_t*>(&{member(port)}); memcpy(p, v, {count});{mask} }}"
    )


def _get_bytes(role: str, port: Port | None, member: Callable[[Port], str], otherwise: str) -> str:
    if port is None:
        return f"    static void {role}(Top&, uint8_t* out) {{ {otherwise} }}"
    return f"    static void {role}(Top& t, uint8_t* out) {{ memcpy(out, &{member(port)}, {-(-port.width // 8)}); }}"


def _accessors(index: int, bus: Bus, member: Callable[[Port], str]) -> str:
    write = {"stream": _stream_accessors, "memory": _memory_accessors}.get(bus.kind, _axi_accessors)
    name = f'    static constexpr const char* name = "{bus.name}";'
    return "\n".join([f"struct Bus{index} {{", name, *write(bus, member), "};"])


def _stream_accessors(bus: Bus, member: Callable[[Port], str]) -> list[str]:
    valid, ready = bus.ports["valid"], bus.ports.get("ready")
    lines = [f"    static constexpr int bytes = {item_bytes(bus) or 1};"]
    lines.append(f"    static constexpr bool has_ready = {'true' if ready else 'false'};")
    fields = [port for role, port in bus.ports.items() if role not in STREAM_CONTROL]
    moves, at = [], 0
    for port in fields:
        moves.append((member(port), at, port.nbytes))
        at += port.nbytes
    if bus.leads:
        lines += [_getter("valid", f"number({member(valid)})"), _setter("ready", ready, member)]
        body = " ".join(f"memcpy(out + {at}, &{name}, {size});" for name, at, size in moves)
        lines.append(f"    static void get(Top& t, uint8_t* out) {{ (void)t; (void)out; {body} }}")
    else:
        lines += [_setter("valid", valid, member), _getter("ready", f"number({member(ready)})" if ready else "1")]
        body = " ".join(f"memcpy(&{name}, in + {at}, {size});" for name, at, size in moves)
        lines.append(f"    static void put(Top& t, const uint8_t* in) {{ (void)t; (void)in; {body} }}")
    return lines


def _axi_accessors(bus: Bus, member: Callable[[Port], str]) -> list[str]:
    width = data_port(bus).width
    if width not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise RtlBuildError(f"{bus.name}: {width} data bits, expected 8 to 1024 and a power of two for an AXI bus")
    reads, writes = "arvalid" in bus.ports, "awvalid" in bus.ports
    lines = [
        f"    static constexpr int bytes = {width // 8}, log2_bytes = {(width // 8).bit_length() - 1};",
        f"    static constexpr bool reads = {str(reads).lower()}, writes = {str(writes).lower()};",
        f"    static constexpr bool has_last = {str('wlast' in bus.ports).lower()};",
        *(f'    static constexpr const char* {c}_name = "{bus.name} {c} channel";' for c in ("ar", "aw", "w")),
    ]
    seen = set()
    for role, port in bus.ports.items():
        seen.add(role)
        if role in _BYTES and port.direction == "output":
            lines.append(_get_bytes(role, port, member, ""))
        elif role in _BYTES:
            lines.append(_put_bytes(role, port, member))
        elif port.direction == "output":
            lines.append(_getter(role, f"number({member(port)})"))
        else:
            lines.append(_setter(role, port, member))
    if bus.leads:
        lines += [_getter(role, value) for role, value in _AXI_OUT.items() if role not in seen and role[0] in "aw"]
        lines += [_setter(role, None, member) for role in ("rid", "rresp", "rlast", "bid", "bresp") if role not in seen]
        if "wstrb" not in seen:
            lines.append(_get_bytes("wstrb", None, member, "memset(out, 0xFF, (bytes + 7) / 8);"))
    else:
        lines += [_getter(role, "0") for role in ("rresp", "bresp") if role not in seen]
        lines += [_setter(role, None, member) for role in _AXI_IN if role not in seen and role[0] in "aw"]
        if "wstrb" not in seen:
            lines.append(_put_bytes("wstrb", None, member))
    return lines


def _memory_accessors(bus: Bus, member: Callable[[Port], str]) -> list[str]:
    ports = bus.ports

    def value(role: str, otherwise: str) -> str:
        return _getter(role, f"number({member(ports[role])})" if role in ports else otherwise)

    by_strobe = f"number({member(ports['strobe'])}) != 0" if "strobe" in ports else "0"
    lines = [f"    static constexpr int bytes = {-(-data_port(bus).width // 8)};"]
    optional = ("grant", "response", "done", "enable")
    lines += [f"    static constexpr bool has_{role} = {str(role in ports).lower()};" for role in optional]
    lines += [value("addr", "0"), value("enable", "1"), value("write", by_strobe)]
    lines += [_setter(role, ports.get(role), member) for role in ("grant", "response", "done")]
    lines.append(_get_bytes("wdata", ports.get("wdata"), member, "memset(out, 0, bytes);"))
    lines.append(_get_bytes("strobe", ports.get("strobe"), member, "memset(out, 0xFF, (bytes + 7) / 8);"))
    lines.append(_put_bytes("rdata", ports.get("rdata"), member))
    return lines


def agent_type(bus: Bus) -> str:
    """The C++ class that serves a bus."""
    if bus.kind == "stream":
        return "StreamSink" if bus.leads else "StreamSource"
    if bus.kind == "memory":
        return "Sram"
    return "AxiMemory" if bus.leads else "AxiMaster"


def _agents(buses: tuple[Bus, ...]) -> str:
    members = [f"    heddle::{agent_type(bus)}<Bus{index}, Top> a{index};" for index, bus in enumerate(buses)]
    visits = " ".join(f"f(a{index});" for index in range(len(buses)))
    settles = [f"a{index}.bound && a{index}.settle(t, w)" for index, bus in enumerate(buses) if bus.kind == "memory"]
    return "\n".join(
        [
            "struct Agents {",
            *members,
            f"    template <class F> void each(F&& f) {{ (void)f; {visits} }}",
            "    bool settle(Top& t, heddle::World& w) {",
            "        (void)t; (void)w;",
            "        bool changed = false;",
            *(f"        if ({test}) changed = true;" for test in settles),
            "        return changed;",
            "    }",
            "};",
        ]
    )
