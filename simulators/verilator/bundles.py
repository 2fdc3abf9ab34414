"""Recognises buses (AXI4, AXI-Lite, valid/ready streams, simple memories) among ports by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heddle.simulators.verilator.elaborate import Port
from heddle.simulators.verilator.errors import RtlBuildError
from heddle.simulators.verilator.spec import Bundle, BundleKind, RtlSpec

_AXI_READ = {"arvalid": 1, "arready": 0, "araddr": 1, "rvalid": 0, "rready": 1, "rdata": 0}
_AXI_READ_EXTRA = {"arid": 1, "arlen": 1, "arsize": 1, "arburst": 1, "arprot": 1, "rid": 0, "rresp": 0, "rlast": 0}
_AXI_WRITE = {"awvalid": 1, "awready": 0, "awaddr": 1, "wvalid": 1, "wready": 0, "wdata": 1, "bvalid": 0, "bready": 1}
_AXI_WRITE_EXTRA = {
    "awid": 1, "awlen": 1, "awsize": 1, "awburst": 1, "awprot": 1, "wstrb": 1, "wlast": 1, "bid": 0, "bresp": 0,
}  # fmt: skip
_AXI_ROLES = {**_AXI_READ, **_AXI_READ_EXTRA, **_AXI_WRITE, **_AXI_WRITE_EXTRA}

MEMORY_ROLES = {
    "addr": ("addr", "address", "a"), "enable": ("en", "req", "ce", "cs", "valid", "rd", "re"),
    "write": ("we", "wen", "wr", "write"), "wdata": ("wdata", "din", "d"), "strobe": ("be", "wstrb", "wmask", "strb"),
    "rdata": ("rdata", "dout", "q"), "grant": ("gnt", "grant"), "response": ("rvalid",), "done": ("ready", "ack"),
}  # fmt: skip
_BARE_STREAM = ("ready", "rdy", "data", "last", "keep", "user", "id")
_MEMORY_INPUTS = ("rdata", "grant", "response", "done")


@dataclass(frozen=True)
class Bus:
    """A bundle found on a design. `leads` says that the design starts the transfers (it drives valid or address).

    `ports` maps roles to ports; the roles of a stream's payload are the names of its fields.
    """

    name: str
    kind: BundleKind
    leads: bool
    ports: Mapping[str, Port]


def find_buses(spec: RtlSpec, ports: Iterable[Port]) -> tuple[Bus, ...]:
    """The buses of a design: those that `spec.ports` names, then those that the names of the free ports show."""
    control = {clock.port for clock in spec.clocks} | {reset.port for reset in spec.resets}
    free = {port.name: port for port in ports if port.name not in control and not port.shape}
    buses = [] if spec.ports == "auto" else [_declared(spec, name, bundle, free) for name, bundle in spec.ports.items()]
    for bus in buses:
        for port in bus.ports.values():
            free.pop(port.name, None)
    for detect in (_axi, _memories, _streams):
        for bus in detect(free):
            if all(bus.name != other.name for other in buses):
                buses.append(bus)
                for port in bus.ports.values():
                    free.pop(port.name)
    return tuple(buses)


def _declared(spec: RtlSpec, name: str, bundle: Bundle, free: Mapping[str, Port]) -> Bus:
    missing = sorted(set(bundle.signals.values()) - set(free))
    if missing:
        raise RtlBuildError(
            f"{spec.top}: bundle {name} names {', '.join(missing)}, not among the free ports of the top"
        )
    ports = {role: free[signal] for role, signal in bundle.signals.items()}
    lead = {"stream": ("valid",), "memory": ("addr",)}.get(bundle.kind, ("arvalid", "awvalid"))
    leader = next((ports[role] for role in lead if role in ports), None)
    if leader is None:
        raise RtlBuildError(f"{spec.top}: bundle {name} of kind {bundle.kind} has no {' or '.join(lead)}")
    return Bus(name, bundle.kind, leader.direction == "output", ports)


def _plain(name: str) -> str:
    """A port name without the direction suffix of some coding styles."""
    return re.sub(r"_[io]$", "", name.lower())


def _axi(free: Mapping[str, Port]) -> list[Bus]:
    by_prefix: dict[str, dict[str, Port]] = {}
    for port in free.values():
        role = next((role for role in _AXI_ROLES if re.search(rf"(^|_){role}$", _plain(port.name))), None)
        if role:
            prefix = _plain(port.name)[: -len(role)].rstrip("_")
            by_prefix.setdefault(prefix, {})[role] = port
    found = []
    for prefix, ports in by_prefix.items():
        halves = [half for half in (_AXI_READ, _AXI_WRITE) if set(half) <= set(ports)]
        if not halves:
            continue
        leads = ports[next(iter(halves[0]))].direction == "output"
        wanted = {role for half in halves for role in half}
        wanted |= set(_AXI_READ_EXTRA if _AXI_READ in halves else ()) | set(
            _AXI_WRITE_EXTRA if _AXI_WRITE in halves else ()
        )
        chosen = {role: port for role, port in ports.items() if role in wanted}
        if all((port.direction == "output") == (bool(_AXI_ROLES[role]) == leads) for role, port in chosen.items()):
            kind: BundleKind = "axi4" if "arlen" in chosen or "awlen" in chosen else "axi_lite"
            found.append(Bus(prefix or kind, kind, leads, chosen))
    return found


def _memories(free: Mapping[str, Port]) -> list[Bus]:
    found = []
    for port in free.values():
        stem = re.fullmatch(r"(.*?)_?(?:addr|address)", _plain(port.name))
        if not stem or port.direction != "output":
            continue
        prefix = stem[1]
        chosen: dict[str, Port] = {}
        for role, endings in MEMORY_ROLES.items():
            names = [f"{prefix}_{ending}" if prefix else ending for ending in endings]
            match = next((other for name in names for other in free.values() if _plain(other.name) == name), None)
            if match and (match.direction == "input") == (role in _MEMORY_INPUTS):
                chosen[role] = match
        if "addr" in chosen and ("rdata" in chosen or "wdata" in chosen) and {"enable", "write"} & set(chosen):
            found.append(Bus(prefix or "memory", "memory", True, chosen))
    return found


def _streams(free: Mapping[str, Port]) -> list[Bus]:
    found = []
    for valid in free.values():
        stem = re.fullmatch(r"(.*?)_?(t?)(valid|vld)", _plain(valid.name))
        if not stem:
            continue
        head = f"{stem[1]}_{stem[2]}" if stem[1] else stem[2]
        ports = {"valid": valid}
        payload: dict[str, Port] = {}
        for port in free.values():
            name = _plain(port.name)
            if port is valid or not name.startswith(head) or name == head:
                continue
            rest = name[len(head) :]
            if not head and rest not in _BARE_STREAM:
                continue
            if rest in ("ready", "rdy") and port.direction != valid.direction:
                ports["ready"] = port
            elif port.direction == valid.direction:
                payload[rest] = port
        if payload or "ready" in ports:
            found.append(Bus(stem[1] or "stream", "stream", valid.direction == "output", {**ports, **payload}))
    return found
