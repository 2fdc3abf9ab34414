"""Moving values between layouts: squares transposed in registers, images repacked, halos cleared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heddle.core.codegen.kernels.blocking import chunks, each
from heddle.core.codegen.kernels.image import Image
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Index, Type, Value, constant, prefix_mask

Change = Callable[[Function, Value], Value]


def transpose_registers(f: Function, rows: Sequence[Value]) -> list[Value]:
    """The transpose of a square of as many vectors as each has lanes, a power of two, by exchanging halves."""
    lanes = rows[0].type.lanes
    assert len(rows) == lanes, f"{len(rows)} rows of {lanes} lanes are no square"
    square = list(rows)
    distance = lanes // 2
    while distance:
        low = [lane + (lanes - distance) * bool(lane & distance) for lane in range(lanes)]
        high = [lane + (distance if not lane & distance else lanes) for lane in range(lanes)]
        for i in range(lanes):
            if not i & distance:
                a, b = square[i], square[i + distance]
                square[i], square[i + distance] = f.shuffle(a, b, low), f.shuffle(a, b, high)
        distance //= 2
    return square


def clear_halo(f: Function, image: Image, base: Value, fill: int = 0) -> None:
    """Fill the halo of every plane of an image with an element."""
    size = image.scalar.bits // 8
    top, left, bottom, right = image.halo
    if not any(image.halo):
        return

    def put(address: Value, count: int) -> None:
        if fill == 0 or size == 1:
            f.fill(address, fill, count * size)
            return
        element = constant(fill, image.scalar.of(image.block))
        for _, i in each(f, [1] * (count // image.block)):
            f.store(element, f.gep(address, f.times(i, image.block), image.scalar))

    for _, n in each(f, [1] * image.batch):
        for _, block in each(f, [1] * image.blocks):
            start = f.gep(base, f.plus(f.times(n, image.step), f.times(block, image.plane)), image.scalar)
            end = f.gep(start, image.plane - bottom * image.row, image.scalar)
            # From one row's right halo to the next row's left halo is one stretch.
            if top or left:
                put(start, top * image.row + left * image.block)
            if left + right and image.height > 1:
                with f.loop(0, image.height - 1, 1, (NO_UNROLL,)) as y:
                    offset = f.plus(f.times(y, image.row), image.origin + image.width * image.block)
                    put(f.gep(start, offset, image.scalar), (left + right) * image.block)
            if right or bottom:
                put(f.gep(end, -right * image.block, image.scalar), bottom * image.row + right * image.block)


def repack(
    name: str,
    target: Target,
    source: Image,
    out: Image,
    *,
    fill: int = 0,
    change: Change | None = None,
    internal: bool = True,
) -> list[Function]:
    """The kernel `(a, out)` that copies an image into another layout and fills the new one's halo with an element.

    `change` makes what is stored of vectors of what was read, where the two images hold numbers differently.

    Between NCHW (block 1) and blocks of a vector, from NCHW to few channels side by side, from blocks of a vector to
    all channels side by side, and between halos or formats.
    """
    parameters = [("a", "ptr noalias readonly"), ("out", "ptr noalias")]
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    f = Function(name, parameters, internal=internal, attributes=attributes)
    clear_halo(f, out, f["out"], fill)
    lanes = target.lanes(4)
    a, b = f.gep(f["a"], source.origin, source.scalar), f.gep(f["out"], out.origin, out.scalar)
    if source.block == out.block and change is None:
        _copy_rows(f, source, out, a, b)
    elif {source.block, out.block} == {1, lanes}:
        _transpose(f, source, out, a, b, lanes, change or _same)
    elif source.block == out.block or (source.block == lanes and out.blocks == 1):
        _by_blocks(f, source, out, a, b, change or _same)
    else:
        assert source.block == 1, f"{name}: no way from blocks of {source.block} to blocks of {out.block}"
        assert out.channels <= out.block < lanes
        _interleave(f, source, out, a, b, lanes, change or _same)
    return [f]


def _copy_rows(f: Function, source: Image, out: Image, a: Value, b: Value) -> None:
    size = source.scalar.bits // 8
    for _, n in each(f, [1] * source.batch):
        for _, block in each(f, [1] * source.blocks):
            for _, y in each(f, [1] * source.height):
                ends = [
                    f.plus(f.times(n, image.step), f.plus(f.times(block, image.plane), f.times(y, image.row)))
                    for image in (source, out)
                ]
                from_, to = f.gep(a, ends[0], source.scalar), f.gep(b, ends[1], out.scalar)
                f.copy(to, from_, source.width * source.block * size)


def _by_blocks(f: Function, source: Image, out: Image, a: Value, b: Value, change: Change) -> None:
    """The channels of each block, pixel by pixel, to an equal block, or to their place beside those of the others."""
    vector = source.scalar.of(source.block)
    apart = out.plane if source.block == out.block else source.block
    for _, n in each(f, [1] * source.batch):
        for _, y in each(f, [1] * source.height):
            for _, x in each(f, [1] * source.width):
                for _, i in each(f, [1] * source.blocks):
                    near = f.plus(f.times(n, source.step), f.times(i, source.plane))
                    near = f.plus(near, f.plus(f.times(y, source.row), f.times(x, source.block)))
                    far = f.plus(f.times(n, out.step), f.times(i, apart))
                    far = f.plus(far, f.plus(f.times(y, out.row), f.times(x, out.block)))
                    value = change(f, f.load(vector, f.gep(a, near, source.scalar)))
                    f.store(value, f.gep(b, far, out.scalar))


def _same(f: Function, value: Value) -> Value:
    return value


def _transpose(f: Function, source: Image, out: Image, a: Value, b: Value, lanes: int, change: Change) -> None:
    """Squares of channels by pixels; where neither side has a halo, the image is one row."""
    if not any((*source.halo, *out.halo)):
        rows, row = 1, source.height * source.width
    else:
        rows, row = source.height, source.width
    plain, blocked = (source, out) if source.block == 1 else (out, source)

    def square(channels: int, n: Index, block: Index, y: Index, width: int, x: Index) -> None:
        near = f.plus(f.times(n, plain.step), f.times(block, lanes * plain.plane))
        near = f.plus(near, f.plus(f.times(y, plain.row), x))
        far = f.plus(f.times(n, blocked.step), f.times(block, blocked.plane))
        far = f.plus(far, f.plus(f.times(y, blocked.row), f.times(x, lanes)))
        zero = Value("zeroinitializer", out.scalar.of(lanes))

        def read(start: Index, used: int) -> Value:
            return change(f, _load(f, f.gep(a, start, source.scalar), source.scalar.of(lanes), used))

        if source is plain:
            rows = [read(f.plus(near, c * plain.plane), width) if c < channels else zero for c in range(lanes)]
            for i, pixel in enumerate(transpose_registers(f, rows)[:width]):
                f.store(pixel, f.gep(b, f.plus(far, i * lanes), out.scalar))
        else:
            pixels = [read(f.plus(far, i * lanes), lanes) if i < width else zero for i in range(lanes)]
            for c, values in enumerate(transpose_registers(f, pixels)[:channels]):
                address = f.gep(b, f.plus(near, c * plain.plane), out.scalar)
                if width == lanes:
                    f.store(values, address)
                else:
                    f.masked_store(values, address, prefix_mask(width, lanes))

    for _, n in each(f, [1] * source.batch):
        ragged = plain.channels % lanes
        runs = [(lanes, [1] * (plain.channels // lanes), 0)]
        runs += [(ragged, [1], plain.channels // lanes)] if ragged else []
        for channels, blocks, offset in runs:
            for _, i in each(f, blocks):
                for _, y in each(f, [1] * rows):
                    for width, x in each(f, chunks(row, lanes)):
                        square(channels, n, f.plus(i, offset), y, width, x)


def _load(f: Function, address: Value, vector: Type, width: int) -> Value:
    if width == vector.lanes:
        return f.load(vector, address)
    return f.masked_load(vector, address, prefix_mask(width, vector.lanes))


def _interleave(f: Function, source: Image, out: Image, a: Value, b: Value, lanes: int, change: Change) -> None:
    """Few channels from planes to side by side: a vector of pixels of each, woven by shuffles."""
    channels = out.block
    zero, vector = Value("zeroinitializer", out.scalar.of(lanes)), source.scalar.of(lanes)
    for _, n in each(f, [1] * source.batch):
        for _, y in each(f, [1] * source.height):
            for width, x in each(f, chunks(source.width, lanes)):
                start = f.plus(f.times(n, source.step), f.plus(f.times(y, source.row), x))
                planes = [
                    change(f, _load(f, f.gep(a, f.plus(start, c * source.plane), source.scalar), vector, width))
                    if c < source.channels
                    else zero
                    for c in range(channels)
                ]
                to = f.plus(f.times(n, out.step), f.plus(f.times(y, out.row), f.times(x, channels)))
                for part in range(channels):
                    inside = min(lanes, width * channels - part * lanes)
                    if inside <= 0:
                        break
                    woven = planes[0]
                    spots = [divmod(part * lanes + lane, channels) for lane in range(lanes)]
                    for c, plane in enumerate(planes):
                        picks = [lanes + pixel if c == own else lane for lane, (pixel, own) in enumerate(spots)]
                        woven = f.shuffle(woven, plane, picks)
                    address = f.gep(b, f.plus(to, part * lanes), out.scalar)
                    if inside == lanes:
                        f.store(woven, address)
                    else:
                        f.masked_store(woven, address, prefix_mask(inside, lanes))
