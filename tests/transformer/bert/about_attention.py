# ruff: noqa: E501
"""The sentences of the page about attention, as it once stood.

A module, not the page: that one may be reworded, and a change here is noticed
by the results that were made from it.
"""

SENTENCES = """\
Here is a memory of fixed size.
It keeps a 32 × 32 matrix, adds to it the outer product of each key with its value, and reads a value back by multiplying with its key.
A better rule for writing moves that limit, but none removes it: 1,024 numbers cannot hold 512 values of 32.
Every recurrent network has this problem, because whatever it has read must fit into the state it carries along.
It compresses nothing: it keeps all pairs and compares the question with every key.
At 512 pairs it still misses one in twenty, where another random key lies too close to the right one.
This page derives that operation, writes it in seven short functions, and proves that they compute what PyTorch computes.
Before reading on, guess: what has to be paid for a memory that never overflows?
A query asks, each key says what its position offers, and each value is what is handed over.
The query is compared with all keys, the comparisons become weights that sum to one, and the answer is the mean of the values under those weights.
It is a dictionary look-up in which every entry answers a little, the more, the better its key fits.
In a Transformer all three are computed from the tokens by learned matrices, to which we come under Multi-head.
Three properties follow before any formula.
The answer lies between the values, because it is a mean of them.
The order of the pairs does not matter, because a sum does not care.
And every query looks at every key.
That is the price: time that grows with n^2, and room for all n pairs.
Let the rows of Q be the n_q queries, those of K the n_k keys, both of width d, and those of V the n_k values.
In the code S is scores, P is weights, d is head_dim and 1/√d is scale.
Row i of P belongs to query i and sums to one.
The dot product of two vectors with d independent entries of mean 0 and variance 1 has variance d: it is a sum of d terms of variance 1 each.
At d = 1024 one key usually takes it all.
Dividing by √d brings the variance back to 1 at every d.
One thing came out otherwise than we predicted.
Such a row gets zeros: the first masked_fill below keeps NaN out of the gradient, the second empties the row.
We use PyTorch's convention for scaled_dot_product_attention: a bool mask is True where a query may attend, a float mask is added to the scores.
Four masks cover almost everything that language models do.
Causal: nobody sees what comes later.
Sliding window: only the last few.
Padding: the filler at the end of a short sequence is hidden as a key (its own rows are computed and ignored).
Packed: sequences that share a row do not see each other.
They are bool tensors, so they combine with &: a packed batch for a decoder is block_diagonal_mask(segments) & causal_mask(n, n).
With a plain weights @ value, one bad number at the last position would reach the first output of a causal model.
The pieces together. repeat_kv serves models in which several query heads share one key/value head; the section below says why they do.
The decorator checked looks at the shapes first and refuses what does not fit, by name:
While a model generates, it keeps the keys and values of everything so far, and at long contexts that cache, not the weights, fills the memory.
Multi-query attention lets all query heads share one key/value head; grouped-query attention lets each group of neighbours share one.
It copies the heads back, so nothing is saved here; what shrinks is what has to be kept.
One attention produces one mean.
To look for several things at once, the Transformer [1] runs several side by side, each on its own projection of the input, and mixes the results:
Where the context C is X itself, this is self-attention; where it is another sequence, cross-attention.
In the code X and C are x and context, the matrices w_q, w_k, w_v, w_o.
The paper writes the heads side by side times one W^O; cut into one strip of rows per head, that is this sum.
With one matrix per head, each step is one einsum in words:
A module stores the same numbers as four linear layers, head after head along the output axis, and adds a bias to each.
Agreement with one library could be an agreement of two mistakes, so the properties that define the operation are claims of their own.
A causal model must not see the future, and must see all the rest:
Two sequences packed into one row must come out as if each had been alone:
A row that may see nothing is zero, and what is zero must not teach:
How far apart are they in float32?
The remaining claims are in tests/transformer/test_attention.py.
On refusals: any shapes at all, drawn at random, either work or raise an error that names the argument.
In scaled_dot_product_attention, and here, True may be attended.
In nn.MultiheadAttention, True is hidden.
Both run without complaint on the wrong one:
PyTorch attends over the last axis but one.
Tensors left in the layout (batch · length, heads, head_dim) therefore make the heads attend to one another, at each position alone.
The result has the right shape, and a change in token 0 never reaches token 5:
With an input of ones all rows are equal, every mean of them is the same, and no mask, scale or order of arguments can matter.
With fewer queries than keys, as in decoding with a cache, "causal" is ambiguous.
PyTorch aligns the mask at the top left, and so do we; then query 0 sees key 0 alone.
A decoder that asks for the last positions needs the bottom right, and passes that as a mask:
Our outputs are NaN only where a NaN or an infinite value is seen; a plain weights @ value passes a hidden one on.
The promise is about outputs: a NaN in a hidden key still reaches the query's gradient.
""".splitlines()
