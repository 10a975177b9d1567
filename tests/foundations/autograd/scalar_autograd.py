"""Reverse mode on single numbers in plain Python: one object per number.

The way it is usually taught, and the yardstick for what arrays are worth.
"""


class Value:
    def __init__(self, data, sources=()):
        self.data, self.grad = data, 0.0
        self.sources = set(sources)
        self.send_back = lambda: None

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def send_back():
            self.grad += out.grad
            other.grad += out.grad

        out.send_back = send_back
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def send_back():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.send_back = send_back
        return out

    def relu(self):
        out = Value(max(self.data, 0.0), (self,))

        def send_back():
            self.grad += (out.data > 0) * out.grad

        out.send_back = send_back
        return out

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            value, sources_done = stack.pop()
            if sources_done:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))
                stack += [(source, False) for source in value.sources]
        self.grad = 1.0
        for value in reversed(order):
            value.send_back()
        return len(order)
