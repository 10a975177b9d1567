"""Two things that a processor can do and a numba loop cannot ask for.

    lanes  = how many numbers of 16 bits one instruction takes
    row, x = what is multiplied: int8, int16

LLVM chooses the width of a loop by its widest number, a sum of 32 bits, and
so multiplies 8 pairs of 16 bits at a time where 16 would do. `dot` says 16,
in terms that are those of no single processor.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
byte, whole = ir.IntType(8), ir.IntType(32)
products, sums = ir.VectorType(whole, LANES), ir.VectorType(whole, LANES // 2)
EVEN, ODD = (ir.Constant(sums, list(range(i, LANES, 2))) for i in (0, 1))


@intrinsic
def dot(typing, row, x):
    """Σ row·x over whole lanes: what is left at the end is not in it."""

    def code(context, builder, signature, args):
        left, right = arrays(context, builder, signature, args)
        size = builder.extract_value(right.shape, 0)
        none, step = (ir.Constant(size.type, n) for n in (0, LANES))
        stop = builder.and_(size, ir.Constant(size.type, -LANES))
        total = cgutils.alloca_once_value(builder, ir.Constant(sums, None))
        with cgutils.for_range_slice(builder, none, stop, step) as (i, _):
            a, b = some(builder, left, 8, i), some(builder, right, 16, i)
            pairs = neighbours(builder, builder.mul(a, b))
            builder.store(builder.add(builder.load(total), pairs), total)
        kind = ir.FunctionType(whole, [sums])
        name = f"llvm.vector.reduce.add.v{LANES // 2}i32"
        across = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(across, [builder.load(total)])

    return types.int32(row, x), code


@intrinsic
def fetch(typing, row, at):
    """Have memory send the bytes around one entry; nobody waits for them."""

    def code(context, builder, signature, args):
        (array,) = arrays(context, builder, signature, args[:1])
        place = builder.bitcast(array.data, byte.as_pointer())
        place = builder.gep(place, [args[1]])
        read, keep, data = (ir.Constant(whole, n) for n in (0, 3, 1))
        kind = ir.FunctionType(ir.VoidType(), [place.type, *3 * [whole]])
        name = "llvm.prefetch.p0i8"
        send = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(send, [place, read, keep, data])
        return context.get_dummy_value()

    return types.void(row, at), code


def arrays(context, builder, signature, args):
    """What numba knows of arrays: where their data is, and their shapes."""
    return [
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args, args, strict=False)
    ]


def some(builder, array, bits, i):
    """The numbers from entry i on that fill the lanes, as 32 bits each."""
    kind = ir.VectorType(ir.IntType(bits), LANES).as_pointer()
    place = builder.bitcast(builder.gep(array.data, [i]), kind)
    return builder.sext(builder.load(place, align=bits // 8), products)


def neighbours(builder, x):
    """The sums of the numbers 0 and 1, 2 and 3 and so on."""
    nothing = ir.Constant(products, ir.Undefined)
    halves = (builder.shuffle_vector(x, nothing, at) for at in (EVEN, ODD))
    return builder.add(*halves)
