"""The machine that code is generated for: its triple, its features and the few figures that choices depend on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
from heddle.core.errors import BackendError
from heddle.core.runtime import cpu

SSE2 = ("64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2")
AVX2 = (
    *SSE2,
    *("avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt"),
    *("sahf", "sse3", "sse4.1", "sse4.2", "ssse3", "xsave"),
)
AVX512 = (*AVX2, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
VNNI = (*AVX512, "avx512vnni")
AMX = (*VNNI, "amx-bf16", "amx-int8", "amx-tile", "avx512bf16")


@dataclass(frozen=True)
class Target:
    """What a code generator may assume of the processor. A value: equal targets give equal code.

    `features` are LLVM's names, sorted. Cache sizes are in bytes; they steer choices, never correctness. `played`: dot
    products and matrix tiles, which the processor may lack, are played by plain vectors: so what is made for those that
    have them can be tested on any.
    """

    triple: str
    cpu: str
    features: tuple[str, ...]
    l1: int = 32 * 1024
    l2: int = 1024 * 1024
    played: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(sorted(set(self.features))))

    def has(self, feature: str) -> bool:
        """Whether LLVM's feature of this name may be used."""
        return feature in self.features

    @property
    def architecture(self) -> str:
        """The processor family, as `x86_64` or `aarch64`."""
        name = self.triple.partition("-")[0]
        return {"arm64": "aarch64"}.get(name, name)

    @property
    def x86(self) -> bool:
        return self.triple.startswith("x86_64")

    @property
    def vector_bytes(self) -> int:
        """The width of a vector register: 64 with AVX-512, 32 with AVX2, else 16."""
        if self.x86 and self.has("avx512f"):
            return 64
        return 32 if self.x86 and self.has("avx2") else 16

    @property
    def vector_registers(self) -> int:
        """How many vector registers there are to hold accumulators and operands."""
        return 16 if self.x86 and self.vector_bytes < 64 else 32

    @property
    def fused(self) -> bool:
        """Whether a fused multiply-add is one instruction; without it `fma` would be a call of the C library."""
        return not self.x86 or self.has("fma")

    @property
    def multiplies_per_cycle(self) -> int:
        """How many vector multiply-adds begin in a cycle: Zen 4 does a 512-bit one in two halves."""
        return 1 if self.cpu == "znver4" and self.vector_bytes == 64 else 2

    @property
    def vnni(self) -> bool:
        """Whether a step of a kernel sums four products of u8 and s8 in each i32 lane of a vector."""
        return self.played or (self.x86 and self.vector_bytes == 64 and self.has("avx512vnni"))

    @property
    def tiles_of_bytes(self) -> bool:
        """Whether there are matrix tiles of bytes."""
        return self.played or (self.x86 and self.has("amx-int8") and self.has("amx-tile"))

    @property
    def tiles_of_bf16(self) -> bool:
        """Whether there are matrix tiles of bfloat16."""
        return self.played or (self.x86 and self.has("amx-bf16") and self.has("amx-tile"))

    @property
    def bf16(self) -> bool:
        """Whether one 512-bit instruction sums two products of bfloat16 in each float lane."""
        return self.x86 and self.vector_bytes == 64 and self.has("avx512bf16")

    def lanes(self, bytes_per_element: int) -> int:
        """How many elements of a size one vector register holds."""
        return self.vector_bytes // bytes_per_element

    @property
    def feature_string(self) -> str:
        """The features as LLVM's target machine reads them."""
        return ",".join(f"+{feature}" for feature in self.features)


def x86_64() -> Target:
    """Any 64-bit x86 machine: SSE2 and nothing later."""
    return Target("x86_64-unknown-linux-gnu", "x86-64", SSE2)


def avx2() -> Target:
    """An x86 machine with AVX2 and fused multiply-add."""
    return Target("x86_64-unknown-linux-gnu", "x86-64-v3", AVX2)


def avx512(vnni: bool = True) -> Target:
    """An x86 machine with 512-bit vectors, and by default the byte dot products of VNNI."""
    return Target("x86_64-unknown-linux-gnu", "x86-64-v4", VNNI if vnni else AVX512)


def amx() -> Target:
    """An x86 server with matrix tiles."""
    return Target("x86_64-unknown-linux-gnu", "sapphirerapids", AMX, l1=48 * 1024, l2=2 * 1024 * 1024)


def aarch64() -> Target:
    """A 64-bit Arm machine with NEON."""
    return Target("aarch64-unknown-linux-gnu", "generic", ("fp-armv8", "neon"))


@cache
def host() -> Target:
    """The machine that this process runs on, read from the processor itself."""
    triple = llvm.get_process_triple()
    if not triple.startswith(("x86_64", "aarch64", "arm64")):
        raise BackendError(
            f"host: {triple} is neither x86-64 nor AArch64, and no code generation target is set up for it"
        )
    features = tuple(name for name, present in llvm.get_host_cpu_features().items() if present)
    if "amx-tile" in features and not cpu.permits_tiles():
        features = tuple(name for name in features if not name.startswith("amx-"))
    return Target(
        triple,
        llvm.get_host_cpu_name(),
        features,
        _cache("SC_LEVEL1_DCACHE_SIZE", 32),
        _cache("SC_LEVEL2_CACHE_SIZE", 1024),
    )


def _cache(name: str, default_kib: int) -> int:
    """A cache size in bytes as the C library knows it; virtual machines and other systems may not say."""
    try:
        return max(os.sysconf(name), 0) or default_kib * 1024
    except (OSError, ValueError):
        return default_kib * 1024
