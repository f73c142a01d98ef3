#!/usr/bin/env python3
"""Check proofs of `es-power audit proof -o json`, without es_power and without its log.

    python3 -I offline.py --key VERIFIER_KEY PROOF.json ...

This one file is all of it, and it needs Python's standard library alone; take it from a copy of es_power that you
trust, and the verifier key from whoever runs the service. Of each proof it says whether the record, byte for byte, is
in the log that was signed; it exits with 0 where all are, with 4 where one is not, with 1 where a file is no proof.

1. The record's hash is SHA-256 over a fixed prefix, the topic and the state (es_power/log/chain.py); the stream's id in
   it is made of its name (UUID version 5).
2. The leaf is SHA-256(0x00 || hash), a node SHA-256(0x01 || left || right); the path leads to the root (RFC 9162).
3. The note's text has the number of records and the root (C2SP tlog-checkpoint), and an Ed25519 signature (RFC 8032).
"""

import argparse
import base64
import hashlib
import json
import struct
import sys
import uuid

# ------------------------------------------------------------------------------------ Ed25519, after RFC 8032, 5.1

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def _sha512_mod_q(data):
    return int.from_bytes(hashlib.sha512(data).digest(), "little") % Q


def _add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def _multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _equal(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def _point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public, message, signature):
    """Whether an Ed25519 signature is true."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    h = _sha512_mod_q(signature[:32] + public + message)
    return _equal(_multiply(s, BASE), _add(r, _multiply(h, a)))


# ------------------------------------------------------------------------------------------------------ the proof

# What reading raises where a file is of another shape.
NO_PROOF = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error, RecursionError)

STREAMS = uuid.UUID("6f1e0c4a-5f0b-5d0e-9b5e-3d2c8a1f7e10")  # the namespace of streams' names


class BadProofError(Exception):
    """It proves nothing, and why."""


def record_hash(proof):
    """The hash of the record's bytes after the record before it."""
    topic, state = proof["topic"].encode(), bytes.fromhex(proof["state"])
    prefix = struct.pack(
        ">B32s16sQQqI",
        1,
        _hex(proof["previous"], 32),
        _hex(proof["stream_id"], 16),
        proof["version"],
        proof["position"],
        proof["recorded_at_ns"],
        len(topic),
    )
    return hashlib.sha256(prefix + topic + state).digest()


def root_of(index, size, leaf, path):
    """The root that a path leads to; BadProofError where it has another shape."""
    if not 0 <= index < size:
        raise BadProofError("the record is not among those that were signed")
    number, last, node = index, size - 1, hashlib.sha256(b"\0" + leaf).digest()
    for each in path:
        if last == 0:
            raise BadProofError("the path is too long")
        if number & 1 or number == last:
            node = hashlib.sha256(b"\1" + each + node).digest()
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + each).digest()
        number, last = number >> 1, last >> 1
    if last:
        raise BadProofError("the path is too short")
    return node


def signed_tree(note, key):
    """Size and root of a checkpoint that the verifier key signed."""
    name, key_id, encoded = key.strip().split("+", 2)
    public = base64.b64decode(encoded, validate=True)
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        _dash, signer, signature = line.split(" ")
        raw = base64.b64decode(signature, validate=True)
        if signer == name and raw[:4].hex() == key_id and public[:1] == b"\1":
            if is_signed(public[1:], text.encode(), raw[4:]):
                _origin, size, root = text.splitlines()[:3]
                return int(size), base64.b64decode(root, validate=True)
            raise BadProofError("the signature is not true")
    raise BadProofError(f"the checkpoint is not signed by {name}")


def check(proof, key):
    """Give the number of records that were signed; BadProofError where the proof is none."""
    size, root = signed_tree(proof["note"], key)
    if uuid.uuid5(STREAMS, proof["stream"]).hex != proof["stream_id"]:
        raise BadProofError("the stream is not called so")
    leaf = record_hash(proof)
    if leaf.hex() != proof["hash"]:
        raise BadProofError("the record is not the one of this hash")
    if size != proof["size"]:
        raise BadProofError("the checkpoint is of another size")
    if root_of(proof["position"] - 1, size, leaf, [_hex(each, 32) for each in proof["path"]]) != root:
        raise BadProofError("the path does not lead to the root that was signed")
    return size


def _hex(text, size):
    data = bytes.fromhex(text)
    if len(data) != size:
        raise BadProofError(f"{text!r} is not of {size} bytes")
    return data


def main():
    """Check the files that were named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--key", required=True, help="the verifier key, as `es-power audit keygen` printed it")
    parser.add_argument("proofs", nargs="+", metavar="PROOF.json")
    options = parser.parse_args()
    code = 0
    for name in options.proofs:
        try:
            with open(name, encoding="utf-8") as file:
                content = json.load(file)
            for proof in content if isinstance(content, list) else [content]:
                size = check(proof, options.key)
                print(f"{name}: record {proof['position']} of {proof['stream']!r} is in the log of {size} records")
        except BadProofError as error:
            print(f"{name}: {error}", file=sys.stderr)
            code = 4
        except (OSError, *NO_PROOF) as error:
            print(f"{name}: this is no proof: {error}", file=sys.stderr)
            code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
