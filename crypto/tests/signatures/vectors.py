#!/usr/bin/env python3
"""Writes vectors.txt: Ed25519 signatures, honest and crafted, each with the verdict of the predicate.

Everything is computed here from RFC 8032's formulas over plain integers, so that the vectors owe nothing to the
libraries they test. One line each: name, verdict, key, message ("-" if empty), signature. Run without arguments
in this directory; the output is always the same.
"""
import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1)


def add(a, b):
    cross = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + cross, -1, P) % P
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - cross, -1, P) % P
    return x, y


def mul(n, point):
    total = IDENTITY
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def negate(point):
    return -point[0] % P, point[1]


def x_of(y, sign):
    """The x of y with that sign, or None where y is on no curve point. x = 0 has no sign."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != square:
        return None
    return -x % P if x & 1 != sign else x


def encode(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point of an encoding, canonical or not, or None."""
    number = int.from_bytes(data, "little")
    y, sign = (number & (1 << 255) - 1) % P, number >> 255
    x = x_of(y, sign)
    return None if x is None else (x, y)


BASE = (x_of(4 * pow(5, -1, P) % P, 0), 4 * pow(5, -1, P) % P)


def generator_of_torsion():
    y = 2
    while True:
        x = x_of(y, 0)
        if x is not None:
            point = mul(L, (x, y))
            if mul(4, point) != IDENTITY:
                return point
        y += 1


TORSION = [mul(i, generator_of_torsion()) for i in range(8)]


def hash_to_scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    return scalar, digest[32:]


def sign(seed, message):
    scalar, prefix = expand(seed)
    key = encode(mul(scalar, BASE))
    return key, craft(scalar, key, hash_to_scalar(prefix, message), None, message)


def craft(scalar, key, nonce, r_bytes, message):
    """A signature that satisfies the cofactored equation if key is scalar * B plus torsion, r_bytes nonce * B plus torsion."""
    r_bytes = r_bytes or encode(mul(nonce, BASE))
    s = (nonce + hash_to_scalar(r_bytes, key, message) * scalar) % L
    return r_bytes + s.to_bytes(32, "little")


def verdict(key, message, signature):
    r_bytes, s = signature[:32], int.from_bytes(signature[32:], "little")
    for data in (key, r_bytes):
        point = decode(data)
        if point is None or encode(point) != data or mul(8, point) == IDENTITY:
            return False
    if s >= L:
        return False
    k = hash_to_scalar(r_bytes, key, message)
    difference = add(mul(s, BASE), negate(add(decode(r_bytes), mul(k, decode(key)))))
    return mul(8, difference) == IDENTITY


def vectors():
    """Yields (name, key, message, signature)."""
    rfc8032 = [
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", ""),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82"),
        ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42", hashlib.sha512(b"abc").hexdigest()),
    ]
    for number, (seed, message) in enumerate(rfc8032):
        message = bytes.fromhex(message)
        yield (f"rfc8032-{number + 1}", *reorder(message, sign(bytes.fromhex(seed), message)))

    message = b"tagma"
    scalar, _ = expand(bytes(range(32)))
    nonce = hash_to_scalar(b"a nonce for crafted signatures")
    key = encode(mul(scalar, BASE))
    r_point = mul(nonce, BASE)
    good = craft(scalar, key, nonce, None, message)

    for i in range(1, 8):
        mixed = encode(add(r_point, TORSION[i]))
        yield f"mixed-order-r-{i}", key, message, craft(scalar, key, nonce, mixed, message)
        mixed_key = encode(add(mul(scalar, BASE), TORSION[i]))
        yield f"mixed-order-a-{i}", mixed_key, message, craft(scalar, mixed_key, nonce, None, message)
        yield f"mixed-order-both-{i}", mixed_key, message, craft(scalar, mixed_key, nonce, mixed, message)

    small = sorted({encode(point) for point in TORSION} | set(other_encodings()))
    assert len(small) == 14
    for number, data in enumerate(small):
        yield f"small-order-r-{number}", key, message, craft(scalar, key, 0, data, message)
        yield f"small-order-a-{number}", data, message, craft(0, data, nonce, None, message)
        yield f"small-order-both-{number}", data, message, craft(0, data, 0, data, message)

    for y in range(P, 2**255):
        for sign_bit in (0, 1):
            data = (y | sign_bit << 255).to_bytes(32, "little")
            yield f"over-p-r-{y - P}-{sign_bit}", key, message, craft(scalar, key, nonce, data, message)
            yield f"over-p-a-{y - P}-{sign_bit}", data, message, craft(scalar, data, nonce, None, message)

    s = int.from_bytes(good[32:], "little")
    for multiple in range(1, 16):
        if s + multiple * L < 2**256:
            yield f"s-plus-{multiple}-l", key, message, good[:32] + (s + multiple * L).to_bytes(32, "little")
    yield "s-negated", key, message, good[:32] + (L - s).to_bytes(32, "little")
    yield "s-zero", key, message, good[:32] + bytes(32)
    yield "s-is-l", key, message, good[:32] + L.to_bytes(32, "little")
    yield "s-l-minus-1", key, message, good[:32] + (L - 1).to_bytes(32, "little")

    off_curve = next(y for y in range(2, 100) if x_of(y, 0) is None).to_bytes(32, "little")
    yield "r-off-curve", key, message, craft(scalar, key, nonce, off_curve, message)
    yield "a-off-curve", off_curve, message, craft(scalar, off_curve, nonce, None, message)
    yield "other-message", key, message + b"!", good
    yield "other-key", encode(mul(scalar + 1, BASE)), message, good
    yield "negated-key", encode(negate(mul(scalar, BASE))), message, good
    yield "negated-r", key, message, encode(negate(r_point)) + good[32:]


def other_encodings():
    """The six encodings of small-order points that are not canonical."""
    sign_bit = 1 << 255
    for number in (1 | sign_bit, P - 1 | sign_bit, P, P | sign_bit, P + 1, P + 1 | sign_bit):
        yield number.to_bytes(32, "little")


def reorder(message, signed):
    return signed[0], message, signed[1]


if __name__ == "__main__":
    with open("vectors.txt", "w", encoding="ascii") as file:
        for name, key, message, signature in vectors():
            outcome = "good" if verdict(key, message, signature) else "bad"
            print(name, outcome, key.hex(), message.hex() or "-", signature.hex(), file=file)
