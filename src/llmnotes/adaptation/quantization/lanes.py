"""What a processor can do with whole numbers and a loop cannot ask for.

    lanes  = how many numbers of 16 bits one instruction takes
    row, x = what is multiplied: int8, int16
    words  = four codes of 4 bits in 16; they meet four parts of x

LLVM chooses the width of a loop by its widest number, a sum of 32 bits, and
so multiplies 8 pairs of 16 bits at a time where 16 would do. These say 16, in
terms that are those of no single processor. What is left at the end of a row,
less than 16, is not in a sum.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
CODES = 4  # in a word
byte, half, whole = (ir.IntType(bits) for bits in (8, 16, 32))
words = ir.VectorType(half, LANES)
products, sums = ir.VectorType(whole, LANES), ir.VectorType(whole, LANES // 2)
parts = ir.VectorType(ir.FloatType(), LANES // 2)
EVEN, ODD = (ir.Constant(sums, list(range(i, LANES, 2))) for i in (0, 1))


@intrinsic
def dot(typing, row, x):
    """Σ row·x over whole lanes."""

    def code(context, builder, signature, args):
        left, right = arrays(context, builder, signature, args)

        def more(i, total):
            pair = some(builder, left, 8, i), some(builder, right, 16, i)
            return builder.add(total, multiplied(builder, *pair))

        total = along(builder, right, ir.Constant(sums, None), more)
        return across(builder, total)

    return types.int32(row, x), code


@intrinsic
def dot_words(typing, row, a, b, c, d):
    """Σ of the codes in words, each times its x, over whole lanes."""

    def code(context, builder, signature, args):
        row, *xs = arrays(context, builder, signature, args)

        def more(i, total):
            return builder.add(total, four(builder, row, xs, i))

        total = along(builder, row, ir.Constant(sums, None), more)
        return across(builder, total)

    return types.int32(row, a, b, c, d), code


@intrinsic
def dot_groups(typing, row, a, b, c, d, scale):
    """The same, where 16 words in a row share a scale."""

    def code(context, builder, signature, args):
        row, *xs, scale = arrays(context, builder, signature, args)

        def more(i, total):
            group = builder.udiv(i, ir.Constant(i.type, LANES))
            one = builder.load(builder.gep(scale.data, [group]))
            wide = builder.sitofp(four(builder, row, xs, i), parts)
            wide = builder.fmul(wide, spread(builder, one), ("fast",))
            return builder.fadd(total, wide, ("fast",))

        total = along(builder, row, ir.Constant(parts, None), more)
        return across(builder, total, ir.Constant(ir.FloatType(), 0.0))

    return types.float32(row, a, b, c, d, scale), code


@intrinsic
def fetch(typing, row, at):
    """Have memory send the bytes around one entry; nobody waits for them."""

    def code(context, builder, signature, args):
        (array,) = arrays(context, builder, signature, args[:1])
        place = builder.gep(array.data, [args[1]])
        place = builder.bitcast(place, byte.as_pointer())
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


def along(builder, array, total, more):
    """A total that grows by `more`, over whole lanes of an array."""
    size = builder.extract_value(array.shape, 0)
    none, step = (ir.Constant(size.type, n) for n in (0, LANES))
    stop = builder.and_(size, ir.Constant(size.type, -LANES))
    kept = cgutils.alloca_once_value(builder, total)
    with cgutils.for_range_slice(builder, none, stop, step) as (i, _):
        builder.store(more(i, builder.load(kept)), kept)
    return builder.load(kept)


def some(builder, array, bits, i):
    """The numbers from entry i on that fill the lanes, as 32 bits each."""
    kind = ir.VectorType(ir.IntType(bits), LANES).as_pointer()
    place = builder.bitcast(builder.gep(array.data, [i]), kind)
    return builder.sext(builder.load(place, align=bits // 8), products)


def four(builder, row, xs, i):
    """Sums of neighbours: the codes of 16 words, times four parts of x."""
    place = builder.gep(row.data, [i])
    held = builder.bitcast(place, words.as_pointer())
    word, found = builder.load(held, align=2), []
    for k, x in enumerate(xs):
        away = ir.Constant(words, [4 * k] * LANES)
        code = builder.lshr(word, away) if k else word
        if k < CODES - 1:
            code = builder.and_(code, ir.Constant(words, [15] * LANES))
        wide = builder.sext(code, products)
        found.append(multiplied(builder, wide, some(builder, x, 16, i)))
    a, b, c, d = found
    return builder.add(builder.add(a, b), builder.add(c, d))


def multiplied(builder, a, b):
    """Products, and the sums of numbers 0 and 1, 2 and 3 and so on."""
    x, nothing = builder.mul(a, b), ir.Constant(products, ir.Undefined)
    halves = (builder.shuffle_vector(x, nothing, at) for at in (EVEN, ODD))
    return builder.add(*halves)


def spread(builder, number):
    """One float in all lanes."""
    nothing = ir.Constant(parts, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(whole, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(sums, None))


def across(builder, total, start=None):
    """The sum of all lanes; of floats, from a start and in any order."""
    kind, floats = total.type, [] if start is None else [start]
    word = "fadd.v8f32" if floats else "add.v8i32"
    call = ir.FunctionType(kind.element, [n.type for n in floats] + [kind])
    name = f"llvm.vector.reduce.{word}"
    sum_of = cgutils.get_or_insert_function(builder.module, call, name)
    flags = ("fast",) if floats else ()
    return builder.call(sum_of, [*floats, total], fastmath=flags)
