"""Vector registers as numba values, and one matrix product built from them.

numba vectorises plain loops but keeps no accumulators in registers across a
loop, which is where a matrix product wins or loses. So we write that part as
LLVM instructions; the kernels above stay plain Python loops.

    LANES   = float32 numbers in one vector register (16 for AVX-512)
    VECTORS = registers side by side in a tile of C
    ROWS    = rows in a tile of C; ROWS·VECTORS registers hold it
    WIDTH   = VECTORS·LANES, the columns of a tile

Sources
- Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix
  Multiplication", §4 (why the tile of C lives in registers).
- LLVM Language Reference, `llvm.fmuladd`.
"""

import operator

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numba.np.arrayobj import make_array


def register_file(features: dict) -> tuple[int, int]:
    """Lanes per vector register and registers, from the CPU's features."""
    if features.get("avx512f"):
        return 16, 32
    if features.get("avx2"):
        return 8, 16
    return (4, 32) if features.get("neon") else (4, 16)


LANES, REGISTERS = register_file(binding.get_host_cpu_features())
ROWS, VECTORS = 6, 4 if REGISTERS == 32 else 2
WIDTH = VECTORS * LANES
VECTOR = ir.VectorType(ir.FloatType(), LANES)
INTEGERS = ir.VectorType(ir.IntType(32), LANES)


class Vector(types.Type):
    """numba's name for one register of LANES float32 numbers."""


vector = Vector(f"float32x{LANES}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """Tells numba to keep a `Vector` as LLVM's vector type."""

    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, VECTOR)


def element(context, builder, array_type, array, row, column):
    """Pointer to array[row, column]; any strides."""
    array = make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(
        context, builder, array_type, array, [row, column]
    )


def emit_load(builder, pointer):
    """LANES neighbours from memory; align=4 allows any float's address."""
    pointer = builder.bitcast(pointer, VECTOR.as_pointer())
    return builder.load(pointer, align=4)


def emit_store(builder, x, pointer):
    """LANES neighbours to memory."""
    pointer = builder.bitcast(pointer, VECTOR.as_pointer())
    builder.store(x, pointer, align=4)


def emit_broadcast(builder, x):
    """The scalar x in every lane."""
    zero = ir.Constant(ir.IntType(32), 0)
    first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), x, zero)
    lanes = ir.Constant(INTEGERS, [0] * LANES)
    return builder.shuffle_vector(first, first, lanes)


def emit_fma(builder, x, y, z):
    """x·y + z, fused where the CPU can."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    name = f"llvm.fmuladd.v{LANES}f32"
    fma = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(fma, [x, y, z])


def constant(x):
    """A register holding x in every lane."""
    return ir.Constant(VECTOR, [x] * LANES)


@intrinsic
def load(typing, array, row, column):
    """Vector of array[row, column : column + LANES]."""

    def emit(context, builder, signature, args):
        kind = signature.args[0]
        return emit_load(builder, element(context, builder, kind, *args))

    return vector(array, types.intp, types.intp), emit


@intrinsic
def store(typing, x, array, row, column):
    """Write x to array[row, column : column + LANES]."""

    def emit(context, builder, signature, args):
        x, *place = args
        kind = signature.args[1]
        emit_store(builder, x, element(context, builder, kind, *place))
        return context.get_dummy_value()

    return types.void(vector, array, types.intp, types.intp), emit


@intrinsic
def broadcast(typing, x):
    """Vector with the float32 x in every lane."""
    return vector(
        types.float32
    ), lambda context, builder, signature, args: emit_broadcast(builder, *args)


def lanewise(emit, arity):
    """Make a numba function of `arity` vectors from an instruction."""

    def codegen(context, builder, signature, args):
        return emit(builder, *args)

    if arity == 1:
        return intrinsic(lambda typing, x: (vector(vector), codegen))
    return intrinsic(lambda typing, x, y: (vector(vector, vector), codegen))


def emit_maximum(builder, x, y):
    """Larger of the two; y where x is NaN."""
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


# Minimax fit of 2^f on [-1/2, 1/2], relative error 2e-9, exact at f = 0.
EXP2 = (
    1.0,
    0.69314718,
    0.24022648,
    0.055503324,
    0.0096184369,
    0.0013398875,
    0.00015353362,
)
# Adding this rounds to an integer n and leaves n + 127, the exponent field of
# the float 2^n, in the lowest bits.
ROUNDER = 1.5 * 2**23 + 127


def emit_exp2(builder, x):
    """2^x for x <= 0: 2^n from exponent bits times a polynomial in x - n.

    Below 2^-126.5 the result is exactly 0, also at -inf; NaN stays NaN.
    """
    x = emit_maximum(builder, constant(-127.0), x)
    rounded = builder.fadd(x, constant(ROUNDER))
    f = builder.fsub(x, builder.fsub(rounded, constant(ROUNDER)))
    bits = builder.bitcast(rounded, INTEGERS)
    bits = builder.shl(bits, ir.Constant(INTEGERS, [23] * LANES))
    power = constant(EXP2[-1])
    for coefficient in EXP2[-2::-1]:
        power = emit_fma(builder, power, f, constant(coefficient))
    return builder.fmul(power, builder.bitcast(bits, VECTOR))


exp2 = lanewise(emit_exp2, 1)
maximum = lanewise(emit_maximum, 2)


def define_operator(symbol, instruction):
    """Let numba code write x + y, x - y, x * y for vectors."""
    function = lanewise(instruction, 2)

    @overload(symbol)
    def operation(x, y):
        if isinstance(x, Vector) and isinstance(y, Vector):
            return lambda x, y: function(x, y)


define_operator(operator.add, ir.IRBuilder.fadd)
define_operator(operator.sub, ir.IRBuilder.fsub)
define_operator(operator.mul, ir.IRBuilder.fmul)


def tile(rows, vectors):
    """Make the product of one register tile, rows x (vectors·LANES).

    tile(C, A, B, row, column, first, last, add) sets, or adds if `add`,
    C[row:, column:] = A[row:, first:last] @ B[first:last, column:]. The
    columns of B and C must be neighbours in memory; A may be a transpose.
    """

    @intrinsic
    def product_tile(typing, c, a, b, row, column, first, last, add):
        i = types.intp
        signature = types.void(c, a, b, i, i, i, i, types.boolean)
        return signature, lambda context, builder, signature, args: emit_tile(
            context, builder, signature.args, args, rows, vectors
        )

    return product_tile


def emit_tile(context, builder, kinds, args, rows, vectors):
    """Instructions of `tile`: C's tile stays in registers over all steps."""
    arrays, (row, column, first, last, add) = args[:3], args[3:]

    def at(which, i, j):
        return element(context, builder, kinds[which], arrays[which], i, j)

    def plus(index, n):
        return builder.add(index, ir.Constant(index.type, n))

    columns = [plus(column, v * LANES) for v in range(vectors)]
    places = {
        (r, v): at(0, plus(row, r), columns[v])
        for r in range(rows)
        for v in range(vectors)
    }
    # A stack slot per register: LLVM's mem2reg turns each into a register.
    tile = {
        cell: cgutils.alloca_once_value(builder, constant(0.0))
        for cell in places
    }
    with builder.if_then(add):
        for cell, place in places.items():
            builder.store(emit_load(builder, place), tile[cell])
    with cgutils.for_range(builder, last, first) as loop:
        step = loop.index
        left = [at(1, plus(row, r), step) for r in range(rows)]
        emit_step(builder, tile, left, [at(2, step, c) for c in columns])
    for cell, place in places.items():
        emit_store(builder, builder.load(tile[cell]), place)
    return context.get_dummy_value()


def emit_step(builder, tile, left, right):
    """tile[r, v] += A's number in row r, times B's register v."""
    registers = [emit_load(builder, place) for place in right]
    for r, place in enumerate(left):
        x = emit_broadcast(builder, builder.load(place))
        for v, register in enumerate(registers):
            total = builder.load(tile[r, v])
            total = emit_fma(builder, x, register, total)
            builder.store(total, tile[r, v])


@njit
def clamp(x, limit):
    """The integer nearest to x in 0..limit."""
    return min(max(x, 0), limit)


def strip(vectors):
    """Make the product of one strip of C, vectors·LANES columns wide."""
    tall, pair, single = (
        tile(ROWS, vectors),
        tile(2, vectors),
        tile(1, vectors),
    )

    @njit
    def product_rows(c, a, b, column, low, high, add):
        rows, depth = a.shape
        row = 0
        while row < rows:
            left = rows - row
            height = ROWS if left >= ROWS else min(left, 2)
            first = clamp(low + row + height - 1, depth)
            last = clamp(high + row, depth)
            if height == ROWS:
                tall(c, a, b, row, column, first, last, add)
            elif height == 2:
                pair(c, a, b, row, column, first, last, add)
            else:
                single(c, a, b, row, column, first, last, add)
            for r in range(row, row + height):
                start, stop = clamp(low + r, depth), clamp(high + r, depth)
                if start < first:
                    single(c, a, b, r, column, start, first, True)
                if last < stop:
                    single(c, a, b, r, column, last, stop, True)
            row += height

    return product_rows


wide, narrow = strip(VECTORS), strip(1)


@njit
def product(c, a, b, low, high, add):
    """C = A B, or C += A B if `add`, in which row r sums a band of steps.

    Row r of C sums over the steps low + r <= step < high + r, cut to those
    that exist; the others are not read. So 0·NaN cannot arise from what a
    causal mask hides. At most one of the two edges may cut. The number of
    columns is a multiple of LANES.
    """
    columns = c.shape[1]
    whole = columns - columns % WIDTH
    for column in range(0, whole, WIDTH):
        wide(c, a, b, column, low, high, add)
    for column in range(whole, columns, LANES):
        narrow(c, a, b, column, low, high, add)


@intrinsic
def transpose_tile(typing, c, a, row, column, scale):
    """C[column + j, row + i] = scale·A[row + i, column + j], i, j < LANES.

    Rows past A's last repeat it.
    """

    def emit(context, builder, signature, args):
        c, a, row, column, scale = args
        kinds = signature.args
        scale = emit_broadcast(builder, scale)
        a_struct = make_array(kinds[1])(context, builder, a)
        end = cgutils.unpack_tuple(builder, a_struct.shape, 2)[0]
        end = builder.sub(end, ir.Constant(end.type, 1))
        rows = []
        for i in range(LANES):
            r = builder.add(row, ir.Constant(row.type, i))
            r = builder.select(builder.icmp_signed("<", r, end), r, end)
            place = element(context, builder, kinds[1], a, r, column)
            rows.append(builder.fmul(emit_load(builder, place), scale))
        for j, x in enumerate(emit_transpose(builder, rows)):
            r = builder.add(column, ir.Constant(row.type, j))
            place = element(context, builder, kinds[0], c, r, row)
            emit_store(builder, x, place)
        return context.get_dummy_value()

    i = types.intp
    return types.void(c, a, i, i, types.float32), emit


def emit_transpose(builder, rows):
    """Swap off-diagonal halves, then quarters, ... of a square of lanes."""
    half = LANES // 2
    while half:
        upper = [j if not j & half else LANES + j - half for j in range(LANES)]
        lower = [j + half if not j & half else LANES + j for j in range(LANES)]
        for i in range(LANES):
            if not i & half:
                x, y = rows[i], rows[i + half]
                for k, picks in ((i, upper), (i + half, lower)):
                    picks = ir.Constant(INTEGERS, picks)
                    rows[k] = builder.shuffle_vector(x, y, picks)
        half //= 2
    return rows


@njit
def transpose(c, a, scale):
    """C = scale·Aᵀ; columns of C past A's last row repeat it."""
    for row in range(0, c.shape[1], LANES):
        for column in range(0, c.shape[0], LANES):
            transpose_tile(c, a, row, column, scale)
